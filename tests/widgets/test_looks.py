"""States and marks look the same wherever they are shown."""

from __future__ import annotations

from typing import get_args

import pytest

from minestudio_nb.contracts.looks import MARKS, TONES, MarkKind, ToneName, mark_kind, state_tone
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.widgets.dashboard import front_end


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (Event("edit", "applied", data={"revision": 1}), "edit"),
        (Event("edit", "rejected", "warning", data={"revision": 1}), None),
        (Event("edit", "the present policy is taken"), None),
        (Event("checkpoint", "written"), "checkpoint"),
        (Event("env_restart", "hung", "warning"), "fault"),
        (Event("failure", "no disk", "error"), "fault"),
        (Event("update_skipped", "not finite", "warning"), None),
        (Event("recording", "seen"), None),
    ],
)
def test_what_is_marked(event: Event, kind: str | None) -> None:
    assert mark_kind(event) == kind


def test_the_page_has_the_same_signs_and_a_colour_for_each_tone() -> None:
    script, style = front_end()
    assert set(MARKS) == set(get_args(MarkKind)) and set(TONES) == set(get_args(ToneName))
    for kind, look in MARKS.items():
        assert f'{kind}: {{ colour: "{look.colour}", sign: "{look.sign}" }}' in script
    for state in ("TRAINING", "PAUSED", "FAILED", "FINISHED"):
        assert f'.msnb-state[data-tone="{state_tone(state)}"]' in style
    assert state_tone("STOPPED") == state_tone("no such state") == "still"
