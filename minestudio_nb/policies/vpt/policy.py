"""VPT as a policy, in the sizes of a configuration or of a published file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from minestudio_nb.contracts.specs import ActionLeaf, ActionSpec, BoxSpec, EnvSpec, ObsSpec
from minestudio_nb.errors import UnsupportedSpaceError
from minestudio_nb.policies.base import MinePolicy, Outputs, State
from minestudio_nb.policies.heads import Actions, CategoricalHead, Logits
from minestudio_nb.policies.vpt.network import VPTNetwork, VPTSizes

__all__ = ["MINECRAFT_SPEC", "HierarchicalHead", "VPTPolicy", "foundation_2x"]

IMAGE = "image"
"""The observation that VPT looks at."""
BUTTONS, CAMERA = "buttons", "camera"
INVENTORY_BUTTON = 8640
"""The last of 8,641 buttons. It and every odd one let the camera move; of the others the camera is null."""
FOUNDATION_TEMPERATURE = 2.0

MINECRAFT_SPEC = EnvSpec(
    ObsSpec(((IMAGE, BoxSpec((128, 128, 3), "uint8")),), True),
    ActionSpec(
        (
            ActionLeaf(BUTTONS, "multi_discrete", (INVENTORY_BUTTON + 1,), (1,)),
            ActionLeaf(CAMERA, "multi_discrete", (121,), (1,)),
        ),
        True,
    ),
)
"""What the published networks see and do: MineStudio's agent actions."""


class HierarchicalHead(CategoricalHead):
    """Buttons first, and a camera that counts only after buttons that let it move.

    Log-probability, entropy and divergence are those of what the environment is told: with other buttons, whatever
    camera was drawn, it hears the null one.
    """

    def __init__(self, in_features: int, action: ActionSpec, temperature: float = 1.0) -> None:
        super().__init__(in_features, action, temperature)
        moves = torch.arange(INVENTORY_BUTTON + 1) % 2 == 1
        moves[INVENTORY_BUTTON] = True
        self.register_buffer("_moves", moves, persistent=False)

    _moves: Tensor

    @staticmethod
    def fits(action: ActionSpec) -> bool:
        """Whether these are MineStudio's agent actions (with any number of camera bins)."""
        return action.component_names == (BUTTONS, CAMERA) and action.nvec[0] == INVENTORY_BUTTON + 1

    def sample_logits(
        self, logits: Tensor, generator: torch.Generator | None = None, deterministic: bool = False
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`ActionHead.sample_logits`."""
        actions, _ = super().sample_logits(logits, generator, deterministic)
        return actions, self.logprob(actions, self.distribution(logits))

    def logprob(self, actions: Actions, pi_logits: Logits) -> Tensor:
        """See :meth:`ActionHead.logprob`."""
        chosen = self.joined(actions)
        buttons, camera = (
            pi_logits[name].gather(-1, chosen[..., index : index + 1]).squeeze(-1)
            for index, name in enumerate((BUTTONS, CAMERA))
        )
        return buttons + camera * self._moves[chosen[..., 0]]

    def entropy(self, pi_logits: Logits) -> Tensor:
        """See :meth:`ActionHead.entropy`."""
        buttons, camera = (-(pi_logits[name].exp() * pi_logits[name]).sum(-1) for name in (BUTTONS, CAMERA))
        return buttons + camera * self._moving(pi_logits)

    def kl_divergence(self, pi_logits: Logits, other: Logits) -> Tensor:
        """See :meth:`ActionHead.kl_divergence`."""
        buttons, camera = (
            (pi_logits[name].exp() * (pi_logits[name] - other[name])).sum(-1) for name in (BUTTONS, CAMERA)
        )
        return buttons + camera * self._moving(pi_logits)

    def _moving(self, pi_logits: Logits) -> Tensor:
        """Probability of buttons that let the camera move."""
        return (pi_logits[BUTTONS].exp() * self._moves).sum(-1)


class VPTPolicy(MinePolicy):
    """The policy of Video PreTraining.

    Args:
        env_spec: an observation ``image``, uint8 ``(H, W, 3)``; others are not looked at. Any categorical actions.
        temperature: divides the scores of the action head; the published networks have 2.
        hierarchical: let the camera count only with buttons that move it (:class:`HierarchicalHead`). None: where the
            actions are MineStudio's.
        arguments: sizes, see :class:`VPTSizes`.

    Raises:
        UnsupportedSpaceError: there is no such image, an action is continuous, or sizes do not fit each other.
    """

    is_recurrent = True

    def __init__(
        self,
        env_spec: EnvSpec = MINECRAFT_SPEC,
        temperature: float = 1.0,
        hierarchical: bool | None = None,
        **arguments: Any,
    ) -> None:
        sizes = VPTSizes(**arguments)
        boxes = dict(env_spec.obs.items())
        if IMAGE not in boxes or not boxes[IMAGE].is_image:
            raise UnsupportedSpaceError(
                f"The vpt policy needs an observation named {IMAGE!r}, uint8 (H, W, 3); observations here: "
                + ", ".join(f"{key} {box.dtype} {box.shape}" for key, box in boxes.items())
                + ". Rename it with a wrapper, or use policy cnn_gru."
            )
        if not env_spec.action.is_categorical:
            raise UnsupportedSpaceError("The vpt policy has categorical actions only. Use policy cnn_gru.")
        fits = HierarchicalHead.fits(env_spec.action)
        if hierarchical and not fits:
            raise UnsupportedSpaceError(
                f"hierarchical=True needs MineStudio's agent actions, {INVENTORY_BUTTON + 1} buttons and a camera; "
                f"{dict(zip(env_spec.action.component_names, env_spec.action.nvec, strict=True))} came."
            )
        head = HierarchicalHead if (fits if hierarchical is None else hierarchical) else CategoricalHead
        super().__init__(env_spec, sizes.hidsize, head(sizes.hidsize, env_spec.action, temperature))
        self.sizes = sizes
        self.net = VPTNetwork(sizes, boxes[IMAGE].shape)
        # A block's memory of M steps holds what the block below made of the M - 1 steps before each of them.
        self.memory_steps = sizes.n_recurrence_layers * (sizes.memory - 1)

    def initial_state(self, batch_size: int) -> State:
        """Three tensors a block, as MineStudio has them; see :meth:`VPTNetwork.initial_state`."""
        return self.net.initial_state(batch_size)

    def forward(
        self,
        input: Mapping[str, Tensor],
        state_in: Sequence[Tensor] = (),
        context: Mapping[str, Tensor] | None = None,
    ) -> tuple[Outputs, State]:
        """See :meth:`MinePolicy.forward`."""
        image = input[IMAGE]
        lead = image.shape[:2]
        first = torch.zeros(lead, dtype=torch.bool, device=image.device) if context is None else context["first"]
        features, state = self.net(image, first, list(state_in) or self.initial_state(lead[0]), self.recomputed)
        return {"pi_logits": self.pi_head(features), "vpred": self.value_head(features)}, state


def foundation_2x(env_spec: EnvSpec = MINECRAFT_SPEC) -> VPTPolicy:
    """The network of OpenAI's foundation-model-2x, 248,495,294 parameters, with random weights.

    ``with torch.device("meta"): foundation_2x()`` builds it without memory.
    """
    return VPTPolicy(
        env_spec,
        temperature=FOUNDATION_TEMPERATURE,
        hidsize=2048,
        impala_width=8,
        attention_heads=16,
        attention_memory_size=256,
        timesteps=128,
        n_recurrence_layers=4,
    )
