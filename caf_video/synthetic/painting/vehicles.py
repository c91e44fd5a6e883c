"""Cars on the road: the faces of a shape in a paint and a light, their lamps and their shadow."""

import cv2
import numpy as np

from caf_video.synthetic.painting.drawing import fixed_point, glow, shadow
from caf_video.synthetic.world.camera import Camera
from caf_video.synthetic.world.car_shapes import GLOW_METRES, PROFILES, car_faces
from caf_video.synthetic.world.light import Light

_LIT = {"rear": (255, 58, 40), "high": (255, 70, 50)}
_RED = np.array([1.0, 0.16, 0.10])


class CarBody:
    """A car of one kind, paint and light, shaded for about one distance; draw it anywhere."""

    def __init__(
        self,
        kind: str,
        paint: tuple[float, float, float],
        light: Light,
        distance_metres: float,
        *,
        oncoming: bool = False,
    ) -> None:
        self._profile = PROFILES[kind]
        self._light = light
        self._distance = distance_metres
        self._oncoming = oncoming
        # Lamps are on in the dark and in bad weather, as the law asks.
        self._lamps_on = light.darkness > 0.3 or light.weather in ("haze", "rain", "snow")
        faces = [face for face in car_faces(kind, oncoming) if face.near_metres > distance_metres]
        self._corners = np.concatenate([face.corners for face in faces])
        counts = np.cumsum([0] + [len(face.corners) for face in faces]).tolist()
        self._spans = list(zip(counts[:-1], counts[1:], strict=True))
        self._lamps = [face.lamp for face in faces]
        # A detail is seen when the face under it is.
        under = [i for i, face in enumerate(faces) if face.normal is not None]
        self._under = np.searchsorted(under, np.arange(len(faces)), side="right") - 1
        self._centers = np.array([faces[i].corners.mean(axis=0) for i in under])
        self._normals = np.array([faces[i].normal for i in under])
        self._colours = self._shaded(faces, np.array(paint))

    def _shaded(self, faces: list, paint: np.ndarray) -> list[tuple[int, ...]]:
        light = self._light
        share = np.array([face.paint for face in faces])[:, None]
        base = share * paint + np.array([face.fixed for face in faces])
        facing = np.array([face.lighting for face in faces]) @ light.sun_direction
        lit = base * (light.ambient + light.sun * np.maximum(facing, 0.0)[:, None])
        if not self._oncoming:
            lit += base * light.beam(self._distance) * 0.8
        mirror = np.array([face.mirror for face in faces])[:, None]
        lit = lit + (0.85 * light.sky_low + 0.1 * light.sky_top - lit) * mirror
        if self._lamps_on:
            for i, face in enumerate(faces):
                if face.lamp == "rear":
                    lit[i] = (0.72, 0.07, 0.07)
                elif face.lamp == "front":
                    lit[i] = (1.0, 0.98, 0.90)
        seen = light.fade(lit, self._distance)
        return [tuple(rgb) for rgb in (np.clip(seen, 0, 1) * 255 + 0.5).astype(int).tolist()]

    def draw(
        self, image: np.ndarray, camera: Camera, x: float, z: float, *, brake: bool = False
    ) -> None:
        """Draw it with its nearer end at world (x, z); `brake` lights the brake lamps."""
        self._draw_shadow(image, camera, x, z)
        place = np.array([x, 0.0, z])
        corners = fixed_point(camera.project(self._corners + place))
        eye = np.array([0.0, camera.height_metres, camera.position_metres])
        towards = ((self._centers + (place - eye)) * self._normals).sum(axis=1) < 0
        for i in np.flatnonzero(towards[self._under]).tolist():
            colour = _LIT[self._lamps[i]] if brake and self._lamps[i] else self._colours[i]
            start, stop = self._spans[i]
            cv2.fillConvexPoly(image, corners[start:stop], colour, cv2.LINE_AA, 4)
        if self._oncoming:
            self._draw_headlamps(image, camera, x, z)
        else:
            self._draw_tail_lamps(image, camera, x, z, brake)

    def _draw_shadow(self, image: np.ndarray, camera: Camera, x: float, z: float) -> None:
        near_z, far_z = z - 0.2, z + self._profile.length + 0.3
        ends = [[x - 1.03, 0, near_z], [x + 1.03, 0, near_z], [x, 0, far_z]]
        left, right, far = camera.project(np.array(ends))
        top = left[1] - 0.55 * (left[1] - far[1])
        strength = 0.72 * float(np.exp(-self._distance / (2 * self._light.fog_metres)))
        shadow(image, (left[0], top, right[0], left[1]), strength)

    def _draw_headlamps(self, image: np.ndarray, camera: Camera, x: float, z: float) -> None:
        if not self._lamps_on:
            return
        clear = float(np.exp(-self._distance / (2.2 * self._light.fog_metres)))
        scale = camera.scale_at(z)
        y = self._profile.points[-3][1]
        for side in (-0.68, 0.68):
            pixel = camera.pixel(x + side, y, z)
            strength = (0.45 + 0.5 * self._light.darkness) * clear
            glow(image, pixel, 0.8 * scale + 2.0, np.array([1.0, 0.95, 0.82]), strength)

    def _draw_tail_lamps(
        self, image: np.ndarray, camera: Camera, x: float, z: float, brake: bool
    ) -> None:
        if not brake and not self._lamps_on:
            return
        left, right, low, high = self._profile.lamp
        middle, scale = (left + right) / 2, camera.scale_at(z)
        lamps = [(-middle, (low + high) / 2), (middle, (low + high) / 2)]
        if brake:
            lamps.append((0.0, self._profile.high_lamp))
        for side, y in lamps:
            pixel = camera.pixel(x + side, y, z)
            if brake:
                glow(image, pixel, GLOW_METRES * scale, _RED, 0.85)
                glow(image, pixel, 0.15 * scale, np.array([1.0, 0.75, 0.6]), 0.9)
            elif self._distance < 30:
                glow(image, pixel, 0.26 * scale, _RED, 0.16)
