"""What an open dashboard costs a session that trains: throughput, CPU time, and bytes sent.

    python benchmarks/dashboard.py [--runtimes inline,ray] [--pairs 8] [--seconds 12] [--fps 5] [--tiles 9] [--focus]

One session of ``chop_tree`` as shipped, in a real kernel. This process is the page: it opens the dashboard's comm,
says what a page says at its defaults, acknowledges every message, and closes it again. Segments with the dashboard open
and closed take turns within the one run (open, closed, closed, open, ...) and last from the end of one iteration to the
end of another, so that both do the same work. CPU time is that of the kernel and all processes below it, read from
outside. ``--focus`` asks for one environment enlarged instead of all. ``--browser`` shows the same session in
JupyterLab in a Chromium, and counts the bytes that it gets.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measuring
import psutil
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

PREPARE = """
import sys; sys.path.insert(0, {root!r})
import minestudio_nb as ms
session = ms.OnlineSession("benchmark", runtime={runtime!r}, run_root=".", detached=False)
session.load_config("chop_tree", ["train_config.target_return=null", "train_config.max_minutes=null",
                                  "train_config.max_env_steps=null", "train_config.num_iterations=1000000"])
session.start_rollout(); session.start_trainer()
"""
WARM_UP_ITERATIONS = 3
DEADLINE_SECONDS = 900.0


class Kernel:
    """A kernel, and the one page that looks at it. Use it from one thread."""

    def __init__(self, folder: str, fps: float, tiles: int, focus: bool) -> None:
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(cwd=folder)
        self._client: BlockingKernelClient = self._manager.client()
        self._client.start_channels(hb=False, stdin=False)
        self._client.wait_for_ready(timeout=120)
        self._wishes = {"fps": fps, "count": tiles, "focus": focus}
        self._comm = ""
        self._shown, self._unanswered = 0, 0
        self._idle: set[str] = set()
        self.messages, self.bytes = 0, 0
        """Messages of the dashboard so far, and bytes of all that the kernel published."""

    @property
    def pid(self) -> int:
        """Of the kernel's process."""
        pid: int = self._manager.provisioner.process.pid
        return pid

    def run(self, code: str) -> None:
        """Runs a cell to its end; SystemExit when it raised."""
        wanted = self._client.execute(code, store_history=False)
        self.follow(lambda: wanted in self._idle)

    def show(self) -> None:
        """Opens the dashboard, as a page that has just been loaded does."""
        self._shown, self._unanswered = 0, 0
        self._tell(k="hello")
        self._tell(k="look", visible=True)

    def hide(self) -> None:
        """Closes it."""
        self._tell(k="bye")

    def follow(self, until: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
        """Reads and acknowledges what comes until the condition holds; SystemExit when that takes too long."""
        deadline = time.monotonic() + seconds
        socket = self._client.iopub_channel.socket
        while not until():
            if time.monotonic() > deadline:
                raise SystemExit(f"the kernel or its session did not get on within {seconds:.0f} s")
            if socket.poll(20):
                parts = socket.recv_multipart()
                self.bytes += sum(map(len, parts))
                self._take(self._client.session.deserialize(self._client.session.feed_identities(parts)[1]))

    def close(self) -> None:
        """Ends the kernel."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def _take(self, message: Mapping[str, Any]) -> None:
        kind, content = message["header"]["msg_type"], message["content"]
        if kind == "error":
            raise SystemExit("\n".join(content["traceback"]))
        if kind == "status" and content["execution_state"] == "idle":
            self._idle.add(message["parent_header"].get("msg_id", ""))
        elif kind == "comm_open" and "panels" in content["data"].get("state", {}):
            self._comm = content["comm_id"]
        elif kind == "comm_msg" and content["comm_id"] == self._comm and content["data"]["method"] == "custom":
            self.messages += 1
            self._answer(content["data"]["content"])

    def _answer(self, message: Mapping[str, Any]) -> None:
        names = message.get("tiles", {}).get("all", [])
        if "tiles" in message and len(names) != self._shown:
            self._shown = len(names)
            focus = names[0] if names and self._wishes["focus"] else None
            self._tell(k="look", fps=self._wishes["fps"], tiles=names[: self._wishes["count"]], focus=focus)
        self._unanswered += 1
        data = "tiles" not in message or any(message.get(part) for part in ("rows", "events", "episodes"))
        if data or self._unanswered == 3:
            self._unanswered = 0
            self._tell(k="ack", seq=message["seq"])

    def _tell(self, **message: Any) -> None:
        data = {"method": "custom", "content": {"view": "benchmark", **message}}
        self._client.shell_channel.send(self._client.session.msg("comm_msg", {"comm_id": self._comm, "data": data}))


@dataclass
class Border:
    """The end of an iteration: what had been done and used by then."""

    iteration: int
    steps: int
    wall: float
    cpu: float
    kernel_cpu: float
    messages: int
    bytes: int


class Run:
    """The session in the kernel, watched from outside."""

    def __init__(self, kernel: Kernel, metrics: Path) -> None:
        from minestudio_nb.telemetry import ProcessTrees

        self._kernel, self._metrics = kernel, metrics
        self._trees, self._process = ProcessTrees([kernel.pid]), psutil.Process(kernel.pid)
        self._size, self._newest = 0, {"iteration": 0, "env_steps": 0}

    def border(self, after_iteration: int, seconds: float = 0.0) -> Border:
        """Waits for the end of a later iteration, and at least so long."""
        least = time.perf_counter() + seconds
        self._kernel.follow(lambda: time.perf_counter() >= least)
        self._read()
        after = max(after_iteration, int(self._newest["iteration"]))
        self._kernel.follow(lambda: self._read() > after)
        use, own = self._trees.sample(), self._process.cpu_times()
        wall = time.perf_counter()
        iteration, steps = int(self._newest["iteration"]), int(self._newest["env_steps"])
        kernel = self._kernel
        return Border(iteration, steps, wall, use.cpu_seconds, own.user + own.system, kernel.messages, kernel.bytes)

    def _read(self) -> int:
        """The newest iteration in the run's file of metrics."""
        if self._metrics.exists() and self._metrics.stat().st_size != self._size:
            content = self._metrics.read_bytes()
            self._size, self._newest = len(content), json.loads(content.splitlines()[-1])
        return int(self._newest["iteration"])


def segment(run: Run, begin: Border, seconds: float) -> tuple[Border, dict[str, float]]:
    """From ``begin`` to the end of the first iteration after so many seconds: rates."""
    end = run.border(begin.iteration, seconds)
    wall, steps = end.wall - begin.wall, end.steps - begin.steps
    cpu, kernel = end.cpu - begin.cpu, end.kernel_cpu - begin.kernel_cpu
    return end, {
        "steps_per_s": steps / wall,
        "cpu_s_per_1k": 1000 * cpu / steps,
        "other_cpu_s_per_1k": 1000 * (cpu - kernel) / steps,
        "cores": cpu / wall,
        "kernel_ms_per_s": 1000 * kernel / wall,
        "messages_per_s": (end.messages - begin.messages) / wall,
        "kb_per_s": (end.bytes - begin.bytes) / wall / 1000,
    }


def measure(runtime: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One session; the medians of its segments."""
    found: dict[str, list[dict[str, float]]] = {"open": [], "closed": []}
    with tempfile.TemporaryDirectory() as folder:
        kernel = Kernel(folder, arguments.fps, arguments.tiles, arguments.focus)
        try:
            kernel.run(PREPARE.format(root=str(measuring.BENCHMARKS.parent), runtime=runtime))
            kernel.run("dashboard = session.dashboard(); dashboard")
            run = Run(kernel, Path(folder, "benchmark", "metrics.jsonl"))
            border = run.border(WARM_UP_ITERATIONS)
            for number in range(2 * arguments.pairs):
                state = "open" if number % 4 in (0, 3) else "closed"
                (kernel.show if state == "open" else kernel.hide)()
                border = run.border(border.iteration)  # what opening and closing costs is not part of it
                border, rates = segment(run, border, arguments.seconds)
                found[state].append(rates)
                print(runtime, state, {name: round(value, 3) for name, value in rates.items()}, flush=True)
            kernel.run("print(session.stop())")
        finally:
            kernel.close()
    return summary(runtime, found)


def summary(runtime: str, found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Medians, and what is lost: the median over pairs of neighbours, which saw the same neighbours and policy."""

    def lost(name: str, sign: int) -> list[float]:
        pairs = zip(found["open"], found["closed"], strict=True)
        return sorted(100 * sign * (shown[name] / hidden[name] - 1) for shown, hidden in pairs)

    def median(state: str, name: str) -> float:
        return statistics.median(each[name] for each in found[state])

    cpu, steps = lost("cpu_s_per_1k", 1), lost("steps_per_s", -1)
    pairs = zip(found["open"], found["closed"], strict=True)
    cost = [(shown["cpu_s_per_1k"] - hidden["cpu_s_per_1k"]) * shown["steps_per_s"] for shown, hidden in pairs]
    return {
        "runtime": runtime,
        "CPU s/1k steps closed": median("closed", "cpu_s_per_1k"),
        "open": median("open", "cpu_s_per_1k"),
        "more CPU %": statistics.median(cpu),
        "quartiles": f"{cpu[len(cpu) // 4]:.1f} to {cpu[-1 - len(cpu) // 4]:.1f}",
        "CPU ms/s": statistics.median(cost),
        "fewer steps/s %": statistics.median(steps),
        "cores busy": median("closed", "cores"),
        "messages/s": median("open", "messages_per_s"),
        "KB/s": median("open", "kb_per_s"),
        "messages while closed": sum(each["messages_per_s"] for each in found["closed"]),
    }


def in_browser(seconds: float, timeout: float = 120.0) -> dict[str, Any]:
    """The same session in JupyterLab in a Chromium: bytes through its sockets, and its own CPU time."""
    from tests.support.browser import lab, open_notebook

    root = str(measuring.BENCHMARKS.parent)
    cells = [PREPARE.format(root=root, runtime="inline"), "dashboard = session.dashboard(); dashboard"]
    received: list[float] = []

    def count(event: Mapping[str, Any]) -> None:
        frame = event["response"]
        received.append(len(frame["payloadData"]) * (3 / 4 if frame["opcode"] == 2 else 1))  # binary frames as base64

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(lab(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        cells.append("dashboard.close(); print(session.stop())")
        notebook = stack.enter_context(open_notebook(server, cells, size=(1400, 1300)))
        page = notebook.page
        notebook.run(0, DEADLINE_SECONDS)
        notebook.run(1)
        page.wait_for_function("() => document.querySelectorAll('.msnb-tile').length === 9", timeout=timeout * 1000)
        page.wait_for_function("() => document.querySelector('.msnb').msnbStore.length > 2", timeout=timeout * 1000)
        watcher = page.context.new_cdp_session(page)
        watcher.on("Network.webSocketFrameReceived", count)
        watcher.send("Network.enable")

        def rates() -> tuple[float, float]:
            received.clear()
            cpu, began = _chromium_cpu(), time.perf_counter()
            page.wait_for_timeout(1000 * seconds)
            wall = time.perf_counter() - began
            return sum(received) / wall / 1000, 1000 * (_chromium_cpu() - cpu) / wall

        shown = rates()
        page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1")
        page.evaluate("window.jupyterapp.commands.execute('notebook:clear-cell-output')")
        page.wait_for_timeout(2000)
        hidden = rates()
        notebook.run(2)
    return {
        "KB/s in the browser": shown[0],
        "KB/s while closed": hidden[0],
        "browser's CPU ms/s": shown[1],
        "while closed": hidden[1],
    }


def _chromium_cpu() -> float:
    """CPU seconds of all processes of the browser that this process started."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "chrom" in process.name():
                times = process.cpu_times()
                total += times.user + times.system
    return total


def main(argv: Sequence[str] | None = None) -> None:
    """Measures each runtime and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtimes", default="inline,ray")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=12.0, help="of a segment, at least")
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--tiles", type=int, default=9)
    parser.add_argument("--focus", action="store_true", help="one environment enlarged")
    parser.add_argument("--browser", action="store_true", help="measure in JupyterLab in a Chromium instead")
    arguments = parser.parse_args(argv)
    if arguments.browser:
        row = in_browser(arguments.seconds)
        print(measuring.markdown(list(row), [row]))
        return
    rows = [measure(runtime, arguments) for runtime in arguments.runtimes.split(",")]
    print(measuring.markdown(list(rows[0]), rows))


if __name__ == "__main__":
    sys.exit(main())
