"""Policies: the interface, heads, shipped networks, and weights in and out."""

from minestudio_nb.policies.base import (
    ActOutput,
    FeedForwardPolicy,
    MinePolicy,
    Outputs,
    State,
    episode_segments,
    reset_state,
)
from minestudio_nb.policies.build import build_policy, policy_names, register_policy
from minestudio_nb.policies.cnn import CnnPolicy
from minestudio_nb.policies.device import choose_device, get_compute_device
from minestudio_nb.policies.foreign import ForeignPolicy
from minestudio_nb.policies.gru import CnnGruPolicy, GruPolicy, MlpGruPolicy
from minestudio_nb.policies.heads import ActionHead, CategoricalHead, MixedHead, ValueHead, make_action_head
from minestudio_nb.policies.mlp import MlpPolicy
from minestudio_nb.policies.vpt import VPTPolicy, load_vpt_policy
from minestudio_nb.policies.weights import load_package, load_state, load_weights, save_weights, to_package

__all__ = [
    "ActOutput",
    "ActionHead",
    "CategoricalHead",
    "CnnGruPolicy",
    "CnnPolicy",
    "FeedForwardPolicy",
    "ForeignPolicy",
    "GruPolicy",
    "MinePolicy",
    "MixedHead",
    "MlpGruPolicy",
    "MlpPolicy",
    "Outputs",
    "State",
    "VPTPolicy",
    "ValueHead",
    "build_policy",
    "choose_device",
    "episode_segments",
    "get_compute_device",
    "load_package",
    "load_state",
    "load_vpt_policy",
    "load_weights",
    "make_action_head",
    "policy_names",
    "register_policy",
    "reset_state",
    "save_weights",
    "to_package",
]
