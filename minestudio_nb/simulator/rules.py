"""Game rules: those that this world has, and those that it cannot but keep.

A rule of Minecraft 1.16 that changes something here is a field of ``status``. Another one may be set to the value that
holds here anyway; any other value is refused, because nothing would follow from it.
"""

from __future__ import annotations

import difflib
from typing import Final

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.state import (
    S_DAYLIGHT_CYCLE,
    S_DROWNING_DAMAGE,
    S_FALL_DAMAGE,
    S_FIRE_DAMAGE,
    S_MOB_GRIEFING,
    S_MOB_LOOT,
    S_NATURAL_REGENERATION,
    S_TILE_DROPS,
    SimState,
)

RULES: Final = {
    "doDaylightCycle": S_DAYLIGHT_CYCLE,
    "doMobLoot": S_MOB_LOOT,
    "doTileDrops": S_TILE_DROPS,
    "drowningDamage": S_DROWNING_DAMAGE,
    "fallDamage": S_FALL_DAMAGE,
    "fireDamage": S_FIRE_DAMAGE,
    "mobGriefing": S_MOB_GRIEFING,
    "naturalRegeneration": S_NATURAL_REGENERATION,
}
"""Rule -> field of ``status``; true or false."""

_EITHER: Final = ("true", "false")
FIXED: Final[dict[str, tuple[str, ...]]] = {
    "announceAdvancements": _EITHER,  # there is no chat to announce in
    "commandBlockOutput": _EITHER,
    "disableRaids": _EITHER,
    "doFireTick": ("false",),
    "doImmediateRespawn": _EITHER,  # an episode ends with the player's death
    "doInsomnia": ("false",),
    "doMobSpawning": ("false",),  # mobs come by command
    "doPatrolSpawning": ("false",),
    "doTraderSpawning": ("false",),
    "doWeatherCycle": ("false",),
    "keepInventory": _EITHER,  # as with doImmediateRespawn
    "logAdminCommands": _EITHER,
    "randomTickSpeed": ("0",),  # nothing grows
    "reducedDebugInfo": _EITHER,
    "sendCommandFeedback": _EITHER,
    "showDeathMessages": _EITHER,
}
"""Rule -> the values that it may be set to, which change nothing."""


def set_rule(state: SimState, name: str, value: str) -> None:
    """Set a game rule.

    Raises:
        SimulatorError: there is no such rule, or its value cannot hold here.
    """
    if name in RULES:
        if value not in _EITHER:
            raise SimulatorError(f"The rule {name} is true or false; got {value!r}.")
        state.status[RULES[name]] = int(value == "true")
    elif name in FIXED:
        if value not in FIXED[name]:
            raise SimulatorError(f"The rule {name} can only be {' or '.join(FIXED[name])} here; got {value!r}.")
    else:
        known = (*RULES, *FIXED)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise SimulatorError(f"No game rule is called {name!r}. The nearest is {near!r}; all: {', '.join(known)}.")
