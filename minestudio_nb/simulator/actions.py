"""Actions: MineStudio's two action spaces, and the row of numbers that one tick of the world takes.

Three forms of one action exist:

- *agent*: ``{"buttons": 0..8640, "camera": 0..120}``, what a policy with a joint button head emits. The buttons are the
  product of nine groups (``BUTTON_GROUPS``, the last one varies fastest) and, as the last value, the inventory key. The
  last group, *camera meta*, says whether the camera value counts.
- *env*: ``{"forward": 0 or 1, ..., "camera": [pitch, yaw]}`` in degrees per tick; keys left out are not pressed.
- *tick row*: int32[TICK_FIELDS] and float64[2], what the physics kernel reads.

The ordering and the camera bins are those of Video PreTraining (Baker et al. 2022), which MineStudio uses as well, so
that a policy trained there acts the same here.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from minestudio_nb.errors import SimulatorError

HOTBAR_BUTTONS: Final = tuple(f"hotbar.{slot}" for slot in range(1, 10))
ENV_BUTTONS: Final = (
    "attack", "back", "forward", "jump", "left", "right", "sneak", "sprint", "use", *HOTBAR_BUTTONS, "inventory",
)  # fmt: skip
"""The 19 buttons of the ``env`` action space. ``drop`` is understood too, but MineStudio's space does not list it."""

BUTTON_GROUPS: Final[tuple[tuple[str, ...], ...]] = (
    ("none", *HOTBAR_BUTTONS),
    ("none", "forward", "back"),
    ("none", "left", "right"),
    ("none", "sprint", "sneak"),
    ("none", "use"),
    ("none", "drop"),
    ("none", "attack"),
    ("none", "jump"),
    ("none", "camera"),
)
NUM_AGENT_BUTTONS: Final = 8641
INVENTORY_BUTTON: Final = NUM_AGENT_BUTTONS - 1

# Columns of a tick row. HOTBAR holds 0 (keep) or the slot 1..9; all others are 0 or 1.
TICK_FORWARD: Final = 0
TICK_BACK: Final = 1
TICK_LEFT: Final = 2
TICK_RIGHT: Final = 3
TICK_JUMP: Final = 4
TICK_SNEAK: Final = 5
TICK_SPRINT: Final = 6
TICK_ATTACK: Final = 7
TICK_USE: Final = 8
TICK_DROP: Final = 9
TICK_HOTBAR: Final = 10
TICK_INVENTORY: Final = 11
TICK_FIELDS: Final = 12

_TICK_COLUMN: Final = {
    "forward": TICK_FORWARD, "back": TICK_BACK, "left": TICK_LEFT, "right": TICK_RIGHT, "jump": TICK_JUMP,
    "sneak": TICK_SNEAK, "sprint": TICK_SPRINT, "attack": TICK_ATTACK, "use": TICK_USE, "drop": TICK_DROP,
    "inventory": TICK_INVENTORY,
}  # fmt: skip
_HOTBAR_SLOT: Final = {name: slot for slot, name in enumerate(HOTBAR_BUTTONS, 1)}
FACTORED_BUTTONS: Final = (
    "attack", "back", "forward", "jump", "left", "right", "sneak", "sprint", "use", "drop", "inventory",
    *HOTBAR_BUTTONS,
)  # fmt: skip
"""Order of the buttons in an env action that comes from an agent action or a tick row."""


@dataclass(frozen=True)
class CameraConfig:
    """How camera movements become bins.

    Attributes:
        camera_binsize: average width of a bin, in degrees.
        camera_maxval: the largest movement per tick, in degrees; more is clipped.
        camera_mu: curvature of the mu-law (larger: finer bins near zero).
        camera_quantization_scheme: "mu_law" or "linear".
    """

    camera_binsize: int = 2
    camera_maxval: int = 10
    camera_mu: float = 10.0
    camera_quantization_scheme: Literal["mu_law", "linear"] = "mu_law"

    def __post_init__(self) -> None:
        if self.camera_quantization_scheme not in ("mu_law", "linear"):
            raise SimulatorError(
                f"camera_quantization_scheme must be 'mu_law' or 'linear'; got {self.camera_quantization_scheme!r}."
            )
        if self.camera_binsize <= 0 or self.camera_maxval <= 0 or self.camera_maxval % self.camera_binsize:
            raise SimulatorError(
                "camera_maxval must be a positive multiple of camera_binsize, so that one bin means no movement; "
                f"got {self.camera_maxval} and {self.camera_binsize}."
            )
        if self.camera_mu <= 0:
            raise SimulatorError(f"camera_mu must be positive; got {self.camera_mu}.")

    @property
    def n_camera_bins(self) -> int:
        """Bins per axis, an odd number; the middle one means no movement."""
        return 2 * self.camera_maxval // self.camera_binsize + 1

    @property
    def action_transformer_kwargs(self) -> dict[str, Any]:
        """The settings as keywords, under the names that MineStudio's transformer takes."""
        return {
            "camera_binsize": self.camera_binsize,
            "camera_maxval": self.camera_maxval,
            "camera_mu": self.camera_mu,
            "camera_quantization_scheme": self.camera_quantization_scheme,
        }

    def bin_degrees(self) -> NDArray[np.float64]:
        """float64[n_camera_bins]: the movement in degrees that each bin stands for."""
        linear = np.arange(self.n_camera_bins) * float(self.camera_binsize) - self.camera_maxval
        if self.camera_quantization_scheme == "linear":
            return linear
        share = np.abs(linear) / self.camera_maxval
        curved = ((1.0 + self.camera_mu) ** share - 1.0) / self.camera_mu
        return np.asarray(np.sign(linear) * curved * self.camera_maxval, np.float64)

    def degrees_to_bins(self, degrees: NDArray[Any]) -> NDArray[np.int64]:
        """The bins nearest to movements in degrees (after the mu-law); any shape."""
        share = np.clip(np.asarray(degrees, np.float64), -self.camera_maxval, self.camera_maxval)
        share = share / self.camera_maxval
        if self.camera_quantization_scheme == "mu_law":
            share = np.sign(share) * np.log1p(self.camera_mu * np.abs(share)) / np.log1p(self.camera_mu)
        bins = np.round((share + 1.0) * self.camera_maxval / self.camera_binsize)
        return np.asarray(bins, np.int64)


def _build_button_tables() -> tuple[NDArray[np.int32], NDArray[np.bool_], dict[tuple[str, ...], int]]:
    """Tick rows and camera-meta flags of all agent buttons, and the way back from one choice per group."""
    rows = np.zeros((NUM_AGENT_BUTTONS, TICK_FIELDS), np.int32)
    camera_on = np.zeros(NUM_AGENT_BUTTONS, np.bool_)
    index: dict[tuple[str, ...], int] = {}
    for number, choice in enumerate(itertools.product(*BUTTON_GROUPS)):
        index[choice] = number
        rows[number, TICK_HOTBAR] = _HOTBAR_SLOT.get(choice[0], 0)
        for button in choice[1:-1]:
            if button != "none":
                rows[number, _TICK_COLUMN[button]] = 1
        camera_on[number] = choice[-1] == "camera"
    rows[INVENTORY_BUTTON, TICK_INVENTORY] = 1
    camera_on[INVENTORY_BUTTON] = True  # MineStudio lets the camera through here, too
    return rows, camera_on, index


_BUTTON_ROWS, _CAMERA_ON, _BUTTON_INDEX = _build_button_tables()


def noop_env_action() -> dict[str, Any]:
    """An env action that presses nothing: the 19 buttons at 0, camera float32[2] zero."""
    action: dict[str, Any] = {name: 0 for name in ENV_BUTTONS}
    action["camera"] = np.zeros(2, np.float32)
    return action


def env_action_space() -> spaces.Dict:
    """19 buttons ``Discrete(2)`` and ``camera`` Box(-180, 180, (2,)), as [pitch, yaw] in degrees."""
    entries: dict[str, spaces.Space[Any]] = {name: spaces.Discrete(2) for name in ENV_BUTTONS}
    entries["camera"] = spaces.Box(-180.0, 180.0, (2,), np.float32)
    return spaces.Dict(entries)


def fill_tick_row(action: Mapping[str, Any], row: NDArray[np.int32], camera: NDArray[np.float64]) -> None:
    """Write an env action into a tick row.

    If several hotbar keys are pressed the highest slot wins; forward with back, and left with right, cancel out.

    Args:
        action: the env action; keys left out are not pressed.
        row: int32[TICK_FIELDS], overwritten.
        camera: float64[2], overwritten with pitch and yaw in degrees.

    Raises:
        SimulatorError: a key is no button, or the camera is not two finite numbers.
    """
    row[:] = 0
    camera[:] = 0.0
    for key, value in action.items():
        column = _TICK_COLUMN.get(key)
        if column is not None:
            if value:
                row[column] = 1
        elif key in _HOTBAR_SLOT:
            if value and _HOTBAR_SLOT[key] > row[TICK_HOTBAR]:
                row[TICK_HOTBAR] = _HOTBAR_SLOT[key]
        elif key == "camera":
            camera[:] = _camera_degrees(value)
        else:
            raise SimulatorError(f"An env action has the keys {', '.join(ENV_BUTTONS)}, drop and camera; got {key!r}.")


def env_action_of_row(row: NDArray[Any], camera: NDArray[np.float64]) -> dict[str, Any]:
    """The env action of a tick row: the 20 ``FACTORED_BUTTONS`` as ints and camera float64[2] in degrees."""
    result: dict[str, Any] = {}
    for name in FACTORED_BUTTONS:
        slot = _HOTBAR_SLOT.get(name)
        result[name] = int(row[TICK_HOTBAR] == slot if slot is not None else row[_TICK_COLUMN[name]] != 0)
    result["camera"] = camera.copy()
    return result


def _camera_degrees(value: Any) -> tuple[float, float]:
    """Pitch and yaw out of whatever shape a caller sends: [p, y], [[p, y]] or an array."""
    if isinstance(value, (list, tuple)) and len(value) == 2 and not isinstance(value[0], (list, tuple, np.ndarray)):
        pitch, yaw = float(value[0]), float(value[1])
    else:
        flat = np.asarray(value, np.float64).reshape(-1)
        if flat.size != 2:
            raise SimulatorError(f"The camera takes [pitch, yaw] in degrees; got {value!r}.")
        pitch, yaw = float(flat[0]), float(flat[1])
    if not (abs(pitch) <= 1e6 and abs(yaw) <= 1e6):  # also false for NaN
        raise SimulatorError(f"The camera takes finite degrees; got {value!r}.")
    return pitch, yaw


def _scalar(value: Any) -> int:
    """The one integer in a number, an array of one element, or a tensor of one element."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    return int(value.item() if hasattr(value, "item") else np.asarray(value).item())


class ActionMapper:
    """Converts between the agent and the env form of actions, for one camera configuration."""

    def __init__(self, camera_config: CameraConfig | None = None) -> None:
        self.camera_config = camera_config or CameraConfig()
        bins = self.camera_config.n_camera_bins
        degrees = self.camera_config.bin_degrees()
        self.num_cameras = bins * bins
        self.null_camera = (bins // 2) * bins + bins // 2
        self._degrees = np.stack([np.repeat(degrees, bins), np.tile(degrees, bins)], axis=1)  # index pitch * bins + yaw

    def action_space(self) -> spaces.Dict:
        """``{"buttons": MultiDiscrete([8641]), "camera": MultiDiscrete([n_camera_bins ** 2])}``."""
        return spaces.Dict(
            {
                "buttons": spaces.MultiDiscrete([NUM_AGENT_BUTTONS]),
                "camera": spaces.MultiDiscrete([self.num_cameras]),
            }
        )

    def noop(self) -> dict[str, NDArray[np.int64]]:
        """The agent action that does nothing."""
        return {"buttons": np.array([0]), "camera": np.array([self.null_camera])}

    def _indices(self, action: Any) -> tuple[int, int]:
        if isinstance(action, tuple):
            buttons, camera = _scalar(action[0]), _scalar(action[1])
        else:
            buttons, camera = _scalar(action["buttons"]), _scalar(action["camera"])
        if not (0 <= buttons < NUM_AGENT_BUTTONS and 0 <= camera < self.num_cameras):
            raise SimulatorError(
                f"An agent action has buttons in 0..{NUM_AGENT_BUTTONS - 1} and camera in "
                f"0..{self.num_cameras - 1}; got buttons {buttons} and camera {camera}."
            )
        return buttons, camera

    def fill_tick_row(self, action: Any, row: NDArray[np.int32], camera: NDArray[np.float64]) -> None:
        """Write an agent action (mapping, or tuple of buttons and camera) into a tick row, without a detour by names.

        Raises:
            SimulatorError: a number is out of range.
        """
        buttons, pointing = self._indices(action)
        row[:] = _BUTTON_ROWS[buttons]
        if _CAMERA_ON[buttons]:
            camera[:] = self._degrees[pointing]
        else:
            camera[:] = 0.0

    def to_env(self, action: Any) -> dict[str, Any]:
        """The env action of an agent action: 20 buttons (``drop`` included) as ints and camera float64[2] in degrees.

        The argument is left as it is. Leading dimensions of size one are accepted; batches are not.

        Raises:
            SimulatorError: a number is out of range.
        """
        buttons, pointing = self._indices(action)
        return env_action_of_row(_BUTTON_ROWS[buttons], self._degrees[pointing] if _CAMERA_ON[buttons] else np.zeros(2))

    def from_env(self, action: Mapping[str, Any]) -> dict[str, NDArray[np.int64]]:
        """The agent action nearest to an env action, as arrays of shape (1,).

        Within a group the later button wins (sneak over sprint, a higher hotbar slot over a lower one); forward with
        back, and left with right, cancel out; the inventory key excludes all others.

        Raises:
            SimulatorError: as ``fill_tick_row``.
        """
        row = np.zeros(TICK_FIELDS, np.int32)
        camera = np.zeros(2)
        fill_tick_row(action, row, camera)
        if row[TICK_INVENTORY]:
            return {"buttons": np.array([INVENTORY_BUTTON]), "camera": np.array([self.null_camera])}
        pitch, yaw = self.camera_config.degrees_to_bins(camera)
        pointing = int(pitch) * self.camera_config.n_camera_bins + int(yaw)
        choice = [HOTBAR_BUTTONS[row[TICK_HOTBAR] - 1] if row[TICK_HOTBAR] else "none"]
        for group in BUTTON_GROUPS[1:-1]:
            pressed = [name for name in group[1:] if row[_TICK_COLUMN[name]]]
            opposed = len(pressed) == 2 and group[1] in ("forward", "left")
            choice.append("none" if not pressed or opposed else pressed[-1])
        choice.append("none" if pointing == self.null_camera else "camera")
        return {"buttons": np.array([_BUTTON_INDEX[tuple(choice)]]), "camera": np.array([pointing])}
