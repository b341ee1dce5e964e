"""Sessions over several nodes: who runs where, code that only the notebook has, a node that joins late or leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.cluster_support import ClusterOfNodes, cluster_of_nodes
from tests.runtime.ray_support import finish, said
from tests.runtime.test_clusters import run

pytestmark = [pytest.mark.ray, pytest.mark.full, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterOfNodes]:
    """A head, a node for environments, and one with a GPU that exists in Ray's books only."""
    with cluster_of_nodes(tmp_path_factory.mktemp("nodes")) as made:
        made.start_head("--cpus", "1", "--labels", "kind=head")
        made.start_worker("cpu", "--cpus", "2", "--labels", "kind=cpu")
        made.start_worker("gpu", "--cpus", "1", "--gpus", "1", "--labels", "kind=gpu", "--resources", "display=1")
        yield made


WHERE = """
import ray
import ray._private.state

def where():
    nodes = {node["NodeID"]: node["Labels"].get("kind") for node in ray.nodes()}
    actors = ray._private.state.actors().values()
    return {actor["Name"].rpartition("/")[2]: nodes[actor["Address"]["NodeID"]] for actor in actors
            if actor["State"] == "ALIVE" and actor["Name"]}
"""


def test_processes_go_where_they_are_asked_to(cluster: ClusterOfNodes, tmp_path: Path) -> None:
    driver = run(
        cluster,
        WHERE
        + f"""
session = ms.OnlineSession("placed", address={cluster.address!r})
plan = session.load_config("cartpole", overrides=[
    *SMALL, "rollout_config.num_rollout_workers=2", "rollout_config.node_labels={{kind: cpu}}",
    "train_config.node_labels={{kind: gpu}}", "train_config.num_gpus_per_worker=0.25", "train_config.device=cpu"])
say("plan", [(row.what, row.amount, row.detail) for row in plan.rows if row.what.endswith(" go")], plan.missing)
session.start_rollout()
session.start_trainer()
session.wait(iterations=2, timeout=300)
say("where", sorted(where().items()))
session.stop()
session.load_config("cartpole", overrides=[*SMALL, "rollout_config.num_gpus_per_worker=0.25",
                                           "rollout_config.resources_per_worker={{display: 1}}"])
attempt("logical", session.start_rollout)
""",
        tmp_path,
    )
    try:
        plan = said(driver, "plan")
        assert "nodes with kind=cpu: 2 on " in plan and "nodes with kind=gpu: 1 on " in plan and plan.endswith("()")
        placed = dict(eval(said(driver, "where").partition(" ")[2]))
        assert placed["rollout_worker_0"] == placed["rollout_worker_1"] == "cpu"
        assert placed["trainer_1"] == "gpu"
        assert placed["supervisor"] == placed["replay_buffer"] == "head"
        logical = said(driver, "logical")
        assert "ResourceError A GPU is asked for" in logical and "torch sees none in this process" in logical
    finally:
        finish(driver)


OWN = '''
import gymnasium, torch
from helpers_of_mine import BONUS
from minestudio_nb.policies import MlpPolicy

class MyPolicy(MlpPolicy):
    """Known to the notebook only."""
    mark = BONUS

class Bonus(gymnasium.RewardWrapper):
    """A callback of the user's own, from a module beside the configuration."""
    def reward(self, reward):
        return reward + BONUS

def env_generator():
    return Bonus(gymnasium.make("CartPole-v1", disable_env_checker=True))

def policy_generator(env_spec):
    policy = MyPolicy(env_spec)
    assert policy.mark == 1.0
    return policy

online_dict = {
    "train_config": {"num_iterations": 2, "batch_size_per_gpu": 2, "batches_per_iteration": 1},
    "rollout_config": {"num_rollout_workers": 1, "fragment_length": 16, "worker_config": {"num_envs": 4},
                       "node_labels": {"kind": "cpu"}},
}
'''


def test_nodes_need_the_package_and_nothing_else(cluster: ClusterOfNodes, tmp_path: Path) -> None:
    """Nodes have a working directory of their own, without the files beside the user's configuration."""
    (tmp_path / "helpers_of_mine.py").write_text("BONUS = 1.0\n")
    (tmp_path / "mine.py").write_text(OWN)
    driver = run(
        cluster,
        f"""
sys.path.insert(0, ".")
session = ms.OnlineSession("travels", address={cluster.client_address!r})
session.load_config("mine.py", overrides=["train_config.node_labels={{kind: gpu}}"])
session.start_rollout()
session.start_trainer()
session.wait(timeout=300)
returns = [episode["episode_return"] for episode in session.episodes().to_dict("records")]
lengths = [episode["length"] for episode in session.episodes().to_dict("records")]
say("doubled", len(returns) > 0 and returns == [2.0 * length for length in lengths])
session.stop()
""",
        tmp_path,
    )
    try:
        assert said(driver, "doubled") == "doubled True"
    finally:
        finish(driver)


def test_a_node_that_joins_late_takes_over_from_one_that_is_gone(cluster: ClusterOfNodes, tmp_path: Path) -> None:
    cluster.start_worker("first", "--cpus", "1", "--labels", "kind=guest")
    driver = run(
        cluster,
        WHERE
        + f"""
session = ms.OnlineSession("guests", address={cluster.address!r})
session.load_config("cartpole", overrides=[*SMALL, "rollout_config.node_labels={{kind: guest}}"])
session.start_rollout()
session.start_trainer()
session.wait(iterations=2, timeout=300)
say("ready")
sys.stdin.readline()
while not [event for event in session.events().to_dict("records") if event["kind"] == "worker_restart"]:
    time.sleep(0.5)
say("restart")
session.wait(iterations=session.status().iteration + 3, timeout=300)
say("goes_on", where()["rollout_worker_0_restart_1"])
session.stop()
""",
        tmp_path,
    )
    assert driver.stdin is not None
    try:
        said(driver, "ready")
        cluster.command("stop", "first")
        cluster.start_worker("second", "--cpus", "1", "--labels", "kind=guest")
        driver.stdin.write("\n")
        driver.stdin.flush()
        said(driver, "restart")
        assert said(driver, "goes_on") == "goes_on guest"
    finally:
        finish(driver)
        cluster.command("stop", "second")
