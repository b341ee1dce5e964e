"""Resource arithmetic: what is asked, what is there, and what the error says."""

from __future__ import annotations

import pytest

from minestudio_nb.config import plan
from minestudio_nb.config.placement import NodeView, asks, matches, place, total
from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.errors import ResourceError
from minestudio_nb.runtime.preflight import MINIMUM_OBJECT_STORE, object_store_bytes, require_resources


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
    require_resources(wanted, [NodeView("fox", {"CPU": 3.0})])


def test_eight_gpus_are_refused_with_the_arithmetic_and_the_fix() -> None:
    wanted = asks(config(rollout_config__num_rollout_workers=2, rollout_config__num_gpus_per_worker=4))
    with pytest.raises(ResourceError, match=r"GPU: 2 x 4 for rollout workers = 8 asked for, 1 there.*scale=laptop"):
        require_resources(wanted, [NodeView("fox", {"CPU": 16.0, "GPU": 1.0})])


def test_one_process_must_fit_on_one_node() -> None:
    wanted = asks(config(rollout_config__num_rollout_workers=1, rollout_config__num_gpus_per_worker=2))
    nodes = [NodeView("fox", {"CPU": 8.0, "GPU": 1.0}), NodeView("owl", {"CPU": 8.0, "GPU": 1.0})]
    with pytest.raises(ResourceError, match="no single node has room for one rollout worker"):
        require_resources(wanted, nodes)


CLUSTER = [
    NodeView("head", {"CPU": 4.0}, {"kind": "head"}, is_head=True),
    NodeView("cpu-1", {"CPU": 8.0}, {"kind": "cpu"}),
    NodeView("gpu-1", {"CPU": 8.0, "GPU": 1.0}, {"kind": "gpu"}),
]


def test_placement_follows_labels_and_fractions() -> None:
    wanted = asks(
        config(
            rollout_config__num_rollout_workers=3,
            rollout_config__num_gpus_per_worker=0.25,
            rollout_config__node_labels={"kind": "gpu"},
            train_config__num_gpus_per_worker=0.25,
        )
    )
    workers, trainers = place(wanted, CLUSTER)
    assert (workers.placed, trainers.placed) == ({"gpu-1": 3}, {"gpu-1": 1})  # 4 x 0.25 is one GPU
    assert not workers.missing and not trainers.missing


def test_what_needs_no_gpu_leaves_nodes_with_gpus_to_others() -> None:
    wanted = asks(config(rollout_config__num_rollout_workers=14, train_config__num_gpus_per_worker=1))
    workers, trainers = place(wanted, CLUSTER)
    assert workers.placed == {"head": 4, "cpu-1": 8, "gpu-1": 2}
    assert trainers.placed == {"gpu-1": 1}


def test_what_is_missing_is_said_with_the_arithmetic() -> None:
    labelled = config(rollout_config__num_rollout_workers=9, rollout_config__node_labels={"kind": "cpu"})
    workers, _ = place(asks(labelled), CLUSTER)
    assert workers.placed == {"cpu-1": 8}
    assert workers.missing == (
        "1 of 9 rollout workers find no room: CPU: 9 x 1 = 9 asked for, 8 on the nodes with kind=cpu"
    )
    unknown = asks(config(train_config__node_labels={"kind": "tpu"}))
    with pytest.raises(ResourceError, match=r"no node is labelled kind=tpu \(labels there: kind=cpu, kind=gpu, kind=h"):
        require_resources(unknown, CLUSTER)
    special = asks(config(rollout_config__resources_per_worker={"display": 1}))
    with pytest.raises(ResourceError, match=r"no single node has room for one rollout worker.*1 display"):
        require_resources(special, CLUSTER)


def test_labels_match_as_ray_matches_them() -> None:
    assert matches("a", "a") and not matches("b", "a") and not matches(None, "a")
    assert matches("b", "!a") and matches(None, "!a") and not matches("a", "!a")
    assert matches("a", "in(a, b)") and not matches("c", "in(a, b)")
    assert matches("c", "!in(a, b)") and matches(None, "!in(a,b)") and not matches("b", "!in(a,b)")


def test_the_plan_shows_nodes_and_what_is_missing() -> None:
    asked = config(rollout_config__num_rollout_workers=2, train_config__num_gpus_per_worker=2)
    shown = plan(asked, elsewhere=True, nodes=CLUSTER)
    rows = {row.what: row for row in shown.rows}
    assert rows["rollout workers go"].detail == "2 on head"
    assert rows["GPUs"].detail == "1 in the cluster, on 3 nodes"
    assert rows["trainers go"].amount == "0 of 1 placed"
    missing = "MISSING: no single node has room for one trainer (1 x trainer with 1 CPU, 2 GPU"
    assert missing in rows["trainers go"].detail
    assert len(shown.missing) == 1
    unknown = plan(asked, elsewhere=True, nodes="Nothing answered at fox:1.")
    assert {row.what: row for row in unknown.rows}["GPUs"].detail == "Nothing answered at fox:1."


def test_resources_of_the_scaling_config_win() -> None:
    wanted = asks(config(train_config__scaling_config__resources_per_worker={"CPU": 3}))
    assert wanted[1].each == {"CPU": 3}


def test_object_store_follows_the_buffer_within_the_machine() -> None:
    gib = 2**30
    assert object_store_bytes(0, 64 * gib, 64 * gib) == MINIMUM_OBJECT_STORE
    assert object_store_bytes(3 * gib, 64 * gib, 64 * gib) == 4 * gib + MINIMUM_OBJECT_STORE // 2
    assert object_store_bytes(60 * gib, 64 * gib, 64 * gib) == 32 * gib
    assert object_store_bytes(60 * gib, 64 * gib, 10 * gib) == 9 * gib
