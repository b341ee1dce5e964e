"""MineStudio's three entry points, for scripts written for it. A notebook is better served by ``OnlineSession``.

::

    start_rolloutmanager(policy_generator, env_generator, online_cfg)
    start_trainer(policy_generator, env_generator, online_cfg, whole_config).wait()
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minestudio_nb.config import OnlineConfig, load_config, redact_text
from minestudio_nb.errors import TrainingError
from minestudio_nb.runs import RunDirectory, reserve_name
from minestudio_nb.runtime.base import Cursor, RuntimeSpec
from minestudio_nb.runtime.names import SUPERVISOR, find_actor, the_session
from minestudio_nb.runtime.ray_runtime import RayRuntime

__all__ = ["TrainerHandle", "get_rollout_manager", "start_rolloutmanager", "start_trainer"]

Generator = Callable[..., Any]

_held: list[RayRuntime] = []
"""What this process has started. MineStudio's functions give nothing that a script would keep, and a session that is
not detached ends with the object that holds its actors."""


class TrainerHandle:
    """A training that goes on in the background."""

    def __init__(self, runtime: RayRuntime) -> None:
        self.runtime = runtime

    def wait(self, timeout: float = float("inf")) -> str:
        """Blocks until training has ended and returns why, for example ``"num_iterations"``.

        Raises TrainingError with the cause when it failed, TimeoutError after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while not self.runtime.wait(min(10.0, max(0.0, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"training goes on after {timeout:.0f} s")
        status = self.runtime.snapshot(Cursor()).status
        if status["failure"]:
            raise TrainingError(str(status["failure"]))
        return str(status["stop_reason"])

    def stop(self, timeout: float = 60.0) -> None:
        """Ends training, rollout and the session's own cluster."""
        self.runtime.stop(timeout)


def start_rolloutmanager(
    policy_generator: Generator,
    env_generator: Generator,
    online_cfg: Mapping[str, Any] | OnlineConfig,
    *,
    session: str | None = None,
    address: str | None = None,
    run_root: str | Path = "runs",
) -> RayRuntime:
    """Starts a session's rollout; returns when every environment has shown its first observation.

    ``online_cfg`` is a configuration with MineStudio's keys. Raises ConfigError, ResourceError or EnvError with the
    cause, and leaves nothing running then.
    """
    settings = online_cfg.to_dict() if isinstance(online_cfg, OnlineConfig) else dict(online_cfg)
    loaded = load_config(
        {"online_dict": settings, "env_generator": env_generator, "policy_generator": policy_generator}
    )
    root = Path(run_root).resolve()
    spec = RuntimeSpec(
        session=session or reserve_name(root, loaded.name),
        config=loaded,
        run_root=str(root),
        address=address,
        detached=bool(loaded.config.detach_rollout_manager),
    )
    runtime = RayRuntime(spec)
    runtime.start_rollout(loaded.config.start_seconds)
    _held.append(runtime)
    return runtime


def start_trainer(
    policy_generator: Generator,
    env_generator: Generator,
    online_cfg: Mapping[str, Any] | OnlineConfig,
    whole_config: str = "",
    *,
    session: str | None = None,
) -> TrainerHandle:
    """Starts training in the session whose rollout runs; returns at once.

    Generators and ``online_cfg`` were given to :func:`start_rolloutmanager`, which checked them; they are parameters
    here because MineStudio's scripts pass them. ``whole_config`` is kept in the run directory, secrets removed.
    """
    del policy_generator, env_generator, online_cfg
    runtime = get_rollout_manager(session)
    if whole_config:
        run = RunDirectory.open(runtime.spec.run_root, runtime.spec.session)
        run.write_text(run.whole_config.name, redact_text(whole_config))
    runtime.take_controls()  # the rollout may have been started by another script, which waits
    runtime.start_trainer()
    return TrainerHandle(runtime)


def get_rollout_manager(session: str | None = None) -> RayRuntime:
    """The running session of that name, or the only one, in the Ray cluster that this process is connected to.

    Raises SessionStateError when there is none, or when None leaves it open which is meant.
    """
    name = the_session(session)
    for runtime in _held:
        if runtime.spec.session == name and runtime.running:
            return runtime
    supervisor = find_actor(name, SUPERVISOR)
    return RayRuntime.of_running(supervisor)
