"""People on foot: limbs as capsules, walking as a function of where they are."""

import numpy as np

from caf_video.data.synthetic.camera import Camera
from caf_video.data.synthetic.drawing import capsule, fill, shadow
from caf_video.data.synthetic.light import Light
from caf_video.data.synthetic.scene import Walker

_STRIDE_METRES = 1.5


def draw_walker(
    image: np.ndarray,
    camera: Camera,
    walker: Walker,
    light: Light,
    x: float,
    z: float,
    travelled_metres: float,
    *,
    sideways: bool,
) -> None:
    """Draw somebody at world (x, z); `sideways`: crossing before us, else walking along the road.

    Someone crossing looks the same walking either way: only the motion tells the direction.
    """
    foot = camera.project(np.array([[x, 0.0, z]]))[0]
    metre = camera.scale_at(z)
    distance = z - camera.position_metres
    body = walker.height_metres * metre

    def paint(colour: tuple[float, float, float], level: float = 1.0) -> tuple[int, int, int]:
        return light.paint(np.array(colour) * level, distance)

    def at(right: float, up: float) -> np.ndarray:
        return foot + np.array([right, -up]) * body

    swing = np.sin(2 * np.pi * (travelled_metres / _STRIDE_METRES + walker.phase))
    reach = 0.135 * swing if sideways else 0.02 * swing
    lift = 0.012 * abs(swing)
    shadow(
        image,
        (foot[0] - 0.2 * body, foot[1] - 0.035 * body, foot[0] + 0.2 * body, foot[1] + 0.03 * body),
        0.6,
    )
    hip, shoulder = at(0, 0.50 - lift), at(0, 0.80 - lift)
    beside = 0.0 if sideways else 0.035
    thick = 0.052 * body
    for side, level in ((-1, 0.78), (1, 1.0)):
        ankle = at(
            side * (reach + beside), 0.045 + (0.0 if sideways else 0.02 * max(0.0, side * swing))
        )
        capsule(
            image,
            hip + [side * beside * body * 0.8, 0],
            ankle,
            (thick, thick * 0.62),
            paint(walker.trousers, level),
        )
        shoe = ankle + np.array([0.0, 0.018 * body])
        half = 0.035 * body if sideways else 0.022 * body
        capsule(
            image,
            shoe - [half, 0],
            shoe + [half, 0],
            (0.022 * body, 0.022 * body),
            paint((0.12, 0.11, 0.11), level + 0.2),
        )
    arm = 0.11 * swing if sideways else 0.015 * swing
    out = 0.03 if sideways else 0.10
    elbow_back = at(-arm - (0 if sideways else out), 0.50)
    capsule(
        image,
        shoulder - [0 if sideways else 0.075 * body, -0.015 * body],
        elbow_back,
        (0.030 * body, 0.024 * body),
        paint(walker.coat, 0.72),
    )
    wide = 0.075 if sideways else 0.098
    torso = np.array(
        [
            at(-wide, 0.80 - lift),
            at(-wide * 0.55, 0.845 - lift),
            at(wide * 0.55, 0.845 - lift),
            at(wide, 0.80 - lift),
            at(wide * 1.05, 0.45 - lift),
            at(-wide * 1.05, 0.45 - lift),
        ]
    )
    fill(image, torso, paint(walker.coat))
    shade = np.array(
        [
            at(wide * 0.35, 0.84 - lift),
            at(wide, 0.80 - lift),
            at(wide * 1.05, 0.45 - lift),
            at(wide * 0.45, 0.45 - lift),
        ]
    )
    fill(image, shade, paint(walker.coat, 0.86))
    if walker.bag:
        capsule(
            image,
            at(0.0, 0.70),
            at(0.0, 0.60),
            (0.045 * body, 0.05 * body),
            paint(walker.trousers, 1.4),
        )
    elbow_front = at(arm + (0 if sideways else out), 0.50)
    capsule(
        image,
        shoulder + [0 if sideways else 0.075 * body, 0.015 * body],
        elbow_front,
        (0.031 * body, 0.024 * body),
        paint(walker.coat, 0.94 if sideways else 0.8),
    )
    capsule(
        image,
        elbow_front,
        elbow_front + [0, 0.02 * body],
        (0.021 * body, 0.02 * body),
        paint(walker.skin),
    )
    capsule(
        image,
        at(0, 0.84 - lift),
        at(0, 0.87 - lift),
        (0.028 * body, 0.028 * body),
        paint(walker.skin, 0.85),
    )
    capsule(
        image,
        at(0, 0.905 - lift),
        at(0, 0.935 - lift),
        (0.047 * body, 0.052 * body),
        paint(walker.skin),
    )
    hair = np.array(
        [
            at(0.058 * np.cos(a), 0.935 - lift + 0.062 * np.sin(a))
            for a in np.linspace(-0.15, np.pi + 0.15, 10)
        ]
    )
    fill(image, hair, paint(walker.hair))
