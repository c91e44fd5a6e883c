"""The shapes of cars: flat faces in metres, built once for each kind and end.

A car is a side profile drawn out across its width, with sides, glass, lamps and wheels laid on.
The origin is on the ground under the middle of the end nearer to us; z runs along the car, away
from us.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

HALF_WIDTH = 0.90
GLOW_METRES = 0.38  # how far the light of a brake lamp spreads
_WHEEL = 0.33

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Profile:
    """Side view (z, y) from the lower rear over the roof to the lower front.

    Attributes:
        points: Corners of the side view.
        belt: Height where the cabin begins.
        rear_glass: Indices of the lower and upper corner of the rear window.
        front_glass: The same of the windscreen.
        lamp: A rear lamp: |x| from, to and y from, to.
    """

    points: tuple[tuple[float, float], ...]
    belt: float
    rear_glass: tuple[int, int]
    front_glass: tuple[int, int]
    lamp: tuple[float, float, float, float]

    @property
    def length(self) -> float:
        """Overall length in metres."""
        return max(z for z, _ in self.points)

    @property
    def height(self) -> float:
        """Height of the roof in metres."""
        return max(y for _, y in self.points)

    @property
    def high_lamp(self) -> float:
        """Height of the third brake lamp, under the edge of the roof."""
        return self.points[self.rear_glass[1]][1] - 0.045


PROFILES: dict[str, Profile] = {
    "sedan": Profile(
        ((0.10, 0.26), (0.02, 0.42), (-0.02, 0.58), (0.0, 0.76), (0.05, 0.93), (0.14, 0.99),
         (0.55, 1.02), (1.12, 1.38), (1.6, 1.46), (2.3, 1.44), (2.5, 1.40), (3.20, 0.99),
         (4.20, 0.84), (4.42, 0.70), (4.45, 0.50), (4.38, 0.26)),
        0.99, (6, 7), (11, 10), (0.50, 0.87, 0.70, 0.90),
    ),
    "hatchback": Profile(
        ((0.10, 0.27), (0.02, 0.42), (-0.02, 0.58), (0.0, 0.80), (0.06, 0.99), (0.36, 1.41),
         (0.55, 1.50), (1.2, 1.54), (1.9, 1.51), (2.1, 1.46), (2.90, 1.02), (3.68, 0.87),
         (3.90, 0.72), (3.94, 0.52), (3.88, 0.27)),
        1.0, (4, 5), (10, 9), (0.58, 0.88, 0.74, 1.04),
    ),
    "suv": Profile(
        ((0.10, 0.34), (0.02, 0.48), (-0.02, 0.66), (0.0, 0.90), (0.05, 1.08), (0.30, 1.56),
         (0.46, 1.66), (1.1, 1.72), (2.2, 1.69), (2.45, 1.63), (3.10, 1.12), (4.20, 1.0),
         (4.45, 0.82), (4.50, 0.60), (4.42, 0.34)),
        1.09, (4, 5), (10, 9), (0.60, 0.89, 0.82, 1.10),
    ),
    "van": Profile(
        ((0.08, 0.30), (0.02, 0.44), (-0.01, 0.62), (0.0, 0.92), (0.03, 1.12), (0.17, 1.72),
         (0.32, 1.84), (0.9, 1.90), (3.0, 1.87), (3.2, 1.80), (3.95, 1.14), (4.45, 0.94),
         (4.62, 0.76), (4.66, 0.56), (4.58, 0.30)),
        1.13, (4, 5), (10, 9), (0.66, 0.89, 0.74, 1.16),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Face:
    """One flat piece: its unlit colour is `paint` times the car's paint plus `fixed`, RGB 0 to 1.

    Attributes:
        corners: (n, 3).
        normal: Outward, (3,); None: lies on the face before it, and is seen when that one is.
        lighting: Normal that the light sees.
        paint: Share of the car's own colour.
        fixed: What is added to it.
        mirror: Share of the sky mirrored in it.
        lamp: "" or which lamp it is: "rear", "high", "front".
        near_metres: Drawn up to this distance.
    """

    corners: np.ndarray
    normal: np.ndarray | None
    lighting: np.ndarray
    paint: float
    fixed: np.ndarray
    mirror: float
    lamp: str
    near_metres: float


@lru_cache(maxsize=16)
def car_faces(kind: str, oncoming: bool) -> tuple[Face, ...]:
    """Faces of a kind of car in the order in which to draw them; `oncoming`: we see its front."""
    return tuple(_Builder(PROFILES[kind], oncoming).faces())


class _Builder:
    def __init__(self, profile: Profile, oncoming: bool) -> None:
        self._profile = profile
        self._oncoming = oncoming

    def faces(self) -> Iterator[Face]:
        yield from self._underneath()
        yield from self._sides()
        yield from self._over_the_top()

    def _face(
        self, corners: list[Point], normal: Point | None = None, *, lighting: Point = (0, 0, -1),
        paint: float = 0.0, fixed: float | Point = 0.0, mirror: float = 0.0, lamp: str = "",
        near: float = 1000.0,
    ) -> Face:  # fmt: skip
        points = np.array(corners, dtype=float)
        lit = np.array(normal if normal is not None else lighting, dtype=float)
        lit /= np.linalg.norm(lit)
        if self._oncoming:
            points[:, 2] = self._profile.length - points[:, 2]
            lit[2] = -lit[2]
        colour = np.broadcast_to(np.asarray(fixed, dtype=float), 3)
        outward = lit if normal is not None else None
        return Face(points, outward, lit, paint, colour, mirror, lamp, near)

    def _half_width(self, y: float, z: float) -> float:
        profile = self._profile
        wide = HALF_WIDTH
        if y > profile.belt:
            wide -= 0.24 * (y - profile.belt) / (profile.height - profile.belt)
        elif y < 0.5:
            wide -= 0.05 * (0.5 - y) / 0.25
        if y <= profile.belt + 0.05:
            wide -= 0.10 * (z < 0.12 or z > profile.length - 0.3)
        return wide

    def _underneath(self) -> Iterator[Face]:
        """The dark under the car and the two tyres at the nearer end."""
        z = self._profile.length - 0.75 if self._oncoming else 0.75
        facing = (0.0, 0.0, 1.0 if self._oncoming else -1.0)
        top = self._profile.points[0][1] + 0.1
        box = [(-0.8, 0.15, z), (0.8, 0.15, z), (0.8, top, z), (-0.8, top, z)]
        yield self._face(box, facing, fixed=0.025)
        for side in (-1, 1):
            inner, outer = side * 0.60, side * 0.85
            tyre = [(inner, 0.03, z), (inner + side * 0.04, 0.0, z), (outer - side * 0.04, 0.0, z),
                    (outer, 0.03, z), (outer, 0.4, z), (inner, 0.4, z)]  # fmt: skip
            yield self._face(tyre, facing, fixed=0.05)

    def _sides(self) -> Iterator[Face]:
        profile = self._profile
        body = [(z, y) for z, y in profile.points if y <= profile.belt + 0.04]
        cabin = [(z, y) for z, y in profile.points if y >= profile.belt - 0.03]
        middle = np.mean(np.array(cabin), axis=0)
        pane = [
            (float(middle[0] + (z - middle[0]) * 0.86), float(middle[1] + (y - middle[1]) * 0.74))
            for z, y in cabin
        ]
        ends = (0.34, profile.length - 0.42)
        for side in (-1, 1):
            out = (float(side), 0.0, 0.0)
            upper, lower = (float(side), 0.35, 0.0), (float(side), -0.25, 0.0)

            def at(z: float, y: float, side: int = side, extra: float = 0.0) -> Point:
                return side * (self._half_width(y, 1.0) + extra), y, z

            outline = [at(min(max(z, ends[0]), ends[1]), y) for z, y in body]
            yield self._face(outline, out, paint=1.0, mirror=0.10)
            high = profile.belt - 0.10
            for low_y, high_y, light, level, mirror in (
                (0.28, 0.44, lower, 0.5, 0.0), (0.44, 0.62, lower, 0.9, 0.04),
                (high, profile.belt, upper, 1.0, 0.30),
            ):  # fmt: skip
                band = [
                    at(ends[0], low_y),
                    at(ends[1], low_y),
                    at(ends[1], high_y),
                    at(ends[0], high_y),
                ]
                yield self._face(band, lighting=light, paint=level, mirror=mirror, near=40)
            for z in (0.86, profile.length - 0.84):
                yield from self._wheel(side, z)
            for z in (1.75, 2.75):
                gap = [at(z, 0.4), at(z + 0.03, 0.4), at(z + 0.03, high), at(z, high)]
                yield self._face(gap, lighting=out, paint=0.55, near=16)
            outline = [at(z, y) for z, y in cabin]
            yield self._face(outline, upper, paint=1.0, mirror=0.2)
            yield self._face(
                [at(z, y, extra=0.004) for z, y in pane], lighting=upper, fixed=(0.09, 0.10, 0.12),
                mirror=0.28,
            )  # fmt: skip
            post, low, top = float(middle[0]) + 0.12, profile.belt + 0.02, profile.height - 0.06
            pillar = [
                at(post - 0.05, low),
                at(post + 0.06, low),
                at(post + 0.06, top),
                at(post - 0.05, top),
            ]
            yield self._face(pillar, lighting=out, paint=0.5, near=30)

    def _wheel(self, side: int, z: float) -> Iterator[Face]:
        turn = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        x = side * (HALF_WIDTH + 0.01)
        for radius, grey, near in (
            (0.40, 0.02, 60.0),
            (_WHEEL, 0.055, 60.0),
            (0.21, 0.50, 40.0),
            (0.08, 0.2, 14.0),
        ):
            disc = [
                (x, _WHEEL + radius * float(np.sin(a)), z + radius * float(np.cos(a))) for a in turn
            ]
            if radius == 0.40:  # the wheel arch ends at the sill
                disc = [(x, max(y, 0.28), along) for x, y, along in disc]
            yield self._face(disc, lighting=(side, 0.2, 0), fixed=grey, near=near)

    def _over_the_top(self) -> Iterator[Face]:
        """Quads across the car, the far end first, so that what is nearer covers it."""
        points = self._profile.points
        order = list(range(len(points) - 1))
        if not self._oncoming:
            order.reverse()
        for i in order:
            (z1, y1), (z2, y2) = points[i], points[i + 1]
            w1, w2 = self._half_width(y1, z1), self._half_width(y2, z2)
            quad = [(-w1, y1, z1), (w1, y1, z1), (w2, y2, z2), (-w2, y2, z2)]
            normal = (0.0, z2 - z1, y1 - y2)
            low = max(y1, y2) < self._profile.points[1][1] + 0.02
            yield self._face(
                quad, normal, paint=0.35 if low else 1.0, fixed=0.015 if low else 0.0,
                mirror=0.06 + 0.36 * max(0.0, normal[1]) / float(np.hypot(normal[1], normal[2])),
            )  # fmt: skip
            for glass in (self._profile.rear_glass, self._profile.front_glass):
                if {i, i + 1} == set(glass):
                    yield from self._glass(glass)
        yield from self._corners()
        yield from self._front() if self._oncoming else self._rear()

    def _corners(self) -> Iterator[Face]:
        """Rounded corners of the nearer end, between it and the sides."""
        profile = self._profile
        z1, z2 = 0.02, 0.34
        if self._oncoming:
            z1, z2 = profile.length - 0.04, profile.length - 0.42
        away = 1.0 if self._oncoming else -1.0
        levels = np.linspace(0.30, profile.belt, 5)
        for side in (-1, 1):
            for low, high in zip(levels[:-1], levels[1:], strict=True):
                inner, outer = side * (HALF_WIDTH - 0.11), side * HALF_WIDTH
                panel = [(inner, low, z1), (outer, low, z2), (outer, high, z2), (inner, high, z1)]
                tilt = (high - 0.62) * 0.9
                normal = (side * 0.75, tilt, away * 0.65)
                shade = 0.35 if high < 0.45 else 1.0
                yield self._face(
                    panel, normal, paint=shade, mirror=0.08 + 0.2 * max(0.0, tilt), near=45
                )

    def _glass(self, pane: tuple[int, int]) -> Iterator[Face]:
        """A window in bands: dark below, more of the sky above."""
        (z1, y1), (z2, y2) = (self._profile.points[i] for i in pane)
        steps = np.linspace(0.05, 0.90, 6)
        for k, (a, b) in enumerate(zip(steps[:-1], steps[1:], strict=True)):
            low_z, low_y = z1 + (z2 - z1) * a, y1 + (y2 - y1) * a
            high_z, high_y = z1 + (z2 - z1) * b, y1 + (y2 - y1) * b
            w1 = self._half_width(low_y, 1.0) - 0.09
            w2 = self._half_width(high_y, 1.0) - 0.09
            band = [
                (-w1, low_y, low_z),
                (w1, low_y, low_z),
                (w2, high_y, high_z),
                (-w2, high_y, high_z),
            ]
            yield self._face(
                band, lighting=(0, 1, 0), fixed=(0.05, 0.055, 0.07), mirror=0.08 + 0.10 * k
            )

    def _flat(
        self, x1: float, x2: float, y1: float, y2: float, *, z: float = 0.0, near: float = 1000.0,
        fixed: float | Point = 0.0, paint: float = 0.0, mirror: float = 0.0, lamp: str = "",
    ) -> Face:  # fmt: skip
        """An upright rectangle on the nearer end."""
        away = 1.0 if self._oncoming else -1.0
        at = self._profile.length - z if self._oncoming else z
        corners = [(x1, y1, at), (x2, y1, at), (x2, y2, at), (x1, y2, at)]
        return self._face(
            corners,
            lighting=(0, 0, away),
            fixed=fixed,
            paint=paint,
            mirror=mirror,
            lamp=lamp,
            near=near,
        )

    def _rear(self) -> Iterator[Face]:
        profile = self._profile
        crease = profile.points[2][1]
        yield self._flat(-0.79, 0.79, crease - 0.02, crease + 0.01, paint=0.45, near=30)
        yield self._flat(-0.27, 0.27, crease + 0.05, crease + 0.18, fixed=0.10, near=40)
        yield self._flat(
            -0.25, 0.25, crease + 0.065, crease + 0.165, fixed=(0.84, 0.84, 0.80), near=40
        )
        left, right, low, high = profile.lamp
        bottom = profile.points[1][1]
        for side in (-1, 1):
            for x1, x2, y1, y2, fixed, lamp, near in (
                (left - 0.02, right + 0.01, low - 0.02, high + 0.02, 0.03, "", 30.0),
                (left, right, low, high, (0.50, 0.05, 0.055), "rear", 1000.0),
                (left + 0.02, left + 0.12, low + 0.02, low + 0.08, (0.82, 0.74, 0.72), "", 22.0),
                (left + 0.14, right - 0.02, high - 0.05, high - 0.02, (0.74, 0.20, 0.19), "", 18.0),
                (0.56, 0.76, bottom + 0.02, bottom + 0.06, (0.5, 0.07, 0.07), "", 24.0),
            ):
                a, b = sorted((side * x1, side * x2))
                yield self._flat(a, b, y1, y2, fixed=fixed, lamp=lamp, near=near)
        z = profile.points[profile.rear_glass[1]][0] - 0.03
        y = profile.high_lamp
        yield self._flat(
            -0.25, 0.25, y - 0.035, y + 0.035, z=z, fixed=(0.28, 0.04, 0.045), lamp="high"
        )
        yield self._flat(-0.68, -0.60, 0.20, 0.26, fixed=0.4, near=18)

    def _front(self) -> Iterator[Face]:
        y = self._profile.points[-3][1]
        yield self._flat(-0.46, 0.46, y - 0.12, y + 0.04, fixed=0.04, near=60)
        yield self._flat(-0.62, 0.62, y - 0.36, y - 0.24, fixed=0.04, near=40)
        yield self._flat(-0.26, 0.26, y - 0.23, y - 0.13, fixed=(0.84, 0.84, 0.80), near=40)
        for side in (-1, 1):
            a, b = sorted((side * 0.52, side * 0.84))
            yield self._flat(a, b, y - 0.08, y + 0.07, fixed=(0.90, 0.90, 0.86), lamp="front")
