"""A heatmap laid over its photograph: colour where the heat is, the photograph where it is not."""

from functools import cache

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from caf_video.errors import InputError
from caf_video.rendering.contours import LEVELS, lines_over, paint_lines

_STEPS = 256
_COLD = 0.12  # below this share of the maximum the photograph is left exactly as it was
_STRONGEST = 0.72  # opacity at the maximum: what is under the heat can still be made out
_BYTES_AT_ONCE = 2**17  # of the picture: what a band of rows needs stays in the cache


def overlay(
    image: NDArray[np.uint8],
    heatmap: NDArray[np.floating],
    *,
    contours: tuple[float, ...] = LEVELS,
    maximum: float | None = None,
    name: str = "heatmap",
) -> NDArray[np.uint8]:
    """Lay a heatmap over the image it belongs to.

    The heat is divided by its own maximum, or by a `maximum` that several pictures share, for
    display alone; `heat_legend` says so beside the picture. Opacity grows with heat, so that cold
    regions show the photograph untouched. A heatmap that is zero everywhere leaves the whole
    photograph untouched; a constant one is an even tint.

    Args:
        image: RGB, uint8 (height, width, 3).
        heatmap: Non-negative heat of each pixel, (height, width).
        contours: Levels to draw as lines, shares of the maximum in (0, 1). Where what is above a
            level reaches the image's border, its line closes along it.
        maximum: What the heat is divided by, where pictures share a scale; None: its own maximum.
        name: What to call the sample in an error.

    Returns:
        RGB, uint8 (height, width, 3), a new array.

    Raises:
        InputError: If the shapes differ, the heat is negative, not finite or above `maximum`, or a
            level is none; names the sample.
    """
    check_frames(image[None], name)
    own = check_heatmap(heatmap, image.shape[:2], name)
    highest = own if maximum is None else maximum
    if highest < own:
        raise InputError(f"{name}: heat of {own:.3g} is above the maximum {highest:.3g}")
    for level in contours:
        if not 0 < level < 1:
            raise InputError(f"{name}: contour {level:g} is no share of the maximum in (0, 1)")
    if highest == 0:
        return image.copy()
    lines = lines_over(heatmap, highest, contours) if contours else None
    kept_of, added_of = _palette()
    picture = np.empty_like(image)
    rows = max(1, _BYTES_AT_ONCE // (3 * image.shape[1]))
    for top in range(0, len(image), rows):
        band = slice(top, top + rows)
        heat = (heatmap[band] / highest).astype(np.float32, copy=False)
        blended: NDArray = image[band]
        if heat.max() > _COLD:
            step = cv2.convertScaleAbs(heat, alpha=_STEPS - 1)
            kept = cv2.cvtColor(cv2.LUT(step, kept_of), cv2.COLOR_GRAY2RGB)
            added = cv2.applyColorMap(step, added_of)
            blended = cv2.add(cv2.multiply(blended, kept, scale=1 / 255), added)
        if lines is not None:
            blended = paint_lines(blended, lines, band)
        picture[band] = blended
    return picture


def check_frames(frames: NDArray[np.uint8], name: str) -> None:
    """Raise InputError unless `frames` is uint8 (n, height, width, 3) and holds a pixel."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise InputError(
            f"{name}: frames must be uint8 (n, height, width, 3), not {frames.dtype} {frames.shape}"
        )


def check_heatmap(heatmap: NDArray[np.floating], size: tuple[int, ...], name: str) -> float:
    """The greatest heat; InputError unless it is finite, >= 0 and covers `size` (height, width)."""
    if heatmap.shape != size:
        raise InputError(f"{name}: heatmap {heatmap.shape} does not cover its image {size}")
    lowest, highest = float(heatmap.min()), float(heatmap.max())
    if not np.isfinite(lowest + highest):  # a NaN or infinity anywhere reaches one of the two
        raise InputError(f"{name}: the heatmap holds a value that is not finite")
    if lowest < 0:
        raise InputError(f"{name}: the heatmap is negative ({lowest:.3g}); draw |f|, not f")
    return highest


@cache
def _palette() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """By heat: what is kept of the photograph (256,), 255: all, and the colour added, (256, 1, 3).

    The colours are the middle of a perceptual map: its dark end would pass for shadow, its pale one
    for sky.
    """
    share = np.linspace(0, 1, _STEPS)[:, None]
    colours = matplotlib.colormaps["inferno"](0.30 + 0.55 * share[:, 0])[:, :3]
    opacity = _STRONGEST * np.clip((share - _COLD) / (1 - _COLD), 0, 1)
    kept = np.rint(255 * (1 - opacity[:, 0])).astype(np.uint8)
    added = np.rint(255 * opacity * colours).astype(np.uint8)
    return kept, added[:, None]
