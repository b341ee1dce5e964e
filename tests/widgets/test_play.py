"""Playing by hand, without a browser: the loop's clock and messages, the widget's comm, the game, its recordings."""

from __future__ import annotations

import io
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import minestudio_nb as ms
from minestudio_nb.contracts.demonstrations import Demonstration
from minestudio_nb.contracts.playing import Outcome
from minestudio_nb.errors import ConfigError, RunError
from minestudio_nb.playing import Player, SimGame
from minestudio_nb.simulator import VoxelSim
from minestudio_nb.simulator.callbacks import JudgeResetCallback
from minestudio_nb.simulator.replay import EpisodeTrace
from minestudio_nb.widgets import game_loop
from minestudio_nb.widgets.game_loop import TICK_SECONDS, GameLoop
from minestudio_nb.widgets.play import HELP, KEYS, PlayWidget

DEADLINE = 20.0


def until(condition: Callable[[], Any], what: str) -> None:
    """Waits for a condition, with a deadline."""
    pause, end = threading.Event(), time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        pause.wait(0.005)


class CountingGame:
    """Rewards each tick with 1 while forward is held, ends after ``length`` ticks, notes what it was told."""

    title = "counting"
    size = (32, 16)

    def __init__(self, length: int = 10**9, tick_seconds: float = 0.0, error_at: int = -1) -> None:
        self.length, self.tick_seconds, self.error_at = length, tick_seconds, error_at
        self.ticks: list[tuple[frozenset[str], tuple[float, float], int]] = []
        self.times: list[float] = []
        self.finished: list[tuple[int, bool]] = []
        self.resets = self.pictures = 0

    def reset(self) -> None:
        self.resets += 1
        self.ticks = []

    def tick(self, buttons: Set[str], turn: tuple[float, float], scroll: int) -> Outcome:
        self.ticks.append((frozenset(buttons), turn, scroll))
        self.times.append(time.monotonic())
        if len(self.ticks) == self.error_at:
            raise RuntimeError("<b>lava</b>")
        if self.tick_seconds:
            threading.Event().wait(self.tick_seconds)
        return Outcome(float("forward" in buttons), "truncated" if len(self.ticks) >= self.length else "")

    def jpeg(self) -> bytes:
        self.pictures += 1
        return b"jpeg"

    def finish(self, save: bool) -> str:
        self.finished.append((len(self.ticks), save))
        return "kept"


class View:
    """A view that draws at once, unless it is told to keep silent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.loop: GameLoop | None = None
        self.silent = False

    def __call__(self, message: Mapping[str, Any], picture: bytes | None) -> None:
        assert (picture is not None) == (message["k"] == "frame")
        self.messages.append(dict(message))
        if self.loop is not None and not self.silent:
            self.loop.acknowledge(message["seq"])

    @property
    def frames(self) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["k"] == "frame"]


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[GameLoop, View]]]:
    """Makes loops with one view each, and closes them; afterwards no thread of theirs is left."""
    loops: list[GameLoop] = []

    def make(game: Any, **options: Any) -> tuple[GameLoop, View]:
        view = View()
        loop = view.loop = GameLoop(game, view, **options)
        loops.append(loop)
        loop.hello("v")
        return loop, view

    yield make
    for loop in loops:
        loop.close()
        assert not loop.running
    until(lambda: not [t for t in threading.enumerate() if t.name == "minestudio_nb-play"], "all threads have ended")


Start = Callable[..., tuple[GameLoop, View]]


# The loop.


def test_nothing_moves_before_the_player_begins_and_the_view_gets_one_picture(start: Start) -> None:
    game = CountingGame()
    _, view = start(game)
    until(lambda: view.frames, "a first frame")
    threading.Event().wait(4 * TICK_SECONDS)
    assert game.ticks == [] and len(view.frames) == 1
    assert view.frames[0]["hud"]["state"] == "paused" and view.frames[0]["hud"]["step"] == 0


def test_ticks_keep_the_rate_whatever_frames_cost(start: Start) -> None:
    game = CountingGame(tick_seconds=0.01)
    loop, view = start(game)
    loop.order("play")
    until(lambda: len(game.times) > 40, "two seconds of ticks")
    loop.order("pause")
    until(lambda: loop.state == "paused", "the pause")
    seconds = game.times[40] - game.times[0]
    assert seconds == pytest.approx(40 * TICK_SECONDS, rel=0.15)
    assert view.frames[-1]["hud"]["ticks_per_second"] == pytest.approx(20.0, rel=0.3)
    at = len(game.ticks)
    threading.Event().wait(4 * TICK_SECONDS)
    assert len(game.ticks) == at, "a paused world stands still"
    loop.order("play")
    until(lambda: len(game.ticks) > at, "another tick")
    assert len(game.ticks) <= at + 2, "the pause is not caught up with"


def test_a_view_that_does_not_draw_gets_no_frames_but_the_world_goes_on(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = CountingGame()
    loop, view = start(game)
    view.silent = True
    loop.order("play")
    until(lambda: len(game.ticks) >= 12, "ticks without frames")
    in_flight = len(view.frames)
    assert in_flight <= game_loop.FRAMES_IN_FLIGHT + 1
    loop.acknowledge(view.frames[-1]["seq"])
    until(lambda: len(view.frames) > in_flight, "a frame after the acknowledgement")
    shown = view.frames[-1]["hud"]["step"]
    assert shown >= 12, "the newest frame, not one from a queue"
    loop.acknowledge(10**9)  # of a frame that was never sent: not more than all
    monkeypatch.setattr(game_loop, "LOST_SECONDS", 0.1)
    lost = len(view.frames)
    until(lambda: len(view.frames) > lost + 3, "frames again although acknowledgements were lost")


def test_a_slow_game_skips_frames_and_gives_up_what_cannot_be_caught_up_with(start: Start) -> None:
    game = CountingGame(tick_seconds=0.12)
    loop, view = start(game)
    loop.order("play")
    until(lambda: len(game.ticks) >= 16, "ticks")
    loop.order("pause")
    until(lambda: loop.state == "paused", "the pause")
    assert len(view.frames) < len(game.ticks) / 2
    gaps = np.diff(game.times)
    assert gaps.max() < 1.0


def test_what_the_player_does_reaches_the_next_tick_once(start: Start) -> None:
    game = CountingGame()
    loop, _ = start(game)
    loop.input(["forward"], ["attack"], (100.0, 0.0))  # before the game runs: only what is held counts
    loop.order("play")
    until(lambda: len(game.ticks) >= 2, "ticks")
    assert game.ticks[0] == (frozenset({"forward"}), (0.0, 0.0), 0)
    loop.input(["forward", "format_disk"], ["jump", "hotbar.3"], (20.0, -10.0), scroll=2)
    loop.input(["look_left"], [], (0.0, -10.0), scroll=-1)
    loop.input(["look_left"], [], (math.nan, math.inf))
    seen = len(game.ticks)
    until(lambda: len(game.ticks) >= seen + 3, "more ticks")
    told = [tick for tick in game.ticks if "jump" in tick[0]]
    assert len(told) == 1, "a short press counts for one tick, however short it was"
    buttons, (pitch, yaw), scroll = told[0]
    assert buttons == {"jump", "hotbar.3"} and scroll == 1
    assert pitch == pytest.approx(-20 * 0.15) and yaw == pytest.approx(20 * 0.15 - 6.0)
    assert game.ticks[-1] == (frozenset(), (0.0, -6.0), 0)


def test_an_episode_ends_is_kept_and_another_begins(start: Start) -> None:
    game = CountingGame(length=3)
    loop, view = start(game, record=True)
    loop.input(["forward"], [], (0, 0))
    loop.order("play")
    until(lambda: loop.state == "over", "the end")
    until(lambda: view.frames and view.frames[-1]["hud"]["state"] == "over", "the banner")
    hud = view.frames[-1]["hud"]
    assert (hud["ended"], hud["step"], hud["return"], hud["reward"]) == ("truncated", 3, 3.0, 1.0)
    assert hud["note"] == "kept" and game.finished == [(3, True)]
    loop.order("record", False)
    loop.order("play")
    until(lambda: loop.state == "over" and game.resets == 2, "the second end")
    assert game.finished == [(3, True), (3, False)]
    loop.order("reset")
    until(lambda: game.resets == 3, "a third episode")
    assert loop.state == "paused" and game.finished == [(3, True), (3, False)], "an episode is kept once"
    assert loop.hud()["episode"] == 3 and loop.hud()["return"] == 0.0


def test_an_episode_that_was_given_up_is_kept_and_one_without_a_tick_is_not(start: Start) -> None:
    game = CountingGame()
    loop, _ = start(game)
    loop.order("reset")
    until(lambda: game.resets == 2, "reset")
    loop.order("play")
    until(lambda: len(game.ticks) >= 1, "a tick")
    loop.close()
    assert len(game.finished) == 1 and game.finished[0][0] >= 1
    loop.close()
    assert len(game.finished) == 1 and loop.state == "closed" and not loop.running


@pytest.mark.parametrize("how", ["bye", "silence"])
def test_without_a_view_the_world_stops_and_the_thread_ends(
    how: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = CountingGame()
    loop, view = start(game)
    loop.input(["forward"], [], (0, 0))
    loop.order("play")
    until(lambda: len(game.ticks) > 1, "ticks")
    if how == "bye":
        loop.bye("v")
    else:
        monkeypatch.setattr(game_loop, "LEASE_SECONDS", 0.2)
        loop.renew("v")
    until(lambda: not loop.running, "the thread has ended")
    assert loop.state == "paused"
    at = len(game.ticks)
    loop.order("record")  # is done although nobody looks
    assert loop.hud()["recording"] is True
    loop.renew("v")  # the same view wakes up
    frames = len(view.frames)
    until(lambda: len(view.frames) > frames or loop.running, "a frame for the view")
    loop.order("play")
    until(lambda: len(game.ticks) > at + 1, "it goes on")
    assert game.ticks[-1][0] == frozenset(), "nothing is held any more"


def test_an_error_is_shown_in_the_view_and_a_reset_recovers(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    game = CountingGame(error_at=2)
    loop, view = start(game)
    loop.order("play")
    until(lambda: view.messages and view.messages[-1]["k"] == "state", "the error is told")
    assert loop.state == "failed" and view.messages[-1]["hud"]["error"] == "RuntimeError: <b>lava</b>"
    assert "the game has stopped" in caplog.text
    game.error_at = -1
    loop.renew("v")  # the view is still there
    frames = len(view.frames)
    loop.order("reset")
    assert loop.settle() and loop.state == "paused" and loop.hud()["error"] == ""
    until(lambda: len(view.frames) > frames, "the new episode is shown")


def test_an_order_that_fails_is_not_tried_again(start: Start) -> None:
    game = CountingGame()
    loop, _ = start(game)
    loop.order("record", True)
    assert loop.settle() and loop.hud()["recording"] is True

    def fail() -> None:
        raise RuntimeError("no world left")

    game.reset = fail  # type: ignore[method-assign]
    loop.order("reset")
    assert loop.settle(), "nobody waits for ever"
    until(lambda: loop.state == "failed", "the failure")
    assert loop.hud()["error"] == "RuntimeError: no world left"


# The widget.


class RecordingWidget(PlayWidget):
    """Notes what it sends instead of sending it."""

    def send(self, content: Any, buffers: Any = None) -> None:
        self.__dict__.setdefault("outbox", []).append((content, buffers))


def test_the_widget_speaks_through_its_comm(caplog: pytest.LogCaptureFixture) -> None:
    game = CountingGame(length=5)
    widget = RecordingWidget(game)
    try:
        tell = lambda **message: widget._handle_custom_msg({"view": "v", **message}, [])  # noqa: E731
        tell(k="hello")
        until(lambda: widget.__dict__.get("outbox"), "a frame")
        content, buffers = widget.__dict__["outbox"][0]
        assert content["k"] == "frame" and buffers == [b"jpeg"]
        tell(k="ack", seq=content["seq"])
        tell(k="input", held=["forward"], pressed=[], dx=0, dy=0, scroll=0)
        for nonsense in (
            {"k": "input", "held": 7},
            {"k": "input", "held": [], "dx": "far"},
            {"k": "ack"},
            {"k": "do", "what": "rm -rf"},
            {"k": "ack", "seq": math.inf},
            {},
        ):
            widget._handle_custom_msg({"view": "v", **nonsense}, [])
        widget._handle_custom_msg("garbage", [])
        assert caplog.text.count("nobody understands") == 6
        tell(k="do", what="play")
        until(lambda: widget.loop.state == "over", "the end")
        assert game.ticks[0][0] == {"forward"}
        tell(k="bye")
        until(lambda: not widget.loop.running, "the thread has ended")
    finally:
        widget.close()
    assert widget.comm is None


def test_keys_press_buttons_that_exist_and_the_view_knows_them() -> None:
    assert set(KEYS.values()) == game_loop.BUTTONS
    assert set(KEYS.values()) - {"look_up", "look_down", "look_left", "look_right"} <= set(
        VoxelSim(action_type="env").action_space.spaces
    ) | {"drop"}
    for asset in (PlayWidget._esm, PlayWidget._css):
        assert "http" not in str(asset), "nothing is loaded from elsewhere"
    assert len(HELP) >= 9


def test_a_saved_notebook_shows_a_picture_instead_of_a_missing_widget() -> None:
    widget = PlayWidget(CountingGame())
    bundle = widget._repr_mimebundle_()
    assert bundle is not None
    data, _ = bundle
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/html"].startswith('<img width="32"') and "base64,anBlZw==" in data["text/html"]
    widget.close()


# VoxelSim as a game.


@pytest.fixture(scope="module")
def sim_options() -> dict[str, Any]:
    return {"obs_size": (32, 24), "render_size": (160, 90), "seed": 3, "preferred_spawn_biome": "plains",
            "world_size": 64, "pool_size": 1, "num_empty_frames": 2}  # fmt: skip


def drive(player: Player, ticks: int, buttons: Set[str] = frozenset(), turn: tuple[float, float] = (0.0, 0.0)) -> None:
    """Ticks without a clock."""
    loop = player.widget.loop
    loop._state = "playing"
    for _ in range(ticks):
        loop._held = frozenset(buttons)
        loop._mouse = [angle for angle in turn]
        loop._tick()
    loop.order("pause")


@pytest.mark.parametrize("action_type", ["env", "agent"])
def test_a_person_plays_like_a_policy_and_the_recording_repeats_it(
    action_type: Any, sim_options: dict[str, Any], tmp_path: Path
) -> None:
    sim = VoxelSim(action_type=action_type, callbacks=[JudgeResetCallback(time_limit=30)], **sim_options)
    with sim.play(run_root=tmp_path) as player:
        assert player.sim is sim and player.status()["state"] == "paused"
        start = dict(sim.info["player_pos"])
        images = [sim.obs["image"].copy()]
        for _ in range(20):
            drive(player, 1, {"forward", "drop"}, (0.3, -2.5))
            images.append(sim.obs["image"].copy())
        end = dict(sim.info["player_pos"])
        assert math.dist((start["x"], start["z"]), (end["x"], end["z"])) > 2.0
        turned = end["yaw"] - start["yaw"]
        tolerance = 1e-3 if action_type == "env" else 0.62  # a bin is left over at most
        assert turned == pytest.approx(-50.0, abs=tolerance)
        assert end["pitch"] - start["pitch"] == pytest.approx(6.0, abs=tolerance)
        with pytest.raises(RunError, match="No episode is over"):
            _ = player.episode
        drive(player, 10)
        assert player.status()["state"] == "over" and player.status()["ended"] == "truncated"
        episode = player.episode
    assert (len(episode), episode.ended, repr(episode)) == (
        30, "truncated", "PlayedEpisode('free play', 30 ticks = 1.5 s, return 0, truncated)",
    )  # fmt: skip
    shown = episode.demonstration()
    assert shown.image.shape == (31, 24, 32, 3)
    for step, image in enumerate(images):
        assert np.array_equal(shown.image[step], image), f"another picture at step {step}"
    assert shown.truncated.tolist() == [False] * 29 + [True] and not shown.terminated.any()
    assert shown.env_action(0)["forward"] == shown.env_action(0)["drop"] == 1 and shown.env_action(20)["forward"] == 0
    again = VoxelSim(action_type=action_type, callbacks=[JudgeResetCallback(time_limit=30)], **sim_options)
    again.reset()
    for step in range(30):
        again.step(shown.env_action(step) if action_type == "env" else shown.agent_action(step))
    assert again.info["player_pos"] == sim.info["player_pos"]


def test_a_slow_turn_is_made_in_bins_without_trembling(sim_options: dict[str, Any], tmp_path: Path) -> None:
    sim = VoxelSim(action_type="agent", **sim_options)
    with sim.play(run_root=tmp_path) as player:
        yaws = [sim.info["player_pos"]["yaw"]]
        for _ in range(40):
            drive(player, 1, turn=(0.0, 0.15))
            yaws.append(sim.info["player_pos"]["yaw"])
        for _ in range(5):
            drive(player, 1)
            yaws.append(sim.info["player_pos"]["yaw"])
    moves = np.diff(yaws)
    assert (moves >= -1e-9).all(), "it never turns back"
    assert yaws[-1] - yaws[0] == pytest.approx(6.0, abs=0.62)


def test_the_wheel_moves_along_the_hotbar(sim_options: dict[str, Any], tmp_path: Path) -> None:
    sim = VoxelSim(action_type="env", **sim_options)
    game = SimGame(sim, "free play", tmp_path)
    game.reset()
    game.tick(frozenset(), (0.0, 0.0), -1)
    assert sim.info["selected_slot"] == 8, "to the left of the first is the last"
    game.tick(frozenset(), (0.0, 0.0), 3)
    assert sim.info["selected_slot"] == 2


def test_a_configuration_is_played_without_its_wrappers(tmp_path: Path) -> None:
    overrides = ["env_config.render_size=[160,90]", "env_config.kwargs={world_size: 64, pool_size: 1}"]
    with ms.play("hunt", overrides, seed=5, record=True, run_root=tmp_path) as player:
        assert type(player.sim) is VoxelSim and player.widget.title == "VoxelSim: hunt"
        assert player.sim.count("kill_entity", "pig") == 0
        picture = Image.open(io.BytesIO(player.widget._poster()))
        assert picture.size == (160, 90)
        drive(player, 3, {"attack"})
        player.reset()  # gives it up
        assert "recorded in" in player.status()["note"]
        drive(player, 400)
        assert player.status()["ended"] == "truncated", "the task's own time limit, in ticks"
    assert [len(episode) for episode in player.episodes] == [3, 400]
    saved = sorted((tmp_path / "play").iterdir())
    assert len(saved) == 2 and all(folder.name.startswith("hunt-") for folder in saved)
    for folder, episode in zip(saved, player.episodes, strict=True):
        assert {file.name for file in folder.iterdir()} == {"demonstration.npz", "trace.npz", "episode.json"}
        demonstration = ms.load_demonstration(folder / "demonstration.npz")
        assert demonstration.task == "hunt" and len(demonstration) == len(episode)
        assert demonstration.image.shape[1:] == (64, 64, 3)
    assert np.array_equal(demonstration.image[-1], player.sim.obs["image"])
    assert len(EpisodeTrace.from_bytes((saved[0] / "trace.npz").read_bytes())) == 3


CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in CONFIGS.glob("*.yaml") if "env: voxel" in path.read_text())
)
def test_every_shipped_task_can_be_played(name: str, tmp_path: Path) -> None:
    with ms.play(name, ["++env_config.kwargs.pool_size=1"], run_root=tmp_path) as player:
        drive(player, 3, {"forward", "use"}, (1.0, 1.0))
        player.widget.loop.hello("v")  # now there is a thread
        player.reset()
        assert len(player.episode) == 3 and player.status()["step"] == 0, "done when it returns"
        assert len(player.episode.demonstration().image) == 4
    with pytest.raises(RunError, match="closed; play"):
        player.reset()


def test_a_video_on_request(sim_options: dict[str, Any], tmp_path: Path) -> None:
    import av

    with VoxelSim(action_type="env", **sim_options).play(run_root=tmp_path) as player:
        drive(player, 6, {"forward"})
    folder = player.episode.save(tmp_path / "mine", video=True)
    with av.open(str(folder / "episode.mp4")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 7 and (frames[0].width, frames[0].height) == (160, 90)


def test_what_cannot_be_played_is_refused() -> None:
    import gymnasium

    with pytest.raises(ConfigError, match="plays VoxelSim; got CartPoleEnv"):
        ms.play(gymnasium.make("CartPole-v1"))
    with pytest.raises(ConfigError, match="got CartPoleEnv"):
        ms.play("cartpole")
    with pytest.raises(ConfigError, match="overrides belong to a configuration"):
        ms.play(VoxelSim(), ["a=1"])


# The file.


def demonstration(steps: int = 3, **changes: Any) -> Demonstration:
    arrays: dict[str, Any] = {
        "image": np.arange((steps + 1) * 2 * 4 * 3, dtype=np.uint8).reshape(steps + 1, 2, 4, 3),
        "env_buttons": np.eye(steps, 2, dtype=np.int8),
        "env_camera": np.full((steps, 2), 0.5, np.float32),
        "agent_buttons": np.arange(steps, dtype=np.int32),
        "agent_camera": np.full(steps, 60, np.int32),
        "reward": np.array([0, 1, 0.5][:steps], np.float32),
        "terminated": np.zeros(steps, np.bool_),
        "truncated": np.arange(steps) == steps - 1,
    }
    return Demonstration("t", 7, ("attack", "use"), **{**arrays, **changes}, extras={"who": "a person"})


def test_a_demonstration_survives_its_file_which_holds_no_pickles(tmp_path: Path) -> None:
    file = tmp_path / "d.npz"
    file.write_bytes(demonstration().to_bytes())
    with np.load(file, allow_pickle=False) as arrays:
        assert {arrays[name].dtype.kind for name in arrays.files} <= set("uifb")
    loaded = ms.load_demonstration(file)
    assert repr(loaded) == "Demonstration('t', 3 steps, return 1.5, 4x2 pixels)"
    assert (loaded.task, loaded.seed, loaded.buttons, loaded.extras) == ("t", 7, ("attack", "use"), {"who": "a person"})
    for name in ("image", "env_buttons", "env_camera", "agent_buttons", "agent_camera", "reward", "truncated"):
        assert np.array_equal(getattr(loaded, name), getattr(demonstration(), name)), name
    action = loaded.env_action(1)
    assert (action["attack"], action["use"], action["camera"].tolist()) == (0, 1, [0.5, 0.5])
    assert {key: value.tolist() for key, value in loaded.agent_action(2).items()} == {"buttons": [2], "camera": [60]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward": np.zeros(3)}, "reward must be float32, it is float64"),
        ({"image": np.zeros((3, 2, 4, 3), np.uint8)}, r"image must be \[4, height, width, 3\]"),
        ({"env_camera": np.zeros((3, 3), np.float32)}, r"env_camera must be \[3, 2\], it is \[3, 3\]"),
        ({"env_buttons": np.zeros((3, 5), np.int8)}, r"env_buttons must be \[3, 2\]"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        demonstration(**changes)


def test_files_that_are_no_demonstrations(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no file"):
        ms.load_demonstration(tmp_path / "no.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(RunError, match="is no demonstration"):
        ms.load_demonstration(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(1))
    with pytest.raises(RunError, match="is no demonstration"):
        ms.load_demonstration(tmp_path / "other.npz")
    data = np.frombuffer(b'{"format": 9}', np.uint8)
    np.savez(tmp_path / "newer.npz", head=data)
    with pytest.raises(RunError, match="format 9; this version reads 1"):
        ms.load_demonstration(tmp_path / "newer.npz")
