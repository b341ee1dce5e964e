"""MineStudio's MinecraftSim, repaired for learning; importable only where MineStudio is."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium import spaces
from minestudio.simulator import callbacks as real_callbacks
from minestudio.simulator.entry import CameraConfig
from minestudio.simulator.entry import MinecraftSim as Original
from minestudio.simulator.minerl.herobraine.hero import handlers, mc

from minestudio_nb.config.minestudio_compat import VOXEL_ARGUMENTS
from minestudio_nb.contracts.fields import nearest_hint
from minestudio_nb.environments.minecraft.launch import need_engine, take_over
from minestudio_nb.environments.minecraft.settings import resolve_callback, simulator_arguments
from minestudio_nb.environments.minecraft.turns import turn
from minestudio_nb.errors import ConfigError, EnvCrashError, EnvError
from minestudio_nb.wrappers import wrap

__all__ = ["MinecraftSim", "build_env"]

StepResult = tuple[dict[str, Any], float, bool, bool, dict[str, Any]]

BUTTONS: Final = (
    *("attack", "back", "forward", "jump", "left", "right", "sneak", "sprint", "use", "drop", "inventory"),
    *(f"hotbar.{number}" for number in range(1, 10)),
)


def build_env(env_config: Mapping[str, Any], seed: int = 0) -> gymnasium.Env[Any, Any]:
    """The environment of an ``env_config`` with ``simulator: minecraft``.

    Raises:
        ConfigError: an unknown key, callback or argument.
        EnvStartError: the engine's files are missing.
    """
    classes = {name: value for name, value in vars(real_callbacks).items() if isinstance(value, type)}
    callbacks = [resolve_callback(spec, classes) for spec in env_config.get("callbacks") or ()]
    arguments = simulator_arguments(env_config, seed)
    env: gymnasium.Env[Any, Any] = MinecraftSim(
        callbacks=callbacks, camera_config=env_config.get("camera_config"), **arguments
    )
    for spec in env_config.get("wrappers") or ():
        env = wrap(env, spec)
    return env


class MinecraftSim(Original):  # type: ignore[misc]
    """MineStudio's class with the same constructor, hooks and ``info``, and these differences:

    - The time limit of ``JudgeResetCallback`` truncates; the engine's own end, such as the player's death, terminates.
    - A lost engine raises, where MineStudio goes on with random observations and ``info["error"]``.
    - ``info`` holds this step's entries only, the action that came is not changed, ``drop`` is obeyed, the observation
      space has the height first, as the image has, and the camera's bins are those of ``camera_config``.
    - ``reset`` takes a seed, for the next world and for everything that callbacks draw. It starts a new world after the
      engine has ended the episode, since an engine that is done takes no commands.
    - ``render`` gives the frame at ``render_size``, not the policy's image.
    - Few engines on a machine start, or build a world, at once.

    Args:
        start_slots: how many may; None for one per two processors.
        **kwargs: VoxelSim's own arguments, which are ignored.

    Raises:
        ConfigError: an argument that does not exist.
        EnvStartError: the engine's files are missing.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - gymnasium declares it so

    def __init__(
        self,
        action_type: str = "agent",
        obs_size: Sequence[int] = (224, 224),
        render_size: Sequence[int] = (640, 360),
        seed: int = 0,
        inventory: Mapping[Any, Any] | None = None,
        preferred_spawn_biome: str | None = None,
        num_empty_frames: int = 20,
        callbacks: Sequence[Any] = (),
        camera_config: CameraConfig | Mapping[str, Any] | None = None,
        start_slots: int | None = None,
        **kwargs: Any,
    ) -> None:
        _refuse_unknown(kwargs)
        need_engine()
        take_over()
        camera = camera_config if isinstance(camera_config, CameraConfig) else CameraConfig(**(camera_config or {}))
        super().__init__(
            action_type=action_type,
            obs_size=tuple(obs_size),
            render_size=tuple(render_size),
            seed=int(seed),
            inventory=dict(inventory or {}),
            preferred_spawn_biome=preferred_spawn_biome,
            num_empty_frames=num_empty_frames,
            callbacks=list(callbacks),
            camera_config=camera,
        )
        self.render_mode = "rgb_array"
        self.on_wait: Callable[[bool], None] | None = None
        self._bins = camera.n_camera_bins
        self._start_slots = start_slots
        self._closed = False
        self.info: dict[str, Any] = {}
        _obey_drop(self.env)
        self.env.step = _checked(self.env.step)

    @functools.cached_property
    def action_space(self) -> spaces.Dict:
        """The space of ``step``'s actions, see ``action_type``."""
        if self.action_type == "env":
            return Original.action_space.fget(self)
        return spaces.Dict({"buttons": spaces.MultiDiscrete([8641]), "camera": spaces.MultiDiscrete([self._bins**2])})

    @functools.cached_property
    def observation_space(self) -> spaces.Dict:
        """``{"image": uint8 (height, width, 3)}``; callbacks may add entries that it does not name."""
        width, height = self.obs_size
        return spaces.Dict({"image": spaces.Box(0, 255, (height, width, 3), np.uint8)})

    @property
    def pitch(self) -> float:
        """Where the player looked after the last step, in degrees; negative is up."""
        return float(self.info["player_pos"]["pitch"])

    def noop_action(self) -> dict[str, Any]:
        """The action that does nothing, in this simulation's form."""
        if self.action_type == "agent":
            return {"buttons": np.array([0]), "camera": np.array([self._bins**2 // 2])}
        return {
            name: value for name, value in self.env.action_space.no_op().items() if name in self.action_space.spaces
        }

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begins an episode; in a new world unless a callback such as ``FastResetCallback`` saves that.

        Args:
            seed: of the next new world, and of what callbacks draw from ``random`` and numpy.
            options: ignored.
        """
        gymnasium.Env.reset(self, seed=seed)
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            self.env.seed(int(seed))
        if getattr(self.env, "done", False):
            self.already_reset = False
        wanted = True
        for callback in self.callbacks:
            wanted = callback.before_reset(self, wanted)
        if wanted:
            with turn(self._start_slots, self.on_wait):
                self.env.reset()
            self.already_reset = True
        self.info = {}
        for _ in range(max(1, self.num_empty_frames)):
            raw, _, _, info = self.env.step(self.env.action_space.no_op())
        obs, info = self._wrap_obs_info(raw, info)
        for callback in self.callbacks:
            obs, info = callback.after_reset(self, obs, info)
            self.obs, self.info = obs, info
        return obs, info

    def step(self, action: Mapping[str, Any] | tuple[Any, Any]) -> StepResult:
        """One tick; see the class for what ends an episode how."""
        return self._tick(self._env_action(action))

    def step_repeat(self, action: Any, ticks: int) -> StepResult:
        """Holds an action for several ticks, up to the episode's end: rewards are summed, the camera turns on the first
        only."""
        held = self._env_action(action)
        total = 0.0
        for _ in range(ticks):
            obs, reward, terminated, truncated, info = self._tick(dict(held))
            total += reward
            held["camera"] = np.zeros(2, np.float32)
            if terminated or truncated:
                break
        return obs, total, terminated, truncated, info

    def render(self) -> np.ndarray:
        """The last frame at ``render_size``: uint8[h, w, 3], with what callbacks draw on it."""
        frame = self.info["pov"] if "pov" in self.info else self.obs["image"]
        for callback in self.callbacks:
            frame = callback.before_render(self, frame)
        for callback in self.callbacks:
            frame = callback.after_render(self, frame)
        return frame  # type: ignore[no-any-return]

    def close(self) -> None:
        """Tells the callbacks, and ends the engine. Idempotent."""
        if self._closed:
            return
        self._closed = True
        super().close()

    def _env_action(self, action: Any) -> dict[str, Any]:
        """A copy, as an env action with every button: the engine must not guess about those that are not mentioned."""
        if self.action_type == "agent":
            buttons, camera = action if isinstance(action, tuple) else (action["buttons"], action["camera"])
            action = self.agent_action_to_env_action(
                {"buttons": np.asarray(buttons).reshape(1), "camera": np.asarray(camera).reshape(1)}
            )
        given = {name: value for name, value in action.items() if name not in BUTTONS}
        camera = np.asarray(given.pop("camera", (0.0, 0.0)), np.float32).reshape(2)
        return {**{name: int(np.asarray(action.get(name, 0)).item()) for name in BUTTONS}, "camera": camera, **given}

    def _tick(self, action: dict[str, Any]) -> StepResult:
        self.info = {}
        for callback in self.callbacks:
            action = callback.before_step(self, action)
        raw, reward, done, info = self.env.step(action)
        obs, info = self._wrap_obs_info(raw, info)
        self.obs, self.info = obs, info
        terminated, truncated = bool(done), False
        for callback in self.callbacks:
            before = terminated
            obs, reward, terminated, truncated, info = callback.after_step(
                self, obs, reward, terminated, truncated, info
            )
            if isinstance(callback, real_callbacks.JudgeResetCallback) and terminated and not before:
                terminated, truncated = False, True
            self.obs, self.info = obs, info
        return obs, float(reward), bool(terminated), bool(truncated), info

    def _wrap_obs_info(self, obs: dict[str, Any], info: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        if "pov" not in obs:  # a callback that had nothing to do hands back what it got
            return obs, {**self.info, **info}
        return super()._wrap_obs_info(obs, info)  # type: ignore[no-any-return]


def _checked(step: Callable[..., Any]) -> Callable[..., Any]:
    """The raw environment's ``step``, which raises where the engine is lost.

    MineStudio then hands out a random observation, or fails while it makes one.
    """

    def checked_step(*args: Any, **kwargs: Any) -> Any:
        try:
            result = step(*args, **kwargs)
        except EnvError:
            raise
        except Exception as error:
            first = error.__context__ or error
            raise EnvCrashError(
                f"The game engine does not answer any more ({type(first).__name__}: {first})."
            ) from error
        if "error" in result[3]:
            raise EnvCrashError(f"The game engine does not answer any more ({result[3]['error']}).")
        return result

    return checked_step


def _obey_drop(env: Any) -> None:
    """Adds ``drop`` to the keys that are passed on to the engine, which knows it."""
    spec = env.task
    create = spec.create_actionables

    def with_drop() -> list[Any]:
        return [*create(), handlers.KeybasedCommandAction("drop", mc.INVERSE_KEYMAP["drop"])]

    spec.create_actionables = with_drop
    spec.reset()
    env._setup_spaces()


def _refuse_unknown(kwargs: Mapping[str, Any]) -> None:
    for name in kwargs:
        if name not in VOXEL_ARGUMENTS:
            known = MinecraftSim.__init__.__code__.co_varnames[1:11]
            raise ConfigError(f"MinecraftSim has no argument {name!r}{nearest_hint(name, known)}")
