"""Agent and env actions against the published values of the Video PreTraining action space."""

from __future__ import annotations

import numpy as np
import pytest

from minestudio_nb.errors import SimulatorError
from minestudio_nb.simulator.actions import (
    ENV_BUTTONS,
    NUM_AGENT_BUTTONS,
    TICK_FIELDS,
    TICK_HOTBAR,
    ActionMapper,
    CameraConfig,
    fill_tick_row,
    noop_env_action,
)


def test_camera_bins_are_those_of_the_mu_law() -> None:
    expected = [0.6154, 1.6095, 3.2154, 5.8095, 10.0]
    np.testing.assert_allclose(CameraConfig().bin_degrees()[6:], expected, atol=5e-5)
    np.testing.assert_allclose(CameraConfig().bin_degrees()[:5], [-x for x in reversed(expected)], atol=5e-5)
    assert CameraConfig().bin_degrees()[5] == 0.0


def test_camera_bins_survive_the_way_there_and_back() -> None:
    for config in (CameraConfig(), CameraConfig(camera_quantization_scheme="linear")):
        bins = np.arange(config.n_camera_bins)
        np.testing.assert_array_equal(config.degrees_to_bins(config.bin_degrees()), bins)
    assert CameraConfig().degrees_to_bins(np.array([-400.0, 400.0])).tolist() == [0, 10]


@pytest.mark.parametrize(
    ("button", "index"), [("jump", 2), ("attack", 4), ("drop", 8), ("use", 16), ("forward", 288), ("hotbar.1", 864)]
)
def test_single_buttons_have_their_published_index(button: str, index: int) -> None:
    mapper = ActionMapper()
    action = mapper.from_env({button: 1, "camera": [0.0, 0.0]})
    assert action["buttons"].tolist() == [index]
    assert action["camera"].tolist() == [60]
    pressed = [name for name, value in mapper.to_env(action).items() if name != "camera" and value]
    assert pressed == [button]


def test_camera_meta_is_the_lowest_bit_and_gates_the_camera() -> None:
    mapper = ActionMapper()
    camera = 11 * 0 + 10  # pitch bin 0, yaw bin 10
    np.testing.assert_allclose(mapper.to_env({"buttons": 1, "camera": camera})["camera"], [-10.0, 10.0])
    np.testing.assert_allclose(mapper.to_env({"buttons": 0, "camera": camera})["camera"], [0.0, 0.0])
    assert mapper.from_env({"camera": [-10.0, 10.0]}) == {"buttons": np.array([1]), "camera": np.array([camera])}


def test_every_agent_button_comes_back_unchanged() -> None:
    mapper = ActionMapper()
    for buttons in range(NUM_AGENT_BUTTONS):
        camera = 61 if buttons % 2 and buttons != NUM_AGENT_BUTTONS - 1 else 60
        action = {"buttons": np.array([buttons]), "camera": np.array([camera])}
        back = mapper.from_env(mapper.to_env(action))
        assert (back["buttons"][0], back["camera"][0]) == (buttons, camera)


def test_both_ways_to_a_tick_row_agree() -> None:
    mapper = ActionMapper()
    rng = np.random.default_rng(0)
    direct, named = np.zeros(TICK_FIELDS, np.int32), np.zeros(TICK_FIELDS, np.int32)
    turn, named_turn = np.zeros(2), np.zeros(2)
    for _ in range(300):
        action = {"buttons": rng.integers(NUM_AGENT_BUTTONS, size=1), "camera": rng.integers(121, size=1)}
        mapper.fill_tick_row(action, direct, turn)
        fill_tick_row(mapper.to_env(action), named, named_turn)
        np.testing.assert_array_equal(direct, named)
        np.testing.assert_array_equal(turn, named_turn)


def test_opposed_keys_cancel_and_the_highest_hotbar_slot_wins() -> None:
    action = {"forward": 1, "back": 1, "left": 1, "hotbar.3": 1, "hotbar.7": 1, "camera": [[0.0, 0.0]]}
    env = ActionMapper().to_env(ActionMapper().from_env(action))
    assert (env["forward"], env["back"], env["left"]) == (0, 0, 1)
    assert (env["hotbar.3"], env["hotbar.7"]) == (0, 1)
    row = np.zeros(TICK_FIELDS, np.int32)
    fill_tick_row(action, row, np.zeros(2))
    assert row[TICK_HOTBAR] == 7


def test_the_callers_action_is_not_changed() -> None:
    mapper = ActionMapper()
    action = {"buttons": np.array([5]), "camera": np.array([3])}
    mapper.to_env(action)["camera"][0] = 99.0
    assert action == {"buttons": np.array([5]), "camera": np.array([3])}
    assert mapper.to_env(action)["camera"][0] == -10.0, "the table behind it must not be reachable"


@pytest.mark.parametrize(
    "action",
    [
        {"forwards": 1},
        {"chat": "/kill"},
        {"camera": [1.0]},
        {"camera": [float("nan"), 0.0]},
        {"camera": [0.0, float("inf")]},
    ],
)
def test_wrong_env_actions_are_refused(action: dict) -> None:
    with pytest.raises(SimulatorError):
        fill_tick_row(action, np.zeros(TICK_FIELDS, np.int32), np.zeros(2))


@pytest.mark.parametrize("action", [{"buttons": 8641, "camera": 0}, {"buttons": 0, "camera": 121}, (-1, 0)])
def test_agent_actions_out_of_range_are_refused(action: object) -> None:
    with pytest.raises(SimulatorError, match=r"0\.\.8640"):
        ActionMapper().to_env(action)


def test_noop_has_the_19_buttons() -> None:
    assert len(ENV_BUTTONS) == 19
    assert set(noop_env_action()) == {*ENV_BUTTONS, "camera"}
