"""VPT: the architecture of OpenAI's Video PreTraining, its published weights, and MineStudio's ways to make one."""

from minestudio_nb.policies.vpt.loading import (
    LoadReport,
    MineStudioVPT,
    build_vpt,
    load_published_weights,
    load_vpt_policy,
)
from minestudio_nb.policies.vpt.network import VPTSizes
from minestudio_nb.policies.vpt.policy import MINECRAFT_SPEC, HierarchicalHead, VPTPolicy, foundation_2x

__all__ = [
    "MINECRAFT_SPEC",
    "HierarchicalHead",
    "LoadReport",
    "MineStudioVPT",
    "VPTPolicy",
    "VPTSizes",
    "build_vpt",
    "foundation_2x",
    "load_published_weights",
    "load_vpt_policy",
]
