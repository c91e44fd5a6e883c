"""The driver's eye: a pinhole camera that moves forward over a flat road."""

from dataclasses import dataclass

import numpy as np

HEIGHT = 256
WIDTH = 448

NEAREST_METRES = 0.6  # points nearer than this are projected as if they were here


@dataclass(frozen=True)
class Camera:
    """A pinhole camera above the road; x to the right, y up from the road, z forward, in metres.

    Attributes:
        focal: Focal length in pixels.
        center_x: Column of the vanishing point of the road.
        horizon_y: Row of the horizon.
        height_metres: Of the eye above the road.
        position_metres: How far the car has driven since the first frame.
    """

    focal: float
    center_x: float
    horizon_y: float
    height_metres: float
    position_metres: float = 0.0

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (n, 2) as x, y of world points (n, 3)."""
        scale = self.focal / np.maximum(points[:, 2] - self.position_metres, NEAREST_METRES)
        pixels = np.empty((len(points), 2))
        pixels[:, 0] = self.center_x + points[:, 0] * scale
        pixels[:, 1] = self.horizon_y + (self.height_metres - points[:, 1]) * scale
        return pixels

    def pixel(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Pixel (x, y) of one world point."""
        scale = self.scale_at(z)
        return self.center_x + x * scale, self.horizon_y + (self.height_metres - y) * scale

    def scale_at(self, z_metres: float) -> float:
        """Pixels per metre on the plane at world distance z."""
        return self.focal / max(z_metres - self.position_metres, NEAREST_METRES)
