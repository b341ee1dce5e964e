"""The headless entry point, as processes that end by themselves or by signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from minestudio_nb import run

QUICK = [
    "train_config.num_iterations=3",
    "rollout_config.worker_config.num_envs=2",
    "train_config.batch_size_per_gpu=2",
]


def command(tmp_path: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "minestudio_nb.run", "cartpole", "--run-root", str(tmp_path), *arguments]


def main(tmp_path: Path, *arguments: str) -> int:
    return run.main([*command(tmp_path)[3:], "--runtime", "inline", *arguments])


def test_a_run_ends_with_status_0_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tmp_path, "--name", "quick", "--report", "--episodes", "2", *QUICK) == 0
    text = capsys.readouterr().out
    assert "optimizer steps" in text, "the plan"
    assert "A random policy returns" in text and "The trained policy returns" in text
    summary = json.loads((tmp_path / "quick" / "summary.json").read_text())
    assert summary["iterations"] == 3 and summary["held_out_episodes"] == 2
    for key in ("return_random", "return_final", "seconds", "cpu_seconds", "env_steps", "seed"):
        assert isinstance(summary[key], (int, float)), key
    for name in ("report.html", "curves.png", "metrics.jsonl", "config.yaml", "checkpoints"):
        assert (tmp_path / "quick" / name).exists(), name


def test_a_target_that_is_not_reached_is_status_1(tmp_path: Path) -> None:
    assert main(tmp_path, "--name", "low", "train_config.target_return=499", *QUICK) == 1


def test_a_wrong_configuration_is_status_2_with_every_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tmp_path, "train_config.discount=2", "train_config.learning_rat=1") == 2
    text = capsys.readouterr().out
    assert "discount" in text and "did you mean" in text
    assert not list(tmp_path.iterdir())


def test_plan_only_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tmp_path, "--plan") == 0
    assert "rollout workers" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_plan_of_a_configuration_that_is_too_large_is_shown_with_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["train_config.num_workers=900", "train_config.num_gpus_per_worker=1"]
    sizes = ["rollout_config.replay_buffer_config.max_chunks=10000"]
    assert main(tmp_path, "--plan", *asked, *sizes) == 2
    text = capsys.readouterr().out
    assert "900 needed" in text and "GPUs are asked for" in text


def test_plan_for_a_cluster_that_is_not_there_says_so() -> None:
    """In a process of its own: one that is connected to a cluster asks no other."""
    command = [sys.executable, "-m", "minestudio_nb.run", "cartpole", "--plan", "--address", "127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, "no cluster is there to have it"
    assert "127.0.0.1:1" in done.stdout


def test_options_that_exclude_each_other_are_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tmp_path, "--address", "auto") == 2
    assert "leave one of them out" in capsys.readouterr().out


def test_a_name_is_taken_again_only_when_asked_to(tmp_path: Path) -> None:
    assert main(tmp_path, "--name", "same", *QUICK) == 0
    assert main(tmp_path, "--name", "same", *QUICK) == 2
    assert main(tmp_path, "--name", "same", "--replace", *QUICK) == 0
    rows = (tmp_path / "same" / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == 3


def _wait_for_metrics(tmp_path: Path, name: str, process: subprocess.Popen[str]) -> None:
    metrics = tmp_path / name / "metrics.jsonl"
    deadline = time.monotonic() + 150
    while not (metrics.is_file() and metrics.stat().st_size):
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline, "no iteration within 150 s"
        time.sleep(0.1)


def _marked(mark: str) -> list[psutil.Process]:
    """The living processes whose environment carries ``mark``."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("MSNB_TEST_MARK") == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize(
    ("runtime", "number"),
    [
        ("inline", signal.SIGINT),
        ("inline", signal.SIGTERM),
        pytest.param("ray", signal.SIGINT, marks=pytest.mark.full),
        pytest.param("ray", signal.SIGTERM, marks=pytest.mark.full),
    ],
)
def test_a_signal_ends_it_cleanly(tmp_path: Path, runtime: str, number: signal.Signals) -> None:
    mark = f"{os.getpid()}-{runtime}-{number}"
    arguments = ["--name", "signalled", "--runtime", runtime, "train_config.num_iterations=100000"]
    arguments += ["train_config.max_env_steps=null"]
    process = subprocess.Popen(
        command(tmp_path, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "MSNB_TEST_MARK": mark},
    )
    try:
        _wait_for_metrics(tmp_path, "signalled", process)
        process.send_signal(number)
        text, _ = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 128 + number, text
    assert "stopping" in text and "Traceback" not in text
    assert any((tmp_path / "signalled" / "checkpoints").iterdir()), "a last checkpoint was written"
    deadline = time.monotonic() + 10
    while (left := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left, f"left running: {left}"
