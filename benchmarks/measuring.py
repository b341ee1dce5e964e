"""What the benchmarks share: the peers' environment, hooks into training, running scripts, and tables of medians.

PEERS below is a folder with a ``common.py`` (environment, networks, measuring; the same for every contestant) and one
script per peer, each printing a line ``RESULT {json}``.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent
sys.path.insert(0, str(BENCHMARKS.parent))

Result = dict[str, Any]
STOP = "measured"
"""The reason that training ends with."""


def peers_common(peers: str | Path) -> ModuleType:
    """The peers' ``common.py``; loaded once, since it registers an environment."""
    if "peers_common" in sys.modules:
        return sys.modules["peers_common"]
    spec = importlib.util.spec_from_file_location("peers_common", Path(peers) / "common.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"There is no {peers}/common.py; give the folder of the peers' scripts.")
    module = importlib.util.module_from_spec(spec)
    sys.modules["peers_common"] = module
    spec.loader.exec_module(module)
    return module


def pixel_config(peers: str | Path, net: str = "tiny", cost: str = "none", workers: int = 1) -> dict[str, Any]:
    """Workload W2 with the peers' numbers: 8 environments x 64 steps, one pass in 4 optimizer steps of 128 samples."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's workers cannot import this file
    folder = str(Path(peers).resolve())

    def env_generator(index: int) -> Any:
        return peers_common(folder).make_env(cost, seed=index)()

    return {
        "env_generator": env_generator,
        "policy_config": {"name": "cnn", "args": {"variant": net}},
        "schedule": "alternate",
        "recovery_interval": 1_000_000,  # peers write no checkpoints either
        "rollout_config": {
            "num_rollout_workers": workers,
            "num_cpus_per_worker": 0.5,
            "fragment_length": 64,
            "worker_config": {"num_envs": 8 // workers, "execution": "in_worker"},
            "replay_buffer_config": {"max_chunks": 32, "max_staleness": 0},
        },
        "train_config": {
            "batch_size_per_gpu": 2,
            "batches_per_iteration": 4,
            "num_iterations": 1_000_000,
            "learning_rate": 2.5e-4,
            "adam_eps": 1e-5,
            "discount": 0.99,
            "gae_lambda": 0.95,
            "ppo_clip": 0.2,
            "clip_vloss": True,
            "entropy_bonus_coef": 0.01,
            "ppo_vf_coef": 0.5,
            "max_grad_norm": 0.5,
            "normalize_advantage_full_batch": False,
            "save_interval": 1_000_000,
            "keep_interval": 1_000_000,
        },
    }


Over = Callable[[Any], bool]
"""Asked at each border between iterations, with the trainer, whether to stop there; never again once it said so."""


@functools.cache
def _watched_trainer() -> Any:
    """PPO that asks an :data:`Over`; ``make_over`` makes that when the trainer is built."""
    from minestudio_nb.trainer import register_trainer
    from minestudio_nb.trainer.ppo import PPOTrainer

    @register_trainer
    class WatchedTrainer(PPOTrainer):
        make_over: Callable[[], Over]
        profile = False

        def __init__(self, **parts: Any) -> None:
            self._is_over = type(self).make_over()
            self._was_over = False
            super().__init__(**parts, stop_check=self._stop)

        def _stop(self) -> str | None:
            self._was_over = self._was_over or self._is_over(self)  # a border asks more than once
            return STOP if self._was_over else None

        def train(self) -> Any:
            return profiled(super().train) if self.profile else super().train()

    return WatchedTrainer


def train_inline(
    source: Any, overrides: Iterable[str], make_over: Callable[[], Over], timeout: float, profile: bool = False
) -> None:
    """Trains in this process until what ``make_over()`` gave says that it is over."""
    from minestudio_nb import OnlineSession

    trainer = _watched_trainer()
    trainer.make_over, trainer.profile = staticmethod(make_over), profile
    with tempfile.TemporaryDirectory() as root:
        session = OnlineSession("benchmark", runtime="inline", run_root=root)
        session.load_config(source, [*overrides, f"trainer_name={trainer.__name__}"])
        with session:
            session.start_rollout()
            session.start_trainer()
            session.wait(timeout=timeout)


def profiled(function: Callable[[], Any]) -> Any:
    """Calls ``function`` under cProfile and prints on standard error where the time went."""
    import cProfile
    import pstats

    profiler = cProfile.Profile()
    try:
        return profiler.runcall(function)
    finally:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(40)


def emit(**result: Any) -> None:
    """Prints one result, as the peers' scripts do."""
    print("RESULT " + json.dumps(result), flush=True)


def run_script(command: Sequence[str], cwd: str | Path, timeout: float) -> Result:
    """Runs a script to its end and reads its result; ``error`` holds the end of its output where there is none."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        list(command), cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        output, _ = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        child.terminate()
        return {"error": f"no result within {timeout:.0f} s"}
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    result: Result = json.loads(lines[-1].removeprefix("RESULT ")) if lines else {"error": output[-400:]}
    return result


def watched(run: Callable[[], Result], busy_seconds: Callable[[], float]) -> Result:
    """A run's result; ``others_cores``, how busy everything else kept the machine, is over the whole run, its start
    included, where the script does not say it of the time that it measured."""
    load = os.getloadavg()[0]
    busy, cpu, started = busy_seconds(), _children_cpu(), time.perf_counter()
    result = run()
    wall = time.perf_counter() - started
    others = max(0.0, busy_seconds() - busy - (_children_cpu() - cpu)) / wall
    clock = time.strftime("%H:%M:%S")
    return {"others_cores": round(others, 2), **result, "load1": round(load, 1), "took_s": round(wall, 1), "at": clock}


def _children_cpu() -> float:
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return use.ru_utime + use.ru_stime


def median(results: Iterable[Result], key: str) -> float | None:
    """Over the results that have it; None where none has."""
    values = [float(result[key]) for result in results if result.get(key) is not None]
    return statistics.median(values) if values else None


def markdown(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A Markdown table; missing cells are empty."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(_cell(row.get(column)) for column in columns) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return "" if value is None else str(value)
