"""From a recipe to a policy: named policies, and functions that users write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from minestudio_nb.config.generators import build_generator, call_with_known
from minestudio_nb.contracts.fields import nearest_hint
from minestudio_nb.contracts.generators import GeneratorSpec
from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.errors import ConfigError, UnsupportedSpaceError
from minestudio_nb.policies.base import MinePolicy
from minestudio_nb.policies.cnn import CnnPolicy
from minestudio_nb.policies.foreign import ForeignPolicy, is_foreign
from minestudio_nb.policies.gru import CnnGruPolicy, MlpGruPolicy
from minestudio_nb.policies.mlp import MlpPolicy
from minestudio_nb.policies.vpt.loading import build_vpt

__all__ = ["build_policy", "policy_names", "register_policy"]

_POLICIES: dict[str, Callable[..., MinePolicy]] = {
    "cnn": CnnPolicy,
    "cnn_gru": CnnGruPolicy,
    "mlp": MlpPolicy,
    "mlp_gru": MlpGruPolicy,
    "vpt": build_vpt,
}
AUTO = "auto"
"""Policy name that stands for cnn where an observation is an image, and for mlp otherwise."""


def policy_names() -> tuple[str, ...]:
    """Names that ``policy_config.name`` takes."""
    return (AUTO, *sorted(_POLICIES))


def register_policy(name: str, factory: Callable[..., MinePolicy]) -> None:
    """Makes ``policy_config: {name: ...}`` build ``factory(env_spec, **args)``. A name can be taken once only."""
    if name in _POLICIES or name == AUTO:
        raise ConfigError(f"There is a policy named {name!r} already; choose another name.")
    _POLICIES[name] = factory


def build_policy(
    source: GeneratorSpec | Mapping[str, Any] | Callable[..., Any], env_spec: EnvSpec, seed: int
) -> MinePolicy:
    """The policy that ``source`` describes, for environments of ``env_spec``; equal seeds give equal weights.

    ``source`` is a recipe, a section ``{name, args}``, or a function, which gets ``env_spec`` if it
    takes a parameter of that name.
    The global random state is as before afterwards.

    Raises:
        UnsupportedSpaceError: the environment's spaces do not fit the policy; says which are supported.
        ConfigError: the policy's name or arguments are unknown, or a user's function gives something else.
    """
    _check_actions(env_spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(source, GeneratorSpec):
            policy = build_generator(source, from_config=_from_config, env_spec=env_spec)
        elif isinstance(source, Mapping):
            policy = _from_config(source, env_spec)
        else:
            policy = call_with_known(source, {"env_spec": env_spec})
    if is_foreign(policy):
        policy = ForeignPolicy(policy, env_spec)
    if not isinstance(policy, MinePolicy):
        raise ConfigError(
            f"A policy generator must give a MinePolicy, {type(policy).__name__} came. "
            "Derive the class from minestudio_nb.policies.MinePolicy; a policy of MineStudio's package is taken, too."
        )
    _check_outputs(policy, env_spec)
    return policy


def _from_config(config: Mapping[str, Any], env_spec: EnvSpec) -> MinePolicy:
    name, args = config.get("name", AUTO), dict(config.get("args") or {})
    if name == AUTO:
        name = "cnn" if any(box.is_image for _, box in env_spec.obs.items()) else "mlp"
    if name not in _POLICIES:
        hint = nearest_hint(str(name), policy_names())
        raise ConfigError(f"There is no policy named {name!r}{hint}. Known: {', '.join(policy_names())}.")
    try:
        return _POLICIES[name](env_spec, **args)
    except TypeError as error:
        raise ConfigError(f"policy_config.args do not fit the policy {name!r}: {error}.") from error


def _check_actions(env_spec: EnvSpec) -> None:
    if not env_spec.action.size or min(env_spec.action.parameter_counts) < 1:
        raise UnsupportedSpaceError(
            f"A policy needs at least one component of actions, {env_spec.action.parameter_counts} came. "
            "Supported: Discrete, MultiDiscrete, Box of floats, and Dict of these."
        )


@torch.no_grad()
def _check_outputs(policy: MinePolicy, env_spec: EnvSpec) -> None:
    """Shows the policy one step of zeros and looks at the shapes of what it says."""
    device = policy.device
    obs = {key: torch.as_tensor(array, device=device) for key, array in env_spec.obs.zeros(1, 1).items()}
    first = torch.ones(1, 1, dtype=torch.bool, device=device)
    outputs, _ = policy(obs, policy.initial_state(1), {"first": first})
    wanted = dict(zip(env_spec.action.component_names, env_spec.action.parameter_counts, strict=True))
    came = {name: part.shape[-1] for name, part in outputs["pi_logits"].items()}
    if came != wanted:
        raise UnsupportedSpaceError(
            f"The environment's action components are {wanted}, and the policy {type(policy).__name__} gives {came}. "
            "Build the policy's head from env_spec.action."
        )
    if tuple(outputs["vpred"].shape) != (1, 1, 1):
        raise UnsupportedSpaceError(
            f"vpred must have shape (B, T, 1); the policy {type(policy).__name__} gives "
            f"{tuple(outputs['vpred'].shape)} for B = T = 1."
        )
