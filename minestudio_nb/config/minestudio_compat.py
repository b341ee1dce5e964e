"""Run a MineStudio configuration module unmodified, without MineStudio installed.

A module's text is executed with its own ``__import__``. Functions look builtins up in the globals they were defined in,
so the replacement reaches the imports inside ``env_generator`` and ``policy_generator`` too, whenever they are called,
and reaches nothing else: ``sys.modules`` and the interpreter's own ``__import__`` stay as they are.

- ``minestudio.*`` resolves to this package's equivalents (:data:`TARGETS`).
- Names of MineStudio without an equivalent, and other packages that such a module imports and that are not installed,
  become placeholders: they can be imported and subclassed, and say what is missing when called.

Standard library only, because an environment's process uses it in whatever interpreter it runs.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import itertools
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minestudio_nb.contracts.fields import nearest_hint
from minestudio_nb.errors import ConfigError

__all__ = [
    "CALLBACK_NAMES",
    "NOT_FOR_SPECS",
    "OWN_CALLBACK_NAMES",
    "REAL_GAME_CALLBACKS",
    "TARGETS",
    "VOXEL_ARGUMENTS",
    "execute_module",
    "imports_minestudio",
    "placeholder",
    "registered",
]

ROOT = "minestudio"
CALLBACKS = "minestudio.simulator.callbacks"

CALLBACK_NAMES = (
    "MinecraftCallback",
    "HardResetCallback",
    "SpeedTestCallback",
    "RecordCallback",
    "SummonMobsCallback",
    "MaskActionsCallback",
    "RewardsCallback",
    "FastResetCallback",
    "CommandsCallback",
    "TaskCallback",
    "PlayCallback",
    "PointCallback",
    "PlaySegmentCallback",
    "DemonstrationCallback",
    "JudgeResetCallback",
    "GateRewardsCallback",
    "VoxelsCallback",
    "InitInventoryCallback",
    "PrevActionCallback",
    "Compose",
    "load_callbacks_from_config",
)
"""What ``minestudio.simulator.callbacks`` of MineStudio 1.1.6 exports; another name there is a misspelling."""
NOT_FOR_SPECS = ("MinecraftCallback", "load_callbacks_from_config")
"""Those of them that no list of callbacks in a configuration can name."""
OWN_CALLBACK_NAMES = ("PortalFrameCallback",)
"""What VoxelSim has beside them; no module of MineStudio's can import these."""

VOXEL_ARGUMENTS = ("world_seed", "world_size", "pool_size", "fall_damage", "animal_speed", "unknown_commands")
"""Entries of ``env_config.kwargs`` that VoxelSim takes and the real game has no use for."""

REAL_GAME_CALLBACKS = ("DemonstrationCallback", "PlayCallback", "PlaySegmentCallback", "PointCallback")
"""Those that VoxelSim has not: they can be imported and subclassed there, and are refused when made."""

TARGETS: Mapping[str, tuple[str, str]] = {
    "minestudio.simulator.MinecraftSim": ("minestudio_nb.simulator", "VoxelSim"),
    "minestudio.simulator.CameraConfig": ("minestudio_nb.simulator", "CameraConfig"),
    "minestudio.simulator.entry.MinecraftSim": ("minestudio_nb.simulator", "VoxelSim"),
    "minestudio.simulator.entry.CameraConfig": ("minestudio_nb.simulator", "CameraConfig"),
    **{f"{CALLBACKS}.{name}": ("minestudio_nb.simulator.callbacks", name) for name in CALLBACK_NAMES},
    "minestudio.benchmark.convert_yaml_to_callbacks": ("minestudio_nb.simulator.callbacks", "read_task_file"),
    "minestudio.benchmark.utility.read_conf.convert_yaml_to_callbacks": (
        "minestudio_nb.simulator.callbacks",
        "read_task_file",
    ),
    "minestudio.benchmark.utility.task_call.TaskCallback": ("minestudio_nb.simulator.callbacks", "TaskCallback"),
    "minestudio.models.MinePolicy": ("minestudio_nb.policies", "MinePolicy"),
    "minestudio.models.base_policy.MinePolicy": ("minestudio_nb.policies", "MinePolicy"),
    "minestudio.models.VPTPolicy": ("minestudio_nb.policies.vpt", "MineStudioVPT"),
    "minestudio.models.vpt.VPTPolicy": ("minestudio_nb.policies.vpt", "MineStudioVPT"),
}
"""By MineStudio's dotted name: (module, name) of the equivalent, imported when the module asks for it."""

DEFERRED_TARGETS: Mapping[str, tuple[str, str]] = {
    "minestudio.utils.get_compute_device": ("minestudio_nb.policies", "get_compute_device"),
    "minestudio.models.load_vpt_policy": ("minestudio_nb.policies", "load_vpt_policy"),
    "minestudio.models.vpt.load_vpt_policy": ("minestudio_nb.policies", "load_vpt_policy"),
    "minestudio.online.rollout.start_manager.start_rolloutmanager": (
        "minestudio_nb.runtime.api",
        "start_rolloutmanager",
    ),
    "minestudio.online.trainer.start_trainer.start_trainer": ("minestudio_nb.runtime.api", "start_trainer"),
    "minestudio.online.utils.rollout.get_rollout_manager": ("minestudio_nb.runtime.api", "get_rollout_manager"),
    "minestudio.online.rollout.rollout_manager.RolloutManager": (
        "minestudio_nb.runtime.rollout_manager",
        "RolloutManager",
    ),
}
"""Functions (and classes that are never subclassed) whose equivalents load torch or Ray: imported when called."""

REPAIRED: Mapping[str, tuple[str, str]] = {
    "minestudio.simulator.MinecraftSim": ("minestudio_nb.environments.minecraft.sim", "MinecraftSim"),
    "minestudio.simulator.entry.MinecraftSim": ("minestudio_nb.environments.minecraft.sim", "MinecraftSim"),
}
"""What stands for MineStudio's own classes with ``simulator=minecraft``: their subclasses without the defects."""

_serial = itertools.count()


class _PlaceholderType(type):
    """Type of placeholder classes: attributes of a placeholder are placeholders too."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return placeholder(f"{cls._missing}.{name}", cls._reason)

    _missing: str = ""
    _reason: str = ""


def placeholder(name: str, reason: str) -> Any:
    """A class that stands for the missing ``name``: it can be subclassed, and calling it raises ConfigError."""

    def refuse(cls: Any, *args: object, **kwargs: object) -> Any:
        raise ConfigError(f"{name} was called, but {reason}")

    return _PlaceholderType(name.rpartition(".")[2], (), {"__new__": refuse, "_missing": name, "_reason": reason})


class _Registry:
    """MineStudio's class registry as far as a module needs it: registering returns the class unchanged."""

    def register(self, cls: Any = None, **_: object) -> Any:
        return cls if cls is not None else lambda decorated: decorated

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Registry()


def _deferred(name: str, module: str, attribute: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return _resolve(name, module, attribute)(*args, **kwargs)

    call.__name__ = call.__qualname__ = attribute
    return call


def _resolve(name: str, module: str, attribute: str) -> Any:
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if not module.startswith(error.name or "?"):  # an interpreter for environments only lacks what policies need
            return placeholder(name, f"this interpreter has no {error.name}: {sys.executable}.")
        raise


class _CompatModule(types.ModuleType):
    """``minestudio`` or one of its submodules, as seen by one configuration module."""

    def __init__(self, name: str, simulator: str) -> None:
        super().__init__(name)
        self._simulator = simulator
        self.__path__: list[str] = []
        if name.startswith(CALLBACKS):
            self.__all__ = list(CALLBACK_NAMES)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = self._find(name)
        setattr(self, name, value)
        return value

    def __call__(self, *args: object, **kwargs: object) -> Any:
        raise ConfigError(f"{self.__name__} was called, but minestudio_nb has no equivalent of it.")

    def _find(self, name: str) -> Any:
        dotted = f"{self.__name__}.{name}"
        if self._simulator == "minecraft" and self.__name__.startswith("minestudio.simulator"):
            return self._real(name)
        if self.__name__.startswith(f"{CALLBACKS}."):
            dotted = f"{CALLBACKS}.{name}"  # minestudio.simulator.callbacks.rewards.RewardsCallback
        if dotted in TARGETS:
            return _resolve(dotted, *TARGETS[dotted])
        if dotted in DEFERRED_TARGETS:
            return _deferred(dotted, *DEFERRED_TARGETS[dotted])
        if name in ("Registers", "Register"):
            return _Registry()
        if name[0].islower() and not name.startswith("load_") and not name.startswith("get_"):
            return _CompatModule(dotted, self._simulator)
        if self.__name__ == CALLBACKS:
            hint = nearest_hint(name, CALLBACK_NAMES)
            raise ImportError(f"MineStudio has no callback {name!r}{hint}", name=CALLBACKS)
        return placeholder(dotted, "minestudio_nb has no equivalent of it.")

    def _real(self, name: str) -> Any:
        """The attribute of the installed MineStudio, which the real game needs."""
        dotted = f"{self.__name__}.{name}"
        try:
            if dotted in REPAIRED:
                return getattr(importlib.import_module(REPAIRED[dotted][0]), REPAIRED[dotted][1])
            module = importlib.import_module(self.__name__)
        except ImportError as error:
            reason = (
                f"simulator=minecraft needs MineStudio itself here ({error}). Name an interpreter that has it in "
                "env_config.python, which python -m minestudio_nb.doctor --install-minecraft DIR makes; or use "
                "simulator=voxel."
            )
            return placeholder(dotted, reason)
        try:
            return getattr(module, name)
        except AttributeError:
            return importlib.import_module(f"{self.__name__}.{name}")


def imports_minestudio(source: str) -> bool:
    """Whether Python ``source`` imports ``minestudio`` anywhere, function bodies included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == ROOT for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == ROOT:
            return True
    return False


def _importer(simulator: str) -> Callable[..., Any]:
    """An ``__import__`` under the map, for one module."""
    root = _CompatModule(ROOT, simulator)

    def compat_import(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        top = name.partition(".")[0]
        if level == 0 and top == ROOT:
            module: Any = root
            for part in name.split(".")[1:]:
                module = getattr(module, part)
            return module if fromlist else root
        try:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        except ModuleNotFoundError as error:
            if level or (error.name or "").partition(".")[0] != top or top in sys.modules:
                raise
            return _missing_module(top, name if fromlist else top)

    return compat_import


def _missing_module(top: str, name: str) -> types.ModuleType:
    """A module of placeholders for a package that is not installed."""
    module = types.ModuleType(name)
    reason = f"the package {top!r} is not installed. Install it, or remove the call."

    def attribute(attribute_name: str) -> Any:
        if attribute_name.startswith("__"):
            raise AttributeError(attribute_name)
        return placeholder(f"{name}.{attribute_name}", reason)

    module.__getattr__ = attribute  # type: ignore[method-assign]
    return module


@contextmanager
def registered(module: types.ModuleType) -> Iterator[None]:
    """Make ``module`` findable by name while its code runs: dataclasses look their own module up there."""
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        sys.modules.pop(module.__name__, None)


def execute_module(source: str, path: str, simulator: str = "voxel") -> types.ModuleType:
    """Execute Python ``source`` and return the module, which is left out of ``sys.modules``.

    ``path`` becomes ``__file__`` and names the file in tracebacks. The import map applies to sources that import
    ``minestudio``; any other source runs as it would in Python.

    Raises:
        ConfigError: the source is no valid Python, or raises while it runs; the cause is chained.
    """
    stem = "".join(c if c.isalnum() else "_" for c in Path(path).stem)
    module = types.ModuleType(f"_minestudio_nb_{stem}_{next(_serial)}")
    module.__file__ = path
    try:
        if imports_minestudio(source):
            module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _importer(simulator)}
        code = compile(source, path, "exec", dont_inherit=True)
        with registered(module):
            exec(code, module.__dict__)
    except ConfigError:
        raise
    except Exception as error:
        text = f"{path} cannot be executed: {type(error).__name__}: {error}"
        raise ConfigError(f"{text}. A configuration module is run as Python; correct it there.") from error
    return module
