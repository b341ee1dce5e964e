"""CPU time and memory of real processes, living and dead."""

from __future__ import annotations

import os
import subprocess
import sys

from minestudio_nb.telemetry import ProcessTrees

BURN = "import time\nwhile time.process_time() < {seconds}: pass\nprint('done', flush=True)\ninput()\n"
PARENT = (
    "import subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdin=subprocess.PIPE)\n"
    "input()\nchild.communicate(b'\\n')\n"
)


def test_a_tree_is_counted_and_keeps_its_time_after_death() -> None:
    burn = BURN.format(seconds=0.4)
    command = [sys.executable, "-c", PARENT, burn]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        trees = ProcessTrees([process.pid])
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline().strip() == b"done"
        alive = trees.sample()
        assert alive.processes == 2 and alive.memory_bytes > 5_000_000
        assert 0.4 <= alive.cpu_seconds < 5
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.wait(30)
    dead = trees.sample()
    assert dead.processes == 0 and dead.memory_bytes == 0
    assert dead.cpu_seconds >= alive.cpu_seconds


def test_a_pid_without_process_is_refused() -> None:
    trees = ProcessTrees()
    assert not trees.add(2**22 + 1)
    assert trees.add(os.getpid()) and trees.sample().processes >= 1
