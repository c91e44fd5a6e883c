"""People on foot: limbs as capsules, walking as a function of where they are."""

import cv2
import numpy as np

from caf_video.synthetic.painting.drawing import capsules, fill, fixed_point, shadow
from caf_video.synthetic.world.camera import Camera
from caf_video.synthetic.world.light import Light
from caf_video.synthetic.world.surroundings import Walker

_STRIDE_METRES = 1.5
_ARC = np.linspace(-0.15, np.pi + 0.15, 10)
_HAIR = np.stack([0.058 * np.cos(_ARC), 0.935 + 0.062 * np.sin(_ARC)], axis=1)


class Person:
    """Somebody's looks in a light at about one distance.

    Someone crossing looks the same walking either way: only the motion tells the direction.
    """

    def __init__(self, walker: Walker, light: Light, distance_metres: float) -> None:
        self._walker = walker

        def paint(colour: tuple[float, float, float], level: float = 1.0) -> tuple[int, int, int]:
            return light.paint(np.array(colour) * level, distance_metres, in_beam=True)

        self._coat = [paint(walker.coat, level) for level in (0.72, 0.86, 0.94, 1.0)]
        self._trousers = [paint(walker.trousers, level) for level in (0.78, 1.0, 1.4)]
        self._shoe = paint((0.12, 0.11, 0.11))
        self._skin = [paint(walker.skin, level) for level in (0.85, 1.0)]
        self._hair = paint(walker.hair)

    def draw(
        self, image: np.ndarray, camera: Camera, x: float, z: float, way: float, *, crossing: bool
    ) -> None:
        """Draw them at world (x, z).

        Args:
            way: Metres along their path, which decides where in a step they are.
            crossing: Across the road, seen from the side; else along it, seen from behind.
        """
        walker = self._walker
        foot = np.array(camera.pixel(x, 0.0, z))
        body = walker.height_metres * camera.scale_at(z)
        across, up = foot + np.array([[-0.2, -0.035], [0.2, 0.03]]) * body
        shadow(image, (across[0], across[1], up[0], up[1]), 0.6)
        swing = float(np.sin(2 * np.pi * (way / _STRIDE_METRES + walker.phase)))
        drop = 0.012 * abs(swing)
        behind, front = self._limbs(swing, drop, crossing)
        to_pixels = np.array([body, -body])
        capsules(image, behind, foot, body)
        wide = 0.075 if crossing else 0.098
        torso = np.array([[-wide, 0.80], [-wide * 0.55, 0.845], [wide * 0.55, 0.845], [wide, 0.80],
                          [wide * 1.05, 0.45], [-wide * 1.05, 0.45]])  # fmt: skip
        fold = np.array(
            [[wide * 0.35, 0.84], [wide, 0.80], [wide * 1.05, 0.45], [wide * 0.45, 0.45]]
        )
        for outline, colour in ((torso, self._coat[3]), (fold, self._coat[1])):
            fill(image, foot + (outline - [0, drop]) * to_pixels, colour)
        capsules(image, front, foot, body)
        hair = fixed_point(foot + (_HAIR - [0, drop]) * to_pixels)
        cv2.fillConvexPoly(image, hair, self._hair, cv2.LINE_AA, 4)

    def _limbs(self, swing: float, drop: float, crossing: bool) -> tuple[list, list]:
        """Limbs behind and before the coat: (x1, y1, x2, y2, r1, r2), colour; in statures."""
        beside = 0.0 if crossing else 0.035
        reach = (0.135 if crossing else 0.02) * swing
        behind: list[tuple[tuple[float, ...], tuple[int, int, int]]] = []
        for side, colour in ((-1, self._trousers[0]), (1, self._trousers[1])):
            ankle = side * (reach + beside)
            lift = 0.045 if crossing else 0.045 + 0.02 * max(0.0, side * swing)
            hip = side * beside * 0.8
            sole = 0.035 if crossing else 0.020
            behind.append(((hip, 0.50 - drop, ankle, lift, 0.052, 0.032), colour))
            shoe = (ankle - sole, lift - 0.018, ankle + sole, lift - 0.018, 0.022, 0.022)
            behind.append((shoe, self._shoe))
        out = 0.0 if crossing else 0.10
        shoulder = 0.0 if crossing else 0.075
        arm = (0.11 if crossing else 0.015) * swing
        top = 0.785 - drop
        behind.append(((-shoulder, top, -arm - out, 0.50, 0.030, 0.024), self._coat[0]))
        front: list[tuple[tuple[float, ...], tuple[int, int, int]]] = []
        if self._walker.bag:
            front.append(((0.0, 0.70, 0.0, 0.60, 0.045, 0.050), self._trousers[2]))
        sleeve = self._coat[2 if crossing else 0]
        front.append(((shoulder, top, arm + out, 0.50, 0.031, 0.024), sleeve))
        front.append(((arm + out, 0.49, arm + out, 0.475, 0.021, 0.020), self._skin[1]))
        front.append(((0.0, 0.84 - drop, 0.0, 0.87 - drop, 0.028, 0.028), self._skin[0]))
        front.append(((0.0, 0.905 - drop, 0.0, 0.935 - drop, 0.047, 0.052), self._skin[1]))
        return behind, front
