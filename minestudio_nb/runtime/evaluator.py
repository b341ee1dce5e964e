"""Evaluation in a process of its own, beside a running session."""

from __future__ import annotations

from typing import Any

import ray

from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.runtime.base import EvaluationResult, RuntimeSpec
from minestudio_nb.runtime.calls import QUICK

__all__ = ["evaluate_apart"]


def evaluate_apart(
    spec: RuntimeSpec,
    env_spec: EnvSpec,
    weights: list[Any],
    episodes: int,
    deterministic: bool,
    seed: int,
    random_policy: bool,
    record: int,
) -> EvaluationResult:
    """Builds environment and policy in this process, takes the weights behind a reference, and plays.

    ``weights`` is a list with one reference, or empty for the weights that the policy is built with.
    """
    import torch

    from minestudio_nb.policies import build_policy, load_package
    from minestudio_nb.rollout.evaluation import evaluate
    from minestudio_nb.rollout.pool import Deadlines

    torch.set_num_threads(1)
    config = spec.config
    policy = build_policy(config.policy, env_spec, config.config.train_config.seed)
    version = -1
    if weights:
        package = ray.get(weights[0], timeout=QUICK)
        load_package(policy, package)
        version = package.version
    played = evaluate(
        policy,
        config.env,
        episodes,
        deterministic,
        seed,
        random_policy,
        record,
        python=config.config.env_config.python,
        deadlines=Deadlines.of(config.config),
    )
    return EvaluationResult(
        returns=played.returns,
        lengths=played.lengths,
        seeds=played.seeds,
        policy_version=version,
        deterministic=deterministic,
        traces=played.recordings,
    )
