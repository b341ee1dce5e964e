"""The user's own modules on machines that do not have their files.

Functions and classes of a notebook travel inside the configuration. What they import from files beside the notebook
does not: so the source of every such module that is imported when a session starts goes along, is written to a
directory of its own there, and that directory joins the import path, of environments' processes, too.
"""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from minestudio_nb.errors import ConfigError

__all__ = ["LARGEST", "own_modules", "unfold"]

LARGEST = 32 * 2**20
"""Bytes of all sources together; they go to every process of the session."""


def own_modules() -> dict[str, bytes]:
    """Sources of the imported modules that belong to no installed package, by their path below an import directory.

    Raises ConfigError where they are larger than :data:`LARGEST` together.
    """
    found: dict[str, bytes] = {}
    installed = _installed()
    for name, module in list(sys.modules.items()):
        path = _source(name, module, installed)
        if path is None:
            continue
        target = name.replace(".", "/") + ("/__init__.py" if path.name == "__init__.py" else ".py")
        try:
            found[target] = path.read_bytes()
        except OSError:
            continue  # it was imported from a file that is gone; what needs it there will say so
    size = sum(len(source) for source in found.values())
    if size > LARGEST:
        largest = max(found, key=lambda target: len(found[target]))
        raise ConfigError(
            f"The modules that were imported from files beside yours have {size / 2**20:.0f} MB, and all of them would "
            f"go to every process of the session; {LARGEST / 2**20:.0f} MB may. The largest is {largest}. Install them "
            "as a package on all machines, or import less."
        )
    return found


def unfold(sources: Mapping[str, bytes]) -> None:
    """Makes modules importable in this process and in those that it starts, after everything that is installed."""
    digest = hashlib.sha256(repr(sorted(sources.items())).encode()).hexdigest()[:16]
    root = Path(tempfile.gettempdir(), f"minestudio_nb-{os.getuid()}-{digest}")
    if str(root) in sys.path:
        return
    root.mkdir(mode=0o700, exist_ok=True)
    if root.stat().st_uid != os.getuid() or root.stat().st_mode & 0o077:
        raise ConfigError(f"{root} belongs to somebody else or is open to others. Remove it.")
    for name, source in sources.items():
        path = root / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            partial.write_bytes(source)
            partial.replace(path)  # several processes of a node do this at the same time
    sys.path.append(str(root))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), str(root)]))


def _source(name: str, module: ModuleType, installed: tuple[str, ...]) -> Path | None:
    """The file of a module of the user's own; None for what is installed or travels by value."""
    file = getattr(module, "__file__", None)
    if name in ("__main__", "__mp_main__") or not file or not file.endswith(".py"):
        return None
    if file.startswith(installed) or "/site-packages/" in file or "/dist-packages/" in file:
        return None
    path = Path(file).resolve()
    parts = name.split(".")
    tail = [*parts, "__init__.py"] if path.name == "__init__.py" else [*parts[:-1], f"{parts[-1]}.py"]
    if path.parts[-len(tail) :] != tuple(tail):
        return None  # imported under another name than its file has, as configurations are
    return None if str(path).startswith(installed) else path


def _installed() -> tuple[str, ...]:
    """How paths of installed modules and of this package begin."""
    paths = sysconfig.get_paths()
    folders = [
        Path(__file__).parents[1],
        *(Path(paths[kind]) for kind in ("stdlib", "platstdlib", "purelib", "platlib")),
    ]
    return tuple({f"{form}{os.sep}" for folder in folders for form in (folder, folder.resolve())})
