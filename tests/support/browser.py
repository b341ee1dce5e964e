"""A real JupyterLab in a real Chromium, for tests of widgets. ::

    with lab(tmp_path) as server, open_notebook(server, ["import minestudio_nb as ms", "ms.play('hunt')"]) as notebook:
        notebook.run(0)
        notebook.run(1)
        notebook.page.locator(".msnb-play canvas").click()
        assert notebook.errors() == []

Everything has a deadline, the server lives in a directory and on a port of its own, and nothing is left running.
``chromium()`` says which browser; without one, ``needs_browser`` skips a test, or fails it with MSNB_REQUIRE_BROWSER=1.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Page, sync_playwright

START_SECONDS = 120.0
CELL_SECONDS = 120.0
FLAGS = (
    "--no-sandbox",  # Chromium refuses its sandbox to root
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
)
# The execution indicator says "idle" before there is a kernel, so the session is asked.
_KERNEL_READY = """() => {
  const widget = window.jupyterapp?.shell.currentWidget, context = widget?.sessionContext;
  return Boolean(context?.isReady && context.session?.kernel?.connectionStatus === 'connected'
    && context.session.kernel.status === 'idle');
}"""
_RUN_CELL = """async (index) => {
  const panel = window.jupyterapp.shell.currentWidget;
  panel.content.activeCellIndex = index;
  panel.content.deselectAll();
  window.msnbRun = 'running';
  window.jupyterapp.commands.execute('notebook:run-cell').then(
    () => { window.msnbRun = 'done'; }, (error) => { window.msnbRun = 'failed: ' + error; });
}"""
_RUN_ALL = """() => {
  window.msnbRun = 'running';
  window.jupyterapp.commands.execute('notebook:run-all-cells').then(
    () => { window.msnbRun = 'done'; }, (error) => { window.msnbRun = 'failed: ' + error; });
}"""
_OUTPUTS = "(index) => window.jupyterapp.shell.currentWidget.content.widgets[index].model.outputs?.toJSON() ?? []"


def chromium() -> str | None:
    """Path of the browser: ``CHROMIUM``, or what is on PATH."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def needs_browser() -> None:
    """Skips the running test with the reason where there is no Chromium; fails it if one is required."""
    if chromium() is None:
        reason = "there is no Chromium; apt-get install chromium, or set CHROMIUM"
        if os.environ.get("MSNB_REQUIRE_BROWSER") == "1":
            pytest.fail(f"MSNB_REQUIRE_BROWSER=1, but {reason}")
        pytest.skip(reason)


@dataclass(frozen=True)
class Server:
    """A JupyterLab that runs."""

    url: str
    token: str
    root: Path


@dataclass
class Notebook:
    """A notebook that is open in a page."""

    page: Page
    folder: Path
    """Where the notebook lies, and where its kernel works."""
    console: list[str] = field(default_factory=list)
    """Errors that the page wrote to its console, and exceptions in it."""

    def run(self, index: int, seconds: float = CELL_SECONDS) -> list[dict[str, Any]]:
        """Runs one cell, waits until it is done, and returns its outputs; AssertionError when it raised."""
        self.start(index)
        return self.finish(index, seconds)

    def start(self, index: int) -> None:
        """Begins to run one cell."""
        self.page.evaluate(_RUN_CELL, index)

    def finish(self, index: int, seconds: float = CELL_SECONDS) -> list[dict[str, Any]]:
        """Waits for the cell that was started, and returns its outputs; AssertionError when it raised."""
        self.page.wait_for_function("() => window.msnbRun !== 'running'", timeout=seconds * 1000)
        outputs: list[dict[str, Any]] = self.page.evaluate(_OUTPUTS, index)
        for output in outputs:
            if output["output_type"] == "error":
                raise AssertionError(f"cell {index}: {output['ename']}: {output['evalue']}")
        assert self.page.evaluate("() => window.msnbRun") == "done"
        return outputs

    def text(self, index: int, seconds: float = CELL_SECONDS) -> str:
        """Runs one cell and returns what it printed on standard output."""
        outputs = self.run(index, seconds)
        return "".join(output["text"] for output in outputs if output.get("name") == "stdout")

    def wait(self, condition: str, argument: Any = None, seconds: float = 20.0) -> None:
        """Until a JavaScript function of the argument is true."""
        self.page.wait_for_function(condition, arg=argument, timeout=seconds * 1000)

    def run_all(self, seconds: float) -> list[list[dict[str, Any]]]:
        """Runs all cells as the menu does, and returns the outputs of each; AssertionError when one raised."""
        self.page.evaluate(_RUN_ALL)
        self.page.wait_for_function("() => window.msnbRun !== 'running'", timeout=seconds * 1000)
        found: list[list[dict[str, Any]]] = [self.page.evaluate(_OUTPUTS, index) for index in range(self.cells())]
        errors = [output for outputs in found for output in outputs if output["output_type"] == "error"]
        assert not errors, errors[0]["traceback"]
        return found

    def cells(self) -> int:
        """How many cells the notebook has."""
        count: int = self.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length")
        return count

    def ready(self, seconds: float = START_SECONDS) -> None:
        """Until the page, opened or loaded again, has its kernel."""
        self.page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=seconds * 1000)
        self.page.wait_for_function(_KERNEL_READY, timeout=seconds * 1000)

    def errors(self) -> list[str]:
        """What went wrong in the page; JupyterLab's own complaints about what a test server lacks are left out."""
        return ours(self.console)


def ours(console: Sequence[str]) -> list[str]:
    """The errors of a page, without those that no display of ours causes."""
    return [text for text in console if not any(part in text for part in _NOT_OURS) and not _is_in_lab(text)]


def _is_in_lab(text: str) -> bool:
    """Whether it is an exception of JupyterLab alone, as one of its splash that a quick reload removes twice."""
    return text.startswith("exception:") and "/static/lab/" in text and "blob:" not in text


_NOT_OURS = ("Failed to load resource", "ResizeObserver loop", "/lsp/", "favicon")


@contextlib.contextmanager
def lab(root: Path, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A JupyterLab whose files, settings and kernels live below ``root``; RuntimeError when it does not come up."""
    root = root.resolve()
    settings = root / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps({"fetchNews": "false"}))
    token = secrets.token_hex(16)
    command = ["jupyter", "lab", "--allow-root", "--ip=127.0.0.1", "--ServerApp.port_retries=0"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root / 'work'}"]
    command += ["--ServerApp.terminals_enabled=False", "--LabApp.expose_app_in_browser=True", "--LabApp.news_url="]
    with _serve(command, root, f"api/status?token={token}", environment or {}) as url:
        yield Server(url, token, root / "work")


@contextlib.contextmanager
def voila(root: Path, cells: Sequence[str]) -> Iterator[str]:
    """The address of a Voila that shows a notebook of these cells as a page."""
    root = root.resolve()
    (root / "work").mkdir(parents=True, exist_ok=True)
    write_notebook(root / "work" / "page.ipynb", cells)
    command = ["voila", "page.ipynb", "--Voila.ip=127.0.0.1", "--port_retries=0", "--show_tracebacks=True"]
    with _serve(command, root, "static/none", {}) as url:
        yield url


@contextlib.contextmanager
def _serve(command: Sequence[str], root: Path, probe: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Runs a server that keeps all its files below ``root``; its address, once it answers under ``probe``."""
    work, port, log_path = root / "work", _free_port(), root / "server.log"
    work.mkdir(parents=True, exist_ok=True)
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    own = {name: str(root / folder) for name, folder in folders.items()}
    with open(log_path, "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--no-browser", f"--port={port}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **own, **environment},
            cwd=work,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for_server(f"{url}/{probe}", process, log_path)
            yield url
        finally:
            process.terminate()  # the server ends its kernels
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_server(url: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline, pause = time.monotonic() + START_SECONDS, threading.Event()
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError:
            return  # it answers
        except (urllib.error.URLError, OSError):
            pause.wait(0.1)
    raise RuntimeError(f"The server did not start. Its log:\n{log_path.read_text(errors='replace')[-3000:]}")


def write_notebook(path: Path, cells: Sequence[str] | Path) -> None:
    """A notebook of code cells, or a copy of one."""
    if isinstance(cells, Path):
        shutil.copy(cells, path)
        return
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


@contextlib.contextmanager
def open_notebook(
    server: Server,
    cells: Sequence[str] | Path,
    name: str = "test.ipynb",
    *,
    dark: bool = False,
    size: tuple[int, int] = (1200, 900),
) -> Iterator[Notebook]:
    """Writes a notebook of code cells, or copies one, and opens it in a Chromium of its own; its kernel is ready."""
    write_notebook(server.root / name, cells)
    with open_page(dark=dark, size=size) as (page, console):
        opened = Notebook(page, server.root, console)
        # A workspace of its own: another one would bring back the notebooks that were open in it.
        workspace = f"{server.url}/lab/workspaces/{Path(name).stem}/tree/{name}"
        page.goto(f"{workspace}?token={server.token}", wait_until="domcontentloaded")
        opened.ready()
        if dark:
            change = "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
            page.evaluate(change)
            page.wait_for_selector("body[data-jp-theme-light='false']", state="attached", timeout=START_SECONDS * 1000)
        yield opened


@contextlib.contextmanager
def open_page(*, dark: bool = False, size: tuple[int, int] = (1200, 900)) -> Iterator[tuple[Page, list[str]]]:
    """An empty page in a Chromium of its own, and the list to which its errors are added."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), headless=True, args=list(FLAGS))
        try:
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
            )
            page, console = context.new_page(), list[str]()
            page.on("console", lambda m: console.append(m.text) if m.type == "error" else None)
            page.on("pageerror", lambda error: console.append(f"exception: {error.stack or error}"))
            yield page, console
        finally:
            browser.close()
