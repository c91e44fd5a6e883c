"""Cars: a low-poly body from a side profile, with glass, lamps, wheels and a soft shadow."""

from dataclasses import dataclass

import cv2
import numpy as np

from caf_video.data.synthetic.camera import Camera
from caf_video.data.synthetic.drawing import Rgb, fixed_point, glow, shadow
from caf_video.data.synthetic.light import Light, to_rgb

HALF_WIDTH = 0.89
_WHEEL = 0.33


@dataclass(frozen=True)
class _Shape:
    """Side profile (z, y) from the lower rear over the roof to the lower front, in metres.

    `belt` is the height where the cabin begins; `glass` the profile points that are windows at the rear and
    at the front (index of the lower, index of the upper point).
    """

    profile: tuple[tuple[float, float], ...]
    belt: float
    rear_glass: tuple[int, int]
    front_glass: tuple[int, int]
    length: float
    lamp: tuple[float, float, float, float]  # x from, x to, y from, y to


_SHAPES: dict[str, _Shape] = {
    "sedan": _Shape(
        ((0.06, 0.28), (0.0, 0.52), (0.04, 0.94), (0.50, 1.00), (1.10, 1.40), (1.7, 1.46), (2.4, 1.42),
         (3.15, 0.99), (4.25, 0.82), (4.42, 0.58), (4.38, 0.28)),
        0.97, (3, 4), (7, 6), 4.42, (0.50, 0.86, 0.68, 0.88),
    ),
    "hatchback": _Shape(
        ((0.06, 0.28), (0.0, 0.52), (0.05, 0.96), (0.38, 1.42), (1.2, 1.52), (2.0, 1.49), (2.85, 1.02),
         (3.70, 0.86), (3.92, 0.60), (3.88, 0.28)),
        0.98, (2, 3), (6, 5), 3.92, (0.60, 0.87, 0.72, 1.02),
    ),
    "suv": _Shape(
        ((0.06, 0.34), (0.0, 0.58), (0.05, 1.06), (0.34, 1.58), (1.1, 1.70), (2.3, 1.66), (3.05, 1.12),
         (4.20, 0.98), (4.45, 0.66), (4.40, 0.34)),
        1.08, (2, 3), (6, 5), 4.45, (0.62, 0.88, 0.80, 1.08),
    ),
    "van": _Shape(
        ((0.06, 0.32), (0.0, 0.56), (0.03, 1.10), (0.20, 1.76), (0.9, 1.88), (3.1, 1.84), (3.9, 1.14),
         (4.45, 0.92), (4.62, 0.62), (4.58, 0.32)),
        1.12, (2, 3), (6, 5), 4.62, (0.66, 0.88, 0.72, 1.14),
    ),
}  # fmt: skip


def car_size(kind: str) -> tuple[float, float]:
    """Length and height of a kind of car, metres."""
    shape = _SHAPES[kind]
    return shape.length, max(y for _, y in shape.profile)


def lamp_span(kind: str) -> tuple[float, float, float]:
    """Where a kind's brake lamps are: half their span, lowest and highest edge, metres."""
    lamp = _SHAPES[kind].lamp
    return lamp[1], lamp[2], car_size(kind)[1] - 0.06


@dataclass(frozen=True)
class _Face:
    corners: np.ndarray
    colour: Rgb
    normal: np.ndarray | None  # None: a detail, drawn if the face before it was
    lamp: str = ""


class CarBody:
    """A car of one kind, colour and light at about one distance; draw it anywhere.

    The origin is on the ground under the middle of the end nearer to us: the rear, or, for `oncoming`, the
    front.
    """

    def __init__(
        self,
        kind: str,
        colour: tuple[float, float, float],
        light: Light,
        distance_metres: float,
        *,
        oncoming: bool = False,
    ) -> None:
        self._shape = _SHAPES[kind]
        self._light = light
        self._distance = distance_metres
        self._paint = np.array(colour)
        self._oncoming = oncoming
        self.length = self._shape.length
        self.height = max(y for _, y in self._shape.profile)
        left, right, low, high = self._shape.lamp
        self.lamp_boxes = (
            ((-right, low), (-left, high)),
            ((left, low), (right, high)),
        )
        self.high_lamp = ((-0.24, self.height - 0.14), (0.24, self.height - 0.06))
        self._faces = list(self._build())
        self._corners = np.concatenate([face.corners for face in self._faces])
        counts = np.cumsum([0] + [len(face.corners) for face in self._faces])
        self._spans = list(zip(counts[:-1].tolist(), counts[1:].tolist(), strict=True))
        self._own = np.array(
            [face.normal if face.normal is not None else np.zeros(3) for face in self._faces]
        )
        self._first = np.array([face.corners.mean(axis=0) for face in self._faces])

    def draw(
        self, image: np.ndarray, camera: Camera, x: float, z: float, *, brake: bool = False
    ) -> None:
        """Draw it with its nearer end at world (x, z); `brake` lights the brake lamps."""
        self._draw_shadow(image, camera, x, z)
        place = np.array([x, 0.0, z])
        corners = fixed_point(camera.project(self._corners + place))
        eye = np.array([0.0, camera.height_metres, camera.position_metres])
        towards = ((self._first + place - eye) * self._own).sum(axis=1) < 0
        seen = False
        for face, (start, stop), faces_us in zip(self._faces, self._spans, towards, strict=True):
            if face.normal is not None:
                seen = bool(faces_us)
            if seen:
                colour = face.colour
                if brake and face.lamp:
                    colour = (255, 70, 50) if face.lamp == "high" else (255, 58, 40)
                cv2.fillConvexPoly(image, corners[start:stop], colour, cv2.LINE_AA, 4)
        self._draw_lamps(image, camera, x, z, brake)

    def _draw_shadow(self, image: np.ndarray, camera: Camera, x: float, z: float) -> None:
        near = camera.project(np.array([[x - 1.18, 0, z - 0.32], [x + 1.18, 0, z - 0.32]]))
        far = camera.project(np.array([[x - 1.1, 0, z + self.length + 0.3]]))
        top = near[0, 1] - 0.55 * (near[0, 1] - far[0, 1])
        shadow(image, (near[0, 0], top, near[1, 0], near[0, 1]), 0.72)

    def _draw_lamps(
        self, image: np.ndarray, camera: Camera, x: float, z: float, brake: bool
    ) -> None:
        light = self._light
        scale = camera.scale_at(z)
        clear = float(np.exp(-self._distance / (2.2 * light.fog_metres)))
        if self._oncoming:
            if light.darkness > 0.3 or light.weather in ("rain", "haze", "snow"):
                for low, high in self.lamp_boxes:
                    middle = (np.array(low) + np.array(high)) / 2
                    pixel = camera.project(np.array([[x + middle[0], middle[1] - 0.08, z]]))[0]
                    strength = (0.55 + 0.45 * light.darkness) * clear
                    glow(image, pixel, 0.75 * scale + 2.0, np.array([1.0, 0.95, 0.82]), strength)
                    glow(image, pixel, 0.2 * scale + 1.2, np.array([1.0, 1.0, 0.95]), 1.0)
            return
        strength = 0.0
        if brake:
            strength = 0.85
        elif light.darkness > 0.3:
            strength = 0.14 * clear
        if strength:
            for low, high in (*self.lamp_boxes, *((self.high_lamp,) if brake else ())):
                middle = (np.array(low) + np.array(high)) / 2
                pixel = camera.project(np.array([[x + middle[0], middle[1], z]]))[0]
                radius = (GLOW_METRES if brake else 0.25) * scale
                glow(image, pixel, radius, np.array([1.0, 0.16, 0.10]), strength)
                if brake:
                    glow(image, pixel, 0.14 * scale, np.array([1.0, 0.75, 0.6]), 0.9)

    # The body ------------------------------------------------------------------------------------

    def _build(self) -> list[_Face]:
        faces: list[_Face] = []
        faces += self._wheels_from_behind()
        faces += self._sides()
        faces += self._over_the_top()
        return faces

    def _colour(self, colour: np.ndarray, normal: np.ndarray | None, shine: float = 0.0) -> Rgb:
        light = self._light
        towards_us = normal if normal is None or not self._oncoming else normal * [1, 1, -1]
        base = light.shade(np.asarray(colour), towards_us)
        if shine and normal is not None:  # paint mirrors the sky where it faces up
            base = base + (light.sky_low - base) * shine * (0.15 + 0.55 * max(0.0, normal[1]))
        return to_rgb(light.fade(base, self._distance))

    def _half_width(self, y: float, z: float) -> float:
        shape = self._shape
        wide = HALF_WIDTH
        if y > shape.belt:
            wide -= 0.24 * (y - shape.belt) / (self.height - shape.belt)
        elif y < 0.5:
            wide -= 0.06 * (0.5 - y) / 0.25
        return wide - 0.10 * (z < 0.12 or z > self.length - 0.25) * (y <= shape.belt + 0.02)

    def _world(self, points: list[tuple[float, float, float]]) -> np.ndarray:
        """Body coordinates to drawing coordinates: an oncoming car shows its front."""
        array = np.array(points)
        if self._oncoming:
            array[:, 2] = self.length - array[:, 2]
        return array

    def _face(
        self, points: list[tuple[float, float, float]], colour: np.ndarray,
        normal: tuple[float, float, float], shine: float = 0.0,
    ) -> _Face:  # fmt: skip
        unit = np.array(normal) / np.linalg.norm(normal)
        drawn = unit * np.array([1, 1, -1]) if self._oncoming else unit
        return _Face(self._world(points), self._colour(colour, unit, shine), drawn)

    def _detail(self, points: list[tuple[float, float, float]], rgb: Rgb, lamp: str = "") -> _Face:
        return _Face(self._world(points), rgb, None, lamp)

    def _wheels_from_behind(self) -> list[_Face]:
        dark = np.array([0.055, 0.055, 0.06])
        z = self.length - 0.75 if self._oncoming else 0.75
        towards = 1.0 if self._oncoming else -1.0
        faces = []
        body_bottom = self._shape.profile[0][1]
        faces.append(
            self._face(
                [(-0.8, 0.14, z), (0.8, 0.14, z), (0.8, body_bottom + 0.1, z), (-0.8, body_bottom + 0.1, z)],
                dark * 0.7, (0, 0, towards),
            )
        )  # fmt: skip
        for side in (-1, 1):
            inner, outer = side * 0.62, side * 0.85
            points = [(inner, 0.02, z), (outer, 0.02, z), (outer, 0.4, z), (inner, 0.4, z)]
            faces.append(self._face(points, dark, (0, 0, towards)))
        return faces

    def _sides(self) -> list[_Face]:
        shape = self._shape
        faces = []
        body = [(z, y) for z, y in shape.profile if y <= shape.belt + 0.03]
        cabin = [(z, y) for z, y in shape.profile if y >= shape.belt - 0.03]
        glass = self._colour(np.array([0.10, 0.12, 0.15]), np.array([0, 0.5, 0]), 0.5)
        for side in (-1, 1):
            normal = (float(side), 0.1, 0.0)
            outline = [(side * self._half_width(y, 1.0), y, z) for z, y in body]
            faces.append(self._face(outline, self._paint, normal, 0.25))
            low = [(side * HALF_WIDTH, 0.30, 0.3), (side * HALF_WIDTH, 0.30, self.length - 0.3),
                   (side * HALF_WIDTH, 0.42, self.length - 0.25), (side * HALF_WIDTH, 0.42, 0.25)]  # fmt: skip
            faces.append(self._detail(low, self._colour(self._paint * 0.45, np.array(normal))))
            for z in (0.85, self.length - 0.85):
                faces += self._wheel(side, z)
            outline = [(side * self._half_width(y, z), y, z) for z, y in cabin]
            faces.append(self._face(outline, self._paint, (float(side), 0.35, 0.0), 0.35))
            middle = np.mean(np.array(cabin), axis=0)
            inset = [
                (
                    float(middle[0] + (z - middle[0]) * 0.86),
                    float(middle[1] + (y - middle[1]) * 0.74),
                )
                for z, y in cabin
            ]
            faces.append(
                self._detail(
                    [(side * (self._half_width(y, z) + 0.005), y, z) for z, y in inset], glass
                )
            )
            post = float(middle[0]) + 0.15
            top, bottom = self.height - 0.05, shape.belt + 0.02
            faces.append(
                self._detail(
                    [(side * self._half_width(bottom, 1), bottom, post - 0.05),
                     (side * self._half_width(bottom, 1), bottom, post + 0.06),
                     (side * self._half_width(top, 1), top, post + 0.06),
                     (side * self._half_width(top, 1), top, post - 0.05)],
                    self._colour(self._paint * 0.6, np.array(normal)),
                )
            )  # fmt: skip
        return faces

    def _wheel(self, side: int, z: float) -> list[_Face]:
        faces = []
        turn = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        for radius, colour in ((0.40, 0.03), (_WHEEL, 0.07), (0.20, 0.55), (0.07, 0.25)):
            points = [
                (side * (HALF_WIDTH + 0.01), _WHEEL + radius * np.sin(a), z + radius * np.cos(a))
                for a in turn
            ]
            if radius == 0.40:  # the wheel arch ends at the sill
                points = [(x, max(y, 0.3), at) for x, y, at in points]
            rgb = self._colour(np.full(3, colour), np.array([side, 0.1, 0.0]))
            faces.append(self._detail(points, rgb))
        return faces

    def _over_the_top(self) -> list[_Face]:
        """The band of quads from the lower rear over the roof to the lower front."""
        shape = self._shape
        profile = shape.profile
        faces: list[_Face] = []
        order = range(len(profile) - 1)
        if self._oncoming:
            order = range(len(profile) - 2, -1, -1)
        quads = []
        for i in order:
            (z1, y1), (z2, y2) = profile[i], profile[i + 1]
            quads.append((i, z1, y1, z2, y2))
        # The far end first: what is nearer covers it.
        for i, z1, y1, z2, y2 in reversed(quads):
            w1, w2 = self._half_width(y1, z1), self._half_width(y2, z2)
            normal = (0.0, z2 - z1, y1 - y2)
            corners = [(-w1, y1, z1), (w1, y1, z1), (w2, y2, z2), (-w2, y2, z2)]
            faces.append(self._face(corners, self._paint, normal, 0.45))
            if {i, i + 1} == set(shape.rear_glass) or {i, i + 1} == set(shape.front_glass):
                faces += self._glass((z1, y1, w1), (z2, y2, w2))
                if {i, i + 1} == set(shape.rear_glass):
                    faces += self._high_lamp_face()
            end = 0 if not self._oncoming else len(profile) - 2
            if i == end + (1 if not self._oncoming else -1):
                faces += self._corner_panels()
                faces += self._rear_details() if not self._oncoming else self._front_details()
            if i == end:
                dark = self._colour(self._paint * 0.35 + 0.02, np.array([0, 0, -1.0]))
                faces.append(self._detail([(x * 0.99, y, z) for x, y, z in corners], dark))
        return faces

    def _corner_panels(self) -> list[_Face]:
        """Rounded corners at the nearer end, between it and the sides."""
        shape = self._shape
        z0, z1 = (0.02, 0.30) if not self._oncoming else (self.length - 0.06, self.length - 0.4)
        low, high = shape.profile[0][1] + 0.02, shape.belt - 0.04
        faces = []
        for side in (-1, 1):
            inner, outer = side * (HALF_WIDTH - 0.10), side * HALF_WIDTH
            corners = [(inner, low, z0), (outer, low, z1), (outer, high, z1), (inner, high, z0)]
            faces.append(
                self._detail(
                    corners,
                    self._colour(self._paint * 0.92, np.array([side * 0.6, 0.1, -0.75]), 0.25),
                )
            )
        return faces

    def _glass(
        self, first: tuple[float, float, float], second: tuple[float, float, float]
    ) -> list[_Face]:
        """A window pane in three bands: darker below, more sky above."""
        lower, upper = sorted((first, second), key=lambda point: point[1])
        faces = []
        dark = self._light.shade(np.array([0.07, 0.08, 0.10]))
        sky = self._light.sky_low * 0.75 + self._light.sky_top * 0.1
        steps = np.linspace(0.06, 0.90, 5)
        for k, (a, b) in enumerate(zip(steps[:-1], steps[1:], strict=True)):
            mix = 0.10 + 0.15 * k
            rgb = to_rgb(self._light.fade(dark * (1 - mix) + sky * mix, self._distance))
            low = [lower[j] + (upper[j] - lower[j]) * a for j in range(3)]
            high = [lower[j] + (upper[j] - lower[j]) * b for j in range(3)]
            w1, w2 = low[2] - 0.10, high[2] - 0.10
            faces.append(
                self._detail(
                    [(-w1, low[1], low[0]), (w1, low[1], low[0]),
                     (w2, high[1], high[0]), (-w2, high[1], high[0])], rgb,
                )
            )  # fmt: skip
        return faces

    def _flat(
        self,
        x1: float,
        x2: float,
        y1: float,
        y2: float,
        rgb: Rgb,
        *,
        lamp: str = "",
        z: float = 0.0,
    ) -> _Face:
        depth = z if not self._oncoming else self.length - z
        points = [(x1, y1, depth), (x2, y1, depth), (x2, y2, depth), (x1, y2, depth)]
        return self._detail(points, rgb, lamp)

    def _high_lamp_face(self) -> list[_Face]:
        (x1, y1), (x2, y2) = self.high_lamp
        rgb = self._colour(np.array([0.30, 0.05, 0.05]), np.array([0, 0, -1.0]))
        z = self._shape.profile[self._shape.rear_glass[1]][0] - 0.02
        return [self._flat(x1, x2, y1, y2, rgb, lamp="high", z=z)]

    def _rear_details(self) -> list[_Face]:
        shape, away = self._shape, np.array([0.0, 0.0, -1.0])
        bottom = shape.profile[0][1]
        faces = []
        crease = shape.profile[1][1]
        faces.append(
            self._flat(
                -0.80, 0.80, crease - 0.03, crease + 0.015, self._colour(self._paint * 0.6, away)
            )
        )
        faces.append(
            self._flat(-0.28, 0.28, crease + 0.06, crease + 0.19,
                       self._colour(np.array([0.82, 0.82, 0.78]), away))
        )  # fmt: skip
        left, right, low, high = shape.lamp
        running = 0.30 * (self._light.darkness > 0.3)
        red = np.array([0.46 + running, 0.055, 0.06])
        if running:
            rgb = to_rgb(self._light.fade(red, self._distance))
        else:
            rgb = self._colour(red, away)
        pale = self._colour(np.array([0.80, 0.70, 0.68]), away)
        for side in (-1, 1):
            x1, x2 = sorted((side * left, side * right))
            faces.append(self._flat(x1 - 0.02, x2 + 0.02, low - 0.02, high + 0.02,
                                    self._colour(self._paint * 0.4, away)))  # fmt: skip
            faces.append(self._flat(x1, x2, low, high, rgb, lamp="low"))
            inner = side * (left + 0.03)
            x1, x2 = sorted((inner, inner + side * 0.09))
            faces.append(self._flat(x1, x2, low + 0.02, low + 0.09, pale))
            x1, x2 = sorted((side * 0.58, side * 0.78))
            faces.append(self._flat(x1, x2, bottom + 0.10, bottom + 0.15,
                                    self._colour(np.array([0.4, 0.06, 0.06]), away)))  # fmt: skip
        return faces

    def _front_details(self) -> list[_Face]:
        shape, towards = self._shape, np.array([0.0, 0.0, 1.0])
        crease = shape.profile[-2][1]
        dark = self._colour(np.array([0.05, 0.05, 0.06]), towards)
        faces = [
            self._flat(-0.46, 0.46, crease - 0.02, crease + 0.13, dark),
            self._flat(-0.62, 0.62, crease - 0.26, crease - 0.14, dark),
            self._flat(-0.26, 0.26, crease - 0.13, crease - 0.03,
                       self._colour(np.array([0.82, 0.82, 0.78]), towards)),
        ]  # fmt: skip
        lamp = self._colour(np.array([0.92, 0.92, 0.88]), towards)
        if self._light.darkness > 0.3 or self._light.weather in ("rain", "haze", "snow"):
            lamp = (255, 250, 232)
        for side in (-1, 1):
            x1, x2 = sorted((side * 0.52, side * 0.82))
            faces.append(self._flat(x1, x2, crease + 0.0, crease + 0.15, lamp))
        return faces


GLOW_METRES = 0.42
