"""How MineStudio starts an engine, changed where that is needed; importable only where MineStudio is."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any, Final

from minestudio.simulator.minerl.env import _multiagent, database_manager, malmo
from minestudio.utils import get_mine_studio_dir

from minestudio_nb.environments.engines import EngineGuard
from minestudio_nb.errors import EnvStartError

__all__ = ["need_engine", "take_over"]

ENGINE: Final = Path("engine", "build", "libs", "mcprec-6.13.jar")


def need_engine() -> None:
    """Refuses to go on without the engine's files, for which MinecraftSim would ask on the standard input.

    Raises:
        EnvStartError: there are none.
    """
    folder = Path(get_mine_studio_dir())
    if not (folder / ENGINE).is_file():
        raise EnvStartError(
            f"The game engine is missing: there is no {folder / ENGINE}. Set MINESTUDIO_DIR to the folder that has it, "
            f"or let MineStudio fetch it: {sys.executable} -c 'from minestudio.simulator.entry import download_engine; "
            "download_engine()'."
        )


@functools.cache
def take_over() -> None:
    """Puts engines of this process under this package's care.

    - Each engine gets a guard (:class:`EngineGuard`) the moment it runs. MineStudio's own daemon, which looks every ten
      seconds and leaves engines of killed environments alive for that long or for ever, is not started.
    - MineStudio lets few environments reset at once by a counter in a database, which a killed one holds for five
      minutes. This package's turns do the same with locks that the kernel frees.
    - What an engine prints goes beside the environment's own log instead of into the current folder.
    """
    launch = malmo.MinecraftInstance._launch_minecraft
    destruct = malmo.MinecraftInstance._destruct

    def guarded_launch(self: Any, *args: Any, **kwargs: Any) -> Any:
        process = launch(self, *args, **kwargs)
        self.guard = EngineGuard(process.pid, self.working_dir)
        return process

    def guarded_destruct(self: Any, *args: Any, **kwargs: Any) -> None:
        guard, self.guard = getattr(self, "guard", None), None
        if guard is None:  # never launched, or destroyed before: MineStudio would wait three seconds each time
            return
        try:
            destruct(self, *args, **kwargs)
        finally:
            guard.end()
            self.minecraft_process.wait()

    malmo.MinecraftInstance._launch_minecraft = guarded_launch
    malmo.MinecraftInstance._destruct = guarded_destruct
    database_manager.check_daemon = lambda: None
    _multiagent.MAX_RESETTING_ENV_COUNT = -1
    os.environ.setdefault("MALMO_MINECRAFT_OUTPUT_LOGDIR", _log_folder())


def _log_folder() -> str:
    """The folder of the file that standard output is, so that both logs of an environment lie together."""
    target = Path(os.path.realpath("/proc/self/fd/1"))
    return str(target.parent) if target.is_file() else os.environ.get("TMPDIR", "/tmp")
