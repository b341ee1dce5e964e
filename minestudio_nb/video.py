"""Writing videos frame by frame: H.264 in MP4, which every browser plays."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["MAX_SIDE", "Frame", "VideoWriter", "checked_frame", "fit", "resized"]

Frame = npt.NDArray[np.uint8]
"""uint8 RGB, ``(H, W, 3)``."""

MAX_SIDE = 1_280
"""Longest side of one video in pixels."""


def fit(width: int, height: int, max_side: int = MAX_SIDE) -> tuple[int, int]:
    """The largest size of the same shape with even sides (4:2:0 colour needs them), none above ``max_side``."""
    if width < 2 or height < 2:
        raise ValueError(f"a video frame needs at least 2 x 2 pixels, {width} x {height} came")
    scale = min(1.0, max_side / max(width, height))
    return max(int(width * scale) // 2 * 2, 2), max(int(height * scale) // 2 * 2, 2)


def checked_frame(frame: Frame | None) -> Frame:
    """``frame`` itself. Raises ValueError if it is none, or not uint8 ``(H, W, 3)``."""
    if frame is None:
        raise ValueError("a video needs at least one frame, none came")
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"a frame is uint8 (H, W, 3), {frame.dtype} {frame.shape} came")
    return frame


def resized(frame: Frame, width: int, height: int) -> Frame:
    """The frame at another size: block pixels stay sharp when enlarged, shrinking averages."""
    if frame.shape[:2] == (height, width):
        return np.ascontiguousarray(frame)
    enlarged = width >= 2 * frame.shape[1]
    method = Image.Resampling.NEAREST if enlarged else Image.Resampling.BOX
    return np.asarray(Image.fromarray(frame).resize((width, height), method))


class VideoWriter:
    """An MP4 file that takes one frame after the other (yuv420p, index at the front). A context manager.

    Args:
        path: of the file, which is overwritten.
        width, height: of the video, both even; frames of another size are scaled, see :func:`fit`.
        fps: frames per second.
    """

    def __init__(self, path: Path, width: int, height: int, fps: float = 20) -> None:
        self.width, self.height, self.count = width, height, 0
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        try:
            self._stream = self._container.add_stream(
                "libx264", rate=round(fps), options={"crf": "23", "preset": "veryfast"}
            )
        except BaseException:
            self._container.close()
            raise
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.thread_count = 1

    def add(self, frame: Frame) -> None:
        """Appends a frame, uint8 ``(H, W, 3)``; it may change afterwards. Raises ValueError for anything else."""
        image = resized(checked_frame(frame), self.width, self.height)
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        self.count += 1

    def close(self) -> None:
        """Finishes the file; harmless when repeated."""
        container, self._container = self._container, None
        if container is None:
            return
        try:
            if self.count:
                container.mux(self._stream.encode())
        finally:
            container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
