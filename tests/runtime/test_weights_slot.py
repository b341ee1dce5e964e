"""The slot from which a rollout worker takes its weights."""

from __future__ import annotations

from minestudio_nb.contracts.weights import WeightsPackage
from minestudio_nb.runtime.actors import WeightsSlot


def test_the_newest_wins_in_whatever_order_packages_arrive() -> None:
    slot = WeightsSlot()
    assert slot.newest() is None
    packages = [WeightsPackage("run", version, {}) for version in range(3)]
    for version, newest in ((0, 0), (2, 2), (1, 2)):
        slot.put(packages[version])
        assert slot.newest() is packages[newest]
