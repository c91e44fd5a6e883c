"""A heatmap laid over its photograph: colour where the heat is, the photograph where it is not."""

import math
from functools import cache

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from caf_video.errors import InputError

LEVELS = (0.3, 0.5, 0.7)  # contours, as shares of the heatmap's own maximum

_STEPS = 256
_COLD = 0.12  # below this share of the maximum the photograph is left exactly as it was
_STRONGEST = 0.72  # opacity at the maximum: what is under the heat can still be made out
_FLATTEST = 1e-4  # share of the maximum per pixel: a plateau at a level is not painted over


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
        contours: Levels to draw as lines, shares of the maximum in (0, 1).
        maximum: What the heat is divided by, where pictures share a scale; None: its own maximum.
        name: What to call the sample in an error.

    Returns:
        RGB, uint8 (height, width, 3), a new array.

    Raises:
        InputError: If the shapes differ or the heat is negative, not finite or above `maximum`;
            names the sample.
    """
    check_frames(image[None], name)
    check_heatmap(heatmap, image.shape[:2], name)
    highest = heatmap.max() if maximum is None else maximum
    if highest < heatmap.max():
        raise InputError(f"{name}: heat of {heatmap.max():.3g} is above the maximum {highest:.3g}")
    if highest == 0:
        return image.copy()
    heat = (heatmap / highest).astype(np.float32, copy=False)
    step = cv2.convertScaleAbs(heat, alpha=_STEPS - 1)
    kept, added = (cv2.applyColorMap(step, table) for table in _palette())
    blended = cv2.add(cv2.multiply(image, kept, scale=1 / 255), added)
    picture = np.asarray(blended, dtype=np.uint8)
    if contours:
        _draw_contours(picture, heat, contours)
    return picture


def check_frames(frames: NDArray[np.uint8], name: str) -> None:
    """Raise InputError unless `frames` is uint8 (n, height, width, 3) and holds a pixel."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise InputError(
            f"{name}: frames must be uint8 (n, height, width, 3), not {frames.dtype} {frames.shape}"
        )


def check_heatmap(heatmap: NDArray[np.floating], size: tuple[int, ...], name: str) -> None:
    """Raise InputError unless the heatmap covers `size` (height, width) with finite heat >= 0."""
    if heatmap.shape != size:
        raise InputError(f"{name}: heatmap {heatmap.shape} does not cover its image {size}")
    lowest, highest = float(heatmap.min()), float(heatmap.max())
    if not np.isfinite(lowest + highest):  # a NaN or infinity anywhere reaches one of the two
        raise InputError(f"{name}: the heatmap holds a value that is not finite")
    if lowest < 0:
        raise InputError(f"{name}: the heatmap is negative ({lowest:.3g}); draw |f|, not f")


@cache
def _palette() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """By heat, (256, 1, 3) each: what is kept of the photograph (255: all) and the colour added.

    The colours are the middle of a perceptual map: its dark end would pass for shadow, its pale one
    for sky.
    """
    share = np.linspace(0, 1, _STEPS)[:, None]
    colours = matplotlib.colormaps["inferno"](0.30 + 0.55 * share[:, 0])[:, :3]
    opacity = _STRONGEST * np.clip((share - _COLD) / (1 - _COLD), 0, 1)
    kept = np.rint(255 * np.repeat(1 - opacity, 3, axis=1)).astype(np.uint8)
    added = np.rint(255 * opacity * colours).astype(np.uint8)
    return kept[:, None], added[:, None]


def _draw_contours(
    picture: NDArray[np.uint8], heat: NDArray[np.float32], levels: tuple[float, ...]
) -> None:
    """Antialiased level lines, drawn in place: white with a dark edge, legible day and night.

    A pixel's distance to a line is |heat - level| / slope, to first order; only pixels with another
    zone nearby are looked at, which is several times faster than tracing the lines.
    """
    half_width = max(0.6, picture.shape[1] / 900)
    reach = half_width + 1.7
    zone = np.zeros(heat.shape, np.uint8)
    for level in levels:
        zone += heat > level
    window = np.ones((2 * math.ceil(reach) + 1,) * 2, np.uint8)
    near = np.flatnonzero(cv2.morphologyEx(zone, cv2.MORPH_GRADIENT, window))
    if not near.size:
        return
    here = heat.ravel()[near]
    height, width = heat.shape
    rows, columns = np.divmod(near, width)
    left, right = np.maximum(columns - 1, 0), np.minimum(columns + 1, width - 1)
    above, below = np.maximum(rows - 1, 0), np.minimum(rows + 1, height - 1)
    slope = np.hypot(
        (heat[rows, right] - heat[rows, left]) / np.maximum(right - left, 1),
        (heat[below, columns] - heat[above, columns]) / np.maximum(below - above, 1),
    )
    difference = np.min([np.abs(here - level) for level in levels], axis=0)
    distance = difference / np.maximum(slope, _FLATTEST)
    white = 0.95 * np.clip(half_width + 0.5 - distance, 0, 1)
    dark = 0.55 * np.clip(reach - distance, 0, 1)
    pixels = picture.reshape(-1, 3)
    painted = pixels[near] * ((1 - dark) * (1 - white))[:, None] + 255 * white[:, None]
    pixels[near] = np.rint(painted).astype(np.uint8)
