"""Recurrent policies: a gated recurrent unit between an encoder and the heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from minestudio_nb.contracts.specs import EnvSpec
from minestudio_nb.policies.base import MinePolicy, Outputs, State, episode_segments, reset_state
from minestudio_nb.policies.cnn import CnnVariant, ImageTrunk
from minestudio_nb.policies.mlp import VectorTrunk

__all__ = ["CnnGruPolicy", "GruPolicy", "MlpGruPolicy"]


class GruPolicy(MinePolicy):
    """``trunk``, a module from observations ``(N, *shape)`` to ``(N, trunk.features)``, then a GRU of ``hidden`` units.

    The state is one float tensor ``(B, hidden)``, zero where an episode begins.
    """

    is_recurrent = True

    def __init__(self, env_spec: EnvSpec, trunk: nn.Module, hidden: int = 256) -> None:
        super().__init__(env_spec, hidden)
        self.hidden = hidden
        self.trunk = trunk
        self.gru = nn.GRU(trunk.features, hidden, batch_first=True)  # type: ignore[arg-type]
        for name, parameter in self.gru.named_parameters():
            if name.startswith("weight"):
                for gate in parameter.chunk(3):
                    nn.init.orthogonal_(gate)
            else:
                nn.init.zeros_(parameter)

    def initial_state(self, batch_size: int) -> State:
        """See :meth:`MinePolicy.initial_state`."""
        return [torch.zeros(batch_size, self.hidden, device=self.device)]

    def forward(
        self,
        input: Mapping[str, Tensor],
        state_in: Sequence[Tensor] = (),
        context: Mapping[str, Tensor] | None = None,
    ) -> tuple[Outputs, State]:
        """See :meth:`MinePolicy.forward`."""
        lead = next(iter(input.values())).shape[:2]
        features = self.recomputed(self.trunk, {key: value.flatten(0, 1) for key, value in input.items()})
        features = features.unflatten(0, lead)
        state = list(state_in) or self.initial_state(lead[0])
        first = torch.zeros(lead, dtype=torch.bool, device=features.device) if context is None else context["first"]
        nothing, parts = [torch.zeros_like(part) for part in state], []
        for start, stop in episode_segments(first):
            (hidden,) = reset_state(state, nothing, first[:, start])
            outputs, last = self.gru(features[:, start:stop], hidden.to(features.dtype)[None].contiguous())
            parts.append(outputs)
            state = [last[0].to(hidden.dtype)]  # under autocast they would turn to bfloat16 after the first chunk
        joined = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return {"pi_logits": self.pi_head(joined), "vpred": self.value_head(joined)}, state


class CnnGruPolicy(GruPolicy):
    """An :class:`ImageTrunk` before the GRU; ``sizes`` are its arguments."""

    def __init__(self, env_spec: EnvSpec, hidden: int = 256, variant: CnnVariant = "tiny", **sizes: Any) -> None:
        super().__init__(env_spec, ImageTrunk(env_spec, variant, **sizes), hidden)


class MlpGruPolicy(GruPolicy):
    """A :class:`VectorTrunk` of widths ``dense`` before the GRU."""

    def __init__(self, env_spec: EnvSpec, hidden: int = 64, dense: Sequence[int] = (64,)) -> None:
        super().__init__(env_spec, VectorTrunk(env_spec, dense), hidden)
