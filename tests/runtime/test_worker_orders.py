"""What a rollout worker is told by calls that may arrive in another order than they were made: weights and pauses."""

from __future__ import annotations

from pathlib import Path

from minestudio_nb.contracts.weights import WeightsPackage
from minestudio_nb.runtime.actors import RolloutWorkerWrapper, WeightsSlot
from tests.runtime.ray_support import small_spec


def test_the_newest_wins_in_whatever_order_packages_arrive() -> None:
    slot = WeightsSlot()
    assert slot.newest() is None
    packages = [WeightsPackage("run", version, {}) for version in range(3)]
    for version, newest in ((0, 0), (2, 2), (1, 2)):
        slot.put(packages[version])
        assert slot.newest() is packages[newest]


def test_a_pause_that_arrives_after_its_end_pauses_nothing(tmp_path: Path) -> None:
    worker = RolloutWorkerWrapper(small_spec("pauses", tmp_path), 0, 0, buffer=None, supervisor=None)
    seen = []
    for paused, number in ((True, 0), (False, 2), (True, 1), (True, 3)):
        worker.pause(paused, number)
        seen.append(not worker._worker._go.is_set())
    assert seen == [True, False, False, True]
