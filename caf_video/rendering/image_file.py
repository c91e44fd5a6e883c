"""Pictures as files, in the format that the suffix names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from caf_video.errors import CafVideoError, InputError
from caf_video.files import written_whole

# What PIL is told for each suffix. JPEG keeps full colour resolution: small red text survives.
_IMAGE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 90, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 90, "subsampling": 0},
    ".webp": {"format": "WEBP", "quality": 90},
}


class RenderingError(CafVideoError):
    """A picture, video or report that cannot be written. Names the file and the reason."""


def write_image(path: Path | str, image: Image.Image) -> None:
    """Write a picture, whole or not at all; the suffix names the format (png, jpg, jpeg, webp).

    Raises:
        InputError: If the suffix is none of these.
        RenderingError: If the file cannot be written.
    """
    path = Path(path)
    options = _IMAGE_OPTIONS.get(path.suffix.lower())
    if options is None:
        raise InputError(f"{path}: pictures are written as {', '.join(_IMAGE_OPTIONS)}")
    with written_whole(path, RenderingError) as temporary:
        image.save(temporary, **options)


# A WebP keeps colours and is a fifth as large; a GIF plays everywhere.
_ANIMATION_OPTIONS: dict[str, dict[str, Any]] = {
    ".webp": {"format": "WEBP", "quality": 85, "method": 4},
    ".gif": {"format": "GIF"},
}


def write_animation(path: Path | str, frames: Sequence[Image.Image], *, fps: float) -> None:
    """Write pictures of one size as an animation that repeats; the suffix names the format.

    Raises:
        InputError: If the suffix is neither webp nor gif, or there are no frames.
        RenderingError: If the file cannot be written.
    """
    path = Path(path)
    options = _ANIMATION_OPTIONS.get(path.suffix.lower())
    if options is None or not frames:
        raise InputError(f"{path}: an animation is written as {', '.join(_ANIMATION_OPTIONS)}")
    with written_whole(path, RenderingError) as temporary:
        frames[0].save(
            temporary, save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0,
            **options,
        )  # fmt: skip
