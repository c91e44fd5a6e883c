"""The frames of a clip side by side in one JPEG: a page shows one at a time, or all."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caf_video.errors import InputError
from caf_video.files import written_whole
from caf_video.rendering.image_file import RenderingError
from caf_video.rendering.scale import scaled_to_width

NARROWEST, WIDEST = 128, 320  # pixels of a frame

_QUALITY = 78
_BYTES_A_PIXEL = 0.37  # of noise with the spectrum of photographs; road scenes take half


def film_width(films: int, timesteps: int, aspect: float, *, bytes_at_most: float) -> int:
    """Width of a frame at which so many films stay within a size on disk, as a rule.

    Args:
        films: How many.
        timesteps: Frames of each.
        aspect: Width over height of a frame.
        bytes_at_most: Of all of them.

    Returns:
        An even number of pixels, NARROWEST to WIDEST: very many films may take more.
    """
    pixels = bytes_at_most / _BYTES_A_PIXEL / max(1, films * timesteps)
    width = int(math.sqrt(pixels * aspect)) // 2 * 2
    return min(max(width, NARROWEST), WIDEST)


def film(frames: Sequence[NDArray[np.uint8]], width: int) -> Image.Image:
    """Frames of one size, RGB uint8 (height, width, 3), in a row, each at this width.

    Raises:
        InputError: There is no frame, or they have several sizes.
    """
    if not len(frames) or len({frame.shape for frame in frames}) > 1:
        raise InputError(f"a film of {len(frames)} frames: wanted some, of one size")
    return Image.fromarray(np.hstack([scaled_to_width(frame, width) for frame in frames]))


def write_film(path: Path, frames: Sequence[NDArray[np.uint8]], width: int) -> tuple[int, int]:
    """Write frames as one film.

    Returns:
        The size of one frame in it, (width, height).

    Raises:
        InputError: See `film`.
        RenderingError: The file cannot be written.
    """
    picture = film(frames, width)
    with written_whole(path, RenderingError) as temporary:
        picture.save(temporary, "JPEG", quality=_QUALITY)
    return width, picture.height
