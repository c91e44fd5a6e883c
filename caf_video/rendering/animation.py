"""Frames into a GIF or an animated WebP: what a page or a chat shows without a player."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caf_video.errors import InputError
from caf_video.files import written_whole
from caf_video.rendering.image_file import RenderingError
from caf_video.rendering.overlay import check_frames
from caf_video.rendering.scale import scaled_to_width
from caf_video.rendering.video import VideoWriter

MOVING = (".mp4", ".gif", ".webp")
MOST_FRAMES = 600  # of an animation: Pillow keeps them all until the last has come

_WIDEST, _FASTEST = 960, 12.5  # pixels, frames a second: beyond them a GIF has tens of megabytes
_OPTIONS: dict[str, dict[str, Any]] = {
    ".gif": {"format": "GIF", "optimize": False},
    ".webp": {"format": "WEBP", "quality": 80, "method": 2},
}


class AnimationWriter:
    """Collects frames; a GIF or WebP that repeats for ever appears when the block ends well.

    Frames wider than 960 pixels are drawn that wide, and of more than 12.5 a second some are left
    out: it still plays as fast as life. With `ours` it is noted as ours (see `files`).

    Raises:
        InputError: If the suffix is neither, the rate is not a positive number, a frame is not
            uint8 RGB (height, width, 3), or there are more than MOST_FRAMES.
        RenderingError: If the file cannot be written, or not one frame came.
    """

    def __init__(self, path: Path | str, *, fps: float | Fraction, ours: bool = False) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in _OPTIONS:
            raise InputError(f"{self.path}: animations are written as {', '.join(_OPTIONS)}")
        if not 0 < fps < float("inf"):
            raise InputError(f"{self.path}: an animation needs a positive frame rate, not {fps}")
        self.frame_count = 0
        self._ours = ours
        self._step = kept_of_animation(float(fps))
        self._milliseconds = max(1, round(1000 * self._step / float(fps)))
        self._pictures: list[Image.Image] = []

    def __enter__(self) -> "AnimationWriter":
        return self

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Take one more RGB frame, uint8 (height, width, 3)."""
        check_frames(frame[None], f"{self.path.name} frame {self.frame_count}")
        if self.frame_count % self._step == 0:
            if len(self._pictures) == MOST_FRAMES:
                raise InputError(
                    f"{self.path.name}: more than {MOST_FRAMES} frames are too many for a "
                    f"{self.path.suffix[1:]}; take a part of the video, or an mp4"
                )
            narrow = scaled_to_width(frame, min(_WIDEST, frame.shape[1]))
            self._pictures.append(Image.fromarray(narrow))
        self.frame_count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            return
        if not self._pictures:
            raise RenderingError(f"cannot write {self.path}: it was given no frames")
        first, *others = self._pictures
        with written_whole(self.path, RenderingError, ours=self._ours) as temporary:
            first.save(
                temporary,
                save_all=True,
                append_images=others,
                duration=self._milliseconds,
                loop=0,
                **_OPTIONS[self.path.suffix.lower()],
            )


def kept_of_animation(fps: float) -> int:
    """An animation of frames that come at this rate keeps every n-th: n."""
    return max(1, -(-int(1000 * fps) // int(1000 * _FASTEST)))


def moving_writer(
    path: Path | str, *, fps: float | Fraction, ours: bool = False
) -> VideoWriter | AnimationWriter:
    """What writes frames as the suffix says: mp4, gif or webp.

    Raises:
        InputError: The suffix is none of these, or the rate is none.
    """
    path = Path(path)
    if path.suffix.lower() not in MOVING:
        raise InputError(f"{path}: moving pictures are written as {', '.join(MOVING)}")
    writer = VideoWriter if path.suffix.lower() == ".mp4" else AnimationWriter
    return writer(path, fps=fps, ours=ours)


def write_moving(
    path: Path | str,
    frames: Iterable[NDArray[np.uint8]],
    *,
    fps: float | Fraction,
    ours: bool = False,
) -> None:
    """Write frames, RGB uint8 (height, width, 3) of one size, as mp4, gif or webp."""
    with moving_writer(path, fps=fps, ours=ours) as writer:
        for frame in frames:
            writer.write(frame)
