"""Videos are decoded again and looked at."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from minestudio_nb.telemetry import video
from minestudio_nb.telemetry.video import annotate, contact_sheet, fit, jpeg, write_gif, write_mp4, write_video


def grey(level: int, height: int = 48, width: int = 64) -> video.Frame:
    return np.full((height, width, 3), level, np.uint8)


def decode(path: Path) -> tuple[str, list[np.ndarray]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return f"{stream.codec_context.name} {stream.codec_context.pix_fmt} {stream.average_rate}", frames


def test_mp4_holds_the_frames_in_order(tmp_path: Path) -> None:
    info = write_mp4((grey(k * 20) for k in range(12)), tmp_path / "v.mp4", fps=20)
    kind, frames = decode(info.path)
    assert kind == "h264 yuv420p 20" and info.frames == len(frames) == 12 and info.seconds == pytest.approx(0.6)
    for k, frame in enumerate(frames):
        assert frame.shape == (48, 64, 3) and abs(float(frame.mean()) - 20 * k) < 4
    assert not info.shortened
    data = info.path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "the index is at the front, so that players start at once"


def test_count_and_size_are_capped_and_sides_even(tmp_path: Path) -> None:
    info = write_mp4((grey(9, 31, 301) for _ in range(50)), tmp_path / "v.mp4", max_frames=10, max_side=100)
    assert (info.frames, info.width, info.height, info.shortened) == (10, 100, 10, True)
    assert len(decode(info.path)[1]) == 10
    assert fit(1920, 1080) == (1280, 720) and fit(641, 361) == (640, 360) and fit(5000, 3) == (1280, 2)
    with pytest.raises(ValueError, match="2 x 2"):
        fit(1, 10)


def test_small_frames_can_be_enlarged(tmp_path: Path) -> None:
    assert decode(write_mp4([grey(0)] * 3, tmp_path / "v.mp4", size=(640, 360)).path)[1][0].shape == (360, 640, 3)


@pytest.mark.parametrize("frames", [[], [np.zeros((4, 4), np.uint8)], [grey(1), np.zeros((4, 4, 3), np.float32)]])
def test_wrong_frames_are_refused(frames: list[np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frame"):
        write_mp4(frames, tmp_path / "v.mp4")


def test_gif_where_no_encoder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_encoder(*arguments: object, **options: object) -> None:
        raise av.codec.codec.UnknownCodecError("libx264")

    monkeypatch.setattr(video, "write_mp4", no_encoder)
    info = write_video([grey(10 * k) for k in range(10)], tmp_path / "v", fps=20)
    assert info.path.suffix == ".gif" and info.frames == 5
    with Image.open(info.path) as image:
        assert image.n_frames == 5


def test_gif_is_capped(tmp_path: Path) -> None:
    assert write_gif((grey(k) for k in range(9)), tmp_path / "v.gif", max_frames=4).shortened


def test_annotation_leaves_the_original_and_draws_text_and_curve() -> None:
    frame = grey(128, 360, 640)
    marked = annotate(frame, "step 1   return 2.0", [0.0, 1.0, 0.5], 1)
    assert (frame == 128).all() and marked.shape == frame.shape
    changed = (marked != 128).any(axis=(1, 2))
    assert changed[:25].all() and not changed[90:].any(), "the band is at the top, the curve just below"
    assert marked[:25].max() > 200, "white letters"
    assert changed[32:80].any(), "the curve"
    assert not (annotate(frame, "x") != 128).any(axis=(1, 2))[32:].any(), "no curve without values"
    assert annotate(grey(1), "tiny", [np.nan, 1.0], 99).shape == (48, 64, 3)


def test_contact_sheet_spreads_over_the_episode() -> None:
    png = contact_sheet([grey(k) for k in range(200)], columns=3, max_tiles=6, tile_width=64)
    import io

    with Image.open(io.BytesIO(png)) as image:
        assert image.size == (192, 96)
        levels = [image.getpixel((x * 64 + 5, y * 48 + 5))[0] for y in range(2) for x in range(3)]
    assert levels == [0, 40, 80, 119, 159, 199]
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])


def test_jpeg_is_a_picture_of_the_frame() -> None:
    import io

    with Image.open(io.BytesIO(jpeg(grey(77)))) as image:
        assert image.size == (64, 48) and abs(image.getpixel((9, 9))[0] - 77) < 3
