"""The figure has the panels that have data, and touches no global state."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

from PIL import Image

from minestudio_nb.contracts.telemetry import METRICS
from minestudio_nb.widgets.curves import PANELS, curves_figure, curves_png


def test_all_metrics_of_the_panels_are_in_the_catalogue() -> None:
    assert {metric for panel in PANELS for metric, _ in panel.metrics} <= set(METRICS)


def test_panels_without_data_are_left_out(points: list[dict[str, Any]]) -> None:
    titles = [axes.get_title(loc="left") for axes in curves_figure(points, "demo", 3.0).axes]
    assert titles[0] == "Return per episode"
    assert "Shares of the batch" not in titles and "Losses" in titles and "Staleness (versions)" in titles


def test_return_is_drawn_over_env_steps(points: list[dict[str, Any]]) -> None:
    axes = curves_figure(points, goal=3.0).axes[0]
    window = axes.lines[1]
    assert list(window.get_xdata()) == [100.0 * k for k in range(1, 61)]
    assert list(window.get_ydata()) == [point["values"]["episode/return_window"] for point in points]
    assert axes.lines[2].get_ydata()[0] == 3.0


def test_png_of_few_or_no_points(points: list[dict[str, Any]]) -> None:
    for some in ([], points[:1], points):
        with Image.open(io.BytesIO(curves_png(some, "x"))) as image:
            assert image.format == "PNG" and image.width > 800


def test_drawing_leaves_pyplot_alone() -> None:
    code = (
        "import sys; from minestudio_nb.widgets.curves import curves_png; curves_png([])\n"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
