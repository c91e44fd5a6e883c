"""Street furniture: posts, signals, street lights."""

from collections.abc import Iterator

import cv2
import numpy as np

from caf_video.synthetic.painting.drawing import Mesh, Rgb, fixed_point, glow
from caf_video.synthetic.world.camera import Camera
from caf_video.synthetic.world.light import Light, to_rgb
from caf_video.synthetic.world.scene import SIGNAL_METRES

STREET_LIGHT_METRES = 7.2
STREET_LIGHT_ARM = 1.7
_LAMP = (255, 240, 205)
_TURN = np.linspace(0, 2 * np.pi, 18, endpoint=False)
_DISC = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)
# Colour, and metres below the middle of the head.
_LENSES = {
    "red": (np.array([1.0, 0.16, 0.10]), -0.48),
    "amber": (np.array([1.0, 0.66, 0.12]), 0.0),
    "green": (np.array([0.16, 1.0, 0.52]), 0.48),
}


def _upright(left: float, right: float, low: float, high: float, z: float) -> np.ndarray:
    """A rectangle (4, 3) that faces us."""
    return np.array([[left, low, z], [right, low, z], [right, high, z], [left, high, z]])


def post_mesh(x: float, z: float, height_metres: float, light: Light) -> Mesh:
    """A grey post, lighter on one side."""
    mesh = Mesh()
    for left, right, level in ((-0.05, 0.05, 0.42), (-0.05, -0.01, 0.62)):
        colour = light.paint(np.full(3, level), z, in_beam=True)
        mesh.add(_upright(x + left, x + right, 0.0, height_metres, z), colour)
    return mesh


class Signal:
    """A signal head, larger than life by `size`, in a light at about one distance."""

    def __init__(self, light: Light, distance_metres: float, size: float) -> None:
        self._darkness = light.darkness
        self._size = size
        self._pieces = {
            lit: list(_signal_pieces(light, distance_metres, lit))
            for lit in ("red", "green", "dark")
        }

    def draw(self, image: np.ndarray, camera: Camera, place: np.ndarray, lit: str) -> None:
        """Draw it around world (x, y, z); `lit` is "red", "green", "dark", or "none": no signal."""
        if lit == "none":
            return
        x, y, z = place
        metre = camera.scale_at(z) * self._size
        middle = np.array(camera.pixel(x, y, z))
        for outline, colour in self._pieces[lit]:
            corners = fixed_point(middle + outline * metre)
            cv2.fillConvexPoly(image, corners, colour, cv2.LINE_AA, 4)
        if lit != "dark":
            shine, down = _LENSES[lit]
            at = (float(middle[0]), float(middle[1] + down * metre))
            glow(image, at, 0.5 * metre, shine, 0.85 + 0.15 * self._darkness)


def _signal_pieces(
    light: Light, distance_metres: float, lit: str
) -> Iterator[tuple[np.ndarray, Rgb]]:
    """Outlines (n, 2) in metres around the middle, y downwards, and their colours."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    for inset_x, inset_y, colour in (
        (0.0, 0.0, np.array([0.86, 0.84, 0.76])),
        (0.05, 0.05, np.full(3, 0.07)),
        (0.16, 0.11, np.full(3, 0.13)),
    ):
        reach = np.array(SIGNAL_METRES) / 2 - [inset_x, inset_y]
        yield corners * reach, light.paint(colour, distance_metres)
    # The lit lens last: it outshines the others' rims.
    for name, (colour, down) in sorted(_LENSES.items(), key=lambda lens: lens[0] == lit):
        center = np.array([0.0, down])
        yield center + _DISC * 0.24, light.paint(np.full(3, 0.03), distance_metres)
        if name == lit:
            # Nearly a cell wide, and no haze pales it: else red and green are hardly told apart.
            yield center + _DISC * 0.32, to_rgb(colour)
            yield center + _DISC * 0.12, to_rgb(colour * 0.7 + 0.3)
        else:
            yield center + _DISC * 0.21, light.paint(colour * 0.16 + 0.02, distance_metres)


def street_light_mesh(x: float, z: float, light: Light) -> Mesh:
    """A lamp post that leans its arm over the road."""
    mesh = Mesh()
    grey = light.paint(np.full(3, 0.34), z)
    tall, reach = STREET_LIGHT_METRES, x - float(np.sign(x)) * STREET_LIGHT_ARM
    shaft = [[x - 0.07, 0, z], [x + 0.07, 0, z], [x + 0.045, tall, z], [x - 0.045, tall, z]]
    arm = [[x, tall - 0.1, z], [x, tall, z], [reach, tall + 0.32, z], [reach, tall + 0.24, z]]
    head = [[reach - 0.35, tall + 0.18, z], [reach + 0.35, tall + 0.18, z],
            [reach + 0.3, tall + 0.34, z], [reach - 0.3, tall + 0.34, z]]  # fmt: skip
    mesh.add(np.array(shaft), grey)
    mesh.add(np.array(arm), grey)
    mesh.add(np.array(head), light.paint(np.full(3, 0.5), z) if light.darkness < 0.4 else _LAMP)
    return mesh
