"""Where runs begin: the record that a session keeps of its run, and forks of a session at one of its checkpoints."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minestudio_nb.config import LoadedConfig, Problem, field_specs, load_config
from minestudio_nb.config.resources import Resources
from minestudio_nb.errors import CheckpointError, ConfigError, RunError, SessionStateError
from minestudio_nb.runs import Origin, RunDirectory, RunRecord, check_run_name

if TYPE_CHECKING:
    from minestudio_nb.session import OnlineSession
    from minestudio_nb.trainer import CheckpointStore, Outline

__all__ = ["prepare_fork", "record_end", "record_start", "refuse_used_name", "resume_path"]

logger = logging.getLogger(__name__)

FORK_LABEL = "fork"
PIN_ATTEMPTS = 20
"""A session with short iterations may delete its newest checkpoint while it is being copied; the next one is there."""
LABEL_SECONDS = 120.0
"""How long a fork waits for a checkpoint that was asked for under a label and is not on disk yet."""

_WEIGHTS_NEED = (
    "policy_config.",
    "env_config.action_type",
    "env_config.obs_size",
    "train_config.use_normalized_vf",
    "trainer_name",
)
"""Settings that a checkpoint's contents depend on, by their beginning."""
_EPISODES_NEED = ("env_config.", "rollout_config.")
"""Settings with which other environments run, or otherwise: open episodes cannot be taken over then."""
_EPISODES_DO_NOT_NEED = ("rollout_config.replay_buffer_config.", "rollout_config.episode_statistics_config.")


def resume_path(run_root: Path, resume: str | Path) -> Path:
    """Where to resume from: a checkpoint's directory, or the checkpoints of a run of that name."""
    path = Path(resume)
    return path.resolve() if path.is_dir() else RunDirectory.open(run_root, str(resume)).checkpoints


def refuse_used_name(run: RunDirectory, loaded: LoadedConfig) -> None:
    """RunError where a run of that name was begun already: it may be resumed from itself, but not begun twice."""
    resume = loaded.config.train_config.resume
    if run.metrics.exists() and not (resume and Path(resume).resolve().is_relative_to(run.path)):
        raise RunError(
            f"The run {run.name!r} exists already in {run.root}. Choose another name, go on with it by "
            f"load_config(..., resume={run.name!r}), or delete {run.path}."
        )


# The record.


def record_start(run: RunDirectory, loaded: LoadedConfig, runtime: str, detached: bool, at: float) -> None:
    """Writes ``run.json`` for a run that was started at ``at``, anew or again, with the checkpoint that it began with.

    Args:
        at: Unix seconds.
    """
    try:
        known = RunRecord.read(run.path)
    except RunError:
        known = None  # damaged; this start says all of it again
    record = replace(known or RunRecord(""), task=_task(loaded))
    if loaded.name != run.name:  # else it was started from its own config.yaml
        record = replace(record, config=loaded.name)
    record = replace(record, origin=_origin(run, loaded, record.origin)).started(runtime, detached, at)
    try:
        record.write(run.path)
    except (RunError, OSError) as error:  # a run that goes on must not fail for the sake of its record
        logger.warning("the record of run %s was not written: %s", run.name, error)


def record_end(run: RunDirectory, state: str, reason: str) -> None:
    """Adds to ``run.json`` that the run has ended; does nothing where there is none."""
    try:
        record = RunRecord.read(run.path)
        if record is not None:
            record.ended(state, reason).write(run.path)
    except (RunError, OSError) as error:
        logger.warning("the end of run %s was not recorded: %s", run.name, error)


def _task(loaded: LoadedConfig) -> str:
    env = loaded.config.env_config
    return env.task if env.task != "default" else env.id or env.task


def _origin(run: RunDirectory, loaded: LoadedConfig, known: Origin | None) -> Origin | None:
    """The checkpoint of another run that this run begins with, if any; one of its own keeps what is known."""
    resume = loaded.config.train_config.resume
    if not resume:
        return None
    from minestudio_nb.trainer import CheckpointStore, find_checkpoint, outline

    try:
        folder = find_checkpoint(resume, CheckpointStore(run.checkpoints)).resolve()
        if folder.is_relative_to(run.path):
            return known
        point = outline(folder)
    except CheckpointError:
        return None  # the trainer says so, with the places where it looked
    parent = folder.parent.parent
    return Origin("resume", parent.name, str(parent), folder.name, point.iteration, point.env_steps, time=time.time())


# Forks.


def prepare_fork(
    session: OnlineSession,
    checkpoint: str | int | os.PathLike[str] | None,
    overrides: Sequence[str],
    name: str | None,
    resources: Resources | None,
    coming: Callable[[str], bool] = lambda label: False,
) -> tuple[RunDirectory, LoadedConfig]:
    """Makes the directory of a fork: the checkpoint, ``config.yaml`` and ``run.json``; and gives its configuration.

    See :meth:`minestudio_nb.session.OnlineSession.fork` for the arguments. ``coming(label)`` waits a moment and says
    whether a checkpoint of that label may still come. Nothing is left behind where it fails.

    Raises:
        CheckpointError: there is no such checkpoint.
        ConfigError: everything that is wrong with the overrides.
        RunError: the name is taken, or no name at all.
    """
    if session.name is None or session.state == "NEW":
        raise SessionStateError(
            f"A fork begins with a checkpoint, and the session is {session.state} and has none. Call load_config(), "
            "start_rollout() and start_trainer() first."
        )
    parent = RunDirectory(session.run_root, session.run_directory.name)
    run = _new_run(parent, name)
    drafts = Path(tempfile.mkdtemp(dir=run.root, prefix=f".{run.name}."))  # hidden until all of it is there
    try:
        draft = RunDirectory.create(drafts, run.name)
        pinned, source = _pin(session, parent, draft, checkpoint, coming)
        loaded = _fill(session, draft, run, pinned, source, overrides, resources)
        draft.path.rename(run.path)
    except OSError as error:
        raise RunError(f"The directory {run.path} of a fork cannot be made: {error}.") from error
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
    return run, loaded


def _fill(
    session: OnlineSession,
    draft: RunDirectory,
    run: RunDirectory,
    pinned: Path,
    source: Path,
    overrides: Sequence[str],
    resources: Resources | None,
) -> LoadedConfig:
    """Checks what the fork shall be, and writes into ``draft`` what lies in ``run`` later, beside the checkpoint."""
    from minestudio_nb.trainer import branch_off, outline

    point = outline(pinned)
    before = _with_edits(session.config, point)
    resume = f"train_config.resume='{run.checkpoints / pinned.name}'"
    after = load_config(before, [*overrides, resume], resources=resources)
    changed = _changed(before, after)
    same_env = not any(key.startswith("env_config.") for key in changed) and before.env == after.env
    problems = _refused(changed, overrides) + _ends_at_once(after, point)
    if same_env:
        problems += _target_reached(after, session, point)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{session.name} cannot be forked like this: {count}.", [str(each) for each in problems])
    same_rollout = same_env and not any(_needs_new_episodes(key) for key in changed)
    branch_off(pinned, same_rollout, same_env)
    for file, text in after.files().items():
        draft.write_text(file, text)
    directory = source.parent.parent  # of a checkpoint that was given by its folder, perhaps another run's
    origin = Origin(
        kind="fork",
        parent=directory.name,
        parent_path=str(directory),
        checkpoint=source.name,
        iteration=point.iteration,
        env_steps=point.env_steps,
        overrides=tuple(map(after.secrets().hide_override, overrides)),
        edits=dict(point.edits),
        time=time.time(),
    )
    RunRecord(after.name, _task(after), created_at=origin.time, origin=origin).write(draft.path)
    return after


def _pin(
    session: OnlineSession,
    parent: RunDirectory,
    draft: RunDirectory,
    wanted: str | int | os.PathLike[str] | None,
    coming: Callable[[str], bool],
) -> tuple[Path, Path]:
    """A copy of the wanted checkpoint, and the original, which a running session may delete at any moment."""
    from minestudio_nb.trainer import CheckpointStore, copy_checkpoint, outline

    store = CheckpointStore(parent.checkpoints)
    for attempt in range(PIN_ATTEMPTS):
        source = _find(session, store, wanted, coming)
        try:
            target = draft.checkpoints / f"iteration_{outline(source).iteration:06d}-{FORK_LABEL}"
            copy_checkpoint(source, target)
            return target, source
        except CheckpointError:
            if attempt == PIN_ATTEMPTS - 1:
                raise
    raise AssertionError("a loop with attempts returns or raises")


def _new_run(parent: RunDirectory, name: str | None) -> RunDirectory:
    if name is None:
        stem = re.sub(r"-fork-\d+$", "", parent.name)[:50]
        taken = {path.name for path in parent.root.iterdir()}
        name = next(each for number in range(1, 10_000) if (each := f"{stem}-fork-{number}") not in taken)
    run = RunDirectory(parent.root, check_run_name(name))
    if run.path.exists():
        raise RunError(f"The run {name!r} exists already in {run.root}. Choose another name for the fork.")
    return run


def _find(
    session: OnlineSession,
    store: CheckpointStore,
    wanted: str | int | os.PathLike[str] | None,
    coming: Callable[[str], bool],
) -> Path:
    """The folder of the checkpoint to fork at; waits for one that was asked for and is not written yet."""
    if wanted is None:
        newest = store.newest()
        if newest is None:
            raise CheckpointError(
                f"{session.name} has saved no checkpoint yet, so there is nothing to fork. The session is "
                f"{session.state}; the first is written with the first iteration, or ask for one: checkpoint('here')."
            )
        return newest
    if isinstance(wanted, (str, os.PathLike)) and (Path(wanted) / "state.json").is_file():
        return Path(wanted).resolve()
    if isinstance(wanted, os.PathLike):
        raise CheckpointError(f"{wanted} is no checkpoint: it holds no state.json. Give a checkpoint's folder.")
    deadline = time.monotonic() + LABEL_SECONDS
    while True:
        try:
            return store.find(wanted)
        except CheckpointError:
            if isinstance(wanted, int) or time.monotonic() > deadline or not coming(wanted):
                return store.find(wanted)  # a last look, for what was written meanwhile


def _with_edits(loaded: LoadedConfig, point: Outline) -> LoadedConfig:
    """The configuration as it was in force at the checkpoint: live edits become plain values."""
    config = loaded.config
    for key, value in point.edits.items():
        config = config.with_value(key, value)
    return replace(loaded, config=config)


def _changed(before: LoadedConfig, after: LoadedConfig) -> list[str]:
    keys = (key for key in field_specs() if key not in ("train_config.resume", "generator_module"))
    return [key for key in keys if before.config.get(key) != after.config.get(key)]


def _needs_new_episodes(key: str) -> bool:
    return key.startswith(_EPISODES_NEED) and not key.startswith(_EPISODES_DO_NOT_NEED)


def _refused(changed: Sequence[str], overrides: Sequence[str]) -> list[Problem]:
    """Changes that the checkpoint does not allow."""
    problems = [
        Problem(key, f"a fork cannot change it. {_why(key)}", "Start a new session for it.")
        for key in changed
        if key.startswith(_WEIGHTS_NEED)
    ]
    if any("train_config.resume" in re.split(r"[=+~]", line) for line in overrides):
        text = "a fork begins with the checkpoint that fork() was called with"
        problems.append(Problem("train_config.resume", text, "Leave it out, or name the checkpoint in fork()."))
    return problems


def _why(key: str) -> str:
    if key == "trainer_name":
        return "Another trainer keeps other numbers in its checkpoints."
    if key.startswith("policy_config."):
        return "The checkpoint's weights fit the policy that they were trained for."
    return "The checkpoint's weights depend on it."


def _ends_at_once(loaded: LoadedConfig, point: Outline) -> list[Problem]:
    """Stop rules that the checkpoint fulfils already: a fork counts on from where its parent was."""
    train = loaded.config.train_config
    rules: list[tuple[str, Any, Any, str]] = [
        ("num_iterations", train.num_iterations, point.iteration, "iterations"),
        ("max_env_steps", train.max_env_steps, point.env_steps, "env steps"),
        ("max_minutes", train.max_minutes, round(point.minutes, 1), "minutes of training"),
    ]
    return [
        Problem(
            f"train_config.{name}",
            f"is {limit}, and the checkpoint has {reached} {unit} behind it, which count; the fork would end at once",
            f"Give more, for example train_config.{name}={reached + limit}",
        )
        for name, limit, reached, unit in rules
        if limit is not None and reached >= limit
    ]


def _target_reached(loaded: LoadedConfig, session: OnlineSession, point: Outline) -> list[Problem]:
    """Whether the parent's latest episodes, with which the fork's statistics begin, reach the goal already."""
    target = loaded.config.train_config.target_return
    values = [each["values"].get("episode/return_window") for each in session.points[::-1]
              if each["iteration"] == point.iteration]  # fmt: skip
    if target is None or not values or values[0] is None or not values[0] >= target:
        return []
    text = f"is {target:g}, and the latest episodes before the checkpoint returned {values[0]:.2f} on average"
    fix = f"Give a higher one, or none: ~train_config.target_return. {target:g} is reached already"
    return [Problem("train_config.target_return", text, fix)]
