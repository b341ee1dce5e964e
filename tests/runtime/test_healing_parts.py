"""The parts that healing is made of, each by itself: the buffer's memory of what came, what is kept, the watchdog."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RayActorError, RayTaskError

from minestudio_nb.config.schema import OnlineConfig
from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.fragments import FragmentMeta, StreamId
from minestudio_nb.errors import StoreTimeoutError
from minestudio_nb.runs import RunDirectory
from minestudio_nb.runtime import heartbeats
from minestudio_nb.runtime.buffer_actor import ReplayBufferActor
from minestudio_nb.runtime.claims import Claims, Holder
from minestudio_nb.runtime.controls import Controls
from minestudio_nb.runtime.kept import FILE, Keeper, Kept
from tests.runtime.ray_support import REPOSITORY, eventually
from tests.runtime.test_ray_faults import gone

CONFIG = OnlineConfig.from_dict(
    {"train_config": {"batch_size_per_gpu": 4, "batches_per_iteration": 1}, "lead": 1, "schedule": "alternate"}
)


def meta(worker: int, env: int, index: int, version: int = 0) -> FragmentMeta:
    return FragmentMeta(-1, StreamId(worker, env), index, version, 8, 100)


def buffer(first_life: int = 0) -> ReplayBufferActor:
    return ReplayBufferActor(CONFIG, "alternate", None, first_life)


def test_a_fragment_that_is_sent_twice_is_taken_once() -> None:
    async def story() -> None:
        store = buffer()
        store._core.publish(0)
        assert await store.acquire(0, 0, 0, 9, 0.0) == 4
        metas = [meta(0, 0, 0), meta(0, 1, 0)]
        await store.add(0, metas, ["a", "b"])
        await store.add(0, metas, ["a", "b"])  # no answer came, so the worker sends them once more
        await store.add(0, [meta(0, 0, 2)], ["d"])
        await store.add(0, [meta(0, 0, 1)], ["c"])  # sent again, after a later one
        taken = await store.take(4, 0, 0.0)
        assert await store.references([m.fragment_id for m in taken]) == [["a"], ["b"], ["d"], ["c"]]
        assert (await store.stats()).outstanding == 0

    asyncio.run(story())


def test_a_worker_says_what_it_holds_and_so_a_lost_answer_costs_nothing() -> None:
    async def story() -> None:
        store = buffer()
        store._core.publish(0)
        assert await store.acquire(0, 0, 0, 4, 0.0) == 4  # the answer is lost
        assert await store.acquire(0, 0, 0, 3, 0.0) == 3
        assert await store.acquire(1, 0, 0, 3, 0.0) == 1
        assert (await store.stats()).outstanding == 4

    asyncio.run(story())


def test_one_that_was_started_again_grants_nothing_before_it_is_told_what_it_must_know() -> None:
    async def story() -> None:
        store = buffer(first_life=7)
        store._knows = False
        assert (await store.beat())[2] is False
        assert await store.acquire(0, 7, 2, 3, 0.01) == 0
        assert await store.forget_worker(2, 9) == 0
        late = asyncio.ensure_future(store.add(7, [meta(0, 0, 5, 3)], ["kept"]))
        with pytest.raises(StoreTimeoutError):
            await store.take(1, 3, 0.01)
        await store.restore(3, {1: 8, 2: 8}, {"max_staleness": 5, "max_reuse": 2}, 1 << 32, None)
        await late
        assert (await store.beat())[2] is True
        (taken,) = await store.take(1, 3, 1.0)
        assert taken.fragment_id == 1 << 32
        assert (store._core.max_staleness, store._core.max_reuse) == (5, 2)
        assert await store.acquire(1, 7, 0, 1, 0.0) is None, "of a worker that was replaced before"
        assert await store.acquire(2, 9, 0, 1, 0.0) == 0, "of one whose replacement was told before"
        assert await store.acquire(0, 7, 2, 3, 0.0) == 0, "the gate is shut until weights come, or somebody asks"
        with pytest.raises(StoreTimeoutError):
            await store.take(4, 3, 0.0)
        assert await store.acquire(0, 7, 2, 3, 0.0) == 1, "three lack besides the one that may be read again; two come"
        await store.restore(9, {}, {"max_reuse": 9}, 0, "too late")
        assert store._core.max_reuse == 2

    asyncio.run(story())


def holder(pid: int) -> Holder:
    return Holder("here", pid, 1.0, f"process {pid}")


def test_orders_outlive_the_supervisor(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "kept")
    first = Keeper(run, again=False)
    controls, claims = Controls(keep=first.orders), Claims(holder(1), keep=first.holder)
    controls.edit("train_config.learning_rate", 1e-4)
    controls.edit("train_config.freeze", ["a", "b"])
    controls.answer(1, "applied", 12)
    controls.pause()
    for label in ("written", "unwritten"):
        controls.request("checkpoint", label=label)
    assert len(controls.read(0).requests) == 2
    controls.done(1)
    claims.take(holder(2), force=True)
    second = Keeper(run, again=True)
    assert second.before is not None
    kept = second.kept
    assert kept.edits == (
        Edit(1, "train_config.learning_rate", 1e-4, "applied", 12),
        Edit(2, "train_config.freeze", ["a", "b"]),
    )
    assert (kept.paused, kept.holder, kept.life) == (True, holder(2), 1)
    unwritten = {"number": 2, "kind": "checkpoint", "label": "unwritten"}
    assert kept.requests == (unwritten,), "no trainer has said that it is done"
    again = Controls(kept.edits, kept.paused, kept.requests, second.orders)
    assert again.read(0).requests == (unwritten,)
    again.request("checkpoint", label="later")
    assert [request["number"] for request in again.read(0).requests] == [2, 3]
    assert again.edit("lead", 2).revision == 3
    assert again.read(2).paused
    assert [second.died(name) for name in ("", "", "iteration_000004")] == [1, 2, 1]
    claims = Claims(kept.holder, keep=second.holder)
    claims.release(holder(2))
    third = Keeper(run, again=False)
    assert third.before is None
    assert third.kept == Kept(life=2), "another session in the same directory: other seeds, no old orders"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"life": 3, "edits": [{"wrong": 1}]}', '{"holder": 5}', '{"requests": [{"kind": "checkpoint"}]}'],
)
def test_what_cannot_be_read_is_as_if_it_were_not_there(text: str, tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "torn")
    (run.path / FILE).write_text(text)
    assert Keeper(run, again=True).kept == Kept(life=1)


WATCHED = """
import sys, time
from minestudio_nb.runtime.watchdog import Watchdog
dog = Watchdog(2.0)
print(dog._process.pid, flush=True)
sys.stdin.readline()
"""


def started_watched() -> tuple[subprocess.Popen[str], int]:
    command: list[Any] = [sys.executable, "-c", WATCHED]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_a_watchdog_kills_what_has_stopped_and_ends_with_it() -> None:
    process, dog = started_watched()
    with process:
        assert not gone(dog)
        process.send_signal(signal.SIGSTOP)
        assert process.wait(60.0) == -signal.SIGKILL
    eventually(lambda: gone(dog), 60.0)
    process, dog = started_watched()
    with process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(4.0)  # it lives, and so is left alone
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.close()
        assert process.wait(60.0) == 0
    eventually(lambda: gone(dog), 60.0)


class Clock:
    """Time that a test moves, and calls that are answered when it says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.answers: dict[Any, Any] = {}
        self.asked: list[Any] = []
        monkeypatch.setattr(heartbeats, "time", self)
        monkeypatch.setattr(heartbeats, "ray", self)

    def monotonic(self) -> float:
        return self.now

    def ask(self, actor: Any) -> Any:
        self.asked.append((actor, len(self.asked)))
        return self.asked[-1]

    def wait(self, references: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        done = [reference for reference in references if reference[0] in self.answers]
        return done, [reference for reference in references if reference not in done]

    def get(self, reference: Any, timeout: float) -> Any:
        answer = self.answers[reference[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_heartbeats_find_the_silent_and_blame_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    beats = heartbeats.Heartbeats(limit=60.0, start_limit=300.0)
    answered: list[Any] = []
    silent: list[tuple[str, float]] = []
    actors = {name: object() for name in ("up", "well", "starting", "dying", "failing")}
    processes = {
        name: heartbeats.Watched(actor, clock.ask, name in ("up", "failing")) for name, actor in actors.items()
    }
    failed = RayTaskError("beat", "its traceback", ValueError("broken"))
    clock.answers = {actors["well"]: "fine", actors["dying"]: RayActorError(), actors["failing"]: failed}

    def look(after: float) -> None:
        clock.now += after
        beats.look(processes, lambda *heard: answered.append(heard), lambda *lost: silent.append(lost))

    assert beats.interval == 5.0
    for _ in range(13):
        look(5.0)
    assert answered == [("well", "fine")] * 12
    assert not silent and beats.silence() == {"up": 60, "starting": 60, "failing": 60}
    assert len([actor for actor, _ in clock.asked if actor is actors["failing"]]) == 13, "it is asked again each time"
    look(1000.0)  # the supervisor itself was held up: that counts as two looks
    assert sorted(silent) == [("failing", 70.0), ("up", 70.0)], "a beat that fails is no sign of life"
    clock.answers[actors["failing"]] = "mended"
    del clock.answers[actors["well"]]
    for _ in range(14):
        look(5.0)
    assert [name for name, _ in silent if name != "failing"] == ["up", "up", "well"]
    assert len(silent) == 4 and "failing" not in beats.silence()
    for _ in range(40):
        look(5.0)
    assert [seconds for name, seconds in silent if name == "starting"] == [305.0]
    assert not [name for name, _ in silent if name == "dying"], "it answers, by its death"
    processes["up"] = heartbeats.Watched(object(), clock.ask, True)
    look(5.0)
    assert "up" not in beats.silence(), "another process has all its time"
