"""Which of a policy's parameters are trained, and with which settings of their own."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from minestudio_nb.contracts.fields import nearest_hint
from minestudio_nb.errors import ConfigError

__all__ = ["OWN_WEIGHT_DECAY", "RATE_FACTOR", "freeze", "lay_out_as_parameters", "parameter_groups", "trainable"]

RATE_FACTOR, OWN_WEIGHT_DECAY = "learning_rate_factor", "own_weight_decay"
"""Entries of the optimizer's groups: what multiplies the learning rate; whether weight decay is the group's own."""


def matches(name: str, patterns: Collection[str]) -> bool:
    """Whether a parameter's name is one of these, or lies below it, or fits it (``*`` is any text)."""
    return any(fnmatch.fnmatchcase(name, form) for pattern in patterns for form in (pattern, f"{pattern}.*"))


def _check_names(policy: nn.Module, patterns: Collection[str], key: str) -> None:
    names = [name for name, _ in policy.named_parameters()]
    unknown = [pattern for pattern in patterns if not any(matches(name, [pattern]) for name in names)]
    if unknown:
        beginnings = sorted({name.rpartition(".")[0] for name in names} | set(names))
        problems = [f"no parameter is named {pattern!r}{nearest_hint(pattern, beginnings)}" for pattern in unknown]
        raise ConfigError(f"{key} names parameters that {type(policy).__name__} has not.", problems)


def trainable(policy: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are meant to be trained, by name; to be asked of a policy as it was built."""
    return {name: parameter for name, parameter in policy.named_parameters() if parameter.requires_grad}


def freeze(policy: nn.Module, parameters: Mapping[str, nn.Parameter], patterns: Sequence[str]) -> None:
    """Trains those of ``parameters`` (of :func:`trainable`) that no pattern names, and no others from now on.

    Frozen ones stay in the optimizer, which passes over what has no gradient and keeps its moments.

    Raises:
        ConfigError: a pattern names nothing, or nothing would be left; nothing is changed then.
    """
    _check_names(policy, patterns, "train_config.freeze")
    kept = {name for name in parameters if not matches(name, patterns)}
    if not kept:
        raise ConfigError("train_config.freeze leaves no parameter to train. Name fewer parts.")
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in kept)
        if name not in kept:
            parameter.grad = None


def parameter_groups(
    policy: nn.Module, parameters: Mapping[str, nn.Parameter], groups: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """``parameters`` as groups for an optimizer: those that each entry of ``groups`` matches, then all others.

    A parameter belongs to the first entry that matches it.

    Raises:
        ConfigError: an entry matches no parameter, or none that an earlier one left.
    """
    left, made = dict(parameters), []
    for index, group in enumerate(groups):
        patterns = [group["match"]] if isinstance(group["match"], str) else list(group["match"])
        key = f"train_config.parameter_groups[{index}]"
        _check_names(policy, patterns, key)
        taken = {name: left.pop(name) for name in list(left) if matches(name, patterns)}
        if not taken:
            raise ConfigError(f"{key}: the groups before it have taken all parameters that match {patterns}.")
        made.append({"params": list(taken.values()), RATE_FACTOR: float(group.get("learning_rate_factor", 1.0))})
        made[-1][OWN_WEIGHT_DECAY] = "weight_decay" in group
        if "weight_decay" in group:
            made[-1]["weight_decay"] = float(group["weight_decay"])
    if left:
        made.append({"params": list(left.values()), RATE_FACTOR: 1.0, OWN_WEIGHT_DECAY: False})
    return made


def lay_out_as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Gives the optimizer's tensors the order in memory of the parameters that they belong to.

    A file has them in the usual order, and a fused optimizer reads memory as it lies: with parameters in channels_last
    it would otherwise take the moments of other elements, and say nothing.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                laid_out = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False)
                state[name] = laid_out.copy_(value)
