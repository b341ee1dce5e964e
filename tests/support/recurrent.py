"""Small recurrent policies, and fragments that they acted in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minestudio_nb.contracts.fragments import Fragment, FragmentMeta, StreamId
from minestudio_nb.contracts.specs import ActionLeaf, ActionSpec, BoxSpec, EnvSpec, ObsSpec
from minestudio_nb.policies import MinePolicy, State, build_policy, reset_state
from tests.support.fragments import VECTOR_SPEC, FeedStore

PIXELS = EnvSpec(
    ObsSpec((("image", BoxSpec((16, 16, 3), "uint8")),), True),
    ActionSpec((ActionLeaf("buttons", "discrete", (6,)), ActionLeaf("camera", "discrete", (9,))), True),
)
POLICIES = {
    "mlp_gru": ({"hidden": 8, "dense": [8]}, VECTOR_SPEC),
    "vpt": (
        {
            "hidsize": 16,
            "impala_width": 0.25,
            "attention_heads": 2,
            "attention_memory_size": 10,
            "timesteps": 5,
            "n_recurrence_layers": 2,
        },
        PIXELS,
    ),
    "cnn_gru": ({"hidden": 8, "variant": "impala", "channels": [4, 4], "blocks": 1, "dense": 8}, PIXELS),
}


def lively(name: str) -> MinePolicy:
    """A policy whose memory shows in what it says."""
    args, spec = POLICIES[name]
    policy = build_policy({"name": name, "args": args}, spec, seed=3)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(4)
        for parameter in policy.pi_head.parameters():
            nn.init.uniform_(parameter, -0.8, 0.8)
    return policy


class GruPolicy(MinePolicy):
    """A GRU over the vector observation ``obs``."""

    is_recurrent = True

    def __init__(self, env_spec: EnvSpec, hidden: int = 8) -> None:
        super().__init__(env_spec, hidden)
        self.hidden = hidden
        self.cell = nn.GRUCell(env_spec.obs["obs"].shape[0], hidden)

    def initial_state(self, batch_size: int) -> State:
        return [torch.zeros(batch_size, self.hidden, device=self.device)]

    def forward(
        self,
        input: Mapping[str, Tensor],
        state_in: Sequence[Tensor] = (),
        context: Mapping[str, Tensor] | None = None,
    ) -> tuple[dict[str, Any], State]:
        assert context is not None
        state, outputs = list(state_in), []
        initial = self.initial_state(state[0].shape[0])
        for step in range(input["obs"].shape[1]):
            state = reset_state(state, initial, context["first"][:, step])
            state = [self.cell(input["obs"][:, step], state[0])]
            outputs.append(state[0])
        hidden = torch.stack(outputs, 1)
        return {"pi_logits": self.pi_head(hidden), "vpred": self.value_head(hidden)}, state


def make_policy(seed: int = 0) -> GruPolicy:
    """Weights from ``seed``, large enough for the memory to matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = GruPolicy(VECTOR_SPEC)
        for parameter in policy.parameters():
            nn.init.uniform_(parameter, -1.0, 1.0)
    return policy


@dataclass
class Actor:
    """One stream in which ``policy`` acts, cut into fragments of ``length`` steps.

    Episodes last ``episode`` steps and end by truncation and termination in turn.
    """

    policy: MinePolicy
    number: int
    length: int = 8
    episode: int = 5
    t: int = 0
    index: int = 0
    state: State = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.number)
        self.generator = torch.Generator().manual_seed(self.number)
        self.state = self.policy.initial_state(1)
        self.obs = self._observe()

    def _observe(self) -> dict[str, np.ndarray]:
        drawn = {key: self.random.normal(size=box.shape) for key, box in self.policy.env_spec.obs.items()}
        return {
            key: (128 + 50 * drawn[key]).clip(0, 255).astype(np.uint8) if box.is_image else drawn[key].astype(box.dtype)
            for key, box in self.policy.env_spec.obs.items()
        }

    def _stacked(self, rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        if not rows:
            return self.policy.env_spec.obs.zeros(0)
        return {key: np.stack([row[key] for row in rows]) for key in self.policy.env_spec.obs.keys}

    def fragment(self, version: int) -> Fragment:
        rows: dict[str, list[Any]] = {
            name: [] for name in ("obs", "first", "action", "log_prob", "value", "end", "cut")
        }
        finals: list[dict[str, np.ndarray]] = []
        start_state = tuple(part[0].numpy().copy() for part in self.state)
        for _ in range(self.length):
            first = self.t % self.episode == 0
            acted = self.policy.act(
                {key: torch.from_numpy(array)[None] for key, array in self.obs.items()},
                torch.tensor([first]),
                self.state,
                self.generator,
            )
            self.state = [part.clone() for part in acted.state]
            ended = (self.t + 1) % self.episode == 0
            truncated = ended and (self.t // self.episode) % 2 == 0
            for name, value in (
                ("obs", self.obs),
                ("first", first),
                ("action", acted.actions[0].numpy()),
                ("log_prob", acted.log_probs.item()),
                ("value", acted.values.item()),
                ("end", ended and not truncated),
                ("cut", truncated),
            ):
                rows[name].append(value)
            self.t += 1
            self.obs = self._observe()
            if truncated:
                finals.append(self._observe())
        result = Fragment(
            stream=StreamId(0, self.number),
            index=self.index,
            obs=self._stacked([*rows["obs"], self.obs]),
            actions=np.stack(rows["action"]),
            rewards=self.random.normal(size=self.length).astype(np.float32),
            terminated=np.array(rows["end"]),
            truncated=np.array(rows["cut"]),
            first=np.array([*rows["first"], self.t % self.episode == 0]),
            log_probs=np.array(rows["log_prob"], np.float32),
            values=np.array(rows["value"], np.float32),
            versions=np.full(self.length, version, np.int64),
            final_steps=np.flatnonzero(rows["cut"]),
            final_obs=self._stacked(finals),
            state=start_state,
        )
        self.index += 1
        return result


class ActedStore(FeedStore):
    """Fragments of ``streams`` streams in turn, acted by ``policy`` as it is when they are taken.

    With ``repeat``, every third taking gives those of the second again, their recorded states spoiled.
    """

    def __init__(self, policy: MinePolicy, streams: int = 8, length: int = 8, repeat: bool = False) -> None:
        super().__init__(length)
        self.actors = [Actor(policy, number, length) for number in range(streams)]
        self.repeat = repeat

    def make(self, number: int, version: int) -> Fragment:
        return self.actors[number % len(self.actors)].fragment(version)

    def take(self, count: int, version: int, timeout: float) -> list[FragmentMeta]:
        if self.repeat and self.taken and len(self.taken) % 3 == 2:
            numbers = self.taken[-1]
            self.taken.append(numbers)
            for number in numbers:
                fragment = self.fragments[number]
                fragment.state = tuple(np.full_like(part, 9) for part in fragment.state)
            return [self.fragments[number].meta(number) for number in numbers]
        return super().take(count, version, timeout)

    def previous(self, fragment_ids: Sequence[int]) -> list[Fragment | None]:
        return [self.fragments.get(number - len(self.actors)) for number in fragment_ids]
