"""docs/clusters.md, executed as it stands: its machines are two network namespaces, its ssh a stand-in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minestudio_nb.runtime.processes import CLUSTER_MARK
from tests.runtime.cable import Cable, why_impossible
from tests.runtime.cluster_support import NODE_SECONDS
from tests.runtime.ray_support import REPOSITORY, finish, said, start_driver

pytestmark = [pytest.mark.ray, pytest.mark.full, pytest.mark.timeout(1200)]

PAGE = (REPOSITORY / "docs" / "clusters.md").read_text(encoding="utf-8")
SSH = """#!/bin/sh
# Runs a command as ssh would on the head's machine, whose home directory is given; a tunnel needs nothing here.
[ "$1" = -N ] && exit 0
shift
cd "$HEAD_HOME" && HOME="$HEAD_HOME" exec "$@"
"""


class Machine:
    """One of the page's machines: a network namespace and a home directory."""

    def __init__(self, root: Path, name: str, before: list[str]) -> None:
        self.home = root / name
        self.home.mkdir()
        self._before = before
        tools = root / "bin"
        tools.mkdir(exist_ok=True)
        (tools / "ssh").write_text(SSH)
        (tools / "ssh").chmod(0o755)
        (tools / "python").unlink(missing_ok=True)
        (tools / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (tools / "python").chmod(0o755)
        self.environment = {
            **os.environ,
            "HOME": str(self.home),
            "HEAD_HOME": str(root / "head"),
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "OMP_NUM_THREADS": "1",
        }
        for name in (
            CLUSTER_MARK,
            "RAY_ADDRESS",
            "RAY_AUTH_MODE",
            "RAY_AUTH_TOKEN",
            "RAY_AUTH_TOKEN_PATH",
            "MSNB_NODES",
        ):
            self.environment.pop(name, None)

    def shell(self, command: str) -> str:
        """Output of a command of the page, which must succeed."""
        done = subprocess.run(
            [*self._before, "sh", "-c", command],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=NODE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def notebook(self, code: str, root: Path) -> str:
        """Runs a cell of the page to its end; returns what it said last."""
        driver = start_driver(
            code + '\nprint("state", session.state, flush=True)', "page", root, self.environment, self._before
        )
        try:
            return said(driver, "state")
        finally:
            finish(driver)


def test_the_page_holds_as_it_stands(tmp_path: Path) -> None:
    if reason := why_impossible():
        pytest.skip(reason)
    head_command, token, worker, tunnel, end = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    first_cell, second_cell = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    cable = Cable(0.0)
    try:
        head = Machine(tmp_path, "head", cable.at("near"))
        second = Machine(tmp_path, "worker", cable.at("far"))
        laptop = Machine(tmp_path, "laptop", cable.at("near"))  # where the tunnel ends
        try:
            printed = head.shell(head_command)
            assert token.strip() in printed and tunnel.strip() in printed
            assert "cluster worker 10.77.0.1:6379" in printed
            second.shell(token)
            laptop.shell(token)
            assert (second.home / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
            second.shell(worker)
            cell = first_cell.replace('address="10.77.0.1:6379"', 'name="cartpole-1", address="10.77.0.1:6379"')
            assert second.notebook(cell, second.home) == "state DETACHED"
            laptop.shell(tunnel)
            assert "1 GPU" in head.shell(end.splitlines()[0])
            assert laptop.notebook(second_cell, laptop.home) == "state STOPPED"
        finally:
            for machine in (second, head):
                machine.shell(end.splitlines()[1])
        assert not list((tmp_path / "head" / ".minestudio_nb" / "nodes").glob("*.json"))
    finally:
        cable.close()
