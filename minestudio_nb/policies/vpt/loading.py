"""Published VPT files: what a ``.model`` says, and weights under the names of OpenAI and MineStudio.

Nothing in a file is executed: a ``.model`` is a pickle of which plain values are taken and any class or function is
left inert; weights are read with ``weights_only`` or as safetensors.
"""

from __future__ import annotations

import json
import logging
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minestudio_nb.contracts.specs import ActionLeaf, ActionSpec, BoxSpec, EnvSpec, ObsSpec
from minestudio_nb.errors import ConfigError, UnsupportedSpaceError, WeightsError
from minestudio_nb.policies.vpt.policy import MINECRAFT_SPEC, VPTPolicy
from minestudio_nb.policies.weights import describe_names, load_state, load_weights

__all__ = [
    "LoadReport",
    "MineStudioVPT",
    "build_vpt",
    "load_published_weights",
    "load_vpt_policy",
    "read_model_file",
    "sizes_from_minestudio",
]

logger = logging.getLogger(__name__)

MODEL_FILE_BYTES = 10_000_000
"""A ``.model`` is a few kilobytes; what is larger is none."""

_LAYER = r"(norm|layer)\.(weight|bias)"
_NAMES: tuple[tuple[str, str], ...] = (
    (rf"net\.img_process\.cnn\.stacks\.(\d+)\.firstconv\.{_LAYER}", r"net.tower.stacks.\1.enter.\2.\3"),
    (r"net\.img_process\.cnn\.stacks\.(\d+)\.n\.(weight|bias)", r"net.tower.stacks.\1.norm.\2"),
    (
        rf"net\.img_process\.cnn\.stacks\.(\d+)\.blocks\.(\d+)\.conv([01])\.{_LAYER}",
        r"net.tower.stacks.\1.residuals.\2.\3.\4.\5",
    ),
    (rf"net\.img_process\.cnn\.dense\.{_LAYER}", r"net.tower.dense.\1.\2"),
    (rf"net\.img_process\.linear\.{_LAYER}", r"net.embed.\1.\2"),
    (r"net\.recurrent_layer\.blocks\.(\d+)\.pre_r_ln\.(weight|bias)", r"net.blocks.\1.norm.\2"),
    (r"net\.recurrent_layer\.blocks\.(\d+)\.r\.orc_block\.b_nd", r"net.blocks.\1.attention.basis"),
    (rf"net\.recurrent_layer\.blocks\.(\d+)\.mlp0\.{_LAYER}", r"net.blocks.\1.widen.\2.\3"),
    (r"net\.recurrent_layer\.blocks\.(\d+)\.mlp1\.layer\.(weight|bias)", r"net.blocks.\1.narrow.\2"),
    (rf"net\.lastlayer\.{_LAYER}", r"net.last.\1.\2"),
    (r"net\.final_ln\.(weight|bias)", r"net.norm.\1"),
    (r"value_head\.linear\.(weight|bias)", r"value_head.linear.\1"),
    *(
        (
            rf"net\.recurrent_layer\.blocks\.(\d+)\.r\.orc_block\.{theirs}_layer\.(weight|bias)",
            rf"net.blocks.\1.attention.{ours}.\2",
        )
        for theirs, ours in (("q", "query"), ("k", "key"), ("v", "value"), ("proj", "output"), ("r", "relation"))
    ),
)
"""The published name of each tensor (a pattern), and ours; heads and the normaliser are put together by hand."""
_NORMALISER = ("running_mean", "running_mean_sq", "debiasing_term")

_SIZES: Mapping[str, Any] = {
    "hidsize": 512,
    "impala_width": 1,
    "impala_chans": (16, 32, 32),
    "attention_heads": 8,
    "attention_memory_size": 2048,
    "timesteps": None,
    "n_recurrence_layers": 1,
    "pointwise_ratio": 4,
}
"""Sizes, and what MineStudio takes where one is not given."""
_FORM: Mapping[str, tuple[Any, Any]] = {
    "recurrence_type": ("transformer", "transformer"),
    "attention_mask_style": ("clipped_causal", "clipped_causal"),
    "recurrence_is_residual": (True, True),
    "use_pointwise_layer": (True, True),
    "pointwise_use_activation": (False, False),
    "use_pre_lstm_ln": (True, False),
    "first_conv_norm": (False, False),
    "scale_input_img": (True, True),
    "img_statistics": (None, None),
    "init_norm_kwargs": ({}, {"group_norm_groups": 1}),
    "impala_kwargs": ({}, {"post_pool_groups": 1}),
}
"""Forms of the network: what MineStudio takes where one is not given, and what all published networks have."""


@dataclass(frozen=True)
class LoadReport:
    """What loading matched: names as the file has them."""

    source: str
    matched: tuple[str, ...]
    parameters: int
    """Numbers taken from the file."""
    missing: tuple[str, ...] = ()
    """Tensors of the policy that the file lacks."""
    unexpected: tuple[str, ...] = ()
    """Tensors of the file that the policy has no place for."""
    wrong_shapes: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.source}: {len(self.matched)} tensors with {self.parameters:,} numbers matched"
        for what, names in (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("of another shape", self.wrong_shapes),
        ):
            text += f"; {describe_names(names, what)}" if names else ""
        return f"{text}."


# Reading files.


class _Inert:
    """Stands for any class or function that a pickle names: takes what it is given and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...

    def __call__(self, *_: Any, **__: Any) -> _Inert:
        return self

    def append(self, _: Any) -> None: ...

    def extend(self, _: Any) -> None: ...

    def __setitem__(self, _: Any, __: Any) -> None: ...


class _Kind(_Inert):
    """Stands for a numpy dtype: keeps its name."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        self.name = str(name)


def _number(kind: Any = None, data: Any = b"", *_: Any) -> Any:
    """Stands for numpy's scalars: a plain number."""
    if isinstance(kind, _Kind) and kind.name in ("f2", "f4", "f8", "i4", "i8", "b1") and isinstance(data, bytes):
        return np.frombuffer(data, kind.name, count=1)[0].item()
    return _Inert()


class _PlainUnpickler(pickle.Unpickler):
    """Plain values only; finds no class and no function outside this file."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module.startswith("numpy") and name in ("dtype", "scalar"):
            return _Kind if name == "dtype" else _number
        return _Inert


def read_model_file(path: str | Path) -> tuple[dict[str, Any], float]:
    """What a ``.model`` file says: the arguments of the network, under MineStudio's names, and the temperature.

    Raises:
        WeightsError: the file cannot be read, or is no such file.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MODEL_FILE_BYTES:
            raise WeightsError(
                f"{path} has {file.stat().st_size:,} bytes, a .model file a few thousand. Give the weights as weights."
            )
        with file.open("rb") as stream:
            model = _PlainUnpickler(stream).load()
        arguments = model["model"]["args"]
        network = dict(arguments["net"]["args"])
        temperature = float(arguments.get("pi_head_opts", {}).get("temperature", 1.0))
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error}.") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise WeightsError(
            f"{path} is no .model file of VPT, which has model.args.net.args: {type(error).__name__}: {error}."
        ) from error
    return network, temperature


def _read_weights_file(path: str | Path) -> dict[str, Tensor]:
    if str(path).endswith(".safetensors"):
        return load_weights(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        raise WeightsError(
            f"{path} cannot be read as weights: {type(error).__name__}: {error}. Only tensors are read from such a "
            "file; where it holds other objects, save its state dict alone."
        ) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]  # a checkpoint of MineStudio's offline training
    if not isinstance(loaded, Mapping) or not all(isinstance(part, Tensor) for part in loaded.values()):
        raise WeightsError(f"{path} holds no state dict, which maps names to tensors.")
    return {str(name).removeprefix("mine_policy."): part for name, part in loaded.items()}


# Names.


def _our_name(name: str) -> str | None:
    for pattern, ours in _NAMES:
        found = re.fullmatch(pattern, name)
        if found:
            return found.expand(ours)
    return None


def _head_names(policy: VPTPolicy) -> dict[str, tuple[str, ...]]:
    """Our tensors that are put together of several published ones, in their order."""
    leaves = [leaf.name for leaf in policy.env_spec.action.leaves]
    return {
        "pi_head.linear.weight": tuple(f"pi_head.{leaf}.linear_layer.weight" for leaf in leaves),
        "pi_head.linear.bias": tuple(f"pi_head.{leaf}.linear_layer.bias" for leaf in leaves),
        "value_head._moments": tuple(f"value_head.normalizer.{name}" for name in _NORMALISER),
    }


def load_published_weights(
    policy: VPTPolicy, weights: str | Path | Mapping[str, Tensor], heads: bool = True
) -> LoadReport:
    """Takes weights under OpenAI's and MineStudio's names into ``policy``, all or none.

    ``heads`` False leaves both heads as they are, for other actions than the published. Tensors that the policy has no
    place for are left, logged, and named in the report, because published files may hold parts of other models.

    Raises:
        WeightsError: the file is unreadable, or lacks tensors of the policy, or shapes differ; lists them.
    """
    is_file = not isinstance(weights, Mapping)
    source = str(weights) if is_file else "the given weights"
    theirs = _read_weights_file(weights) if is_file else dict(weights)  # type: ignore[arg-type]
    own, joined = policy.state_dict(), _head_names(policy)
    parts = {ours: (name,) for name in theirs if (ours := _our_name(name)) is not None} | joined
    wanted = [name for name in own if name not in ("value_head.mean", "value_head.std")]
    if not heads:
        wanted = [name for name in wanted if not name.startswith(("pi_head.", "value_head."))]
    state, matched, missing, shapes = dict(own), [], [], []
    for name in wanted:
        names = parts.get(name, (f"{name} (as it is named here)",))
        absent = [part for part in names if part not in theirs]
        if absent:
            missing += absent
            continue
        tensors = [theirs[part].float() for part in names]
        tensor = torch.cat([part.reshape(1) if name == "value_head._moments" else part for part in tensors])
        if tensor.shape != own[name].shape:
            shapes.append(f"{' + '.join(names)}: {tuple(tensor.shape)} came, {tuple(own[name].shape)} is needed")
            continue
        state[name] = tensor
        matched += names
    if heads and not missing and not shapes:
        _denormalise(policy, state)
    unexpected = [] if not heads else [name for name in theirs if name not in set(matched)]
    count = sum(theirs[name].numel() for name in matched)
    report = LoadReport(source, tuple(matched), count, tuple(missing), tuple(unexpected), tuple(shapes))
    if missing or shapes:
        hint = (
            ""
            if any(not name.startswith(("pi_head.", "value_head.")) for name in (*missing, *shapes))
            else (" Only the heads differ: with heads=False the trunk alone is loaded.")
        )
        raise WeightsError(f"The weights do not fit this VPT. {report}{hint}")
    if unexpected:
        logger.warning("%s", report)
    load_state(policy, state)
    return report


def _denormalise(policy: VPTPolicy, state: dict[str, Tensor]) -> None:
    """Mean and deviation of the value head from its running moments; 0 and 1 where it has seen no return."""
    moments = state["value_head._moments"]
    if float(moments[2]) > 0.0:
        state["value_head.mean"], state["value_head.std"] = policy.value_head.scale_of(moments)
    else:
        state["value_head.mean"], state["value_head.std"] = torch.zeros(()), torch.ones(())


# Ways to make one.


def sizes_from_minestudio(policy_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of :class:`VPTSizes` from those of MineStudio's network.

    Raises:
        ConfigError: the network has another form than the published ones; lists every difference.
    """
    problems = []
    for name, (default, supported) in _FORM.items():
        came = policy_kwargs.get(name, default)
        if isinstance(came, Mapping):
            came = {key: value for key, value in came.items() if value not in (None, False)}
        if came != supported:
            problems.append(f"policy_kwargs.{name}: {supported!r} is supported, {came!r} came")
    sizes = {name: policy_kwargs.get(name, default) for name, default in _SIZES.items()}
    if sizes["timesteps"] is None:
        problems.append("policy_kwargs.timesteps: a number is needed, None came")
    if problems:
        raise ConfigError("This VPT has another form than the published networks.", problems)
    return {**sizes, "impala_chans": tuple(sizes["impala_chans"])}


def _image_shape(policy_kwargs: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(size) for size in policy_kwargs.get("img_shape") or (128, 128, 3))


def _check_image(env_spec: EnvSpec, policy_kwargs: Mapping[str, Any]) -> None:
    shape, came = _image_shape(policy_kwargs), dict(env_spec.obs.items()).get("image")
    if came is not None and came.shape != shape:
        raise UnsupportedSpaceError(
            f"The published network sees images of {shape} (height, width, channels), the environment shows "
            f"{came.shape}. Set env_config.obs_size to {list(shape[1::-1])}."
        )


def build_vpt(
    env_spec: EnvSpec,
    model: str | None = None,
    weights: str | None = None,
    heads: bool = True,
    temperature: float | None = None,
    hierarchical: bool | None = None,
    **sizes: Any,
) -> VPTPolicy:
    """What ``policy_config: {name: vpt, args: ...}`` builds.

    ``model`` is a ``.model`` file, which gives sizes and temperature; ``weights`` a file of weights, see
    :func:`load_published_weights` for ``heads``. The rest as in :class:`VPTPolicy`.

    Raises:
        ConfigError: sizes beside a model file, or a network of another form.
        WeightsError, UnsupportedSpaceError: a file does not fit; see the functions above.
    """
    if model is not None:
        if sizes:
            raise ConfigError(f"The sizes come from the model file {model}; remove {', '.join(sorted(sizes))}.")
        policy_kwargs, published = read_model_file(model)
        _check_image(env_spec, policy_kwargs)
        sizes = sizes_from_minestudio(policy_kwargs)
        temperature = published if temperature is None else temperature
    policy = VPTPolicy(env_spec, 1.0 if temperature is None else temperature, hierarchical, **sizes)
    if weights is not None:
        load_published_weights(policy, weights, heads)
    return policy


def load_vpt_policy(model_path: str | None = None, weights_path: str | None = None) -> VPTPolicy:
    """MineStudio's function of this name: a policy from OpenAI's ``.model`` and ``.weights`` files.

    Raises:
        WeightsError: a file is missing or unreadable, or they do not fit each other.
    """
    if model_path is None:
        raise WeightsError(
            "load_vpt_policy needs model_path, a .model file: nothing is downloaded here. Fetch the files yourself; a "
            "folder in the form of the Hugging Face hub is loaded by MineStudioVPT.from_pretrained(folder)."
        )
    return build_vpt(MINECRAFT_SPEC, model_path, weights_path)


class MineStudioVPT(VPTPolicy):
    """MineStudio's ``VPTPolicy`` as its modules make it: from ``policy_kwargs`` and a Gymnasium action space."""

    def __init__(
        self,
        policy_kwargs: Mapping[str, Any],
        action_space: Any = None,
        temperature: float = 1.0,
        nucleus_prob: float | None = None,
    ) -> None:
        if nucleus_prob is not None:
            raise ConfigError("nucleus_prob is not supported: what it cuts away has no log-probability to train on.")
        action = MINECRAFT_SPEC.action if action_space is None else _action_spec(action_space)
        obs = ObsSpec((("image", BoxSpec(_image_shape(policy_kwargs), "uint8")),), True)
        super().__init__(EnvSpec(obs, action), temperature, **sizes_from_minestudio(policy_kwargs))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> MineStudioVPT:
        """The policy in a local folder of ``config.json`` and ``model.safetensors``.

        Raises:
            WeightsError: there is no such folder, or the files do not fit.
        """
        root = Path(folder)
        try:
            config = json.loads((root / "config.json").read_text())
            policy = cls(**{key: config[key] for key in ("policy_kwargs", "temperature") if key in config})
        except (OSError, ValueError, TypeError) as error:
            raise WeightsError(
                f"{folder} is no local folder with config.json and model.safetensors ({error}). Nothing is downloaded "
                f"here: fetch it with `hf download {folder} --local-dir DIR`, and give DIR."
            ) from error
        load_published_weights(policy, root / "model.safetensors")
        return policy


def _action_spec(space: Any) -> ActionSpec:
    """The spec of a Gymnasium Dict of MultiDiscrete."""
    leaves: Sequence[tuple[str, Any]] = tuple(getattr(space, "spaces", {}).items())
    if not leaves or not all(hasattr(leaf, "nvec") for _, leaf in leaves):
        raise UnsupportedSpaceError(f"MineStudio's VPT acts in a Dict of MultiDiscrete, {space} came.")
    return ActionSpec(
        tuple(
            ActionLeaf(name, "multi_discrete", tuple(int(n) for n in leaf.nvec.reshape(-1)), tuple(leaf.shape))
            for name, leaf in leaves
        ),
        True,
    )
