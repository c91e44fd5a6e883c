"""Frames, heat, lines and numbers on one time line: a file for the viewer of rerun.io."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caf_video.errors import InputError
from caf_video.files import require_ours, written_whole
from caf_video.rendering.contours import LEVELS, contour_lines
from caf_video.rendering.image_file import RenderingError
from caf_video.rendering.overlay import check_frames

SUFFIX = ".rrd"

_TIME_LINE = "seconds"
_QUALITY = 80  # of JPEG
_OPACITY = 0.5  # of the heat over its frame


class Recording:
    """Writes a recording, which appears when the block ends well.

    An entity is a path in the viewer's tree, such as `drive.mp4/frame`. All times are seconds of
    the video that an entity belongs to.

    Raises:
        InputError: The suffix is not .rrd, or the package is not installed.
        RenderingError: The file cannot be written, or is not ours.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != SUFFIX:
            raise InputError(f"{self.path}: a recording of rerun is written as {SUFFIX}")
        try:
            import rerun
        except ModuleNotFoundError as error:
            raise InputError(
                "a recording needs the package rerun-sdk: pip install 'caf_video[rerun]'"
            ) from error
        require_ours(self.path)
        self._rerun = rerun
        self._stack = ExitStack()

    def __enter__(self) -> "Recording":
        temporary = self._stack.enter_context(written_whole(self.path, RenderingError, ours=True))
        self._stream = self._rerun.RecordingStream("caf_video")
        self._stream.save(temporary)
        return self

    def frame(self, entity: str, seconds: float, frame: NDArray[np.uint8]) -> None:
        """A frame, RGB uint8 (height, width, 3)."""
        check_frames(frame[None], f"{entity} at {seconds:g} s")
        self._log(entity, seconds, self._rerun.Image(frame).compress(jpeg_quality=_QUALITY))

    def heat(
        self,
        entity: str,
        seconds: float,
        heat: NDArray[np.floating],
        *,
        maximum: float | None = None,
    ) -> None:
        """Heat and its lines, over the frame that the entity is below.

        Args:
            entity: Such as `drive.mp4/frame/heat`.
            seconds: When.
            heat: Nowhere negative, (height, width), of the frame's size.
            maximum: What it is drawn by; None is its own maximum.
        """
        highest = float(heat.max()) if maximum is None else maximum
        grey, lines = np.zeros(heat.shape, np.uint8), []
        if highest > 0:
            grey = np.clip(heat / highest * 255, 0, 255).astype(np.uint8)
            lines = contour_lines(heat, highest, LEVELS)
        image = self._rerun.Image(grey, opacity=_OPACITY, draw_order=1.0)
        self._log(entity, seconds, image.compress(jpeg_quality=_QUALITY))
        closed = [np.concatenate([line, line[:1]]) for line in lines]
        strips = self._rerun.LineStrips2D(closed, colors=[255, 255, 255])
        self._log(f"{entity}/lines", seconds, strips)

    def value(self, entity: str, seconds: float, value: float) -> None:
        """A number: it becomes a curve."""
        self._log(entity, seconds, self._rerun.Scalars(float(value)))

    def _log(self, entity: str, seconds: float, what: Any) -> None:
        self._stream.set_time(_TIME_LINE, duration=float(seconds))
        self._stream.log(entity, what)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.flush()
        self._stream.disconnect()
        self._stack.__exit__(kind, error, trace)
