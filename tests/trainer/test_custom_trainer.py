"""An algorithm of one's own: the example of docs/custom_trainer.md, and how such a class is found and travels."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from minestudio_nb import OnlineSession
from minestudio_nb.config import LoadedConfig, load_config
from minestudio_nb.config import trainers as registry
from minestudio_nb.config.trainers import travelling
from minestudio_nb.errors import ConfigError
from minestudio_nb.learning import SampleBatch, collate, gae
from minestudio_nb.trainer import BaseTrainer, PPOTrainer, get_trainer_class, register_trainer
from minestudio_nb.trainer.passes import Evaluation
from tests.support.fragments import make_fragment
from tests.support.training import Bench, same_weights, small_config

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "custom_trainer.md").read_text(encoding="utf-8")
DEFINITION, TRAINING = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Forgets afterwards what a test registered."""
    before = dict(registry._REGISTERED)
    yield
    registry._REGISTERED.clear()
    registry._REGISTERED.update(before)


@pytest.fixture
def page() -> dict[str, Any]:
    """The names of the page's first block, as if a notebook's cell had been run."""
    names: dict[str, Any] = {"__name__": "a_notebook"}
    exec(DEFINITION, names)
    return names


def one(**arrays: Any) -> SampleBatch:
    """Three steps of reward 1, acted with log-probability 0."""
    fragment = make_fragment(0, length=3, ends=False)
    fragment.rewards[:], fragment.log_probs[:] = 1.0, 0.0
    for name, value in arrays.items():
        getattr(fragment, name)[:] = value
    return collate([fragment])


def estimate(page: dict[str, Any], batch: SampleBatch, log_probs: list[float], discount: float, lam: float) -> Any:
    bench = Bench(small_config(discount=discount, gae_lambda=lam), trainer=page["VTraceTrainer"])
    finals = torch.full((1, 3), 2.0)
    start = Evaluation(torch.tensor([log_probs]), torch.full((1, 4), 0.5), finals, [])
    return bench.trainer.estimate_advantages(batch, start)


def test_vtrace_by_hand(page: dict[str, Any]) -> None:
    # Ratios 0.5, 1, 4 -> weights 0.5, 1, 1; gamma 0.9, lambda 1, every value 0.5: one-step errors 0.95 x weight.
    half, four = torch.tensor(0.5).log().item(), torch.tensor(4.0).log().item()
    advantages, targets = estimate(page, one(), [half, 0.0, four], 0.9, 1.0)
    # From behind: v2 = .5 + .95 = 1.45; v1 = .5 + .95 + .9 * .95 = 2.305; v0 = .5 + .475 + .9 * .5 * 1.805 = 1.78725.
    assert targets[0].tolist() == pytest.approx([1.78725, 2.305, 1.45])
    # weight * (1 + .9 v_next - .5): .5 * (.5 + 2.0745), .5 + 1.305, .5 + .45.
    assert advantages[0].tolist() == pytest.approx([1.28725, 1.805, 0.95])


def test_vtrace_ends(page: dict[str, Any]) -> None:
    cut = one(truncated=[False, True, False])
    advantages, targets = estimate(page, cut, [0.0] * 3, 0.9, 1.0)
    # Step 1 ends at an observation worth 2: error 1 + 1.8 - .5 = 2.3, and nothing of step 2 flows back.
    assert targets[0].tolist() == pytest.approx([0.5 + 0.95 + 0.9 * 2.3, 2.8, 1.45])
    assert advantages[0, 1].item() == pytest.approx(2.3)
    advantages, _ = estimate(page, one(terminated=[False, True, False]), [0.0] * 3, 0.9, 1.0)
    assert advantages[0, 1].item() == pytest.approx(0.5)


def test_vtrace_of_fresh_data_has_the_targets_of_gae(page: dict[str, Any]) -> None:
    batch = one(truncated=[False, True, False])
    _, targets = estimate(page, batch, [0.0] * 3, 0.9, 0.7)
    values, finals = torch.full((1, 4), 0.5), torch.full((1, 3), 2.0)
    _, returns = gae(batch.rewards, values, batch.terminated, batch.truncated, finals, 0.9, 0.7)
    torch.testing.assert_close(targets, returns)


def test_the_page_s_trainer_learns(page: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(TRAINING, page)
    assert page["learned"].mean_return > 150
    metrics = (tmp_path / "runs" / "vtrace" / "metrics.jsonl").read_text()
    assert '"ppo/policy_loss"' in metrics and '"ppo/clip_fraction"' not in metrics


def test_it_is_as_short_as_the_page_says() -> None:
    code = [line for line in DEFINITION.splitlines() if line.strip()]
    assert len(code) <= 40


def test_what_every_trainer_has_comes_from_the_base(page: dict[str, Any], tmp_path: Path) -> None:
    """Resuming, live edits and the guard against NaN work for a class that knows nothing of them."""
    from minestudio_nb.trainer import CheckpointStore
    from tests.support.fragments import FeedStore

    def run(store: FeedStore, checkpoints: CheckpointStore, **train: Any) -> Bench:
        config = small_config(num_iterations=4, **train)
        return Bench(config, store, trainer=page["VTraceTrainer"], checkpoints=checkpoints)

    straight = run(FeedStore(lag=1), CheckpointStore(tmp_path / "a"))
    straight.control.edit("train_config.weight_decay", 0.1)
    straight.run()
    assert straight.trainer.optimizer.param_groups[0]["weight_decay"] == 0.1
    half = run(FeedStore(lag=1), CheckpointStore(tmp_path / "b"))
    half.control.edit("train_config.weight_decay", 0.1)
    half.trainer._stop_check = lambda: "half" if half.trainer.progress.iteration == 2 else None
    half.run()
    rest = run(FeedStore(lag=1, start=16), CheckpointStore(tmp_path / "b"), resume="latest")
    rest.run()
    assert same_weights(straight.weights, rest.weights)

    def poisoned(part: Any, targets: Any, total: Any) -> Any:
        loss, sums = type(straight.trainer).loss(broken.trainer, part, targets, total)
        return loss * float("nan"), sums

    broken = run(FeedStore(), CheckpointStore(tmp_path / "c"))
    broken.trainer.loss = poisoned
    broken.run()
    assert same_weights(broken.weights, Bench().weights)
    assert "not finite" in broken.telemetry.told[-1].message


# How a class is found.


def test_names_of_trainers() -> None:
    with pytest.raises(ConfigError, match=r"trainer_name: There is no trainer named 'PPOTrainr'.*'PPOTrainer'"):
        load_config("cartpole", ["trainer_name=PPOTrainr"])
    with pytest.raises(ConfigError, match="already"):
        register_trainer(type("PPOTrainer", (BaseTrainer,), {}))
    first = register_trainer(type("Mine", (PPOTrainer,), {}))
    assert get_trainer_class("Mine") is first and load_config("cartpole", ["trainer_name=Mine"]).trainer is None
    again = register_trainer(type("Mine", (PPOTrainer,), {}))
    assert get_trainer_class("Mine") is again, "a cell that is run twice defines it anew"
    register_trainer(type("NoTrainer", (), {}))
    with pytest.raises(ConfigError, match="'NoTrainer' is no trainer"):
        get_trainer_class("NoTrainer")


MODULE = textwrap.dedent(
    """
    from minestudio_nb.trainer import PPOTrainer

    online_dict = {
        "trainer_name": "Doubling",
        "env_config": {"simulator": "gymnasium", "id": "CartPole-v1"},
        "train_config": {"num_iterations": 2, "batch_size_per_gpu": 2, "batches_per_iteration": 2},
        "rollout_config": {"fragment_length": 8, "num_rollout_workers": 1, "worker_config": {"num_envs": 2}},
    }

    FACTOR = 2.0


    class Doubling(PPOTrainer):
        def before_update(self):
            super().before_update()
            for group in self.optimizer.param_groups:
                group["lr"] *= FACTOR
    """
)
IN_ANOTHER_PROCESS = """
import pickle, sys
from minestudio_nb.trainer import PPOTrainer, get_trainer_class
loaded = pickle.loads(sys.stdin.buffer.read())
found = get_trainer_class(loaded.config.trainer_name, loaded.trainer)
assert found.__name__ == loaded.config.trainer_name, found
print("loss" in vars(found), found.__mro__[1].__name__)
"""


def elsewhere(loaded: LoadedConfig) -> str:
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        input=pickle.dumps(loaded),
        capture_output=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def test_a_class_of_a_notebook_travels_by_value(page: dict[str, Any]) -> None:
    loaded = load_config("cartpole", ["trainer_name=VTraceTrainer"])
    assert elsewhere(travelling(loaded)) == "True BaseTrainer"
    assert travelling(load_config("cartpole")).trainer is None, "shipped ones are known everywhere"
    lock = threading.Lock()  # cannot be pickled

    @register_trainer
    class Holding(PPOTrainer):
        def before_update(self) -> None:
            with lock:
                super().before_update()

    with pytest.raises(ConfigError, match="Holding cannot travel to another process"):
        travelling(load_config("cartpole", ["trainer_name=Holding"]))


def test_a_class_of_a_configuration_module_travels_as_its_text(tmp_path: Path) -> None:
    path = tmp_path / "doubling.py"
    path.write_text(MODULE)
    loaded = load_config(path)
    assert loaded.trainer is not None and loaded.trainer.kind == "module"
    assert elsewhere(travelling(loaded)) == "False PPOTrainer"
    assert load_config(loaded, ["train_config.seed=3"]).trainer == loaded.trainer
    beside = tmp_path / "beside.yaml"
    beside.write_text(
        "generator_module: doubling.py\ntrainer_name: Doubling\nenv_config: {simulator: gymnasium, id: A}\n"
    )
    assert load_config(beside).trainer == loaded.trainer


def test_a_run_of_it_inline_and_its_saved_configuration(tmp_path: Path) -> None:
    path = tmp_path / "doubling.py"
    path.write_text(MODULE)
    with OnlineSession("double", runtime="inline", run_root=tmp_path) as session:
        session.load_config(path)
        session.start_rollout()
        session.start_trainer()
        assert session.wait(timeout=120).iteration == 2
        assert session.metrics()["ppo/loss"].notna().all()
    saved = load_config(tmp_path / "double" / "config.yaml")
    assert saved.trainer is not None and saved.trainer.function == "Doubling"
