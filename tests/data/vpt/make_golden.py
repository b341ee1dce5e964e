"""Makes ``golden.npz``: what MineStudio's own VPT says with known weights and images. Run it with MineStudio 1.1.6::

    python tests/data/vpt/make_golden.py

MineStudio's forward ignores where episodes begin, so its state is reset by hand there. Weights and images come from
numpy's legacy generator, whose numbers are the same in every version, so that the file need not hold them.
"""

from __future__ import annotations

import importlib.util
import sys
import types
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden.npz"
BUTTONS, CAMERA, TEMPERATURE = 37, 9, 2.0
STREAMS, STEPS = 2, 40
STARTS = ((0, 13, 14, 31), (5,))
"""Steps at which each stream begins an episode."""
CHUNKS = (1, 1, 3, 7, 8, 20)
"""Steps shown at once; the memory has 8."""
POLICY_KWARGS = {
    "attention_heads": 4,
    "attention_mask_style": "clipped_causal",
    "attention_memory_size": 14,
    "timesteps": 6,
    "diff_mlp_embedding": False,
    "hidsize": 32,
    "img_shape": [24, 20, 3],
    "impala_chans": [16, 32, 32],
    "impala_kwargs": {"post_pool_groups": 1},
    "impala_width": 0.25,
    "init_norm_kwargs": {"batch_norm": False, "group_norm_groups": 1},
    "n_recurrence_layers": 3,
    "only_img_input": True,
    "pointwise_ratio": 4,
    "pointwise_use_activation": False,
    "recurrence_is_residual": True,
    "recurrence_type": "transformer",
    "use_pointwise_layer": True,
    "use_pre_lstm_ln": False,
}


def make_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """A weight of each name, float32; what layers normalise with is near 1 and 0, the rest large enough to matter."""
    weights = {}
    for name, shape in shapes.items():
        drawn = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
        fan_in = max(1, int(np.prod(shape[1:])))
        scale = 0.2 if len(shape) < 2 else (0.7 if "head" in name else 1.4) / np.sqrt(fan_in)
        is_gain = name.endswith("weight") and len(shape) == 1
        weights[name] = (drawn * scale + is_gain).astype(np.float32)
    # Moments of returns: mean 3, mean square 13, seen with a weight of 1/2.
    weights["value_head.normalizer.running_mean"] = np.array([1.5], np.float32)
    weights["value_head.normalizer.running_mean_sq"] = np.array([6.5], np.float32)
    weights["value_head.normalizer.debiasing_term"] = np.array(0.5, np.float32)
    return weights


def make_images() -> np.ndarray:
    """uint8 ``(STREAMS, STEPS, H, W, 3)``."""
    shape = (STREAMS, STEPS, *POLICY_KWARGS["img_shape"])
    return np.random.RandomState(7).randint(0, 256, shape).astype(np.uint8)


def import_vpt() -> type:
    """MineStudio's VPTPolicy, without the requirements of its other models, which its package imports as well."""
    package = types.ModuleType("minestudio.models")
    package.__path__ = [str(Path(importlib.util.find_spec("minestudio").origin).parent / "models")]
    sys.modules[package.__name__] = package
    from minestudio.models.vpt.body import VPTPolicy

    return VPTPolicy


def main() -> None:
    import gymnasium
    import torch

    space = gymnasium.spaces.Dict(
        {"buttons": gymnasium.spaces.MultiDiscrete([BUTTONS]), "camera": gymnasium.spaces.MultiDiscrete([CAMERA])}
    )
    policy = import_vpt()(POLICY_KWARGS, action_space=space, temperature=TEMPERATURE).eval()
    shapes = {name: tuple(part.shape) for name, part in policy.state_dict().items()}
    policy.load_state_dict({name: torch.from_numpy(part) for name, part in make_weights(shapes).items()}, strict=True)
    images = torch.from_numpy(make_images())
    found: dict[str, list[np.ndarray]] = {}
    for stream in range(STREAMS):
        state, parts = policy.initial_state(1), {}
        ends = np.cumsum(CHUNKS).tolist()
        cuts = sorted({0, *ends, *STARTS[stream]})
        for start, stop in zip(cuts, cuts[1:]):
            if start in STARTS[stream]:
                state = policy.initial_state(1)
            with torch.no_grad():
                latents, state = policy({"image": images[stream : stream + 1, start:stop]}, state)
            value = policy.value_head.denormalize(latents["vpred"])
            said = {**latents["pi_logits"], "vpred": latents["vpred"], "value": value}
            for name, part in said.items():
                parts.setdefault(name, []).append(part.reshape(stop - start, -1).numpy())
        for name, pieces in parts.items():
            found.setdefault(name, []).append(np.concatenate(pieces))
        for index, part in enumerate(state):
            found.setdefault(f"state_{index}", []).append(part[0].numpy())
    arrays = {name: np.stack(pieces) for name, pieces in found.items()}
    names = np.array([f"{name} {' '.join(map(str, shape))}" for name, shape in shapes.items()])
    np.savez_compressed(GOLDEN, shapes=names, **arrays)


if __name__ == "__main__":
    main()
