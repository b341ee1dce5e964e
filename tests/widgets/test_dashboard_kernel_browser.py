"""What outlives a kernel: displays whose kernel is gone, sessions found again, and the first notebook as a whole."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from minestudio_nb.runtime.cluster import ClusterRecord, stop_head
from tests.support import live_notebook
from tests.support.browser import Notebook, Server, open_notebook
from tests.support.live_notebook import FED, losses, photograph, python_side

pytestmark = [pytest.mark.browser, pytest.mark.full, pytest.mark.timeout(1800)]

START_SECONDS = 900.0
GONE_SECONDS = 60.0
REPOSITORY = Path(__file__).parents[2]
GONE = """() => [...document.querySelectorAll('.msnb-lost')].some(
  (e) => e.checkVisibility() && /does not answer/.test(e.textContent))"""
RESTART = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
CLICK_PAUSE = "() => [...document.querySelectorAll('.msnb button')].find((e) => e.textContent === 'Pause').click()"


def restart(notebook: Notebook) -> None:
    notebook.page.evaluate(RESTART)
    notebook.ready()


def kill_kernel(notebook: Notebook, cell: int) -> None:
    """Kills the kernel's process, which its server starts again."""
    pid = int(notebook.text(cell))
    os.kill(pid, signal.SIGKILL)
    died = notebook.page.get_by_role("dialog").get_by_role("button", name="Ok")
    died.click(timeout=GONE_SECONDS * 1000)
    notebook.ready()


def clear_output(notebook: Notebook, cell: int) -> None:
    notebook.page.evaluate(f"window.jupyterapp.shell.currentWidget.content.activeCellIndex = {cell}")
    notebook.page.evaluate("window.jupyterapp.commands.execute('notebook:clear-cell-output')")
    notebook.wait("() => document.querySelectorAll('.msnb').length === 0")


REFUSED = """import minestudio_nb as ms
from minestudio_nb.errors import MineStudioError
try:
    ms.OnlineSession.attach('live')
except MineStudioError as error:
    print(error)"""


def test_a_display_says_that_its_kernel_is_gone(lab_server: Server) -> None:
    cells = [live_notebook.SETUP, live_notebook.SHOW, REFUSED]
    with open_notebook(lab_server, cells, "restarted.ipynb", size=(1400, 1300)) as notebook:
        notebook.run(0)
        notebook.run(1)
        notebook.wait(FED, 5, seconds=60)
        restart(notebook)
        notebook.wait(GONE, seconds=GONE_SECONDS)
        shown = len(losses(notebook))
        notebook.page.evaluate(CLICK_PAUSE)
        notebook.wait("() => /does not answer/.test(document.querySelector('.msnb-note').textContent)", seconds=60)
        photograph(notebook, "kernel_gone")
        assert len(losses(notebook)) == shown > 5, "what was known stays"
        assert "live" in notebook.text(2)
        assert notebook.errors() == []


RAY_CELLS = [
    f"""{live_notebook.ENVIRONMENT}
session = ms.OnlineSession("outlives", detached=True)
session.load_config(CONFIG)
session.start_rollout(); session.start_trainer()""",
    live_notebook.SHOW,
    live_notebook.LOOK,
    "import json, os\nimport minestudio_nb as ms\nsession = ms.OnlineSession.attach('outlives')",
    "import os; print(os.getpid())",
    "dashboard.close(); print(session.stop().iterations)",
]
SHOW, LOOK, ATTACH, PID, STOP = range(1, 6)


@pytest.fixture
def outliving(lab_server: Server) -> Iterator[Notebook]:
    record = lab_server.root / "runs" / "outlives" / "cluster.json"
    try:
        with open_notebook(lab_server, RAY_CELLS, "outlives.ipynb", size=(1400, 1300)) as opened:
            yield opened
    finally:
        if record.exists():
            stop_head(ClusterRecord.read(record), record, timeout=60.0)


def test_training_outlives_its_kernel_and_is_found_again(outliving: Notebook) -> None:
    notebook = outliving
    notebook.run(0, START_SECONDS)
    notebook.run(SHOW)
    notebook.wait(FED, 5, seconds=120)
    for end in ("restart", "kill -9"):
        before = losses(notebook)
        if end == "restart":
            restart(notebook)
        else:
            kill_kernel(notebook, PID)
        notebook.wait(GONE, seconds=GONE_SECONDS)
        clear_output(notebook, SHOW)
        notebook.run(ATTACH, START_SECONDS)
        notebook.run(SHOW)
        notebook.wait(FED, len(before) + 2, seconds=120)
        after = losses(notebook)
        assert after[: len(before)] == before, end
        assert [iteration for iteration, _ in after] == list(range(1, len(after) + 1)), "training went on"
        assert after == python_side(notebook, LOOK)["losses"][: len(after)]
    assert int(notebook.text(STOP)) > len(before)
    assert notebook.errors() == []


def test_the_first_notebook_runs_and_draws_its_curve(lab_server: Server) -> None:
    source = REPOSITORY / "notebooks" / "01_quickstart.ipynb"
    with open_notebook(lab_server, source, source.name, size=(1400, 1300)) as notebook:
        notebook.run_all(900)
        notebook.wait(FED, 2, seconds=60)
        drawn = "() => document.querySelectorAll('.msnb-chart:not([hidden]) canvas').length >= 5"
        notebook.wait(drawn, seconds=60)
        photograph(notebook, "quickstart")
        assert notebook.errors() == []
