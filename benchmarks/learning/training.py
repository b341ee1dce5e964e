"""One run of this package: train inline, evaluate, measure."""

from __future__ import annotations

import json
import resource
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.learning.registry import ROOT, Job, Result
from benchmarks.learning.runner import weights_folder

if TYPE_CHECKING:
    from minestudio_nb.config import LoadedConfig, OnlineConfig

__all__ = ["HELD_OUT_SEED", "CpuClock", "load", "settings_of", "thinned", "train"]

HELD_OUT_SEED = 1_000_000
"""Of the first evaluation episode, in worlds that training never sees."""
CURVE_POINTS = 100
RARELY = ("recovery_interval", "train_config.save_interval", "train_config.keep_interval")
PLAIN = ("rollout_config.worker_config.execution=in_worker", *(f"{key}=1000000" for key in RARELY))
"""Equal seeds give equal numbers where environments are stepped inside the worker. Checkpoints cost time that learning
does not need; the last one is written in any case."""
NOT_SETTINGS = ("train_config.seed", "rollout_config.worker_config.seed", "logger_config.name", "env_config.task")
LONGEST_S = 6 * 3600.0


class CpuClock:
    """CPU seconds, user and system, of this process and its ended children since it was made, without pauses."""

    def __init__(self) -> None:
        self._began = self._total()

    @staticmethod
    def _total() -> float:
        uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(use.ru_utime + use.ru_stime for use in uses)

    def seconds(self) -> float:
        """So far."""
        return self._total() - self._began

    def __enter__(self) -> None:
        """A pause: what happens inside does not count."""
        self._paused = self._total()

    def __exit__(self, *_: object) -> None:
        self._began += self._total() - self._paused


def load(job: Job) -> LoadedConfig:
    """The configuration of a run, as it is trained."""
    from minestudio_nb import load_config

    return load_config(ROOT / job.experiment.config, job.overrides)


def settings_of(config: OnlineConfig) -> dict[str, Any]:
    """Every setting that is not at its default, by its dotted key, without seeds and names."""
    from minestudio_nb.config import field_specs
    from minestudio_nb.config.fields import to_plain

    found = {}
    for key, spec in field_specs().items():
        value, default = to_plain(config.get(key)), to_plain(spec.default)
        if key not in NOT_SETTINGS and value != default:
            found[key] = value
    return found


def thinned(steps: Sequence[int], returns: Sequence[float]) -> list[list[float]]:
    """A curve of about ``CURVE_POINTS`` points, the last one included."""
    every = max(1, -(-len(steps) // CURVE_POINTS))
    kept = sorted({*range(0, len(steps), every), len(steps) - 1} - {-1})
    return [[steps[index] for index in kept], [round(returns[index], 3) for index in kept]]


def train(job: Job, folder: Path, policy_generator: Callable[..., Any] | None = None) -> Result:
    """One run, as a line of the results; ``folder`` is empty and is thrown away afterwards.

    ``policy_generator`` builds the policy in the configuration's place, for example from weights.
    """
    from minestudio_nb import OnlineSession
    from minestudio_nb.environments.build import prepare_simulator

    experiment = job.experiment
    prepare_simulator(load(job).env)
    settings = settings_of(load(job).config)
    clock = CpuClock()
    with OnlineSession("run", runtime="inline", run_root=folder) as session:
        source: dict[str, Any] = {"base": str(ROOT / experiment.config)}
        if policy_generator is not None:
            source["policy_generator"] = policy_generator
        session.load_config(source, [*job.overrides, *PLAIN])
        session.start_rollout()
        session.start_trainer()
        status = session.wait(timeout=LONGEST_S)
        with clock:
            evaluations = {
                "greedy": session.evaluate(experiment.episodes, seed=HELD_OUT_SEED),
                "sampled": session.evaluate(experiment.episodes, seed=HELD_OUT_SEED, deterministic=False),
            }
            if job.seed == experiment.seeds[0]:
                chance = session.evaluate(experiment.episodes, seed=HELD_OUT_SEED, random_policy=True)
                evaluations["random"] = chance
            extras = {} if experiment.extras is None else dict(experiment.extras(session))
    seconds = clock.seconds()
    if experiment.keep_weights:
        _keep_newest_checkpoint(folder / "run" / "checkpoints", weights_folder(job))
    return {
        "env_steps": status.env_steps,
        "cpu_seconds": round(seconds, 1),
        **{name: [round(value, 3) for value in played.returns] for name, played in evaluations.items()},
        **extras,
        "settings": settings,
        "curve": thinned(*_training_curve(folder / "run" / "metrics.jsonl")),
    }


def _training_curve(metrics: Path) -> tuple[list[int], list[float]]:
    """Steps and the mean return of the latest episodes, where there were any."""
    points = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    known = [point for point in points if "episode/return_window" in point["values"]]
    return [point["env_steps"] for point in known], [point["values"]["episode/return_window"] for point in known]


def _keep_newest_checkpoint(checkpoints: Path, target: Path) -> None:
    newest = max((path for path in checkpoints.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime_ns)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=target.parent))
    shutil.copytree(newest, fresh, dirs_exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    fresh.rename(target)  # whole or not at all
