"""Checkpoints against what happens to machines: writers that are killed, damaged files, disks without room."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from minestudio_nb.errors import CheckpointError
from minestudio_nb.trainer import Checkpoint, CheckpointStore, saving
from minestudio_nb.trainer.checkpoints import freeze_checkpoint
from minestudio_nb.trainer.parameters import lay_out_as_parameters
from tests.support.training import Bench, same_weights, small_config

WEIGHTS = {"layer.weight": torch.arange(3000.0).reshape(2, 1500)}


def checkpoint(iteration: int) -> Checkpoint:
    return Checkpoint(iteration, WEIGHTS, optimizer={"m": torch.ones(50)}, state={"n": iteration})


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file may grow beyond ``room`` bytes: the system refuses it as it does where a disk is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


# Killed while it writes.

WRITERS = """
import os, signal, sys, time, torch
from minestudio_nb.trainer import Checkpoint, CheckpointStore

def write(folder, told):
    store, number = CheckpointStore(folder), 0
    while True:
        number += 1
        weights = {f"layer{k}": torch.full((1000,), float(number)) for k in range(20)}
        # every third number comes twice, so that names are also taken over
        store.save(Checkpoint(number - number // 3, weights, {}, {"n": number}), keep_interval=1000)
        os.write(told, b"x")

for attempt in range(int(sys.argv[2])):
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        write(f"{sys.argv[1]}/{attempt}", told)
    os.close(told)
    count = 0
    while count < 5:
        count += len(os.read(heard, 100))
    time.sleep(attempt * 0.0004)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while piece := os.read(heard, 100):
        count += len(piece)
    os.close(heard)
    print(attempt, count, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_checkpoint_that_is_whole(tmp_path: Path) -> None:
    """Killed at moments all over the writing of one; what was said to be written is there."""
    command = [sys.executable, "-c", WRITERS, str(tmp_path), "20"]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=200).stdout.splitlines()
    assert len(told) == 20
    for line in told:
        attempt, last = map(int, line.split())
        folder = tmp_path / str(attempt)
        store = CheckpointStore(folder)
        store.tidy()
        assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
        saved = store.load()
        assert saved.state["n"] in (last, last + 1)
        assert all((tensor == saved.state["n"]).all() for tensor in saved.weights.values())


def test_a_name_that_was_being_taken_over_gets_its_checkpoint_back(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(checkpoint(4)).rename(tmp_path / ".iteration_000004.replaced")  # killed between the two renames
    assert store.newest() is None
    store.tidy()
    assert store.load().iteration == 4
    (tmp_path / ".iteration_000004.replaced").mkdir()  # killed before the old one was deleted
    store.tidy()
    assert store.load().iteration == 4 and sorted(path.name for path in tmp_path.iterdir()) == [
        "iteration_000004",
        "latest",
    ]


# Damage.


def saved_run(tmp_path: Path, iterations: int = 3) -> CheckpointStore:
    store = CheckpointStore(tmp_path / "run" / "checkpoints")
    Bench(small_config(num_iterations=iterations, keep_interval=1), checkpoints=store).run()
    return store


def resumed(store: CheckpointStore, iterations: int = 4) -> Bench:
    bench = Bench(small_config(num_iterations=iterations, keep_interval=1, resume="latest"), checkpoints=store)
    bench.run()
    return bench


@pytest.mark.parametrize("name", ["weights.safetensors", "state.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "empty"])
def test_the_one_before_a_damaged_checkpoint_is_taken_and_somebody_is_told(
    name: str, damage: str, tmp_path: Path
) -> None:
    store = saved_run(tmp_path)
    file = store.directory / "iteration_000003" / name
    data = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":  # one bit, where only a checksum notices; of JSON, a digit
        place = data.index(b'"value"') if b'"value"' in data else len(data) - 5
        place = max(k for k in range(len(data) - 200) if chr(data[k]).isdigit()) if name == "state.json" else place
        data[place] ^= 1
        file.write_bytes(data)
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        file.unlink()
    bench = resumed(store)
    told = [event for event in bench.telemetry.told if event.kind == "resume"]
    assert [event.severity for event in told] == ["warning", "info"]
    assert "iteration_000003" in told[0].message and "Resumed from iteration_000002" in told[1].message
    assert sorted(bench.telemetry.points) == [3, 4]
    assert store.load().iteration == 4 and store.load(store.directory / "iteration_000003").iteration == 3


def test_one_that_was_asked_for_by_name_is_not_replaced_by_another(tmp_path: Path) -> None:
    store = saved_run(tmp_path)
    (store.directory / "iteration_000002" / "state.json").unlink()
    config = small_config(num_iterations=4, resume=str(store.directory / "iteration_000002"))
    with pytest.raises(CheckpointError, match="iteration_000002 is not a complete checkpoint"):
        Bench(config, checkpoints=store).run()


def test_where_all_are_damaged_each_is_named(tmp_path: Path) -> None:
    store = saved_run(tmp_path, 2)
    for folder in store.folders():
        (folder / "weights.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"(?s)iteration_000002 is damaged.*iteration_000001 is damaged"):
        resumed(store)


def test_after_a_resume_from_an_older_one_that_is_where_a_replaced_trainer_goes_on(tmp_path: Path) -> None:
    store = saved_run(tmp_path)
    os.utime(store.directory / "iteration_000001", (2_000_000_000, 2_000_000_000))  # times of files decide nothing
    assert store.newest() == store.directory / "iteration_000003"
    config = small_config(num_iterations=9, resume=str(store.directory / "iteration_000001"))
    Bench(config, checkpoints=store).trainer.setup()
    assert store.newest() == store.directory / "iteration_000001"


# No room.


def test_training_goes_on_without_room_for_checkpoints_and_saves_when_there_is(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    bench = Bench(small_config(num_iterations=6, keep_interval=1, save_interval=1), checkpoints=store)
    bench.trainer.setup()
    iterate = bench.trainer.iterate
    folders: dict[int, list[str]] = {}

    def with_changing_room(metas: Any) -> None:
        done = bench.trainer.progress.iteration
        if bench.trainer._writer is not None:
            bench.trainer._writer.wait()
        folders[done] = sorted(path.name for path in tmp_path.iterdir())
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600 if done in (2, 3) else limits[1], limits[1]))
        iterate(metas)

    bench.trainer.iterate = with_changing_room  # type: ignore[method-assign]
    result = bench.trainer.train()
    assert result.iterations == 6 and result.checkpoint == tmp_path / "iteration_000006"
    assert folders[2] == folders[3] == folders[4] == ["iteration_000001", "iteration_000002", "latest"]
    assert folders[5][:3] == ["iteration_000001", "iteration_000002", "iteration_000005"]
    told = [event for event in bench.telemetry.told if event.kind.startswith("checkpoint")]
    assert [(event.kind, event.severity) for event in told] == [("checkpoint_failed", "error"), ("checkpoint", "info")]
    assert "iteration_000003 could not be written" in told[0].message and "File too large" in told[0].message
    assert "the newest on disk is iteration_000002" in told[0].message
    assert "written again: iteration_000005" in told[1].message
    straight = Bench(small_config(num_iterations=6))
    straight.run()
    assert same_weights(straight.weights, bench.weights)


def test_a_checkpoint_asked_for_without_room_is_told_of_and_no_error(tmp_path: Path) -> None:
    bench = Bench(checkpoints=CheckpointStore(tmp_path))
    bench.control.request("checkpoint", label="mine")
    with full_disk(600):
        result = bench.run()
    assert result.checkpoint is None and result.iterations == 2
    (told,) = [event for event in bench.telemetry.told if event.kind.startswith("checkpoint")]
    assert "iteration_000000-mine could not be written" in told.message and "there is none on disk yet" in told.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
def test_a_real_disk_without_room(tmp_path: Path) -> None:
    """ENOSPC of a file system of its own, where the system lets this user mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True
    ).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        store = CheckpointStore(folder / "checkpoints")
        store.save(checkpoint(1))
        filler = folder / "filler"
        filler.write_bytes(b"x" * 230_000)
        with pytest.raises(CheckpointError, match=r"iteration_000002 could not be written.*No space left on device"):
            store.save(checkpoint(2))
        assert sorted(path.name for path in store.directory.iterdir()) == ["iteration_000001", "latest"]
        assert store.load().iteration == 1
        filler.unlink()
        assert store.save(checkpoint(2)).is_dir() and store.load().iteration == 2
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_does_not_answer_is_waited_for_with_a_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(CheckpointStore):
        def write(self, frozen: Any, label: str = "", keep_interval: int = 1) -> Path:
            assert answers.wait(60.0)
            return super().write(frozen, label, keep_interval)

    answers = threading.Event()
    monkeypatch.setattr(saving, "WRITE_SECONDS", 0.1)
    writer = saving.CheckpointWriter(Hanging(tmp_path), lambda kind, message, severity: None)
    writer.begin(freeze_checkpoint(checkpoint(1)), "", 1)
    try:
        with pytest.raises(CheckpointError, match="still being written to"):
            writer.wait()
        assert writer.finish() is None, "it is not waited for twice"
    finally:
        answers.set()


def test_training_does_not_wait_for_the_disk_except_for_the_checkpoint_before(tmp_path: Path) -> None:
    """No more than one is being written; the next waits for it, so that no more than one iteration is ever lost."""
    begun, may_end, written = threading.Event(), threading.Event(), []

    class Slow(CheckpointStore):
        def write(self, frozen: Any, label: str = "", keep_interval: int = 1) -> Path:
            begun.set()
            assert may_end.wait(30)
            written.append(frozen.iteration)
            return super().write(frozen, label, keep_interval)

    bench = Bench(small_config(num_iterations=4), checkpoints=Slow(tmp_path))
    thread = threading.Thread(target=bench.run)
    thread.start()
    assert begun.wait(30)
    while len(bench.telemetry.points) < 2 and thread.is_alive():
        threading.Event().wait(0.01)
    assert written == [] and len(bench.telemetry.points) == 2, "the second iteration ran during the first write"
    threading.Event().wait(0.2)
    assert len(bench.telemetry.points) == 2, "and the third waits"
    may_end.set()
    thread.join(30)
    assert written == [1, 2, 3, 4]


def test_the_moments_of_a_picture_policy_come_back_in_the_order_of_its_weights(tmp_path: Path) -> None:
    """Its kernels are channels_last in memory, files are not, and the fused optimizer goes by memory."""
    policy = torch.nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
    gradients = [torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(k)) for k in (1, 2)]

    def step(optimizer: torch.optim.Optimizer, gradient: torch.Tensor) -> None:
        policy.weight.grad = gradient.contiguous(memory_format=torch.channels_last)
        optimizer.step()

    def after_two_steps(through_a_file: bool) -> torch.Tensor:
        with torch.no_grad():
            policy.weight.copy_(torch.arange(48.0).reshape(4, 3, 2, 2))
        optimizer = torch.optim.AdamW([policy.weight], lr=0.1, fused=True)
        step(optimizer, gradients[0])
        if through_a_file:
            store = CheckpointStore(tmp_path)
            store.save(Checkpoint(1, {}, optimizer.state_dict(), {}))
            optimizer = torch.optim.AdamW([policy.weight], lr=0.1, fused=True)
            optimizer.load_state_dict(dict(store.load().optimizer))
            lay_out_as_parameters(optimizer)
        step(optimizer, gradients[1])
        return policy.weight.detach().clone()

    assert torch.equal(after_two_steps(False), after_two_steps(True))
