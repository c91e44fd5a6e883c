"""Frames into an mp4 that any browser plays, while they are being made."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from caf_video.errors import InputError
from caf_video.files import take_place, temporary_beside, unwritable
from caf_video.rendering.image_file import RenderingError
from caf_video.rendering.overlay import check_frames

_CODEC: Final = "libx264"
# crf 20 looks like the source; veryfast keeps encoding small beside a network's pass.
_CODEC_OPTIONS = {"crf": "20", "preset": "veryfast"}
_CONTAINER_OPTIONS = {"movflags": "+faststart"}  # the index first: plays while still loading
_LARGEST_DENOMINATOR = 1001  # NTSC rates are n/1001; an mp4 clock holds any rate this fine
_BT709 = 1
_FAILURES = (OSError, av.FFmpegError)


class VideoWriter:
    """Writes H.264 frame by frame; the file appears when the block ends well, and only then.

        with VideoWriter("attention.mp4", fps=25) as writer:
            for frame in frames:
                writer.write(frame)

    The first frame sets the size; an odd width or height is padded by repeating its last column or
    row, since yuv420p needs even ones. After an exception, Ctrl-C included, nothing is left behind
    and what stood at the path before is untouched. With `ours` it is noted as ours (see `files`).

    Raises:
        InputError: If a frame is not uint8 RGB (height, width, 3), of another size than the first,
            or the rate is not a positive number.
        RenderingError: If the file cannot be written, or not one frame came.
    """

    def __init__(self, path: Path | str, *, fps: float | Fraction, ours: bool = False) -> None:
        self.path = Path(path)
        if not 0 < fps < float("inf"):
            raise InputError(f"{self.path}: a video needs a positive frame rate, not {fps}")
        self.fps = Fraction(float(fps)).limit_denominator(_LARGEST_DENOMINATOR)
        if not self.fps:
            raise InputError(f"{self.path}: {fps} frames a second is too slow for a video")
        self.frame_count = 0
        self._size: tuple[int, int] | None = None
        self._ours = ours
        self._temporary = temporary_beside(self.path)

    def __enter__(self) -> "VideoWriter":
        if _CODEC not in av.codecs_available:
            raise RenderingError(
                f"cannot write {self.path}: this PyAV has no {_CODEC}; install `av` from PyPI"
            )
        try:
            if self.path.is_dir():
                raise RenderingError(f"cannot write {self.path}: it is a folder")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(
                str(self._temporary), "w", format="mp4", options=_CONTAINER_OPTIONS
            )
        except _FAILURES as error:
            raise self._failure(error) from error
        return self

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Encode one more RGB frame, uint8 (height, width, 3)."""
        check_frames(frame[None], f"{self.path.name} frame {self.frame_count}")
        if self._size is None:
            self._size = frame.shape[:2]
            self._stream = self._open_stream(*self._size)
        if frame.shape[:2] != self._size:
            raise InputError(
                f"{self.path.name} frame {self.frame_count} is {frame.shape[:2]}, "
                f"the first was {self._size} (height, width)"
            )
        odd_height, odd_width = (length % 2 for length in self._size)
        if odd_height or odd_width:
            frame = np.pad(frame, ((0, odd_height), (0, odd_width), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = picture.reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        picture.pts = self.frame_count
        picture.time_base = 1 / self.fps
        try:
            self._container.mux(self._stream.encode(picture))
        except _FAILURES as error:
            raise self._failure(error) from error
        self.frame_count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._finish(whole=kind is None)
        except _FAILURES as failure:
            if kind is None:
                raise self._failure(failure) from failure
        finally:
            self._temporary.unlink(missing_ok=True)

    def _finish(self, *, whole: bool) -> None:
        try:
            if whole and self.frame_count:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()
        if not whole:
            return
        if not self.frame_count:
            raise RenderingError(f"cannot write {self.path}: it was given no frames")
        take_place(self._temporary, self.path, RenderingError, ours=self._ours)

    def _open_stream(self, height: int, width: int) -> av.VideoStream:
        stream = self._container.add_stream(_CODEC, rate=self.fps, options=_CODEC_OPTIONS)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        # Said in the file: players guess from the size otherwise, and reds turn orange.
        codec = stream.codec_context
        codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
        codec.color_range = ColorRange.MPEG
        return stream

    def _failure(self, error: BaseException) -> RenderingError:
        return unwritable(self.path, error, RenderingError)


def write_video(
    path: Path | str, frames: Iterable[NDArray[np.uint8]], *, fps: float | Fraction
) -> None:
    """Write frames, RGB uint8 (height, width, 3) of one size, as one mp4 (see `VideoWriter`)."""
    with VideoWriter(path, fps=fps) as writer:
        for frame in frames:
            writer.write(frame)
