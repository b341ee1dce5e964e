"""Videos of episodes: H.264 in MP4, which every browser plays, with value and return drawn on the frames."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from minestudio_nb.video import MAX_SIDE, Frame, VideoWriter, checked_frame, fit, resized

__all__ = ["Frame", "VideoInfo", "annotate", "contact_sheet", "fit", "jpeg", "write_gif", "write_mp4", "write_video"]

MAX_FRAMES = 2_400
"""Frames of one video; two minutes at 20 frames a second."""
GIF_FRAMES = 300
"""Frames of one GIF, which compresses badly."""


@dataclass(frozen=True)
class VideoInfo:
    """What was written. ``shortened`` when frames beyond the cap were left out."""

    path: Path
    frames: int
    width: int
    height: int
    fps: float
    shortened: bool

    @property
    def seconds(self) -> float:
        """Playing time."""
        return self.frames / self.fps


def write_mp4(
    frames: Iterable[Frame],
    path: Path,
    fps: float = 20,
    *,
    size: tuple[int, int] | None = None,
    max_frames: int = MAX_FRAMES,
    max_side: int = MAX_SIDE,
) -> VideoInfo:
    """Writes ``frames`` as H.264 (yuv420p, index at the front) and closes the file also when a frame is wrong.

    Args:
        frames: consumed one by one; at most ``max_frames`` are taken.
        size: ``(width, height)`` of the video; default that of the first frame. Capped by ``max_side`` and made even.

    Raises:
        ValueError: no frame came, or one is not uint8 ``(H, W, 3)``.
    """
    taken = _Capped(frames, max_frames)
    first = checked_frame(next(taken, None))
    wanted_width, wanted_height = size or (first.shape[1], first.shape[0])
    width, height = fit(wanted_width, wanted_height, max_side)
    with VideoWriter(path, width, height, fps) as writer:
        for frame in _chain(first, taken):
            writer.add(frame)
    return VideoInfo(path, taken.count, width, height, round(fps), taken.shortened)


def write_gif(
    frames: Iterable[Frame], path: Path, fps: float = 10, *, max_frames: int = GIF_FRAMES, max_side: int = 480
) -> VideoInfo:
    """Writes an endlessly repeating GIF; for where no H.264 encoder is. Errors as :func:`write_mp4`."""
    taken = _Capped(frames, max_frames)
    first = checked_frame(next(taken, None))
    width, height = fit(first.shape[1], first.shape[0], max_side)
    images = [Image.fromarray(resized(checked_frame(frame), width, height)) for frame in _chain(first, taken)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0)
    return VideoInfo(path, taken.count, width, height, fps, taken.shortened)


def write_video(frames: Sequence[Frame], stem: Path, fps: float = 20) -> VideoInfo:
    """``<stem>.mp4``, or ``<stem>.gif`` at half the rate where this installation of FFmpeg cannot encode H.264."""
    try:
        return write_mp4(frames, stem.with_suffix(".mp4"), fps)
    except (av.error.FFmpegError, av.codec.codec.UnknownCodecError):
        stem.with_suffix(".mp4").unlink(missing_ok=True)
        return write_gif(frames[::2], stem.with_suffix(".gif"), fps / 2)


def annotate(
    frame: Frame,
    text: str,
    values: Sequence[float] = (),
    step: int | None = None,
) -> Frame:
    """A copy of ``frame`` with ``text`` in a dark band at the top and the curve of ``values`` below it.

    The top is where a game's own interface leaves room.

    Args:
        text: for example ``"step 12   return 3.0   value 1.42"``.
        values: one per step of the episode, for example the policy's value; no curve for fewer than two.
        step: index into ``values`` of the frame shown; a dot marks it.
    """
    image = Image.fromarray(checked_frame(frame)).convert("RGBA")
    width, height = image.size
    line = max(height // 18, 9)
    band = Image.new("RGBA", image.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(band)
    draw.rectangle([0, 0, width, line + 6], fill=(0, 0, 0, 150))
    draw.text((6, 1), text, fill=(255, 255, 255, 255), font=ImageFont.load_default(line - 1))
    if len(values) > 1:
        curve = max(height // 8, 12)
        _draw_curve(draw, values, step, width, line + 10 + curve, curve)
    return np.asarray(Image.alpha_composite(image, band).convert("RGB"))


def contact_sheet(frames: Sequence[Frame], columns: int = 6, max_tiles: int = 12, tile_width: int = 160) -> bytes:
    """At most ``max_tiles`` frames, evenly spread over the episode and ordered in time, as one PNG."""
    if not frames:
        raise ValueError("a contact sheet needs at least one frame, none came")
    count = min(len(frames), max_tiles)
    chosen = [checked_frame(frames[round(k * (len(frames) - 1) / max(count - 1, 1))]) for k in range(count)]
    tile_height = max(round(tile_width * chosen[0].shape[0] / chosen[0].shape[1]), 1)
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * tile_width, rows * tile_height))
    for index, frame in enumerate(chosen):
        tile = Image.fromarray(resized(frame, tile_width, tile_height))
        sheet.paste(tile, (index % columns * tile_width, index // columns * tile_height))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def jpeg(frame: Frame, quality: int = 80, max_side: int = MAX_SIDE) -> bytes:
    """One frame as JPEG bytes, for example a video's poster."""
    width, height = fit(frame.shape[1], frame.shape[0], max_side)
    buffer = io.BytesIO()
    Image.fromarray(resized(checked_frame(frame), width, height)).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


class _Capped(Iterator[Frame]):
    """The first ``limit`` items; knows how many were taken and whether there was one more."""

    def __init__(self, frames: Iterable[Frame], limit: int) -> None:
        self._frames, self._limit = iter(frames), limit
        self.count, self.shortened = 0, False

    def __next__(self) -> Frame:
        frame = next(self._frames)
        if self.count >= self._limit:
            self.shortened = True
            raise StopIteration
        self.count += 1
        return frame


def _chain(first: Frame, rest: Iterator[Frame]) -> Iterator[Frame]:
    yield first
    yield from rest


def _draw_curve(
    draw: ImageDraw.ImageDraw, values: Sequence[float], step: int | None, width: int, bottom: int, height: int
) -> None:
    finite = [value if np.isfinite(value) else 0.0 for value in values]
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0
    spots = [
        (6 + k * (width - 12) / (len(finite) - 1), bottom - (value - low) / span * height)
        for k, value in enumerate(finite)
    ]
    draw.line(spots, fill=(255, 255, 255, 150), width=1)
    if step is not None:
        x, y = spots[min(max(step, 0), len(spots) - 1)]
        draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=(120, 230, 150, 255))
