"""OnlineSession: one training run, from configuration to stop, as one object in a notebook or a script.

States and the calls that move between them::

    NEW --load_config--> CONFIGURED --start_rollout--> ROLLING --start_trainer--> TRAINING
    TRAINING <--pause/resume--> PAUSED
    TRAINING --its last iteration, or a stop rule--> FINISHED
    any state --stop--> STOPPING --> STOPPED          a failure anywhere after CONFIGURED --> FAILED
    a running one --detach--> DETACHED                attach(name) --> the state that the session is in

``stop()`` is legal in every state. A call in the wrong state raises :class:`SessionStateError`, which says the state,
since when it holds, and which call comes first.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from minestudio_nb.branching import prepare_fork, record_end, record_start, refuse_used_name, resume_path
from minestudio_nb.config import LoadedConfig, Plan, Resources, load_config, plan
from minestudio_nb.contracts.control import Edit
from minestudio_nb.contracts.view import SessionView
from minestudio_nb.displays import DisplayedSession, in_notebook
from minestudio_nb.environments.build import prepare_simulator
from minestudio_nb.errors import ConfigError, RunError, SessionStateError, TrainingError
from minestudio_nb.history import History
from minestudio_nb.results import Goal, SessionStatus, SessionTable, StopReport
from minestudio_nb.runs import RunDirectory, reserve_name
from minestudio_nb.runtime import attach_runtime, found_sessions, make_runtime, nodes_at
from minestudio_nb.runtime.base import EvaluationResult, RuntimeSpec
from minestudio_nb.states import RUNNING, SILENT, State

__all__ = ["OnlineSession"]

POLL_SECONDS = 0.5
"""How often ``until`` and ``wait`` look at the runtime."""
LABEL_POLL_SECONDS = 0.1
"""How often a fork looks for a checkpoint that was asked for and is not written yet."""


WAITABLE: tuple[State, ...] = ("TRAINING", "PAUSED", "FINISHED")
"""The states in which training may be waited for."""


class OnlineSession(DisplayedSession):
    """One training run.

    Args:
        name: letters, digits, ``._-``; also names the run directory. Default: the configuration's name and the time.
        address: of a Ray cluster (``"auto"``, ``"host:port"``, ``"ray://host:port"``); None starts one of its own.
        runtime: ``"ray"``, or ``"inline"`` for everything in this process, which a debugger can follow.
        run_root: directory that holds the run directories.
        detached: whether training goes on when this process dies; None takes ``detach_rollout_manager`` of the
            configuration, whose own default is true in a notebook and false elsewhere.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        address: str | None = None,
        runtime: Literal["ray", "inline"] = "ray",
        run_root: str | Path = "runs",
        detached: bool | None = None,
    ) -> None:
        if runtime not in ("ray", "inline"):
            raise ConfigError(f"runtime must be 'ray' or 'inline', got {runtime!r}")
        if runtime == "inline" and address is not None:
            raise ConfigError(f"runtime='inline' uses no Ray cluster, got address={address!r}; leave one of them out")
        super().__init__(name, runtime, run_root)
        self._address = address
        self._detached = detached
        self._stop_report: StopReport | None = None
        self._labels_asked: set[str] = set()

    # From NEW to TRAINING.

    def load_config(
        self,
        source: str | Path | Mapping[str, Any],
        overrides: Iterable[str] = (),
        *,
        simulator: str | None = None,
        policy: str | None = None,
        resume: str | Path | None = None,
    ) -> Plan:
        """Loads and checks a configuration and shows what it would run where; with an address, on which nodes.

        Args:
            source: a shipped or local configuration's name, a path to YAML or to a Python module, or a mapping.
            overrides: texts in Hydra's grammar, for example ``"train_config.learning_rate=3e-4"``.
            simulator: replaces ``env_config.simulator``.
            policy: replaces the policy by one of this package, for example ``"cnn"``.
            resume: a checkpoint directory, or the name of a run of the same root whose newest checkpoint is taken.

        Raises:
            ConfigError: with every problem that was found.
        """
        self._require("load_config", "NEW", "CONFIGURED", "STOPPED", "DETACHED", "FAILED")
        edits = list(overrides)
        if resume is not None:
            edits.append(f"train_config.resume='{resume_path(self.run_root, resume)}'")
        resources = Resources.detect() if self._address is None else None  # a cluster is asked when it is there
        loaded = load_config(source, edits, simulator=simulator, policy=policy, resources=resources)
        with self._lock:
            if self.state in ("STOPPED", "DETACHED", "FAILED"):
                self._forget_run()
            self._loaded = loaded
            self._states.set("CONFIGURED")
        if self._address is None:
            return plan(loaded.config, resources, env=loaded.env, policy=loaded.policy)
        nodes = nodes_at(self._address)
        return plan(loaded.config, resources, env=loaded.env, policy=loaded.policy, elsewhere=True, nodes=nodes)

    def start_rollout(self, timeout: float | None = None) -> SessionStatus:
        """Starts workers and environments; returns when every environment has shown its first frame.

        Args:
            timeout: seconds; None takes twice ``timeouts.start``, two minutes for the cluster itself, and half a minute
                for each engine of the real game. Compiling the simulator, which takes a minute once per machine, comes
                before and does not count.

        Raises:
            ResourceError: the machine or cluster lacks what was asked for.
            EnvStartError: an environment could not be started; nothing is left running.
        """
        self._require("start_rollout", "CONFIGURED")
        loaded = self.config
        if self.name is None:
            self.name = reserve_name(self.run_root, loaded.name)
        refuse_used_name(self._run(), loaded)
        seconds = loaded.config.start_seconds if timeout is None else timeout
        spec = RuntimeSpec(
            session=self.name,
            config=loaded,
            run_root=str(self.run_root),
            address=self._address,
            detached=self._is_detached(loaded),
        )
        runtime = make_runtime(self._runtime_name, spec)
        self._runtime = runtime
        began = time.time()
        try:
            prepare_simulator(loaded.env)
            runtime.start_rollout(seconds)
        except SessionStateError:  # nothing was begun, and it can be later
            runtime.stop(30.0)
            self._runtime = None
            raise
        except BaseException as error:
            self._states.fail(self.config.secrets().hide(f"{type(error).__name__}: {error}"))
            runtime.stop(30.0)
            if isinstance(error, RunError):  # which says that the run is somebody else's
                self._runtime = None
            else:
                self._record_start(spec, began)
                record_end(self._run(), "FAILED", self.failure)
            raise
        self._record_start(spec, began)
        self._states.set("ROLLING")
        return self.status()

    def start_trainer(self) -> SessionStatus:
        """Starts training in the background and returns at once."""
        self._require("start_trainer", "ROLLING")
        with self._lock:  # a look that began before must not take the state back
            self._live().start_trainer()
            self._states.set("TRAINING")
        return self.status()

    # While it runs.

    def set(self, key: str, value: Any) -> Edit:
        """Changes a live field from the next iteration on; ``edits()`` tells when it was applied.

        Raises:
            ConfigError: the key is unknown or not live, or the value is of the wrong type or out of range.
        """
        self._require("set", "ROLLING", "TRAINING", "PAUSED")
        checked = self.config.config.with_value(key, value)
        self._require_live(key)
        edit = self._live().edit(key, checked.get(key))
        self._refresh()
        return edit

    def pause(self) -> None:
        """Stops rollout and training at the next border; environments' deadlines are suspended."""
        self._require("pause", "TRAINING", "PAUSED")
        self._live().pause()

    def resume(self) -> None:
        """Goes on after :meth:`pause`."""
        self._require("resume", "TRAINING", "PAUSED")
        self._live().resume()

    def checkpoint(self, label: str = "manual") -> None:
        """Asks for a checkpoint at the next border; it appears in ``events()`` when it is on disk."""
        self._require("checkpoint", "TRAINING", "PAUSED")
        self._labels_asked.add(label)
        self._live().request("checkpoint", label=label)

    def record(self, episodes: int = 4) -> None:
        """Asks for the next ``episodes`` training episodes to be recorded under ``episodes/`` of the run."""
        self._require("record", "ROLLING", "TRAINING", "PAUSED")
        self._live().request("record", episodes=episodes)

    def evaluate(
        self,
        episodes: int = 20,
        *,
        deterministic: bool = True,
        seed: int = 1_000_000,
        random_policy: bool = False,
        record: int = 0,
        label: str | None = None,
    ) -> EvaluationResult:
        """Plays ``episodes`` episodes in held-out worlds with the newest weights, beside training.

        Args:
            deterministic: take the most likely action instead of sampling.
            seed: of the first episode; the following ones count up.
            random_policy: act uniformly at random instead, for a baseline.
            record: how many of the first episodes to keep for :meth:`report`.
            label: keeps the result in ``evaluations[label]``.
        """
        self._require("evaluate", "ROLLING", "TRAINING", "PAUSED", "FINISHED")
        result = self._live().evaluate(episodes, deterministic, seed, random_policy, record)
        if label is not None:
            self.evaluations[label] = result
        return result

    # Branching.

    def fork(
        self,
        checkpoint: str | int | Path | None = None,
        overrides: Iterable[str] = (),
        name: str | None = None,
        *,
        runtime: Literal["ray", "inline"] | None = None,
        address: str | None = None,
    ) -> Self:
        """A new session, CONFIGURED, that begins with a checkpoint of this one and other settings.

        Legal in every state, once there is a checkpoint; this session goes on undisturbed. The fork takes over
        weights, optimizer and counters, so its first iteration is the checkpoint's next one; live edits that were in
        force there are plain values in its configuration. It keeps the checkpoint in its own run directory.

        Args:
            checkpoint: None for the newest on disk, the label given to :meth:`checkpoint` (which is waited for where it
                is not on disk yet), an iteration, or a folder.
            overrides: texts in Hydra's grammar, checked as by :meth:`load_config`.
            name: of the new run; default: this one's with ``-fork-1``, ``-fork-2``, ...
            runtime: where the fork runs; None: where this session does.
            address: of the fork's Ray cluster; None: this session's, or one of its own.

        Raises:
            CheckpointError: there is no such checkpoint.
            ConfigError: with everything that is wrong with the overrides, or that a checkpoint does not allow.
            RunError: the name is taken.
        """
        kind: Any = self._runtime_name if runtime is None else runtime
        where = self._address if address is None and kind == "ray" else address
        branch = type(self)(address=where, runtime=kind, run_root=self.run_root, detached=self._detached)
        self._try_refresh()
        resources = Resources.detect() if where is None else None
        run, branch._loaded = prepare_fork(self, checkpoint, list(overrides), name, resources, self._is_coming)
        branch.name = run.name
        branch._states.set("CONFIGURED")
        return branch

    def _is_coming(self, label: str) -> bool:
        """Waits a moment; whether a checkpoint that was asked for under ``label`` may still come."""
        self._refresh()
        if label not in self._labels_asked or self.state not in ("TRAINING", "PAUSED"):
            return False
        self._live().wait(LABEL_POLL_SECONDS)
        return True

    # Waiting.

    async def until(
        self,
        *,
        iterations: int | None = None,
        env_steps: int | None = None,
        target_return: float | None = None,
        timeout: float | None = None,
    ) -> SessionStatus:
        """Waits, with the kernel free, until one of the goals is reached or training has ended.

        ``target_return`` is compared with the mean return over the latest episodes. Without a goal it waits for the
        end. A session that somebody stops meanwhile has ended, too.

        Raises:
            TimeoutError: after ``timeout`` seconds.
            TrainingError: training failed; the message holds the cause.
        """
        self._require("until", *WAITABLE)
        goal = Goal(iterations, env_steps, target_return, timeout)
        while not await asyncio.to_thread(self._reached, goal):  # a slow answer must not hold up the kernel
            await asyncio.sleep(POLL_SECONDS)
        return self._cached_status()

    def wait(
        self,
        *,
        iterations: int | None = None,
        env_steps: int | None = None,
        target_return: float | None = None,
        timeout: float | None = None,
    ) -> SessionStatus:
        """Like :meth:`until`, for scripts: blocks the calling thread."""
        self._require("wait", *WAITABLE)
        goal = Goal(iterations, env_steps, target_return, timeout)
        while not self._reached(goal):
            with contextlib.suppress(SessionStateError):  # stopped this moment; the next look says so
                self._live().wait(POLL_SECONDS)
        return self._cached_status()

    # The end.

    def stop(self, timeout: float = 60.0, *, poster: bool = True) -> StopReport:
        """Ends training and rollout, saves a checkpoint, ends every process of the session. Legal in every state.

        In a notebook it leaves a picture of the session below the cell, see :meth:`poster`, unless ``poster`` is false.

        Raises:
            SessionStateError: another process holds the controls.
        """
        if self._stop_report is not None and self.state in ("STOPPED", "FAILED"):
            self._show_end(poster)
            return self._stop_report
        failed = self.state == "FAILED"
        began = time.time()
        if self._runtime is not None:
            self._try_refresh()
            if in_notebook():
                self._keep_last_frames()
            before, since = self.state, self._states.since
            self._states.set("STOPPING")
            try:
                self._runtime.stop(timeout)
            except SessionStateError:
                self._states.set(before, since)
                raise
            except Exception as error:
                self._states.fail(f"it could not be stopped: {error}")
                raise
            self._history.reload(self.run_directory)
        self._stop_report = StopReport.collect(self._cached_status(), self._safe_directory(), time.time() - began)
        self._states.set("FAILED" if failed else "STOPPED")
        if self._runtime is not None:
            record_end(self._run(), self.state, self.failure)
        self._show_end(poster)
        return self._stop_report

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.held_by and self.state not in SILENT:
            self.detach()
        else:
            self.stop()

    # Several processes, and finding sessions again.

    def take_controls(self) -> None:
        """Makes this process the one that gives orders: all others watch from then on, until they take the controls.

        Whoever starts a session holds them, and keeps them until its process is gone, or, on another machine, has
        been silent for a minute. ``attach`` takes them only where nobody holds them.
        """
        self._require("take_controls", *RUNNING, "FINISHED")
        self._live().take_controls()
        self._refresh()

    def detach(self) -> None:
        """Leaves the session running and lets this process go, for example to attach to another session.

        Raises:
            SessionStateError: the session would end with this process, or nothing runs.
        """
        self._require("detach", *RUNNING, "FINISHED")
        with self._lock:
            self._live().detach()
            self._states.set("DETACHED")

    @classmethod
    def attach(cls, name: str, *, run_root: str | Path = "runs", address: str | None = None) -> Self:
        """A session that was started by another process and still runs: its state, whole history, settings, edits.

        Everything works as where it was started. Where another living process holds the controls, this one watches
        until :meth:`take_controls`; :attr:`held_by` tells.

        Args:
            name: of the session.
            run_root: directory that holds its run directory.
            address: of the Ray cluster where it runs; None takes what its run directory tells.

        Raises:
            RunError: no such run, nothing of it is alive, or it runs inline; says how to go on from its checkpoint.
            SessionStateError: this process is connected to another cluster, or the session is still starting.
        """
        session = cls(name, address=address, run_root=run_root)
        runtime = attach_runtime(name, session.run_root, address)
        session._runtime, session._loaded = runtime, runtime.spec.config
        session._states.set("ROLLING")
        session._refresh()
        return session

    @staticmethod
    def list(run_root: str | Path = "runs") -> SessionTable:
        """The sessions of ``run_root`` that run, and those that were cut off: a table, and a sequence.

        Reads what the sessions wrote down and asks none of them, so it takes milliseconds whatever they do.
        """
        root = Path(run_root).resolve()
        return SessionTable(found_sessions(root), root)

    # Inside.

    def _view(self) -> SessionView:
        from minestudio_nb.live import LiveView

        return LiveView(self)

    def _is_detached(self, loaded: LoadedConfig) -> bool:
        if self._runtime_name == "inline":
            return False
        wishes = (self._detached, loaded.config.detach_rollout_manager)
        return next((wish for wish in wishes if wish is not None), in_notebook())

    def _run(self) -> RunDirectory:
        return RunDirectory(self.run_root, self.run_directory.name)

    def _record_start(self, spec: RuntimeSpec, began: float) -> None:
        record_start(self._run(), spec.config, self._runtime_name, spec.detached, began)

    def _reached(self, goal: Goal) -> bool:
        self._refresh()
        if self.state == "FAILED":
            raise TrainingError(f"training failed: {self.failure}")
        if self.state not in WAITABLE:
            return True
        returns = self._history.return_window if self._history.window_is_full else math.nan
        done = self.state == "FINISHED" or goal.reached(self._history.status, returns)
        if not done and goal.expired():
            raise TimeoutError(f"{goal} not reached within {goal.timeout:.0f} s: {self._cached_status()}")
        return done

    def _forget_run(self) -> None:
        """Makes room for the next run of this object; the old run's files stay."""
        if self.state != "DETACHED":
            self.stop()  # what failed, or was stopped by another process, may have left something open here
        self.name = None
        self._runtime, self._stop_report = None, None
        self._labels_asked = set()
        self._states.failure = ""
        self._history = History()
        self._last_tiles = {}
        self.evaluations = {}
