"""Clusters that outlive sessions: started by the command, reached from afar, left alone by a client that dies.

Each test drives processes of its own, since the test process is itself connected to another cluster.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minestudio_nb.runtime.processes import find_marked
from tests.runtime.cluster_support import ClusterOfNodes, cluster_of_nodes
from tests.runtime.ray_support import finish, said, start_driver

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

PRELUDE = """
import os, signal, sys, time
import minestudio_nb as ms
from minestudio_nb.errors import MineStudioError

SMALL = ["train_config.num_iterations=100000", "rollout_config.worker_config.num_envs=4"]

def say(*words):
    print(*words, flush=True)

def attempt(name, function):
    began = time.monotonic()
    try:
        function()
        say(name, "0 nothing was raised")
    except MineStudioError as error:
        say(name, round(time.monotonic() - began, 1), type(error).__name__, " ".join(str(error).split()))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterOfNodes]:
    with cluster_of_nodes(tmp_path_factory.mktemp("nodes")) as made:
        made.environment["MSNB_RUN_ROOT"] = str(made.root / "far_runs")
        made.words = made.start_head("--cpus", "4", "--labels", "kind=head")
        yield made


def run(cluster: ClusterOfNodes, code: str, root: Path, **environment: str) -> subprocess.Popen[str]:
    return start_driver(PRELUDE + code, "clusters", root, {**cluster.environment, **environment})


def test_the_command_says_how_to_go_on(cluster: ClusterOfNodes) -> None:
    record = json.loads((cluster.root / "nodes" / "head.json").read_text())
    assert f"cluster worker {record['address']}" in cluster.words
    assert f'address="ray://127.0.0.1:{cluster.client_port}"' in cluster.words
    assert f"ssh -N -L {cluster.client_port}:127.0.0.1:{cluster.client_port}" in cluster.words
    assert cluster.token.stat().st_mode & 0o777 == 0o600
    assert cluster.token.read_text().strip() not in cluster.words + json.dumps(record)
    assert len(find_marked(record["cluster_id"])) >= 4


def test_a_notebook_far_away_may_be_killed_and_another_one_takes_over(cluster: ClusterOfNodes, tmp_path: Path) -> None:
    first = run(
        cluster,
        f"""
session = ms.OnlineSession("far", address={cluster.client_address!r}, detached=True)
plan = session.load_config("cartpole", overrides=SMALL)
say("plan", [(row.what, row.detail) for row in plan.rows if row.what in ("rollout workers go", "GPUs")])
session.start_rollout()
session.start_trainer()
session.wait(iterations=2, timeout=300)
session.set("train_config.learning_rate", 1e-5)
say("trains", session.status().iteration)
sys.stdin.read()
""",
        tmp_path,
    )
    try:
        assert "1 on " in said(first, "plan")
        iteration = int(said(first, "trains").split()[1])
        first.send_signal(signal.SIGKILL)
    finally:
        finish(first)
    second = run(
        cluster,
        f"""
session = ms.OnlineSession.attach("far", address={cluster.client_address!r})
say("attached", session.status().iteration, session.held_by)
edits = session.edits()
say("edits", [(edit.key, edit.value) for edit in edits])
session.wait(iterations={iteration} + 3, timeout=300)
say("tiles", len(session._live().tiles()))
session.take_controls()
report = session.stop()
say("stopped", session.state, report.iterations)
""",
        tmp_path,
    )
    try:
        assert int(said(second, "attached").split()[1]) >= iteration
        assert "('train_config.learning_rate', 1e-05)" in said(second, "edits")
        assert said(second, "tiles") == "tiles 4"
        assert said(second, "stopped").split()[:2] == ["stopped", "STOPPED"]
    finally:
        finish(second)
    assert list((tmp_path / "runs" / "far" / "checkpoints").glob("iteration_*"))
    assert "Sessions that run there: none" in cluster.command("status")


def test_what_does_not_answer_is_said_in_one_sentence_within_seconds(cluster: ClusterOfNodes, tmp_path: Path) -> None:
    port, client = cluster.port, cluster.client_port
    wrong = tmp_path / "wrong"
    wrong.write_text("f" * 64)
    wrong.chmod(0o600)
    code = f"""
def start(address, *overrides):
    session = ms.OnlineSession("refused", address=address)
    session.load_config("cartpole", overrides=[*SMALL, *overrides])
    session.start_rollout()

if "WRONG" not in os.environ:
    attempt("nobody", lambda: start("127.0.0.1:1"))
    attempt("client_port", lambda: start("127.0.0.1:{client}"))
    attempt("head_port", lambda: start("ray://127.0.0.1:{port}"))
    attempt("words", lambda: start("ray:/fox"))
    attempt("room", lambda: start("{cluster.address}", "rollout_config.num_rollout_workers=50"))
    attempt("labels", lambda: start("{cluster.address}", "rollout_config.node_labels={{kind: moon}}"))
    attempt("logical_gpu", lambda: start("{cluster.address}", "rollout_config.num_gpus_per_worker=1"))
else:
    attempt("direct", lambda: start("127.0.0.1:{port}"))
    attempt("client", lambda: start("{cluster.client_address}"))
say("end")
"""
    for path in ("", str(wrong), "/nothing"):
        environment = {"WRONG": "1", "RAY_AUTH_TOKEN_PATH": path} if path else {}
        driver = run(cluster, code, tmp_path, **environment)
        try:
            said(driver, "end", lines := [])
        finally:
            finish(driver)
        answers = {line.split()[0]: line.split(maxsplit=3) for line in lines if "Error" in line or "raised" in line}
        assert all(float(answer[1]) < 60.0 and answer[2] == "ResourceError" for answer in answers.values()), answers
        words = {name: answer[3] for name, answer in answers.items()}
        if not environment:
            assert "Nothing answered at 127.0.0.1:1" in words["nobody"]
            assert "is not the head of a Ray cluster. Its port is 6379" in words["client_port"]
            assert "no Ray Client server. Its port is 10001" in words["head_port"]
            assert "'ray:/fox' is no address" in words["words"]
            assert "CPU: 50 x 0.5 for rollout workers + 1 x 1 for trainers = 26 asked for, 4 there" in words["room"]
            assert "no node is labelled kind=moon (labels there: kind=head)" in words["labels"]
            assert "GPU: 1 x 1 for rollout workers = 1 asked for, 0 there" in words["logical_gpu"]
        else:
            what = "asks for a token" if path == "/nothing" else "has another token"
            assert all(what in text and ".ray/auth_token" in text for text in words.values()), words


@pytest.mark.full
def test_nodes_end_and_others_stay(cluster: ClusterOfNodes) -> None:
    cluster.start_worker("guest", "--cpus", "1")
    head, guest = (json.loads((cluster.root / "nodes" / f"{name}.json").read_text()) for name in ("head", "guest"))
    assert "has 2 nodes" in cluster.command("status")
    assert cluster.command("stop", "guest") == "Ended: guest.\n"
    assert not find_marked(guest["cluster_id"]) and not Path(guest["temp_dir"]).exists()
    assert find_marked(head["cluster_id"])
    assert not (cluster.root / "nodes" / "guest.json").exists()


@pytest.mark.full
def test_a_second_head_of_the_same_name_or_ports_is_refused(cluster: ClusterOfNodes) -> None:
    command = [sys.executable, "-m", "minestudio_nb.cluster", "head", "--port", str(cluster.port)]
    for extra, text in (([], "runs on this machine already"), (["--name", "other"], "cannot be used on this machine")):
        done = subprocess.run([*command, *extra], env=cluster.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2 and text in done.stdout, done


@pytest.mark.full
def test_a_notebook_that_shares_no_disk_gets_its_files(cluster: ClusterOfNodes, tmp_path: Path) -> None:
    """The notebook's directory is a file system of its own, which the cluster does not see."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this kernel lets us have no mount namespace (unshare --mount)")
    far, home = cluster.root / "far_runs", tmp_path / "home"
    home.mkdir()
    mount = f'mount -t tmpfs none {home} && cd {home} && exec "$@"'
    before = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    code = f"""
session = ms.OnlineSession("apart", address={cluster.client_address!r}, detached=True)
session.load_config("cartpole", overrides=SMALL)
session.start_rollout()
session.start_trainer()
session.wait(iterations=3, timeout=300)
session.checkpoint("mine")
session.wait(iterations=session.status().iteration + 2, timeout=300)
session.stop()
done = session.points[-1]["iteration"]  # from the file that came home
home = session.run_directory.resolve()
say("files", sorted(str(path.resolve().relative_to(home)) for path in home.rglob("*")))
session.load_config("cartpole", overrides=SMALL[1:] + ["train_config.num_iterations=" + str(done + 2)],
                    resume="apart")
session.name = "again"
session.start_rollout()
session.start_trainer()
session.wait(timeout=300)
say("resumed", done, [point["iteration"] for point in session.points])
session.stop()
say("end", session.state)
"""
    driver = start_driver(PRELUDE + code, "clusters", tmp_path, cluster.environment, before)
    try:
        files = said(driver, "files")
        assert "'metrics.jsonl'" in files and "-mine/weights.safetensors'" in files and "'session.json'" in files
        words = said(driver, "resumed").split(maxsplit=2)
        done = int(words[1])
        assert json.loads(words[2]) == [done + 1, done + 2]
        assert said(driver, "end") == "end STOPPED"
    finally:
        finish(driver)
    assert sorted(path.name for path in far.iterdir()) == ["again", "apart"]
    assert not list(home.iterdir())
