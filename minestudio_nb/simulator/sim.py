"""VoxelSim: the embedded world behind MinecraftSim's interface, as a ``gymnasium.Env``."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.actions import (
    TICK_FIELDS,
    ActionMapper,
    CameraConfig,
    env_action_space,
    fill_tick_row,
    noop_env_action,
)
from minestudio_nb.simulator.callbacks.base import MinecraftCallback, Observation, overriding
from minestudio_nb.simulator.commands import execute
from minestudio_nb.simulator.engine import VoxelEngine
from minestudio_nb.simulator.info import StepInfo, event_row, object_column
from minestudio_nb.simulator.replay import EpisodeTrace
from minestudio_nb.simulator.state import P_PITCH
from minestudio_nb.simulator.view import View

if TYPE_CHECKING:
    from minestudio_nb.playing import Player

_REQUESTS: Final = frozenset(("voxels", "mobs"))
"""Parts of an env action that press nothing, but ask for an entry of info: MineStudio's way."""
_ENGINE_OPTIONS: Final = ("world_seed", "pool_size", "world_size", "fall_damage", "animal_speed", "unknown_commands")


class _EnvActionSpace(spaces.Dict):
    """The env action space with MineRL's ``no_op``."""

    def no_op(self) -> dict[str, Any]:
        """An action that presses nothing."""
        return noop_env_action()


class EnvFacade:
    """What MineStudio code reaches as ``sim.env``: the raw environment below callbacks, on env actions."""

    def __init__(self, sim: VoxelSim) -> None:
        self._sim = sim
        self.action_space = _EnvActionSpace(env_action_space().spaces)

    def reset(self) -> tuple[Observation, StepInfo]:
        """Start in another world, without callbacks and without idle ticks."""
        self._sim.engine.reset(self._sim.np_random)
        return self._sim.look()

    def noop_action(self) -> dict[str, Any]:
        """An env action that presses nothing."""
        return noop_env_action()

    def step(self, action: Mapping[str, Any]) -> tuple[Observation, float, bool, StepInfo]:
        """One tick with an env action, without callbacks: observation, reward 0, whether the player is dead, info."""
        row, camera = np.zeros(TICK_FIELDS, np.int32), np.zeros(2)
        fill_tick_row(action, row, camera)
        self._sim.engine.run(row, camera)
        obs, info = self._sim.look()
        return obs, 0.0, self._sim.engine.dead, info

    def seed(self, seed: int) -> None:
        """Seed what later resets draw from."""
        self._sim.reseed(seed)

    def execute_cmd(self, command: str) -> tuple[Observation, float, bool, StepInfo]:
        """Carry out a chat command; one tick passes, as in Minecraft.

        Raises:
            SimulatorError: unknown command.
        """
        self._sim.execute(command)
        self._sim.engine.idle(1)
        obs, info = self._sim.look()
        return obs, 0.0, self._sim.engine.dead, info


class VoxelSim(gymnasium.Env[dict[str, Any], Any]):
    """A first-person voxel world with MinecraftSim's constructor, observation, ``info`` and actions.

    The observation is ``{"image": uint8[h, w, 3]}``, rendered directly at ``obs_size`` with the geometry of the 16:9
    frame that MineStudio would have shrunk. ``info`` is a dict that computes its entries when they are read
    (``info.StepInfo``); ``info["pov"]`` is the frame at ``render_size``. One step is one tick, 1/20 s. The player's
    death terminates; a time limit (``JudgeResetCallback``) truncates. The same seed and actions give the same states.
    The inventory key does nothing: there is no inventory screen, and ``isGuiOpen`` is always False.

    Args:
        action_type: "agent" for ``{"buttons": MultiDiscrete([8641]), "camera": MultiDiscrete([121])}``, "env" for 19
            buttons and two camera angles in degrees.
        obs_size: width and height of the observation, in pixels.
        render_size: width and height of ``render()`` and ``info["pov"]``.
        seed: of the worlds and of everything random, until ``reset(seed=...)``.
        inventory: what the player starts with: ``{slot: {"type": name, "quantity": n}}``.
        preferred_spawn_biome: biome of the worlds; None for a forest.
        num_empty_frames: idle ticks after a reset.
        callbacks: see ``callbacks.MinecraftCallback``. They belong to this simulation alone, and may add to the
            observation, see ``observation_space``.
        camera_config: bins of the agent's camera.
        **kwargs: ``world_seed`` (seed of the worlds, default ``seed``), ``pool_size`` (different worlds, default 4),
            ``world_size`` (columns, a power of two, default 128), ``fall_damage`` (default True), ``animal_speed``
            (share of Minecraft's speeds, default 0.5), ``unknown_commands``
            ("error", or "warn" to pass over chat commands that cannot be carried out).

    Attributes:
        already_reset: whether there was a reset.
        ticks_in_step: ticks that the last step took; more than 1 when an action was held.
        repeating: whether this step holds the action of the one before.
        obs, info: what the last reset or step returned.

    Raises:
        SimulatorError: an argument that does not exist, or a value that cannot be.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - gymnasium declares it so

    def __init__(
        self,
        action_type: Literal["agent", "env"] = "agent",
        obs_size: tuple[int, int] = (224, 224),
        render_size: tuple[int, int] = (640, 360),
        seed: int = 0,
        inventory: Mapping[Any, Any] | None = None,
        preferred_spawn_biome: str | None = None,
        num_empty_frames: int = 20,
        callbacks: Sequence[MinecraftCallback] = (),
        camera_config: CameraConfig | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        _check_keywords(kwargs)
        if action_type not in ("agent", "env"):
            raise SimulatorError(f"action_type is 'agent' or 'env'; got {action_type!r}.")
        if num_empty_frames < 0:
            raise SimulatorError(f"num_empty_frames must not be negative; got {num_empty_frames}.")
        if isinstance(camera_config, Mapping):
            camera_config = _camera_config(camera_config)
        self.action_type = action_type
        self.render_mode = "rgb_array"
        self.seed = int(seed)
        self.num_empty_frames = num_empty_frames
        self.callbacks = list(callbacks)
        world_seed = kwargs.pop("world_seed", self.seed)
        self.engine = VoxelEngine(world_seed, preferred_spawn_biome, inventory, **kwargs)
        self.action_mapper = ActionMapper(camera_config)
        self._view, self._frame_view = View(*_size("obs_size", obs_size)), View(*_size("render_size", render_size))
        self.obs_size, self.render_size = self._view.size, self._frame_view.size
        self.env = EnvFacade(self)
        if action_type == "agent":
            self.action_space = self.action_mapper.action_space()
        else:
            self.action_space = env_action_space()
        shape = (self.obs_size[1], self.obs_size[0], 3)
        self.observation_space = spaces.Dict({"image": spaces.Box(0, 255, shape, np.uint8)})
        self.already_reset = False
        self.ticks_in_step = 1
        self.obs: Observation = {}
        self.info: dict[str, Any] = {}
        self._image = np.zeros(shape, np.uint8)
        self._image_serial = -1
        self._row, self._camera = np.zeros(TICK_FIELDS, np.int32), np.zeros(2)
        self._before_step = overriding(self.callbacks, "before_step")
        self._after_step = overriding(self.callbacks, "after_step")
        self._batches = all(c.batch_ticks for c in (*self._before_step, *self._after_step))
        self._needs_image = any(c.needs_image for c in self._after_step)
        self._requests: dict[str, Any] = {}
        self.repeating = False
        self.callback_messages: set[str] = set()
        self._trace: EpisodeTrace | None = None
        self.reseed(self.seed)
        for callback in self.callbacks:
            callback.attach(self)

    def reseed(self, seed: int) -> None:
        """Seed what later resets draw from: world, place, mobs."""
        self._np_random, self._np_random_seed = gymnasium.utils.seeding.np_random(seed)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode in one of the worlds, at a random place.

        Args:
            seed: start the random numbers anew from this; None: go on with them.
            options: none are known.

        Returns:
            The first observation, and info.
        """
        if options:
            raise SimulatorError(f"VoxelSim.reset takes no options; got {sorted(options)}.")
        if seed is not None:
            self.reseed(seed)
        self._trace = None
        do_reset = True
        for callback in self.callbacks:
            do_reset = callback.before_reset(self, do_reset)
        if do_reset:
            self.engine.reset(self.np_random)
        self.already_reset = True
        self.engine.idle(self.num_empty_frames)
        self.ticks_in_step = 1
        obs, info = self.look()
        for callback in self.callbacks:
            obs, info = callback.after_reset(self, obs, info)
        self.obs, self.info = obs, info
        return obs, info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One tick. The action is not changed.

        Returns:
            Observation, reward (0 unless a callback gives one), terminated, truncated, info.

        Raises:
            SimulatorError: before the first reset, or the action is not in the space.
        """
        return self._advance(action, 1, turn=True, render=True)

    def step_repeat(self, action: Any, ticks: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Hold one action for several ticks; the camera turns on the first only, and only the last frame is rendered.

        As ``ticks`` calls of ``step`` that stop at the episode's end, with their rewards summed, but in one call of the
        compiled code where the callbacks allow it (``MinecraftCallback.batch_ticks``).
        """
        reward, done = 0.0, 0
        while True:
            count = self._batch_size(ticks - done)
            last = done + count >= ticks
            obs, gained, terminated, truncated, info = self._advance(action, count, turn=done == 0, render=last)
            reward += gained
            done += count
            if terminated or truncated or last:
                break
        if not last:
            obs["image"] = self._render_image()
        return obs, reward, terminated, truncated, info

    def _batch_size(self, wanted: int) -> int:
        """How many of the wanted ticks may run at once."""
        if not self._batches:
            return 1
        limits = (callback.max_batch(self) for callback in self._after_step)
        return max(1, min((wanted, *(limit for limit in limits if limit is not None))))

    def _advance(
        self, action: Any, ticks: int, turn: bool, render: bool
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if not self.already_reset:
            raise SimulatorError("Call reset() before the first step().")
        self._fill_row(action, turn)
        self.ticks_in_step = max(1, self.engine.run(self._row, self._camera, ticks))
        reward, terminated, truncated = 0.0, self.engine.dead, False
        obs: Observation = {"image": self._render_image() if render or self._needs_image else self._image}
        info: Any = StepInfo(self.engine, self._render_frame)
        if self._requests:
            self._add_requested(info)
        for callback in self._after_step:
            obs, reward, terminated, truncated, info = callback.after_step(
                self, obs, reward, terminated, truncated, info
            )
        self.obs, self.info = obs, info
        return obs, reward, terminated, truncated, info

    def _fill_row(self, action: Any, turn: bool) -> None:
        """Put an action into the tick row: directly, or by names if a callback wants to see it."""
        agent = self.action_type == "agent"
        self.repeating = not turn
        self._requests = {}
        if self._before_step or (not agent and not _REQUESTS.isdisjoint(action)):
            named = self.action_mapper.to_env(action) if agent else dict(action)
            if not turn:
                named["camera"] = np.zeros(2)
            for callback in self._before_step:
                named = callback.before_step(self, named)
            self._requests = {name: named.pop(name) for name in _REQUESTS if name in named}
            fill_tick_row(named, self._row, self._camera)
        elif agent:
            self.action_mapper.fill_tick_row(action, self._row, self._camera)
        else:
            fill_tick_row(action, self._row, self._camera)
        if not turn:
            self._camera[:] = 0.0

    def _add_requested(self, info: StepInfo) -> None:
        """Put into info what the action asked for: the blocks or the mobs of a box around the player."""
        for name, box in self._requests.items():
            bounds = np.asarray(box).reshape(-1)
            if bounds.size != 6 or not np.isfinite(bounds).all() or (bounds[::2] > bounds[1::2]).any():
                raise SimulatorError(f"{name} takes [xmin, xmax, ymin, ymax, zmin, zmax]; got {box!r}.")
            x0, x1, y0, y1, z0, z1 = bounds.tolist()
            if name == "voxels":
                info.add_voxels(*self.engine.cells_around(int(x0), int(x1), int(y0), int(y1), int(z0), int(z1)))
            else:
                info.add_mobs((x0, y0, z0), (x1, y1, z1))

    def execute(self, command: str) -> None:
        """Carry out a chat command. No time passes; see ``commands`` for those that are known.

        Raises:
            SimulatorError: unknown command.
        """
        execute(self.engine, command, int(self.np_random.integers(1 << 62)))

    def look(self) -> tuple[Observation, StepInfo]:
        """The observation and info of this moment, rendered anew. For callbacks that changed the world."""
        self._image_serial = -1
        return {"image": self._render_image()}, StepInfo(self.engine, self._render_frame)

    def look_again(self, obs: Observation, info: Mapping[str, Any]) -> tuple[Observation, StepInfo]:
        """As ``look``, keeping what other callbacks have put into an observation and an info."""
        new_obs, new_info = self.look()
        new_info.update(info.extras() if isinstance(info, StepInfo) else {})
        return {**obs, **new_obs}, new_info

    _wrap_obs_info = look_again  # the name that callbacks written for MineStudio call after commands

    def _render_image(self) -> NDArray[np.uint8]:
        """The observation's image of this moment; a new array for each moment."""
        if self._image_serial != self.engine.serial:
            self._image = np.empty_like(self._image)
            self._view.render(self.engine, self._image)
            self._image_serial = self.engine.serial
        return self._image

    def _render_frame(self) -> NDArray[np.uint8]:
        frame = np.empty((self.render_size[1], self.render_size[0], 3), np.uint8)
        self._frame_view.render(self.engine, frame)
        return frame

    def observe_into(self, out: Mapping[str, NDArray[Any]]) -> None:
        """Write the current observation into arrays, by the names of the observation space joined with ".".

        The image is rendered again if it is out of date and no callback has put another in its place.
        """
        image = self.obs.get("image", self._image)
        np.copyto(out["image"], self._render_image() if image is self._image else image)
        if len(out) > 1:
            for name, value in _leaves(self.observation_space, self.obs):
                if name != "image":
                    out[name][...] = value

    def render(self) -> NDArray[np.uint8]:  # type: ignore[override]
        """The current frame at ``render_size``: uint8[h, w, 3]."""
        image = self._render_frame()
        for callback in self.callbacks:
            image = callback.before_render(self, image)
        for callback in self.callbacks:
            image = callback.after_render(self, image)
        return image

    def count(self, event: str, name: str) -> int:
        """How often an event happened with an object since the reset, such as ``count("mine_block", "oak_log")``.

        Raises:
            SimulatorError: unknown event or object.
        """
        return int(self.engine.state.stats[event_row(event), object_column(event, name)])

    @property
    def pitch(self) -> float:
        """Where the player looks, in degrees; negative is up."""
        return float(self.engine.state.player[P_PITCH])

    def noop_action(self) -> dict[str, Any]:
        """The action that does nothing, in this simulation's form."""
        return self.action_mapper.noop() if self.action_type == "agent" else noop_env_action()

    def agent_action_to_env_action(self, action: Any) -> dict[str, Any]:
        """The env action of an agent action, see ``ActionMapper.to_env``."""
        return self.action_mapper.to_env(action)

    def env_action_to_agent_action(self, action: Mapping[str, Any]) -> dict[str, NDArray[np.int64]]:
        """The agent action nearest to an env action, see ``ActionMapper.from_env``."""
        return self.action_mapper.from_env(action)

    def close(self) -> None:
        """Tell the callbacks; there is nothing else to release."""
        for callback in self.callbacks:
            callback.before_close(self)
        for callback in self.callbacks:
            callback.after_close(self)

    def play(self, **options: Any) -> Player:
        """Play by hand in a notebook: see ``minestudio_nb.play``, which takes the same options.

        Widgets belong to a layer above, so the package is asked for its public name, and only when somebody plays.
        """
        import minestudio_nb

        return minestudio_nb.play(self, **options)

    def start_trace(self) -> None:
        """Record from this moment on, until ``finish_trace``; best called right after a reset.

        Raises:
            SimulatorError: before the first reset.
        """
        if not self.already_reset:
            raise SimulatorError("Call reset() before start_trace().")
        self._trace = EpisodeTrace.begin(self.engine, self.seed)

    def finish_trace(self) -> EpisodeTrace:
        """What was recorded since ``start_trace``; it stops the recording.

        Raises:
            SimulatorError: nothing is being recorded (a reset, too, ends a recording).
        """
        if self._trace is None:
            raise SimulatorError("finish_trace() needs a start_trace() in the same episode.")
        trace, self._trace = self._trace, None
        return trace.end(self.engine)

    def get_state(self) -> dict[str, Any]:
        """Everything that later observations, rewards and resets depend on: arrays and plain values."""
        return {
            "engine": self.engine.get_state(),
            "random": copy.deepcopy(self.np_random.bit_generator.state),
            "already_reset": self.already_reset,
            "callbacks": [copy.deepcopy(callback.get_state()) for callback in self.callbacks],
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Return to what ``get_state`` gave, here or in another simulation with the same arguments.

        Raises:
            SimulatorError: the state has other callbacks, or another format.
        """
        if len(state["callbacks"]) != len(self.callbacks):
            raise SimulatorError(
                f"The state has {len(state['callbacks'])} callbacks and this simulation {len(self.callbacks)}; "
                "build it with the arguments of the one that saved the state."
            )
        self.engine.set_state(state["engine"])
        self.np_random.bit_generator.state = copy.deepcopy(state["random"])
        self.already_reset = bool(state["already_reset"])
        for callback, remembered in zip(self.callbacks, state["callbacks"], strict=True):
            callback.set_state(copy.deepcopy(remembered))
        self._trace = None


def _leaves(space: gymnasium.Space[Any], value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The parts of an observation that its space declares, with their joined names."""
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from _leaves(inner, value[key], f"{name}.{key}" if name else key)
    else:
        yield name, value


def _check_keywords(kwargs: Mapping[str, Any]) -> None:
    known = ("action_type", "obs_size", "render_size", "seed", "inventory", "preferred_spawn_biome", "num_empty_frames",
             "callbacks", "camera_config", *_ENGINE_OPTIONS)  # fmt: skip
    for key in kwargs:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise SimulatorError(f"VoxelSim has no argument {key!r}; the nearest is {near!r}. All: {', '.join(known)}.")


def _camera_config(settings: Mapping[str, Any]) -> CameraConfig:
    try:
        return CameraConfig(**settings)
    except TypeError as error:
        raise SimulatorError(f"camera_config takes the fields of CameraConfig: {error}.") from error


def _size(name: str, value: Sequence[int]) -> tuple[int, int]:
    try:
        width, height = (int(v) for v in value)
    except (TypeError, ValueError) as error:
        raise SimulatorError(f"{name} is (width, height) in pixels; got {value!r}.") from error
    if not (16 <= width <= 4096 and 16 <= height <= 4096):
        raise SimulatorError(f"{name} is 16 to 4096 pixels each way; got {width}x{height}.")
    return width, height
