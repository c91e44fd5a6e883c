"""One picture from disk: upright RGB, its size without decoding it, and boxes turned with it."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from caf_video.errors import CafVideoError
from caf_video.reading import require_regular

Box = tuple[float, float, float, float]

# What turns a stored picture upright, by its EXIF orientation (EXIF 2.32, tag 0x0112).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,  # counted against the clock
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What Pillow raises on damaged files; RuntimeError is AVIF's.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error, zlib.error)


class ImageError(CafVideoError):
    """A picture that cannot be read; names the file and says why."""


@dataclass(frozen=True)
class ImageHeader:
    """What a picture says of itself before it is decoded.

    Attributes:
        height: Rows, as stored.
        width: Columns, as stored.
        orientation: EXIF orientation, 1 to 8: how to turn it upright; 1 where none is told.
    """

    height: int
    width: int
    orientation: int

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width) of the picture when it is turned upright."""
        if self.orientation >= 5:
            return self.width, self.height
        return self.height, self.width

    def turned(self, box: Box) -> Box:
        """A box (x1, y1, x2, y2) of the stored picture, in pixels of the upright one."""
        x1, y1, x2, y2 = box
        if self.orientation in (2, 3, 7, 8):
            x1, x2 = self.width - x2, self.width - x1
        if self.orientation in (3, 4, 6, 7):
            y1, y2 = self.height - y2, self.height - y1
        return (y1, x1, y2, x2) if self.orientation >= 5 else (x1, y1, x2, y2)


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """A picture as uint8 RGB (height, width, 3), upright by its EXIF orientation.

    Greyscale and palettes become RGB, CMYK is converted without a colour profile, what is
    transparent lies over white, of 16 bits the upper 8 are kept, and of an animation the first
    frame. EXIF data that is damaged tells no orientation.

    Raises:
        ImageError: If it is missing, empty, no image, truncated, or its values have no known range.
    """
    path = Path(path)
    with _opened(path) as image:
        image.load()
        orientation = _orientation(image)
        rgb = _rgb(image, path)
        if orientation in _UPRIGHT:
            rgb = rgb.transpose(_UPRIGHT[orientation])
        return np.array(rgb)


def read_mask(path: str | Path) -> NDArray[np.bool_]:
    """A mask (height, width) as it is stored: where the grey value is not 0.

    Raises:
        ImageError: As `read_image`.
    """
    path = Path(path)
    with _opened(path) as image:
        return np.asarray(image.convert("L")) > 0


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of what `read_image` would return, from the header alone.

    Raises:
        ImageError: If it is missing, empty or no image. A truncated picture may still have a size.
    """
    return read_header(path).upright_size


def read_header(path: str | Path) -> ImageHeader:
    """Stored size and orientation of a picture, without decoding it.

    Raises:
        ImageError: As `image_size`.
    """
    path = Path(path)
    with _opened(path) as image:
        if image.format == "TIFF":
            image.load()  # Pillow turns TIFFs itself, some versions only here
        width, height = image.size
        return ImageHeader(height, width, _orientation(image))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The picture, opened and not yet decoded; what goes wrong with it is an `ImageError`."""
    try:
        with warnings.catch_warnings():
            # Said of damaged EXIF data, which is of no further use here.
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")
            require_regular(path)
            with Image.open(path) as image:
                yield image
    except FileNotFoundError as error:
        raise ImageError(f"no image at {path}") from error
    except IsADirectoryError as error:
        raise ImageError(f"{path} is a folder, not an image") from error
    except UnidentifiedImageError as error:
        empty = path.stat().st_size == 0
        raise ImageError(f"{path} is {'empty' if empty else 'not an image'}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} has too many pixels: {error}") from error
    except _DAMAGED as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ImageError(f"cannot read {path}: {reason}") from error


def _orientation(image: Image.Image) -> int:
    # A PNG whose EXIF data follows its pixels is taken as stored: to look would be to decode it.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGED:
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ImageError(f"{path} has values of 32 bits: save it with 8 or 16 bits a channel")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ImageError(f"{path} has floating-point values: save it with 8 or 16 bits a channel")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(white, over).convert("RGB")
    return image.convert("RGB")
