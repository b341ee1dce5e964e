"""Load a configuration: a name, a YAML file, a Python module or a mapping, all with the same result."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from minestudio_nb.config.checking import check
from minestudio_nb.config.compose import compose_groups, compose_yaml, find_config, group_names, is_group, search_dirs
from minestudio_nb.config.fields import Problem, to_plain
from minestudio_nb.config.generators import generator_from_callable
from minestudio_nb.config.minestudio_compat import execute_module
from minestudio_nb.config.overrides import apply_overrides, parse_overrides
from minestudio_nb.config.redaction import REDACTED, Secrets, redact, redact_text
from minestudio_nb.config.resources import Resources
from minestudio_nb.config.schema import EnvConfig, OnlineConfig, field_specs, parse_config
from minestudio_nb.config.trainers import problem_with_name
from minestudio_nb.contracts.generators import GeneratorSpec
from minestudio_nb.errors import ConfigError

__all__ = ["LoadedConfig", "load_config", "to_yaml"]

log = logging.getLogger(__name__)

ENV_FUNCTION, POLICY_FUNCTION, SETTINGS = "env_generator", "policy_generator", "online_dict"
SAVED_MODULE = "whole_config.py"
"""Name of the copy of a Python module beside a saved configuration, which refers to it by ``generator_module``."""

BESIDE_GENERATOR = ("simulator", "python", "task")
"""Settings of env_config that keep their meaning beside an env_generator: they do not say what is built."""

Generator = Callable[..., Any]
_LINE_BREAKS = frozenset("\x85\u2028\u2029")


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration that passed every check that needs no machine.

    ``env`` and ``policy`` are recipes for :func:`minestudio_nb.config.build_generator`. ``whole_config`` is the text it
    came from, secrets hidden; ``source`` says where it came from, and ``name`` is a short name for runs and titles.
    ``warnings`` are settings that are accepted but not used as they read.
    """

    config: OnlineConfig
    env: GeneratorSpec
    policy: GeneratorSpec
    whole_config: str = field(repr=False)
    source: str
    name: str
    warnings: tuple[Problem, ...] = ()
    trainer: GeneratorSpec | None = None
    """Recipe for the class that ``trainer_name`` means, where the configuration's module or an earlier call to
    :func:`minestudio_nb.config.trainers.travelling` has it; None: it is known by its name."""

    def secrets(self) -> Secrets:
        """The secret values that it holds, and those of this process's environment."""
        sources = {spec.source for spec in (self.env, self.policy, self.trainer) if spec is not None}
        return Secrets.of(self.config.to_dict(), "\n".join(sorted(sources)))

    def files(self) -> dict[str, str]:
        """Texts to save in a run directory by file name, secrets hidden: ``load_config`` reads ``config.yaml`` again.

        ``whole_config`` has only what was said, without defaults. A Python module is saved instead, and referred to.
        Functions given in Python cannot be saved: loading then says that they are needed,
        ``load_config({"base": "runs/x/config.yaml", "env_generator": ...})``.
        """
        settings = self.config.to_dict()
        texts = {}
        by_kind = {spec.kind: spec for spec in (self.trainer, self.policy, self.env) if spec is not None}
        if "callable" in (self.policy.kind, self.env.kind):
            settings["generator_module"] = f"<{self.env.describe()}; {self.policy.describe()}>"
        elif "module" in by_kind:
            texts[SAVED_MODULE] = redact_text(by_kind["module"].source)
            settings["generator_module"] = SAVED_MODULE
        if SAVED_MODULE not in texts:
            texts["whole_config"] = self.whole_config
        return {"config.yaml": to_yaml(settings), **texts}


@dataclass
class _Draft:
    """What was read so far: the tree of settings, the functions, and where they came from."""

    tree: DictConfig
    source: str
    name: str
    text: str = ""
    module: tuple[str, str] | None = None  # source text, path
    functions: dict[str, Any] = field(default_factory=dict)  # Generator, or GeneratorSpec of one
    classes: frozenset[str] = frozenset()
    """Names of the classes that the module defines, among which may be the trainer's."""
    trainer: GeneratorSpec | None = None
    """That of a configuration which was loaded already."""


def load_config(
    source: str | Path | Mapping[str, Any] | OnlineConfig | LoadedConfig,
    overrides: Sequence[str] = (),
    simulator: str | None = None,
    policy: str | None = None,
    resources: Resources | None = None,
) -> LoadedConfig:
    """Load, override and check a configuration.

    ``source`` is a name (looked up in ``./configs``, then among the shipped ones), a path to a ``.yaml`` or ``.py``
    file, or a mapping of settings. A mapping may also hold ``env_generator`` and ``policy_generator`` (functions, which
    replace those of ``base``, or its ``env_config`` and ``policy_config``), ``online_dict`` (the settings, as in a
    module) and ``base`` (another source to start from). A ``.py`` file is executed: it is code. A configuration that
    was loaded already is taken with its generators, for overrides on top of it.

    ``overrides`` are in Hydra's grammar: ``train_config.learning_rate=1e-4``, ``scale=laptop``,
    ``~train_config.kl_skip``. ``simulator`` sets ``env_config.simulator``; ``policy``, like any
    ``policy_config.name``, replaces the policy generator by a policy of this package. With ``resources``, what the
    machine lacks is reported in the same error.

    Raises:
        ConfigError: everything that is wrong, at once, with the arithmetic and the fix.
    """
    parsed = parse_overrides(overrides)
    dirs = search_dirs(_directory(source))
    groups = [override for override in parsed if is_group(override, dirs)]
    draft = _read(source, groups)
    settings_only = [override for override in parsed if override not in groups]
    problems = apply_overrides(draft.tree, settings_only, group_names(dirs))
    for section, name, value in (("env_config", "simulator", simulator), ("policy_config", "name", policy)):
        if value is not None:
            OmegaConf.update(draft.tree, f"{section}.{name}", value, force_add=True)
    if policy is not None:
        OmegaConf.update(draft.tree, "policy_config.args", {}, merge=False, force_add=True)
    settings = _resolved(draft)
    config, unreadable = parse_config(settings)
    problems += unreadable
    _attach_generator_module(draft, config)
    problems += check(config, resources, own_env=ENV_FUNCTION in draft.functions)
    problems += _generator_problems(draft, config)
    problems += _trainer_problems(draft, config)
    problems += _hidden_secrets(settings)
    _raise_errors(draft, problems)
    warnings = tuple(problem for problem in problems if problem.severity == "warning")
    if warnings:
        log.warning("%s: %s", draft.name, " | ".join(str(problem) for problem in warnings))
    env, policy_spec = _recipes(draft, config)
    whole = redact_text(draft.text) if draft.module and draft.text else to_yaml(settings)
    trainer = _trainer_recipe(draft, config)
    return LoadedConfig(config, env, policy_spec, whole, draft.source, draft.name, warnings, trainer)


def to_yaml(settings: Mapping[str, Any]) -> str:
    """Settings as YAML that ``load_config`` reads back, secrets hidden."""
    plain = _escape(redact(to_plain(settings)))
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)
    if _LINE_BREAKS.intersection(text):  # PyYAML writes these as they are and reads them as ends of lines
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=False, width=110)
    return text


def _escape(value: Any) -> Any:
    """Texts as OmegaConf has to see them, so that ``${`` stays a text instead of becoming an interpolation.

    A backslash escapes it, and backslashes right before it count double.
    """
    if isinstance(value, dict):
        return {name: _escape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_escape(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def _directory(source: object) -> Path | None:
    path = _as_path(source)
    return path.parent if path is not None else None


def _as_path(source: object) -> Path | None:
    """The path that ``source`` says, or None for a name or mapping."""
    if isinstance(source, Path):
        return source
    if isinstance(source, str) and (Path(source).suffix in (".yaml", ".yml", ".py") or "/" in source or "\\" in source):
        return Path(source)
    return None


def _read(source: object, groups: Sequence[Any]) -> _Draft:
    if isinstance(source, LoadedConfig):
        return _read_loaded(source, groups)
    if isinstance(source, OnlineConfig):
        source = _escape(source.to_dict())
    if isinstance(source, Mapping):
        return _read_mapping(source, groups)
    if not isinstance(source, (str, Path)):
        raise ConfigError(f"A configuration is a name, a path or a mapping, {type(source).__name__} came: {source!r}.")
    path = _as_path(source) or find_config(str(source))
    if not path.is_file():
        raise ConfigError(f"There is no file {path}. Correct the path, or give a name: chop_tree, cartpole, ...")
    path = path.resolve()
    if path.suffix == ".py":
        return _read_module(path, groups)
    return _Draft(compose_yaml(path, groups), str(path), _name_of(path))


def _read_loaded(loaded: LoadedConfig, groups: Sequence[Any]) -> _Draft:
    """Only what differs from the defaults, so that defaults which depend on other settings can follow these."""
    tree = OmegaConf.create({})
    for key, spec in field_specs().items():
        value = to_plain(loaded.config.get(key))
        if key != "generator_module" and value != to_plain(spec.default):
            OmegaConf.update(tree, key, _escape(value), merge=False, force_add=True)
    merged = OmegaConf.merge(tree, compose_groups(groups))
    assert isinstance(merged, DictConfig)
    functions = {}
    for name, recipe in ((ENV_FUNCTION, loaded.env), (POLICY_FUNCTION, loaded.policy)):
        if recipe.kind in ("module", "callable"):
            functions[name] = recipe
    return _Draft(merged, loaded.source, loaded.name, loaded.whole_config, functions=functions, trainer=loaded.trainer)


def _name_of(path: Path) -> str:
    """A run's own name for its ``config.yaml``, the file's otherwise."""
    return path.parent.name if path.name == "config.yaml" and path.parent.name else path.stem


def _read_module(path: Path, groups: Sequence[Any]) -> _Draft:
    text = path.read_text(encoding="utf-8")
    module = execute_module(text, str(path))
    settings = getattr(module, SETTINGS, None)
    if not isinstance(settings, (Mapping, DictConfig)):
        raise ConfigError(
            f"{path} defines no {SETTINGS}; a configuration module has its settings in a dict of that name."
        )
    tree = OmegaConf.merge(_tree(settings, str(path)), compose_groups(groups))
    assert isinstance(tree, DictConfig)
    return _Draft(tree, str(path), path.stem, text, (text, str(path)), _functions(vars(module)), _classes(module))


def _read_mapping(source: Mapping[str, Any], groups: Sequence[Any]) -> _Draft:
    settings = {str(key): value for key, value in source.items()}
    functions = _functions(settings)
    for name in (ENV_FUNCTION, POLICY_FUNCTION):
        value = settings.pop(name, None)
        if value is not None and not callable(value):
            raise ConfigError(f"{name} must be a function, {type(value).__name__} came: {value!r}.")
    base = settings.pop("base", None)
    inner = settings.pop(SETTINGS, None)
    if inner is not None and settings:
        raise ConfigError(
            f"Settings came both inside {SETTINGS} and beside it: {sorted(settings)}. Give one of the two."
        )
    draft = _read(base, ()) if base is not None else _Draft(OmegaConf.create({}), "a mapping", "notebook")
    if functions:
        _replace_generators(draft, functions)
    own = _tree(settings if inner is None else inner, "The mapping")
    if POLICY_FUNCTION in functions and OmegaConf.select(own, "policy_config.name") not in (None, "auto"):
        raise ConfigError(f"Both {POLICY_FUNCTION} and policy_config.name came. Give one of the two.")
    tree = OmegaConf.merge(draft.tree, own, compose_groups(groups))
    assert isinstance(tree, DictConfig)
    draft.tree = tree
    return draft


def _replace_generators(draft: _Draft, functions: Mapping[str, Generator]) -> None:
    """Functions given in Python take the place of what the base says about environment and policy."""
    draft.functions |= functions
    tree = draft.tree
    if str(tree.get("generator_module") or "").startswith("<"):
        del tree["generator_module"]
    if POLICY_FUNCTION in functions:
        tree.pop("policy_config", None)
    if ENV_FUNCTION in functions and isinstance(tree.get("env_config"), DictConfig):
        for name in [str(name) for name in tree.env_config if name not in BESIDE_GENERATOR]:
            del tree.env_config[name]
        if tree.env_config.get("simulator") == "gymnasium":  # beside a function it would ask for an id
            del tree.env_config["simulator"]


def _functions(namespace: Mapping[str, Any]) -> dict[str, Generator]:
    return {name: namespace[name] for name in (ENV_FUNCTION, POLICY_FUNCTION) if callable(namespace.get(name))}


def _classes(module: ModuleType) -> frozenset[str]:
    own = (name for name, value in vars(module).items() if isinstance(value, type))
    return frozenset(name for name in own if vars(module)[name].__module__ == module.__name__)


def _tree(settings: Any, origin: str) -> DictConfig:
    try:
        plain = OmegaConf.to_container(settings) if isinstance(settings, DictConfig) else to_plain(settings)
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}. Functions go beside the settings, as {ENV_FUNCTION}.") from error
    tree = OmegaConf.create(plain)
    assert isinstance(tree, DictConfig)
    return tree


def _resolved(draft: _Draft) -> dict[str, Any]:
    try:
        settings = OmegaConf.to_container(draft.tree, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"{draft.source}: {reason}. Give the value that ${{...}} or ??? stands for.") from error
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def _attach_generator_module(draft: _Draft, config: OnlineConfig) -> None:
    """Read the file that ``generator_module`` names and take its functions where none are given."""
    name = config.generator_module
    if name is None:
        return
    if name.startswith("<"):
        raise ConfigError(
            f"{draft.source} was saved from a session whose generators were Python functions: {name}. "
            'Give them again: load_config({"base": ..., "env_generator": ..., "policy_generator": ...}).'
        )
    path = Path(draft.source).parent / name
    if not path.is_file():
        raise ConfigError(
            f"generator_module: there is no file {path}. A relative path starts at the configuration's folder."
        )
    text = path.read_text(encoding="utf-8")
    module = execute_module(text, str(path))
    functions, draft.classes = _functions(vars(module)), _classes(module)
    if not functions and config.trainer_name not in draft.classes:
        raise ConfigError(
            f"generator_module: {path} defines neither {ENV_FUNCTION} nor {POLICY_FUNCTION}, nor the trainer."
        )
    draft.module = (text, str(path))
    draft.functions = {**functions, **draft.functions}


def _generator_problems(draft: _Draft, config: OnlineConfig) -> list[Problem]:
    problems = []
    if ENV_FUNCTION in draft.functions:
        default = EnvConfig()
        given = [
            name
            for name in EnvConfig.__dataclass_fields__
            if name not in BESIDE_GENERATOR and getattr(config.env_config, name) != getattr(default, name)
        ]
        if given:
            text = f"{ENV_FUNCTION}() builds the environment, so {', '.join(given)} would have no effect"
            problems.append(Problem("env_config", text, f"Remove them, or remove {ENV_FUNCTION}."))
    return problems


def _trainer_problems(draft: _Draft, config: OnlineConfig) -> list[Problem]:
    text = problem_with_name(config.trainer_name) if _trainer_recipe(draft, config) is None else None
    return [] if text is None else [Problem("trainer_name", text, "Correct the name.")]


def _trainer_recipe(draft: _Draft, config: OnlineConfig) -> GeneratorSpec | None:
    """Where the trainer's class is found, unless it is known by its name."""
    name = config.trainer_name
    if draft.trainer is not None and draft.trainer.function == name:
        return draft.trainer
    if draft.module is None or name not in draft.classes:
        return None
    text, path = draft.module
    return GeneratorSpec(kind="module", function=name, source=text, path=path, simulator=config.env_config.simulator)


def _hidden_secrets(value: Any, key: str = "") -> list[Problem]:
    """Secrets that were hidden when the configuration was saved, and would now be taken for the secrets themselves."""
    if isinstance(value, Mapping):
        return [
            problem for name, item in value.items() for problem in _hidden_secrets(item, f"{key}.{name}".lstrip("."))
        ]
    if isinstance(value, list):
        return [problem for index, item in enumerate(value) for problem in _hidden_secrets(item, f"{key}.{index}")]
    if value == REDACTED:
        return [Problem(key, "was hidden when this configuration was saved", f"Give it again: {key}=...")]
    return []


def _raise_errors(draft: _Draft, problems: Sequence[Problem]) -> None:
    errors = [str(problem) for problem in problems if problem.severity == "error"]
    if errors:
        count = "1 problem" if len(errors) == 1 else f"{len(errors)} problems"
        raise ConfigError(f"{draft.source} cannot be used: {count}.", errors)


def _recipes(draft: _Draft, config: OnlineConfig) -> tuple[GeneratorSpec, GeneratorSpec]:
    simulator = config.env_config.simulator
    env = GeneratorSpec(kind="env_config", config=to_plain(config.env_config), simulator=simulator)
    policy = GeneratorSpec(kind="policy_config", config=to_plain(config.policy_config), simulator=simulator)
    if ENV_FUNCTION in draft.functions:
        env = _recipe(draft, ENV_FUNCTION, simulator)
    if POLICY_FUNCTION in draft.functions and config.policy_config.name == "auto":
        policy = _recipe(draft, POLICY_FUNCTION, simulator)
    return env, policy


def _recipe(draft: _Draft, name: str, simulator: str) -> GeneratorSpec:
    function = draft.functions[name]
    if isinstance(function, GeneratorSpec):
        return replace(function, simulator=simulator)
    if draft.module is not None and getattr(function, "__globals__", {}).get("__file__") == draft.module[1]:
        text, path = draft.module
        return GeneratorSpec(kind="module", function=name, source=text, path=path, simulator=simulator)
    return generator_from_callable(function, simulator)
