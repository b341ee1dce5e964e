"""Playing VoxelSim by hand in a notebook, to see what a task asks for, and keeping what was played. ::

    player = ms.play("hunt")            # or env.play() of a VoxelSim
    player                              # click on the picture; afterwards
    player.episode.demonstration()      # what was seen, done and got, step by step
    player.episode.save()               # on disk, for later

The person plays the bare simulation: wrappers of the configuration, such as frame skipping or a choice of few actions,
are passed over. Rewards, commands and time limits come from the same callbacks as in training.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minestudio_nb.config import LoadedConfig, load_config
from minestudio_nb.contracts.demonstrations import Demonstration
from minestudio_nb.contracts.playing import Ended, Outcome
from minestudio_nb.environments.build import EnvFactory, prepare_simulator
from minestudio_nb.errors import ConfigError, ResourceError, RunError
from minestudio_nb.results import shown_path
from minestudio_nb.runs import fresh_name, write_atomically
from minestudio_nb.simulator import VoxelSim
from minestudio_nb.simulator.actions import FACTORED_BUTTONS, ActionMapper, CameraConfig, env_action_of_row
from minestudio_nb.simulator.replay import EpisodeTrace, render_trace
from minestudio_nb.telemetry.video import VideoInfo, annotate, write_mp4

if TYPE_CHECKING:
    from minestudio_nb.widgets.play import PlayWidget

__all__ = ["PlayedEpisode", "Player", "play"]

KEPT_EPISODES: Final = 100
"""Episodes that a player remembers, some tens of kilobytes each."""
JPEG_QUALITY: Final = 82
SAVE_SECONDS: Final = 300.0
FOLDER: Final = "play"
"""Below the directory of runs."""


@dataclass(frozen=True, eq=False)
class PlayedEpisode:
    """An episode that a person played."""

    task: str
    trace: EpisodeTrace
    rewards: tuple[float, ...]
    """One for each tick."""
    ended: Ended
    """Empty when the player gave up."""
    obs_size: tuple[int, int]
    render_size: tuple[int, int]
    camera_config: CameraConfig
    run_root: Path
    played_at: float = field(default_factory=time.time)
    """Unix time in seconds."""

    @property
    def total_reward(self) -> float:
        """The return, undiscounted."""
        return float(sum(self.rewards))

    def __len__(self) -> int:
        """Ticks."""
        return len(self.rewards)

    def __repr__(self) -> str:
        seconds = len(self) / 20
        how = self.ended or "given up"
        return f"PlayedEpisode({self.task!r}, {len(self)} ticks = {seconds:g} s, return {self.total_reward:g}, {how})"

    def demonstration(self) -> Demonstration:
        """The episode as a learner would have met it, with images at ``obs_size``; made by living through it again."""
        mapper = ActionMapper(self.camera_config)
        names = FACTORED_BUTTONS
        actions = [
            env_action_of_row(row, camera) for row, camera in zip(self.trace.actions, self.trace.cameras, strict=True)
        ]
        agent = [mapper.from_env(action) for action in actions]
        last = np.zeros(len(self), np.bool_)
        last[-1:] = True
        return Demonstration(
            task=self.task,
            seed=self.trace.seed,
            buttons=names,
            image=np.stack(list(self.frames(self.obs_size))),
            env_buttons=np.array([[action[name] for name in names] for action in actions], np.int8).reshape(
                -1, len(names)
            ),
            env_camera=self.trace.cameras.astype(np.float32),
            agent_buttons=np.array([int(action["buttons"][0]) for action in agent], np.int32),
            agent_camera=np.array([int(action["camera"][0]) for action in agent], np.int32),
            reward=np.array(self.rewards, np.float32),
            terminated=last & (self.ended == "terminated"),
            truncated=last & (self.ended == "truncated"),
            extras={"played_at": self.played_at, "camera": self.camera_config.action_transformer_kwargs},
        )

    def frames(self, size: tuple[int, int] | None = None) -> Iterator[NDArray[np.uint8]]:
        """The frames, uint8 [height, width, 3], one more than ticks; ``size`` is width and height."""
        return render_trace(self.trace, size or self.render_size)

    def video(self, path: str | Path) -> VideoInfo:
        """Writes the episode as an MP4 with step and return on the frames.

        Raises:
            ValueError: nothing was played.
        """
        so_far = np.concatenate([[0.0], np.cumsum(self.rewards)])
        frames = (
            annotate(frame, f"{self.task}   step {step}   return {so_far[step]:g}")
            for step, frame in enumerate(self.frames())
        )
        return write_mp4(frames, Path(path), 20, max_frames=len(self) + 1)

    def save(self, directory: str | Path | None = None, *, video: bool = False) -> Path:
        """Writes ``demonstration.npz``, ``trace.npz`` and ``episode.json``, and ``episode.mp4`` if asked for.

        Args:
            directory: made if need be; None makes one below ``runs/play``.

        Returns:
            The directory.

        Raises:
            RunError: it cannot be written.
        """
        root = self.run_root / FOLDER
        folder = Path(directory) if directory is not None else root / fresh_name(root, self.task)
        facts = {
            "task": self.task,
            "ticks": len(self),
            "return": self.total_reward,
            "ended": self.ended or "given up",
            "seed": self.trace.seed,
            "played_at": self.played_at,
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "trace.npz").write_bytes(self.trace.to_bytes())
            (folder / "demonstration.npz").write_bytes(self.demonstration().to_bytes())
            if video:
                self.video(folder / "episode.mp4")
            write_atomically(folder / "episode.json", json.dumps(facts, indent=2) + "\n")  # last: now it is whole
        except OSError as error:
            raise RunError(f"The episode cannot be written to {folder}: {error}.") from error
        return folder


class SimGame:
    """VoxelSim as a game for a person: one step a tick, with env actions or the agent actions nearest to them."""

    def __init__(self, sim: VoxelSim, task: str, run_root: Path, seed: int | None = None) -> None:
        self.title = f"VoxelSim: {task}"
        self.size = sim.render_size
        self.episodes: deque[PlayedEpisode] = deque(maxlen=KEPT_EPISODES)
        self.savers: list[threading.Thread] = []
        self.sim, self.task, self._run_root, self._seed = sim, task, run_root, seed
        self._rewards: list[float] = []
        self._ended: Ended = ""
        self._left_over = np.zeros(2)

    def reset(self) -> None:
        """Another episode."""
        self.sim.reset(seed=self._seed)
        self._seed = None  # later ones go on with the random numbers
        self.sim.start_trace()
        self._rewards, self._ended = [], ""
        self._left_over[:] = 0.0

    def tick(self, buttons: Set[str], turn: tuple[float, float], scroll: int) -> Outcome:
        """One step."""
        action: dict[str, Any] = {name: 1 for name in buttons}
        if scroll:
            slot = (int(self.sim.info["selected_slot"]) + scroll) % 9
            action[f"hotbar.{slot + 1}"] = 1
        action["camera"] = np.asarray(turn, np.float32)  # as in the action space, so that a recording says it exactly
        if self.sim.action_type == "agent":
            action["camera"] = self._binned(action["camera"] + self._left_over)
            action = self.sim.env_action_to_agent_action(action)
        _, reward, terminated, truncated, _ = self.sim.step(action)
        self._rewards.append(float(reward))
        self._ended = "terminated" if terminated else "truncated" if truncated else ""
        return Outcome(float(reward), self._ended)

    def _binned(self, wanted: NDArray[np.float64]) -> NDArray[np.float64]:
        """The largest turn within a wanted one that the agent's camera has a bin for.

        What is left, up to one largest movement, comes in the next ticks. Rounding to the nearest bin instead would
        overshoot, and then tremble.
        """
        camera = self.sim.action_mapper.camera_config
        bins = camera.bin_degrees()
        turn = np.zeros(2)
        for axis, degrees in enumerate(wanted.tolist()):
            within = bins[(bins * degrees >= 0.0) & (np.abs(bins) <= abs(degrees) + 1e-9)]
            turn[axis] = within[np.argmax(np.abs(within))]
        most = float(camera.camera_maxval)
        self._left_over = np.clip(wanted - turn, -most, most)
        return turn

    def jpeg(self) -> bytes:
        """The frame of this moment at ``render_size``."""
        buffer = io.BytesIO()
        Image.fromarray(self.sim.render()).save(buffer, format="JPEG", quality=JPEG_QUALITY)
        return buffer.getvalue()

    def finish(self, save: bool) -> str:
        """Keeps the episode; saving goes on in the background."""
        episode = PlayedEpisode(
            self.task,
            self.sim.finish_trace(),
            tuple(self._rewards),
            self._ended,
            self.sim.obs_size,
            self.sim.render_size,
            self.sim.action_mapper.camera_config,
            self._run_root,
        )
        self.episodes.append(episode)
        if not save:
            return ""
        root = self._run_root / FOLDER
        folder = root / fresh_name(root, self.task)
        folder.mkdir(parents=True)
        self.savers = [thread for thread in self.savers if thread.is_alive()]
        saver = threading.Thread(target=episode.save, args=(folder,), name="minestudio_nb-play-save")
        saver.start()
        self.savers.append(saver)
        return f"recorded in {shown_path(folder)}"


class Player:
    """A game in a notebook: the value of a cell shows it. See :func:`play`."""

    def __init__(self, game: SimGame, record: bool) -> None:
        try:
            from minestudio_nb.widgets.play import PlayWidget
        except ImportError as error:
            raise ResourceError(
                f"play() shows a widget, which needs {error.name or 'anywidget'}: pip install 'anywidget>=0.9.18' "
                "ipywidgets jupyterlab, or make lab."
            ) from error
        self._game = game
        self._widget = PlayWidget(game, record)

    @property
    def widget(self) -> PlayWidget:
        """The widget, to be placed among others."""
        return self._widget

    @property
    def sim(self) -> VoxelSim:
        """The simulation that is played. Leave it alone while the game runs."""
        return self._game.sim

    @property
    def episodes(self) -> Sequence[PlayedEpisode]:
        """The latest episodes that are over or were given up, at most 100, the newest last."""
        return tuple(self._game.episodes)

    @property
    def episode(self) -> PlayedEpisode:
        """The newest of them.

        Raises:
            RunError: none is over yet.
        """
        if not self._game.episodes:
            raise RunError("No episode is over yet. Play one to its end, or give it up with player.reset().")
        return self._game.episodes[-1]

    def status(self) -> Mapping[str, Any]:
        """State, episode, step, return and so on, as shown around the picture."""
        return self._widget.loop.hud()

    def reset(self) -> None:
        """Gives up the running episode, which is kept, and begins another."""
        self._order("reset")

    def record(self, on: bool = True) -> None:
        """Whether episodes are saved to ``runs/play`` when they end."""
        self._order("record", on)

    def _order(self, what: Any, value: bool = True) -> None:
        loop = self._widget.loop
        if loop.state == "closed":
            raise RunError("The game is closed; play() opens another.")
        loop.order(what, value)
        if not loop.settle():
            raise ResourceError(f"The game did not answer in time; its state is {loop.state}. Close it and play again.")

    def close(self) -> None:
        """Ends the game and its threads; a running episode is kept."""
        self._widget.close()
        for saver in self._game.savers:
            saver.join(SAVE_SECONDS)

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        hud = self.status()
        return f"Player({self._game.task!r}: {hud['state']}, step {hud['step']}, return {hud['return']:g})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self._widget._repr_mimebundle_(**kwargs)


def play(
    source: Any,
    overrides: Sequence[str] = (),
    *,
    seed: int = 0,
    record: bool = False,
    run_root: str | Path = "runs",
) -> Player:
    """A game to play by hand, in the output of a notebook's cell.

    Args:
        source: a configuration (a name such as ``"hunt"``, a path, a mapping, or what ``load_config`` gave) whose
            environment is VoxelSim, or a VoxelSim, also inside wrappers.
        overrides: of a configuration, in Hydra's grammar.
        seed: of the first episode's world.
        record: save each episode below ``<run_root>/play`` when it ends; the button *Record* does the same.
        run_root: directory of runs.

    Raises:
        ConfigError: the configuration cannot be used, or its environment is not VoxelSim.
        ResourceError: the packages for widgets are missing.
    """
    root = Path(run_root).resolve()
    if hasattr(source, "reset") and hasattr(source, "step"):
        if overrides:
            raise ConfigError("overrides belong to a configuration; an environment that exists takes none.")
        sim, task, first_seed = _bare(source), "free play", None
    else:
        loaded = source if isinstance(source, LoadedConfig) else load_config(source, overrides)
        factory = EnvFactory(loaded.env, seed=seed)
        prepare_simulator(loaded.env)
        sim, task, first_seed = _bare(factory(0)), factory.task, factory.seed_of(0)
        task = loaded.name if task == "default" else task
    return Player(SimGame(sim, task, root, first_seed), record)


def _bare(env: Any) -> VoxelSim:
    """The simulation inside an environment's wrappers."""
    inner = getattr(env, "unwrapped", env)
    if not isinstance(inner, VoxelSim):
        raise ConfigError(
            f"play() plays VoxelSim; got {type(inner).__name__}. For a configuration of real Minecraft, "
            "load_config(..., simulator='voxel') gives the same task here."
        )
    return inner
