"""Where numba keeps what it compiles: a directory that the user may write, named by all that machine code depends on.

The name tells processor, versions and the simulator's sources. numba itself looks at the file of a kernel only; a
constant that came from another file would go stale. ``minestudio_nb.simulator`` calls ``use_cache`` before it imports
any kernel.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

ENVIRONMENT_KEY: Final = "NUMBA_CACHE_DIR"
_chosen: Path | None = None


def _source_key() -> str:
    """A hash of the sources that machine code depends on, and of what numba checks of each: path, time and size."""
    digest = hashlib.sha256()
    folder = Path(__file__).resolve().parent
    for path in sorted(folder.glob("*.py")):
        stat = path.stat()
        digest.update(f"{path} {stat.st_mtime_ns} {stat.st_size}".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_key() -> str:
    """The name of the cache directory: processor, its features, versions of numba and Python, and the sources."""
    import llvmlite.binding
    import numba

    features = llvmlite.binding.get_host_cpu_features().flatten()
    short = hashlib.sha256(features.encode()).hexdigest()[:8]
    processor = llvmlite.binding.get_host_cpu_name()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{processor}-{short}-numba{numba.__version__}-py{version}-{_source_key()}"


def _user_cache_folder() -> Path:
    """Where the platform wants caches of the user."""
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"])
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"])
    home = Path.home()
    return home / "Library" / "Caches" if platform.system() == "Darwin" else home / ".cache"


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder; it is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def use_cache() -> Path:
    """Point numba at the cache directory, unless NUMBA_CACHE_DIR already names one. Cheap after the first call.

    It must run before a kernel is defined. Every process chooses for itself; equal processes choose the same.

    Returns:
        The directory.
    """
    global _chosen
    if _chosen is not None:
        return _chosen
    given = os.environ.get(ENVIRONMENT_KEY)
    if given:
        _chosen = Path(given)
        return _chosen
    key = cache_key()
    user = os.getuid() if hasattr(os, "getuid") else "user"
    candidates = [_user_cache_folder(), Path(tempfile.gettempdir()) / f"minestudio_nb-{user}"]
    for base in candidates:
        folder = base / "minestudio_nb" / "kernels" / key
        if is_writable(folder):
            break
    else:
        _log.warning("No cache directory can be written; every process will compile the simulator for itself.")
        return candidates[-1]
    import numba

    numba.config.CACHE_DIR = str(folder)
    _chosen = folder
    return folder
