"""Find YAML configurations and compose their defaults lists with Hydra, leaving Hydra's global state as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.core.singleton import Singleton
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from minestudio_nb.contracts.fields import nearest_hint
from minestudio_nb.errors import ConfigError

__all__ = ["compose_groups", "compose_yaml", "find_config", "group_names", "is_group", "library_dir", "search_dirs"]

HYDRA_VERSION_BASE = "1.3"


def library_dir() -> Path:
    """The folder of the shipped configurations: inside an installed package, or the source tree's ``configs/``."""
    installed = Path(__file__).parent / "library"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "configs"


def search_dirs(first: Path | None = None) -> list[Path]:
    """Where names and groups are looked up, first match wins: ``first``, ``./configs``, the shipped ones."""
    candidates = [first, Path("configs"), library_dir()]
    found = [path.resolve() for path in candidates if path is not None and path.is_dir()]
    return list(dict.fromkeys(found))


def find_config(name: str) -> Path:
    """The file of the configuration ``name``.

    Raises:
        ConfigError: there is none; names the nearest, and all that there are.
    """
    known: dict[str, Path] = {}
    for directory in search_dirs():
        for path in sorted([*directory.glob("*.yaml"), *directory.glob("*.py")]):
            known.setdefault(path.stem, path)
    if name in known:
        return known[name]
    listing = ", ".join(sorted(known))
    places = " and ".join(str(path) for path in search_dirs())
    raise ConfigError(
        f"There is no configuration {name!r}{nearest_hint(name, known) or '.'} "
        f"Known in {places}: {listing}. A path to a .yaml or .py file works too."
    )


def is_group(override: Override, dirs: Sequence[Path]) -> bool:
    """Whether the override chooses an option of a group, such as ``scale=cluster``."""
    return "." not in override.key_or_group and any((path / override.key_or_group).is_dir() for path in dirs)


def group_names(dirs: Sequence[Path]) -> list[str]:
    """The groups that options can be chosen from."""
    return sorted({path.name for directory in dirs for path in directory.iterdir() if any(path.glob("*.yaml"))})


def compose_yaml(path: Path, groups: Sequence[Override]) -> DictConfig:
    """Compose the file at ``path`` with its defaults list and the chosen ``groups``; not yet resolved.

    Raises:
        ConfigError: the file or one in its defaults list is missing or no valid YAML, or an option does not exist.
    """
    if path.suffix != ".yaml":
        raise ConfigError(f"{path}: the name of a YAML configuration ends in .yaml. Rename the file.")
    listed = _listed_groups(path)
    lines = [_as_line(override, add=override.key_or_group not in listed) for override in groups]
    return _compose(path.stem, search_dirs(path.parent), lines, str(path))


def compose_groups(groups: Sequence[Override]) -> DictConfig:
    """The tree that the chosen options of ``groups`` give by themselves, to be laid over a module or mapping."""
    if not groups:
        return OmegaConf.create({})
    lines = [_as_line(override, add=True) for override in groups if not override.is_delete()]
    return _compose(None, search_dirs(), lines, ", ".join(lines))


def _as_line(override: Override, add: bool) -> str:
    line = str(override.input_line)
    return line if not add or override.is_delete() else "+" + line.lstrip("+")


def _listed_groups(path: Path) -> set[str]:
    """Groups in the defaults list of the file at ``path``."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = re.sub(r"\s+", " ", str(error))
        raise ConfigError(f"{path} is no valid YAML: {reason}. Correct the file.") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    if content is not None and not isinstance(content, dict):
        raise ConfigError(f"{path} must hold settings as key: value, a {type(content).__name__} came.")
    entries = (content or {}).get("defaults") or []
    names = [next(iter(entry)) for entry in entries if isinstance(entry, dict) and entry]
    return {str(name).removeprefix("override ").removeprefix("optional ").partition("@")[0] for name in names}


def _compose(name: str | None, dirs: Sequence[Path], lines: list[str], origin: str) -> DictConfig:
    first, *others = dirs
    searchpath = ",".join(f"'file://{path}'" for path in others)
    overrides = [*lines, f"hydra.searchpath=[{searchpath}]"] if others else lines
    try:
        with _hydra(first):
            tree = compose(name, overrides=overrides)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        reason = re.sub(r"\s+", " ", str(error)).strip()
        raise ConfigError(f"{origin} cannot be composed: {reason}") from error
    OmegaConf.set_struct(tree, False)
    return tree


@contextmanager
def _hydra(directory: Path) -> Iterator[None]:
    """Hydra set up for ``directory``; whatever state the process had, be it an application's, comes back."""
    state = Singleton.get_state()
    try:
        GlobalHydra.instance().clear()
        with initialize_config_dir(config_dir=str(directory), version_base=HYDRA_VERSION_BASE):
            yield
    finally:
        Singleton.set_state(state)
