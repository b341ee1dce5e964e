"""Resource arithmetic: what is asked, what is there, and what the error says."""

from __future__ import annotations

import pytest

from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.errors import ResourceError
from minestudio_nb.runtime.preflight import (
    MINIMUM_OBJECT_STORE,
    asks,
    object_store_bytes,
    require_resources,
    total,
)


def config(**changes: object) -> OnlineConfig:
    made = OnlineConfig.from_dict({})
    for key, value in changes.items():
        made = made.with_value(key.replace("__", "."), value)
    return made


def test_totals_add_up() -> None:
    wanted = asks(config(rollout_config__num_rollout_workers=3, rollout_config__num_gpus_per_worker=0.5))
    assert total(wanted) == {"CPU": 3 * 1.0 + 1.0, "GPU": 1.5}


def test_enough_is_silent() -> None:
    wanted = asks(config(rollout_config__num_rollout_workers=2))
    require_resources(wanted, {"CPU": 3.0}, [{"CPU": 3.0}])


def test_eight_gpus_are_refused_with_the_arithmetic_and_the_fix() -> None:
    wanted = asks(config(rollout_config__num_rollout_workers=2, rollout_config__num_gpus_per_worker=4))
    with pytest.raises(ResourceError, match=r"GPU: 2 x 4 for rollout workers = 8 asked for, 1 there.*scale=laptop"):
        require_resources(wanted, {"CPU": 16.0, "GPU": 1.0}, [{"CPU": 16.0, "GPU": 1.0}])


def test_one_process_must_fit_on_one_node() -> None:
    wanted = asks(config(rollout_config__num_rollout_workers=1, rollout_config__num_gpus_per_worker=2))
    nodes = [{"CPU": 8.0, "GPU": 1.0}, {"CPU": 8.0, "GPU": 1.0}]
    with pytest.raises(ResourceError, match="no single node has room for one rollout worker"):
        require_resources(wanted, {"CPU": 16.0, "GPU": 2.0}, nodes)


def test_resources_of_the_scaling_config_win() -> None:
    wanted = asks(config(train_config__scaling_config__resources_per_worker={"CPU": 3}))
    assert wanted[1].each == {"CPU": 3}


def test_object_store_follows_the_buffer_within_the_machine() -> None:
    gib = 2**30
    assert object_store_bytes(0, 64 * gib, 64 * gib) == MINIMUM_OBJECT_STORE
    assert object_store_bytes(3 * gib, 64 * gib, 64 * gib) == 4 * gib + MINIMUM_OBJECT_STORE // 2
    assert object_store_bytes(60 * gib, 64 * gib, 64 * gib) == 32 * gib
    assert object_store_bytes(60 * gib, 64 * gib, 10 * gib) == 9 * gib
