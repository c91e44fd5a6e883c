"""A photograph-like frame, a heatmap with known level lines, and an eye for words."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from caf_video.rendering.style import INK, PAPER, font, write


@pytest.fixture
def photograph() -> NDArray[np.uint8]:
    """Random pixels, (60, 80, 3): nothing in it can be mistaken for a drawn line."""
    return np.random.default_rng(0).integers(40, 200, (60, 80, 3), dtype=np.uint8)


@pytest.fixture
def ramp() -> NDArray[np.float64]:
    """Heat growing evenly from left to right, (60, 80): a level is one column."""
    return np.tile(np.linspace(0, 7.5, 80), (60, 1))


@pytest.fixture
def places_of() -> Callable[..., list[tuple[int, int]]]:
    """Where a picture holds a text: left end and baseline of each, from top to bottom."""

    def find(
        picture: Image.Image, text: str, size: int, *, colour=INK, bold: bool = False
    ) -> list[tuple[int, int]]:
        face = font(size, bold=bold)
        written = Image.new("RGB", (round(face.getlength(text)) + 8, 2 * size), PAPER)
        write(written, (4, size + 4), text, face, colour)
        letters = np.asarray(written)
        rows, columns = np.nonzero((letters != PAPER).any(axis=2))
        top, left = rows.min(), columns.min()
        letters = letters[top : rows.max() + 1, left : columns.max() + 1]
        pixels = np.asarray(picture.convert("RGB"))
        # The first column picks the places that are worth a whole comparison.
        windows = np.lib.stride_tricks.sliding_window_view(pixels[:, :, 0], letters.shape[0], 0)
        starts = np.argwhere((windows == letters[:, 0, 0]).all(axis=2))
        height, width = letters.shape[:2]
        return [
            (int(x) + 4 - int(left), int(y) + size + 4 - int(top))
            for y, x in starts
            if np.array_equal(pixels[y : y + height, x : x + width], letters)
        ]

    return find
