"""Curves, smoothing and number formats, by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minestudio_nb.widgets.series import duration, number, series, smooth, sparkline, thin, with_unit
from minestudio_nb.widgets.svg import ticks


def test_series_leaves_out_what_is_missing_or_not_finite() -> None:
    values = [{"a": 1.0}, {}, {"a": math.nan}, {"a": math.inf}, {"a": 2}]
    points = [{"iteration": k, "time": 0.0, "env_steps": 10 * k, "values": value} for k, value in enumerate(values)]
    assert series(points, "a") == ([0.0, 40.0], [1.0, 2.0])
    assert series(points, "a", x="iteration") == ([0.0, 4.0], [1.0, 2.0])


def test_smoothing_by_hand() -> None:
    # weight 0.5: (0.5*1)/0.5 = 1; (0.25*1 + 0.5*3)/0.75 = 7/3; (0.125*1 + 0.25*3 + 0.5*2)/0.875 = 15/7
    assert smooth([1.0, 3.0, 2.0], 0.5) == pytest.approx([1.0, 7 / 3, 15 / 7])
    assert smooth([5.0] * 10) == pytest.approx([5.0] * 10)
    with pytest.raises(ValueError, match="0 <= x < 1"):
        smooth([1.0], 1.0)


def test_thinning_keeps_the_mean() -> None:
    xs, ys = thin(list(range(10)), [float(k * k) for k in range(10)], 5)
    assert xs == [0.5, 2.5, 4.5, 6.5, 8.5] and ys == [0.5, 6.5, 20.5, 42.5, 72.5]
    assert thin([1.0], [2.0], 5) == ([1.0], [2.0])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(1, 50))
def test_thinning_never_exceeds_the_limit(values: list[float], limit: int) -> None:
    xs, ys = thin(values, values, limit)
    assert 1 <= len(xs) == len(ys) <= max(limit, 1)
    assert min(values) - 1e-6 <= min(ys) and max(ys) <= max(values) + 1e-6


def test_sparklines() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([2.0, math.nan, 2.0]) == "▁▁"
    assert sparkline([0.0, 0.1, 0.2], least_span=0.8) == "▁▂▃", "noise that is small against the goal stays low"
    assert sparkline([]) == "" and sparkline([math.nan]) == ""
    assert len(sparkline(range(1000), 16)) == 16


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (math.nan, "–"), (math.inf, "inf"), (True, "True"), ("text", "text"), (0, "0"), (3.0, "3")],
)
def test_what_is_no_fraction(value: object, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345, "12,345"),
        (1234.5, "1,234"),
        (150.4, "150"),
        (3.14159, "3.14"),
        (0.003141, "0.0031"),
        (1.23e-5, "1.2e-05"),
    ],
)
def test_three_digits_say_enough(value: float, text: str) -> None:
    assert number(value) == text


def test_units_and_durations() -> None:
    assert with_unit(1.5e9, "bytes") == "1.50 GB" and with_unit(2e6, "bytes") == "2.0 MB"
    assert with_unit(185, "s") == "3 min 05 s" and with_unit(2.5, "s") == "2.5 s"
    assert with_unit(math.nan, "steps") == "–" and with_unit(3, "") == "3"
    assert [duration(x) for x in (0.4, 59.6, 3600, 7621, None)] == [
        "0 s",
        "1 min 00 s",
        "1 h 00 min",
        "2 h 07 min",
        "–",
    ]


def test_ticks_are_round_and_cover() -> None:
    assert ticks(0, 82_000, 5) == [0, 20_000, 40_000, 60_000, 80_000, 100_000]
    assert ticks(0.16, 3.9, 4) == [0, 1, 2, 3, 4]
    assert ticks(0, 0) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(-5, -5)[0] <= -5.5
    assert len(ticks(0.01, 0.01 + 1e-18)) > 2, "a constant with rounding errors is a constant"


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_ticks_always_cover_with_few(low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    if high - low < 1e-6 * max(abs(low), abs(high), 1e-3):
        return
    found = ticks(low, high, 5)
    slack = (high - low) * 1e-6
    assert found[0] <= low + slack and found[-1] >= high - slack and 2 <= len(found) <= 12
