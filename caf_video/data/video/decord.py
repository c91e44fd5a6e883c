"""Frames through decord, for the files where it can be trusted.

decord 0.6 finds a keyframe by its place in decoding order as if that were its place in time, and it
counts packets that are never shown. Measured on numbered videos, it therefore returns *other frames
than asked*, without an error, for open GOPs, MPEG-4 and MPEG-2 with B-frames, periodic intra
refresh, edit lists, MPEG-TS and AVI. `why_not` recognises these by the index of the file.
It also conceals damage as FFmpeg does, and only FFmpeg's log tells; `DecordReader` listens to it.
"""

import atexit
import ctypes
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caf_video.data.video.index import VideoIndex

EXACT_CONTAINERS = frozenset({"mov", "matroska"})
EXACT_CODECS = frozenset({"h264", "hevc", "vp9", "mpeg4"})
# Where decord's older swscale makes the very pixels of PyAV's (measured); it differs in 10 bit, in
# 4:2:2 when turned, and in 4:2:0 of odd height. No result may depend on the reader of a platform.
SUBSAMPLED_FORMATS = frozenset({"yuv420p", "yuvj420p"})
FULL_FORMATS = frozenset({"yuv444p", "yuvj444p"})
# decord reads the whole file at every opening, PyAV's index is kept: for 44 000 frames 0.24 s and
# 0.02 s (measured), the decoding of a clip's few frames left aside.
MOST_FRAMES = 10_000

AV_LOG_ERROR = 16
CONCEALING = b"concealing"  # "concealing %d DC, %d AC, %d MV errors": logged as information
_LOG_CALLBACK = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p
)


class DecordGaveUp(Exception):
    """decord could not read a frame, or not without a complaint: ask PyAV, which is strict."""


def why_not(index: VideoIndex) -> str:
    """Why decord would not read this file exactly, or not fast; empty if it would."""
    if _listened_decord() is None:
        return "it is not installed here"
    if index.container not in EXACT_CONTAINERS or index.codec not in EXACT_CODECS:
        return f"it is not exact on {index.codec} in {index.container}"
    if index.packets is None:
        return "the packets of the file do not tell its frames"
    if len(index.packets.pts) != index.frame_count:
        return "some frames are not to be shown (an edit list)"
    if index.packets.is_damaged.any():
        return "some of its data are damaged"
    if not index.starts_clean:
        return "some keyframes are no clean start (open GOPs, B-frames before them, intra refresh)"
    subsampled_evenly = (
        index.pixel_format in SUBSAMPLED_FORMATS and index.height % 2 == index.width % 2 == 0
    )
    if not subsampled_evenly and index.pixel_format not in FULL_FORMATS:
        return f"its colours differ for {index.pixel_format} of {index.width}x{index.height}"
    if not index.orientation.is_rotation:
        return "the picture is mirrored"
    if index.video_streams > 1:
        return "there are several video streams"
    if index.frame_count > MOST_FRAMES:
        return f"it reads all {index.frame_count} frames' packets at every opening"
    return ""


class DecordReader:
    """Reads frames by index. Not for several threads; not to be carried into another process."""

    name = "decord"

    def __init__(self, index: VideoIndex) -> None:
        listened = _listened_decord()
        if listened is None:
            raise DecordGaveUp("it is not installed here")
        decord, self._log = listened
        self._shape = (index.height, index.width, 3)
        self._heard = self._log.complaints
        self._failures = (decord.DECORDError, decord.DECORDLimitReachedError) + _FAILURES
        try:
            # One thread: loaders run one process a core. No frame may be replaced by another.
            self._reader: Any = decord.VideoReader(
                str(index.path.absolute()), num_threads=1, fault_tol=0
            )
        except self._failures as error:
            raise DecordGaveUp("it can't open the file") from error
        if len(self._reader) != index.frame_count:
            raise DecordGaveUp(f"it counts {len(self._reader)} frames, not {index.frame_count}")

    def frame(self, frame_index: int) -> NDArray[np.uint8]:
        """Frame `frame_index`, upright, RGB uint8 (height, width, 3)."""
        try:
            # Not get_batch: there are public reports of it spinning for ever.
            frame = self._reader[frame_index].asnumpy()
        except self._failures as error:
            raise DecordGaveUp(f"it fails on frame {frame_index}") from error
        if self._log.complaints != self._heard:
            raise DecordGaveUp(f"it complains about the data of frame {frame_index}")
        # At a few widths below 73 decord takes the padding of a row for more channels (measured).
        if frame.shape != self._shape:
            raise DecordGaveUp(f"it gives an array of shape {frame.shape}, not {self._shape}")
        return frame

    def close(self) -> None:
        self._reader = None


# What decord raises on bad data beside its own errors.
_FAILURES = (
    *(RuntimeError, AssertionError, StopIteration, IndexError, ValueError, OverflowError),
    MemoryError,
)


class _DamageLog:
    """Counts what the FFmpeg inside decord says about damaged data; prints nothing."""

    def __init__(self, libavutil: ctypes.CDLL) -> None:
        self.complaints = 0
        self._callback = _LOG_CALLBACK(self._hear)  # kept, or it would be freed while in use
        libavutil.av_log_set_callback(self._callback)
        # Decoding threads may outlive the interpreter, this callback can't.
        atexit.register(libavutil.av_log_set_callback, libavutil.av_log_default_callback)

    def _hear(self, _context: int, level: int, text: bytes, _arguments: int) -> None:
        if level <= AV_LOG_ERROR or text.startswith(CONCEALING):
            self.complaints += 1


@cache
def _listened_decord() -> tuple[ModuleType, _DamageLog] | None:
    """decord and its log; None where it is not installed or its FFmpeg can't be listened to."""
    try:
        import decord
    except (ImportError, OSError):  # no wheel for this platform; a library missing
        return None
    package = Path(decord.__file__).parent
    libraries = [*package.glob("*avutil*"), *package.with_name("decord.libs").glob("*avutil*")]
    try:
        return decord, _DamageLog(ctypes.CDLL(str(libraries[0].resolve())))
    except (IndexError, OSError, AttributeError):
        return None
