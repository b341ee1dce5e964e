"""One tick of the world, 1/20 s: the order in which its parts happen, and many ticks in one call."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from minestudio_nb.simulator.actions import TICK_HOTBAR
from minestudio_nb.simulator.armor import tick_armor
from minestudio_nb.simulator.arrows import tick_arrows
from minestudio_nb.simulator.behaviour import tick_mobs
from minestudio_nb.simulator.interaction import interact
from minestudio_nb.simulator.items import tick_items
from minestudio_nb.simulator.physics import move_player
from minestudio_nb.simulator.state import (
    C_PLAY,
    E_CUSTOM,
    P_PITCH,
    P_YAW,
    S_DAYLIGHT_CYCLE,
    S_DEAD,
    S_HURT,
    S_INVULNERABLE,
    S_NIGHT_VISION,
    S_SLOT,
    S_STRENGTH,
    S_SWING,
    S_TICK,
    S_TIME,
    Arrays,
    SimState,
)
from minestudio_nb.simulator.vitals import tick_vitals


@njit(cache=True, nogil=True)
def _look(player, status, action, pitch, yaw):
    """Turn the head and select the hotbar slot."""
    if action[TICK_HOTBAR] > 0:
        status[S_SLOT] = action[TICK_HOTBAR] - 1
    player[P_YAW] = (player[P_YAW] + yaw + 180.0) % 360.0 - 180.0
    player[P_PITCH] = min(90.0, max(-90.0, player[P_PITCH] + pitch))


@njit(cache=True, nogil=True)
def _pass_time(player, status, stats):
    """Count the tick and run down timers."""
    status[S_TICK] += 1
    status[S_TIME] += status[S_DAYLIGHT_CYCLE]
    stats[E_CUSTOM, C_PLAY] += 1
    for timer in (S_SWING, S_HURT, S_INVULNERABLE, S_NIGHT_VISION, S_STRENGTH):
        if status[timer] > 0:
            status[timer] -= 1


@njit(cache=True, nogil=True)
def run_ticks(s, action, camera, ticks):
    """Run ticks with the keys of one action held; the camera turns on the first tick only.

    Args:
        s: ``state.Arrays``, changed in place.
        action: int32[TICK_FIELDS].
        camera: float64[2], pitch and yaw in degrees.
        ticks: how many.

    Returns:
        How many ran: fewer than ``ticks`` if the player died.
    """
    hit = np.zeros(5, np.int64)
    for tick in range(ticks):
        if s.status[S_DEAD]:
            return tick
        _pass_time(s.player, s.status, s.stats)
        _look(s.player, s.status, action, camera[0] if tick == 0 else 0.0, camera[1] if tick == 0 else 0.0)
        tick_armor(s)
        move_player(s.blocks, s.player, s.status, s.stats, action)
        tick_vitals(s.blocks, s.tops, s.player, s.status, s.stats)
        tick_mobs(s)
        tick_arrows(s)
        interact(s, action, hit)
        tick_items(s)
    return ticks


@njit(cache=True, nogil=True)
def _run_ticks(
    blocks, masks, tops, player, status, inventory, stats, mobs, minds, items, arrows, rng, action, camera, ticks
):
    s = Arrays(blocks, masks, tops, player, status, inventory, stats, mobs, minds, items, arrows, rng)
    return run_ticks(s, action, camera, ticks)


def advance(state: SimState, action: NDArray[np.int32], camera: NDArray[np.float64], ticks: int) -> int:
    """``run_ticks`` from Python.

    The arrays cross one by one: numba takes 0.8 us longer to receive a named tuple than to receive its parts.
    """
    return int(_run_ticks(*state.arrays(), action, camera, ticks))
