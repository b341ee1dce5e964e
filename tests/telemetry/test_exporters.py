"""TensorBoard and W&B files that can be read back, and exporters that fail, hang or are missing."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minestudio_nb.contracts.fragments import EpisodeSummary, StreamId
from minestudio_nb.contracts.telemetry import Event
from minestudio_nb.errors import TelemetryError
from minestudio_nb.runs import RunDirectory
from minestudio_nb.telemetry import Hub, Recorder, make_exporters
from minestudio_nb.telemetry.exporters import FAILURES_ALLOWED, QUEUE_SIZE, Point


def close_iterations(hub: Hub, count: int, first: int = 1) -> None:
    for k in range(first, first + count):
        recorder = Recorder()
        recorder.add("rollout/env_steps", 100)
        recorder.add("ppo/loss", 1.0 / k)
        hub.episodes([EpisodeSummary(StreamId(0, 0), "chop", 2.0 * k, 10, 0, True, False, float(k))])
        hub.iteration(k, recorder.flush())


class Faulty:
    """An exporter that raises where it is told to."""

    name = "faulty"

    def __init__(self, *where: str) -> None:
        self.where, self.calls = where, []

    def _do(self, what: str) -> None:
        self.calls.append(what)
        if what in self.where:
            raise RuntimeError("no network")

    def open(self) -> None:
        self._do("open")

    def point(self, point: Point) -> None:
        self._do("point")

    def event(self, event: Event) -> None:
        self._do("event")

    def rewind(self, last: Point) -> None:
        self._do("rewind")

    def close(self) -> None:
        self._do("close")


def test_tensorboard_files_hold_the_points(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    hub = Hub(exporters=make_exporters(tmp_path, "run", tensorboard=True))
    close_iterations(hub, 3)
    hub.event(Event("env_restart", "worker 1 / env 3 hung", "warning"))
    hub.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    scalars = events.Scalars("ppo/loss")
    assert [(scalar.step, scalar.value) for scalar in scalars] == [
        (100, 1.0),
        (200, 0.5),
        (300, pytest.approx(1 / 3)),
    ]
    assert [scalar.value for scalar in events.Scalars("task/chop/return_mean")] == [2.0, 3.0, 4.0]  # of 2, 4, 6
    (text,) = events.Tensors("events/env_restart")
    assert b"worker 1 / env 3 hung" in text.tensor_proto.string_val[0]
    assert text.step == 300, "events share the axis of the scalars"


Read = tuple[list[tuple[int, float]], list[tuple[int, str]]]
"""Steps and values of ``ppo/loss``, and steps and texts of ``events/env_restart``."""


def read_by_accumulator(directory: Path) -> Read:
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = module.EventAccumulator(str(directory))
    events.Reload()
    texts = [(text.step, text.tensor_proto.string_val[0].decode()) for text in events.Tensors("events/env_restart")]
    return [(scalar.step, scalar.value) for scalar in events.Scalars("ppo/loss")], texts


def read_as_the_slow_tensorboard_does(directory: Path) -> Read:
    module = pytest.importorskip("tensorboard.backend.event_processing.plugin_event_accumulator")
    events = module.EventAccumulator(str(directory))
    events.Reload()
    texts = [(text.step, text.tensor_proto.string_val[0].decode()) for text in events.Tensors("events/env_restart")]
    return [(scalar.step, scalar.tensor_proto.float_val[0]) for scalar in events.Tensors("ppo/loss")], texts


FAST_READER = """
import json, sys
from tensorboard.context import RequestContext
from tensorboard.data import server_ingester
from tensorboard.data.provider import RunTagFilter
from tensorboard.util import grpc_util

ingester = server_ingester.SubprocessServerDataIngester(
    server_ingester.get_server_binary(), sys.argv[1], reload_interval=0,
    channel_creds_type=grpc_util.ChannelCredsType.LOCAL,
)
ingester.start()

def read(method, plugin, tag):
    wanted = RunTagFilter(runs=["."], tags=[tag])
    kind = {"experiment_id": "", "plugin_name": plugin, "downsample": 100, "run_tag_filter": wanted}
    return getattr(ingester.data_provider, method)(RequestContext(), **kind)["."][tag]

scalars = [(point.step, point.value) for point in read("read_scalars", "scalars", "ppo/loss")]
texts = [(text.step, text.numpy.item().decode()) for text in read("read_tensors", "text", "events/env_restart")]
print(json.dumps([scalars, texts]))
"""


def read_as_tensorboard_does(directory: Path) -> Read:
    """By the server that the program ``tensorboard`` asks; it ends with the process that started it."""
    pytest.importorskip("tensorboard_data_server")
    done = subprocess.run(
        [sys.executable, "-c", FAST_READER, str(directory)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    scalars, texts = json.loads(done.stdout)
    return [tuple(point) for point in scalars], [tuple(text) for text in texts]


@pytest.mark.parametrize("read", [read_by_accumulator, read_as_the_slow_tensorboard_does, read_as_tensorboard_does])
@pytest.mark.parametrize("whole_session", [False, True])
def test_what_is_taken_back_is_not_in_tensorboard_s_curves(
    whole_session: bool, read: Callable[[Path], Read], tmp_path: Path
) -> None:
    run = RunDirectory.create(tmp_path, "run")
    hub = Hub(run, exporters=make_exporters(run.path, "run", tensorboard=True))
    close_iterations(hub, 2)
    state = hub.get_state()
    close_iterations(hub, 2, first=3)
    hub.event(Event("env_restart", "worker 1 / env 3 hung"))
    # A trainer that was killed goes on after iteration 2, while steps count on: 500 is the first point anew.
    hub.rewind(2, None)
    close_iterations(hub, 1, first=3)
    curve = [(100, 1.0), (200, 0.5), (500, pytest.approx(1 / 3))]
    if whole_session:  # one that was killed goes on from disk in another process
        hub.close()
        begun = int(time.time())
        while int(time.time()) == begun:  # files are read in the order of the seconds in which they were begun
            time.sleep(0.05)
        hub = Hub.reload(run, exporters=make_exporters(run.path, "run", tensorboard=True))
        hub.rewind(2, state)
        close_iterations(hub, 2, first=3)
        curve = [(100, 1.0), (200, 0.5), (300, pytest.approx(1 / 3)), (400, 0.25)]
    hub.close()
    scalars, texts = read(run.path / "tensorboard")
    assert scalars == curve
    assert [point["env_steps"] for point in hub.news().points] == [step for step, _ in curve]
    if not whole_session:  # the accumulator never drops texts
        assert set(texts) == {(400, "info: worker 1 / env 3 hung")}, "it happened, whatever was taken back"
        assert len(texts) == 1 or read is read_by_accumulator


def test_the_exporter_of_tensorboard_loads_no_torch(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    code = (
        "import sys; from pathlib import Path; from minestudio_nb.telemetry import Hub, make_exporters\n"
        f"hub = Hub(exporters=make_exporters(Path({str(tmp_path)!r}), 'run', tensorboard=True))\n"
        "hub.iteration(1, {}); hub.close()\n"
        "assert not hub.news().events, hub.news().events\n"
        "assert not {'torch', 'tensorflow', 'ray'} & set(sys.modules), 'too much is loaded'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_wandb_offline_writes_a_run_without_network(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    code = (
        "from pathlib import Path; from minestudio_nb.telemetry import Hub, Recorder, make_exporters\n"
        f"hub = Hub(exporters=make_exporters(Path({str(tmp_path)!r}), 'run', wandb='offline', config={{'seed': 1}}))\n"
        "recorder = Recorder(); recorder.add('ppo/loss', 0.125); hub.iteration(1, recorder.flush()); hub.close(60)\n"
        "assert not hub.news().events, hub.news().events\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    (written,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert b"ppo/loss" in written.read_bytes()


def test_a_failing_exporter_becomes_events_and_is_left_out() -> None:
    exporter = Faulty("point")
    hub = Hub(exporters=[exporter])
    close_iterations(hub, 10)
    hub.close()
    assert exporter.calls.count("point") == FAILURES_ALLOWED
    messages = [event.message for event in hub.news().events]
    assert "faulty failed: RuntimeError: no network" in messages
    assert messages[-1] == f"faulty failed {FAILURES_ALLOWED} times in a row and is left out from now on"
    assert len(hub.news().points) == 10


def test_an_exporter_that_cannot_open_is_never_called() -> None:
    exporter, healthy = Faulty("open"), Faulty()
    hub = Hub(exporters=[exporter, healthy])
    close_iterations(hub, 2)
    hub.close()
    assert exporter.calls == ["open"]
    assert healthy.calls == ["open", "point", "point", "close"]


def test_an_exporter_that_fails_at_once_comes_after_the_history(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "run")
    before = Hub(run)
    before.event(Event("state", "first life"))
    before.close()
    again = Hub.reload(run, [Faulty("open")])
    again.close()
    assert [event.kind for event in again.news().events] == ["state", "telemetry"]
    assert len(run.events.read_text().splitlines()) == 2


def test_a_hanging_exporter_delays_nobody() -> None:
    release = threading.Event()

    class Hanging(Faulty):
        def point(self, point: Point) -> None:
            release.wait(30)

    hub = Hub(exporters=[Hanging()])
    close_iterations(hub, QUEUE_SIZE + 50)
    hub.close(timeout=0.1)
    release.set()
    messages = [event.message for event in hub.news().events]
    assert sum("points are dropped" in message for message in messages) == 1
    assert len(hub.news().points) == QUEUE_SIZE + 50


def test_a_missing_package_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minestudio_nb.telemetry.exporters.importlib.util.find_spec", lambda name: None)
    with pytest.raises(TelemetryError, match=r"pip install 'minestudio-nb\[lab\]'"):
        make_exporters(tmp_path, "run", tensorboard=True)
    with pytest.raises(TelemetryError, match="wandb=disabled"):
        make_exporters(tmp_path, "run", wandb="online")
    assert make_exporters(tmp_path, "run") == []


def test_an_unknown_wandb_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TelemetryError, match="'sometimes' came"):
        make_exporters(tmp_path, "run", wandb="sometimes")
