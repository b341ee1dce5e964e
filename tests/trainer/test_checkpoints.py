"""Checkpoints on disk: complete or absent, kept or deleted, without pickle."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minestudio_nb.errors import CheckpointError
from minestudio_nb.trainer import Checkpoint, CheckpointStore, find_checkpoint
from minestudio_nb.trainer.packing import pack, unpack

WEIGHTS = {"layer.weight": torch.arange(6.0).reshape(2, 3)}


def checkpoint(iteration: int, **parts: Any) -> Checkpoint:
    return Checkpoint(iteration, WEIGHTS, optimizer={}, state={"n": iteration}, **parts)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.is_dir())


def test_everything_comes_back(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    extra = {
        ("worker", 1): [np.arange(3, dtype=np.uint64), b"\x00\xff", (1, None, True)],
        3: {"$": "dict", "big": 2**200, "nan": math.nan, "inf": -math.inf, "tensor": torch.tensor([True])},
        "scalar": np.float32(0.5),
        "empty": np.zeros((0, 4), np.float16),
    }
    store = CheckpointStore(tmp_path)
    store.save(Checkpoint(5, WEIGHTS, optimizer.state_dict(), {"a": 1}, {"r": torch.ones(2)}, extra))
    back = store.load()
    assert back.iteration == 5 and back.state == {"a": 1} and torch.equal(back.reference["r"], torch.ones(2))
    assert torch.equal(back.weights["layer.weight"], WEIGHTS["layer.weight"])
    other = torch.optim.AdamW(model.parameters())
    other.load_state_dict(dict(back.optimizer))
    moment = optimizer.state[model.weight]["exp_avg"]
    assert torch.equal(other.state[model.weight]["exp_avg"], moment)
    array, raw, triple = back.extra[("worker", 1)]
    assert array.dtype == np.uint64 and array.tolist() == [0, 1, 2] and raw == b"\x00\xff" and triple == (1, None, True)
    inner = back.extra[3]
    assert inner["$"] == "dict" and inner["big"] == 2**200 and math.isnan(inner["nan"]) and inner["inf"] == -math.inf
    assert inner["tensor"].dtype == torch.bool and back.extra["scalar"] == 0.5
    assert back.extra["empty"].shape == (0, 4) and back.extra["empty"].dtype == np.float16


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(trees)
def test_packing_has_an_inverse(tree: Any) -> None:
    plain, tensors = pack(tree)
    assert unpack(plain, tensors) == tree


def test_what_cannot_be_packed_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"state\['extra'\]\['env'\]\[1\] is a object"):
        CheckpointStore(tmp_path).save(checkpoint(1, extra={"env": [1, object()]}))
    assert names(tmp_path) == [] or names(tmp_path) == [".iteration_000001.partial"]
    assert CheckpointStore(tmp_path).newest() is None


def test_kept_and_deleted(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(checkpoint(3), label="mine")
    for iteration in (2, 4, 5, 6):
        store.save(checkpoint(iteration), keep_interval=4)
    assert names(tmp_path) == ["iteration_000003-mine", "iteration_000004", "iteration_000006"]
    assert store.load().iteration == 6 and store.load(tmp_path / "iteration_000004").iteration == 4


def test_the_newest_is_the_one_written_last(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for iteration in (4, 8, 5):  # 5 after a resume from 4
        store.save(checkpoint(iteration), keep_interval=4)
    assert store.load().iteration == 5
    (tmp_path / "latest").unlink()
    assert store.load().iteration == 8


def test_an_interrupted_write_is_not_a_checkpoint(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(checkpoint(1))
    partial = tmp_path / ".iteration_000002.partial"
    partial.mkdir()
    (partial / "state.json").write_text("{")
    assert store.load().iteration == 1
    store.save(checkpoint(2))
    assert store.load().iteration == 2 and not partial.exists()


@pytest.mark.parametrize("label", ["../up", "a/b", "", "x" * 65, "name with space"])
def test_labels_cannot_leave_the_folder(tmp_path: Path, label: str) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    if label:
        with pytest.raises(CheckpointError, match="label"):
            store.save(checkpoint(1), label)
        assert not (tmp_path / "checkpoints").exists()
    else:
        assert store.save(checkpoint(1), label).name == "iteration_000001"


def test_damage_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    folder = store.save(checkpoint(1))
    (folder / "state.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"iteration_000001 is damaged: state\.safetensors"):
        store.load()
    (folder / "state.json").write_text("[]")
    with pytest.raises(CheckpointError):
        store.load()
    with pytest.raises(CheckpointError, match="There is no checkpoint in"):
        CheckpointStore(tmp_path / "empty").load()


def test_where_resume_looks(tmp_path: Path) -> None:
    first = CheckpointStore(tmp_path / "first" / "checkpoints")
    folder = first.save(checkpoint(7))
    own = CheckpointStore(tmp_path / "second" / "checkpoints")
    for source in ("first", str(folder), str(first.directory), str(tmp_path / "first")):
        assert find_checkpoint(source, own) == folder
    assert find_checkpoint("latest", first) == folder
    for source in ("latest", "third", "../first"):
        with pytest.raises(CheckpointError, match="No checkpoint found"):
            find_checkpoint(source, own)


def test_no_file_is_a_pickle(tmp_path: Path) -> None:
    folder = CheckpointStore(tmp_path).save(checkpoint(1, extra={"a": np.ones(2)}))
    assert sorted(path.name for path in folder.iterdir()) == ["state.json", "state.safetensors", "weights.safetensors"]
