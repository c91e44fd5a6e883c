"""Pixels: antialiased, subpixel polygons, soft shadows, glows and pictures on an RGB frame."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from caf_video.synthetic.world.camera import Camera

Rgb = tuple[int, int, int]

_SHIFT = 4  # cv2 reads polygon corners in sixteenths of a pixel
_LIMIT = 4000.0  # pixels: cv2 overflows far outside the frame


def fixed_point(points: np.ndarray) -> np.ndarray:
    """Pixel coordinates (n, 2) as cv2 wants them; (0, 0) is the corner of the first pixel."""
    clipped = np.clip(points, -_LIMIT, _LIMIT)
    return np.asarray((clipped - 0.5) * 16.0 + 0.5, dtype=np.int32)


def fill(image: np.ndarray, points: np.ndarray, colour: Rgb) -> None:
    """Fill one polygon, corners (n, 2) in pixels."""
    cv2.fillPoly(image, [fixed_point(points)], colour, cv2.LINE_AA, _SHIFT)


_CAP = np.linspace(0.0, np.pi, 7)


def capsules(
    image: np.ndarray,
    limbs: Sequence[tuple[tuple[float, ...], Rgb]],
    origin: np.ndarray,
    scale: float,
) -> None:
    """Draw limbs: two discs and what lies between them.

    Args:
        limbs: ((x1, y1, x2, y2, radius1, radius2), colour) each, y upwards from the origin.
        origin: Pixel (x, y) of (0, 0).
        scale: Pixels per unit.
    """
    numbers = np.array([limb for limb, _ in limbs]) * scale
    start, end = numbers[:, 0:2] * [1, -1], numbers[:, 2:4] * [1, -1]
    along = end - start
    along = along / np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)[:, None]
    side = np.stack([-along[:, 1], along[:, 0]], axis=1)
    # From one side around the end to the other side, and back around the start.
    cosine, sine = np.cos(_CAP)[None, :, None], np.sin(_CAP)[None, :, None]
    far = cosine * side[:, None] + sine * along[:, None]
    first, second = numbers[:, 4][:, None, None], numbers[:, 5][:, None, None]
    outline = np.concatenate([end[:, None] + second * far, start[:, None] - first * far], axis=1)
    corners = fixed_point(outline + origin)
    for polygon, (_, colour) in zip(corners, limbs, strict=True):
        cv2.fillConvexPoly(image, polygon, colour, cv2.LINE_AA, _SHIFT)


class Mesh:
    """Flat-coloured polygons in the world, drawn in the order in which they were added."""

    def __init__(self) -> None:
        self._points: list[np.ndarray] = []
        self._calls: list[tuple[int, int, int, Rgb]] = []
        self._count = 0
        self._all: np.ndarray | None = None

    def add(self, polygons: np.ndarray, colour: Rgb) -> None:
        """Add a polygon (n, 3), or several (k, n, 3) that do not overlap and then cost one call."""
        several = polygons.shape[0] if polygons.ndim == 3 else 1
        points = polygons.reshape(-1, 3)
        if len(points):
            self._points.append(points)
            self._calls.append((self._count, self._count + len(points), several, colour))
            self._count += len(points)
            self._all = None

    def draw(self, image: np.ndarray, camera: Camera, frame: int) -> None:
        """Draw all of it as the camera sees it; it is the same in every frame."""
        if self._all is None:
            if not self._points:
                return
            self._all = np.concatenate(self._points)
        pixels = camera.project(self._all)
        columns = pixels[:, 0]
        if columns.max() < 0 or columns.min() > image.shape[1]:
            return
        corners = fixed_point(pixels)
        for start, stop, several, colour in self._calls:
            contours = corners[start:stop].reshape(several, -1, 2)
            cv2.fillPoly(image, list(contours), colour, cv2.LINE_AA, _SHIFT)


def _region(
    image: np.ndarray, left: float, top: float, right: float, bottom: float
) -> tuple[int, int, int, int] | None:
    height, width = image.shape[:2]
    x1, y1 = max(int(np.floor(left)), 0), max(int(np.floor(top)), 0)
    x2, y2 = min(int(np.ceil(right)), width), min(int(np.ceil(bottom)), height)
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


class Picture:
    """A picture (h, w, 4), RGB premultiplied by alpha, with halved copies for far away."""

    def __init__(self, levels: Sequence[np.ndarray]) -> None:
        self._levels = levels

    @staticmethod
    def halved(pixels: np.ndarray) -> "Picture":
        """A picture from its largest copy."""
        levels = [np.ascontiguousarray(pixels, dtype=np.uint8)]
        while min(levels[-1].shape[:2]) >= 12:
            half = cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            levels.append(np.asarray(half, dtype=np.uint8))
        return Picture(levels)

    def tinted(
        self, tint: np.ndarray, veil: np.ndarray, clear: float, *, width: float
    ) -> "Picture":
        """The picture multiplied by an RGB tint and seen through air.

        Args:
            tint: RGB factors.
            veil: RGB 0 to 1 of what it fades into.
            clear: 1 near to 0 gone.
            width: The widest it will be pasted, in pixels: larger copies are left out.
        """
        largest = 0
        while largest + 2 < len(self._levels) and self._levels[largest + 1].shape[1] > width:
            largest += 1
        mix = np.zeros((4, 4))
        mix[[0, 1, 2], [0, 1, 2]] = tint * clear
        mix[:3, 3] = veil * (1.0 - clear)
        mix[3, 3] = 1.0
        return Picture([cv2.transform(level, mix) for level in self._levels[largest : largest + 3]])

    def paste(self, image: np.ndarray, box: tuple[float, float, float, float]) -> None:
        """Lay the picture over a box (x1, y1, x2, y2) in pixels, subpixel."""
        left, top, right, bottom = box
        region = _region(image, left - 1, top - 1, right + 1, bottom + 1)
        if region is None:
            return
        x1, y1, x2, y2 = region
        level = 0
        while level + 1 < len(self._levels):
            if (right - left) / self._levels[level].shape[1] > 0.6:
                break
            level += 1
        picture = self._levels[level]
        to_picture = _inverse_placement(picture.shape, box, x1, y1)
        patch = cv2.warpAffine(
            picture, to_picture, (x2 - x1, y2 - y1), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        _over(image[y1:y2, x1:x2], patch)


def _inverse_placement(
    shape: tuple[int, ...], box: tuple[float, float, float, float], x1: int, y1: int
) -> np.ndarray:
    """Affine map (2, 3) from pixels of a region that starts at (x1, y1) to pixels of a picture."""
    left, top, right, bottom = box
    scale_x, scale_y = (right - left) / shape[1], (bottom - top) / shape[0]
    return np.array(
        [
            [1 / scale_x, 0.0, (x1 + 0.5 - left) / scale_x - 0.5],
            [0.0, 1 / scale_y, (y1 + 0.5 - top) / scale_y - 0.5],
        ]
    )


def _over(under: np.ndarray, patch: np.ndarray) -> None:
    through = cv2.cvtColor(cv2.bitwise_not(cv2.extractChannel(patch, 3)), cv2.COLOR_GRAY2RGB)
    kept = cv2.multiply(under, through, scale=1 / 255)
    under[:] = cv2.add(kept, cv2.cvtColor(patch, cv2.COLOR_RGBA2RGB))


@lru_cache(maxsize=1)
def _soft_disc() -> np.ndarray:
    """(64, 64) float: 1 in the middle, 0 at the rim."""
    axis = (np.arange(64) + 0.5) / 32 - 1
    radius = np.hypot(*np.meshgrid(axis, axis))
    disc: np.ndarray = np.clip(1 - radius, 0, 1) ** 2
    return disc.astype(np.float32)


@lru_cache(maxsize=1)
def _soft_block() -> np.ndarray:
    """(64, 64) float: a blurred rectangle."""
    block = np.zeros((64, 64), np.float32)
    block[14:50, 14:50] = 1.0
    return cv2.GaussianBlur(block, (0, 0), 5.0)


def _spread(
    image: np.ndarray, stamp: np.ndarray, box: tuple[float, float, float, float]
) -> tuple[np.ndarray, np.ndarray] | None:
    """The part of the image under a box, and the stamp stretched over it."""
    left, top, right, bottom = box
    region = _region(image, left, top, right, bottom)
    if region is None or right - left < 0.5 or bottom - top < 0.5:
        return None
    x1, y1, x2, y2 = region
    to_stamp = _inverse_placement((64, 64), box, x1, y1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return image[y1:y2, x1:x2], cv2.warpAffine(stamp, to_stamp, (x2 - x1, y2 - y1), flags=flags)


def shadow(image: np.ndarray, box: tuple[float, float, float, float], strength: float) -> None:
    """Darken softly inside a box in pixels; nothing changes outside it."""
    found = _spread(image, _soft_block(), box)
    if found is not None:
        under, stamp = found
        kept = (255.0 * (1.0 - strength * stamp) + 0.5).astype(np.uint8)
        under[:] = cv2.multiply(under, cv2.merge([kept, kept, kept]), scale=1 / 255)


def glow(
    image: np.ndarray,
    center: tuple[float, float],
    radius: float,
    colour: np.ndarray,
    strength: float,
) -> None:
    """Add light around a point, fading to nothing at `radius` pixels; colour 0 to 1."""
    x, y = center
    found = _spread(image, _soft_disc(), (x - radius, y - radius, x + radius, y + radius))
    if found is not None and strength > 0:
        under, stamp = found
        light = [(stamp * (255.0 * strength * float(c))).astype(np.uint8) for c in colour]
        under[:] = cv2.add(under, cv2.merge(light))
