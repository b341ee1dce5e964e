"""Who holds the controls of a session, without Ray."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from minestudio_nb.errors import SessionStateError
from minestudio_nb.runtime import claims
from minestudio_nb.runtime.claims import Claims, Holder


@pytest.fixture
def neighbour() -> Iterator[tuple[Holder, subprocess.Popen[bytes]]]:
    """Another living process of this machine."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process.stdin is not None
    created = psutil.Process(process.pid).create_time()
    yield Holder(Holder.here().machine, process.pid, created, "the neighbour"), process
    process.kill()
    process.wait()
    process.stdin.close()


def test_orders_of_the_holder_go_through_and_those_of_others_say_who_holds_the_controls(neighbour) -> None:
    here, (there, _) = Holder.here(), neighbour
    box = Claims(there)
    with pytest.raises(SessionStateError, match=r"pause\(\) was refused: the neighbour holds .*take_controls\(\)"):
        box.require(here, "pause()")
    assert (box.hear(here), box.hear(there)) == ("the neighbour", "")
    box.require(there, "pause()")


def test_a_process_stays_the_holder_when_its_clock_was_corrected() -> None:
    here = Holder.here()
    box = Claims(replace(here, create_time=here.create_time + 0.3))
    box.require(here, "pause()")
    assert box.hear(here) == ""


def test_controls_are_taken_and_taken_back(neighbour) -> None:
    told: list[str] = []
    here, (there, _) = Holder.here(), neighbour
    box = Claims(there, told.append)
    assert box.take(here) == "the neighbour" and told == []
    assert box.take(here, force=True) == ""
    assert told == [f"{here.label} holds the controls now; before: the neighbour."]
    with pytest.raises(SessionStateError, match="refused"):
        box.require(there, "set()")
    box.take(there, force=True)
    assert box.hear(here) == "the neighbour" and len(told) == 2


def test_a_dead_holder_holds_nothing(neighbour) -> None:
    told: list[str] = []
    here, (there, process) = Holder.here(), neighbour
    box = Claims(there, told.append)
    process.kill()
    process.wait()
    assert box.hear(here) == ""
    box.require(here, "set()")
    assert "the neighbour, which is gone" in told[0]
    reused = Claims(replace(here, create_time=here.create_time - 100))
    assert reused.take(here) == ""


def test_a_holder_elsewhere_holds_for_a_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = Holder.here(), Holder("another machine", 1, 0.0, "somebody elsewhere")
    box = Claims(there)
    assert box.take(here) == "somebody elsewhere"
    monkeypatch.setattr(claims, "LEASE_SECONDS", 0.0)
    assert box.hear(here) == ""
    box.require(here, "set()")
    assert box.hear(there) == here.label


def test_what_is_released_is_free(neighbour) -> None:
    here, (there, _) = Holder.here(), neighbour
    box = Claims(there)
    box.release(here)
    assert box.hear(here) == "the neighbour"
    box.release(there)
    assert box.hear(here) == ""


def test_a_notebook_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "/work/tune.ipynb")
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert Holder.here().label.startswith("notebook tune.ipynb (process ")
    monkeypatch.delenv("JPY_SESSION_NAME")
    assert Holder.here().label.startswith("a notebook (process ")
