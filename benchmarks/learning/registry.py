"""What an experiment is, and all of them. Light: nothing here imports torch or an environment's package.

To add experiments, write a module beside this one with a tuple ``EXPERIMENTS``, and name it in :data:`FAMILIES`.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from minestudio_nb import OnlineSession

__all__ = ["OURS", "ROOT", "Arm", "Experiment", "Job", "Published", "Result", "experiments", "find", "train_ours"]

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ("classic", "grids", "voxel", "forgetting", "crafter_world")
"""Modules of this package that have ``EXPERIMENTS``, in the order of the page."""

Result = dict[str, Any]
"""One run, a line of the raw results:

``experiment, arm, seed``
    which run it is;
``env_steps, cpu_seconds``
    what training took: decisions of the policy; user and system time of all its processes, without evaluations;
``curve``
    ``[steps, returns]``: mean return of the latest 50 training episodes over steps, about 100 points;
``greedy, sampled, random``
    returns of held-out episodes: most probable actions, drawn actions, and (one run of each experiment) random ones;
``settings``
    every setting that is not at its default, without seeds;
``versions, day``
    of the packages, and when it ended (UTC).

Whatever ``Experiment.extras`` gives is beside them.
"""


@dataclass(frozen=True)
class Published:
    """A number that others have published, and where: ``value`` as printed there, ``what`` it was measured with."""

    value: str
    what: str
    link: str


def train_ours(job: Job, folder: Path) -> Result:
    """Trains with this package, inline; see :func:`benchmarks.learning.training.train`."""
    from benchmarks.learning.training import train

    return train(job, folder)


@dataclass(frozen=True)
class Arm:
    """One of the things that an experiment compares.

    ``overrides`` are laid over the experiment's configuration. ``train(job, folder)`` makes a run in the empty
    ``folder`` and returns its line, without the members that every line gets (experiment, arm, seed, versions, day).
    """

    name: str
    title: str
    overrides: tuple[str, ...] = ()
    train: Callable[[Job, Path], Result] = train_ours


OURS = Arm("ours", "minestudio_nb")


@dataclass(frozen=True)
class Experiment:
    """An environment, a configuration, and what is compared. Texts are Markdown."""

    name: str
    """Of the file of results and of the picture."""
    title: str
    config: str
    """Path of the YAML file, from the repository's root. It says the number of steps, too."""
    about: str
    """What the environment asks for, and what the arms are."""
    arms: tuple[Arm, ...] = (OURS,)
    seeds: tuple[int, ...] = (0, 1, 2)
    cpu_seconds: float = 60.0
    """Of one run, as a guess until the first is done."""
    finding: str = ""
    """What came out; where we fall short, why."""
    published: tuple[Published, ...] = ()
    overrides: tuple[str, ...] = ()
    measure: str = "return"
    """What a curve shows, in words."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Columns of its own in the table: titles by member of the line, a number; ``random_<member>`` is chance's."""
    details: Callable[[Sequence[Result]], str] | None = None
    """Markdown made from the lines, below the table."""
    solved: float | None = None
    """A return at which the task counts as solved, drawn as a line."""
    episodes: int = 20
    """Held-out episodes of each evaluation."""
    key_settings: tuple[str, ...] = ()
    """Settings to show on the page beyond those that every experiment shows."""
    keep_weights: bool = False
    """Keep the last checkpoint, for other experiments: see :func:`benchmarks.learning.runner.weights_folder`."""
    extras: Callable[[OnlineSession], Mapping[str, Any]] | None = None
    """Further members of the line, asked for when training is over and the session still lives."""

    @property
    def picture(self) -> Path:
        """Its curves."""
        return ROOT / "docs" / "images" / f"learning_{self.name}.png"

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    def jobs(self) -> list[Job]:
        """All runs, seed by seed."""
        return [Job(self, arm, seed) for seed in self.seeds for arm in self.arms]


class Job(NamedTuple):
    """One run."""

    experiment: Experiment
    arm: Arm
    seed: int

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from every other."""
        return self.experiment.name, self.arm.name, self.seed

    @property
    def overrides(self) -> list[str]:
        """What is laid over the configuration, seeds included."""
        seeds = [f"train_config.seed={self.seed}", f"rollout_config.worker_config.seed={self.seed}"]
        return [*self.experiment.overrides, *self.arm.overrides, *seeds]


@functools.cache
def experiments() -> tuple[Experiment, ...]:
    """All experiments, in the order of the page."""
    modules = [importlib.import_module(f"benchmarks.learning.{family}") for family in FAMILIES]
    return tuple(experiment for module in modules for experiment in module.EXPERIMENTS)


def find(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        KeyError: there is none.
    """
    return {experiment.name: experiment for experiment in experiments()}[name]
