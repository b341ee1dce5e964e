"""A policy whose every answer can be computed from the observation and one number in its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.policies.base import ActOutput, MinePolicy, Outputs, State
from tests.support.counting_env import ENV, EPISODE, NVEC, STEP


class CheckingPolicy(MinePolicy):
    """Acts in CountingEnv. ``mark`` is a parameter: each version of the weights has its own.

    value = mark + step; log-probability = -(env + 1 + step / 16); actions = (step % 5, (episode + env) % 3).
    """

    def __init__(self, env_spec: EnvSpec) -> None:
        super().__init__(env_spec, features=4)
        self.mark = nn.Parameter(torch.zeros(()))

    def forward(
        self,
        input: Mapping[str, Tensor],
        state_in: Sequence[Tensor] = (),
        context: Mapping[str, Tensor] | None = None,
    ) -> tuple[Outputs, State]:
        features = input["count"] / 100.0
        return {"pi_logits": self.pi_head(features), "vpred": self.value_head(features) + self.mark}, []

    @torch.inference_mode()
    def act(
        self,
        obs: Mapping[str, Tensor],
        first: Tensor,
        state: Sequence[Tensor],
        generator: torch.Generator | None = None,
        deterministic: bool = False,
    ) -> ActOutput:
        count = obs["count"]
        assert torch.equal(first, count[:, STEP] == 0)
        moves = count[:, STEP] % NVEC[0]
        turns = (count[:, EPISODE] + count[:, ENV]) % NVEC[1]
        actions = torch.stack([moves, turns], -1).long()
        return ActOutput(actions, -(count[:, ENV] + 1 + count[:, STEP] / 16), self.mark + count[:, STEP], [])
