"""Street furniture: signs, signals, street lights."""

from functools import lru_cache

import cv2
import numpy as np

from caf_video.data.synthetic.camera import Camera
from caf_video.data.synthetic.drawing import Mesh, Picture, fill, glow
from caf_video.data.synthetic.light import Light, to_rgb
from caf_video.data.synthetic.scene import SIGNAL_METRES

_PIXELS = 192  # of a sign's picture; drawn twice as large and halved

_TURN = np.linspace(0, 2 * np.pi, 18, endpoint=False)
_DISC = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)
_LENS_COLOURS = {"red": (1.0, 0.16, 0.10), "amber": (1.0, 0.66, 0.12), "green": (0.16, 1.0, 0.52)}


def _ngon(corners: int, radius: float, turn: float) -> np.ndarray:
    angle = np.arange(corners) * 2 * np.pi / corners + turn
    return 0.5 + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


class _Plate:
    """A sign being drawn, in coordinates 0 to 1."""

    def __init__(self) -> None:
        self._size = _PIXELS * 2
        self._rgb = np.zeros((self._size, self._size, 3), np.uint8)
        self._alpha = np.zeros((self._size, self._size), np.uint8)

    def area(self, points: np.ndarray, colour: tuple[int, int, int]) -> None:
        corners = np.asarray(np.asarray(points) * self._size * 16, np.int32)
        cv2.fillPoly(self._rgb, [corners], colour, cv2.LINE_AA, 4)
        cv2.fillPoly(self._alpha, [corners], 255, cv2.LINE_AA, 4)

    def disc(self, x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
        self.area(_ngon(40, radius, 0.0) - 0.5 + [x, y], colour)

    def words(self, text: str, y: float, height: float, colour: tuple[int, int, int]) -> None:
        face, size = cv2.FONT_HERSHEY_SIMPLEX, self._size
        scale = height * size / 21.0
        thick = max(int(scale * 4.2), 1)
        (width, _), _ = cv2.getTextSize(text, face, scale, thick)
        origin = (int(size / 2 - width / 2), int((y + height / 2) * size))
        cv2.putText(self._rgb, text, origin, face, scale, colour, thick, cv2.LINE_AA)

    def picture(self) -> np.ndarray:
        """(n, n, 4) float32, premultiplied."""
        both = np.dstack(
            [self._rgb.astype(np.float32) * (self._alpha[..., None] / 255.0), self._alpha]
        )
        return cv2.resize(both.astype(np.float32), (_PIXELS, _PIXELS), interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=16)
def _sign(name: str) -> Picture:
    plate = _Plate()
    white, black = (238, 238, 234), (30, 30, 32)
    if name == "stop_sign":
        turn = np.pi / 8
        plate.area(_ngon(8, 0.5, turn), white)
        plate.area(_ngon(8, 0.465, turn), (196, 26, 32))
        plate.words("STOP", 0.5, 0.24, white)
    elif name == "railway_crossing":
        for side in (-1, 1):
            along = np.array([0.47 * side, 0.30])
            across = np.array([-along[1], along[0]]) / np.hypot(*along)
            for half, colour in ((0.088, (190, 30, 34)), (0.066, white)):
                tip = along * (1.0 if half > 0.08 else 0.975)
                corners = [
                    -tip - across * half,
                    -tip + across * half,
                    tip + across * half,
                    tip - across * half,
                ]
                plate.area(np.array(corners) + [0.5, 0.34], colour)
        plate.area(np.array([[0.06, 0.70], [0.94, 0.70], [0.94, 0.92], [0.06, 0.92]]), black)
        for x in (0.22, 0.78):
            plate.disc(x, 0.81, 0.155, black)
            plate.disc(x, 0.81, 0.115, (226, 40, 34))
            plate.disc(x - 0.02, 0.79, 0.05, (255, 120, 100))
    elif name == "parking":
        plate.area(np.array([[0.2, 0.1], [0.8, 0.1], [0.8, 0.9], [0.2, 0.9]]), white)
        plate.area(
            np.array([[0.23, 0.13], [0.77, 0.13], [0.77, 0.87], [0.23, 0.87]]), (32, 84, 164)
        )
        plate.words("P", 0.5, 0.42, white)
    elif name == "speed":
        plate.area(np.array([[0.2, 0.06], [0.8, 0.06], [0.8, 0.94], [0.2, 0.94]]), black)
        plate.area(np.array([[0.22, 0.08], [0.78, 0.08], [0.78, 0.92], [0.22, 0.92]]), white)
        plate.words("LIMIT", 0.24, 0.10, black)
        plate.words("30", 0.6, 0.32, black)
    elif name == "diamond":
        plate.area(_ngon(4, 0.46, 0.0), black)
        plate.area(_ngon(4, 0.43, 0.0), (240, 190, 40))
        plate.area(np.array([[0.47, 0.68], [0.53, 0.68], [0.53, 0.42], [0.47, 0.42]]), black)
        plate.area(np.array([[0.40, 0.44], [0.60, 0.44], [0.5, 0.30]]), black)
    elif name == "arrow":
        plate.disc(0.5, 0.5, 0.42, white)
        plate.disc(0.5, 0.5, 0.395, (38, 96, 176))
        plate.area(np.array([[0.46, 0.74], [0.54, 0.74], [0.54, 0.46], [0.46, 0.46]]), white)
        plate.area(np.array([[0.36, 0.48], [0.64, 0.48], [0.5, 0.26]]), white)
    return Picture.halved(plate.picture())


def sign_picture(name: str, light: Light, distance_metres: float, width: float) -> Picture:
    """A sign's plate in this light, up to so many pixels wide; signs reflect our headlamps at night."""
    tint = np.minimum(light.ambient + 0.5 * light.sun + 0.30 * light.darkness, 1.05)
    clear = float(np.exp(-max(distance_metres - 6.0, 0.0) / light.fog_metres))
    return _sign(name).tinted(tint, light.fog, clear, width=width)


def draw_post(
    image: np.ndarray, camera: Camera, light: Light, x: float, z: float, height_metres: float
) -> None:
    """A grey post, lighter on one side."""
    distance = z - camera.position_metres
    for left, right, level in ((-0.05, 0.05, 0.42), (-0.05, -0.01, 0.62)):
        points = np.array([[x + left, 0, z], [x + right, 0, z], [x + right, height_metres, z],
                           [x + left, height_metres, z]])  # fmt: skip
        fill(image, camera.project(points), light.paint(np.full(3, level), distance, in_beam=True))


def draw_signal(
    image: np.ndarray, camera: Camera, light: Light, place: np.ndarray, size: float, lit: str
) -> None:
    """A signal head around world (x, y, z); `size` scales it, `lit` is "red", "green" or "dark"."""
    x, y, z = place
    distance = z - camera.position_metres
    metre = camera.scale_at(z) * size
    middle = np.array(camera.pixel(x, y, z))

    def plate(inset_x: float, inset_y: float, colour: np.ndarray) -> None:
        reach = (np.array(SIGNAL_METRES) / 2 - [inset_x, inset_y]) * metre
        corners = middle + reach * [[-1, -1], [1, -1], [1, 1], [-1, 1]]
        fill(image, corners, light.paint(colour, distance))

    plate(0.0, 0.0, np.array([0.86, 0.84, 0.76]))
    plate(0.05, 0.05, np.full(3, 0.07))
    plate(0.16, 0.11, np.full(3, 0.13))
    for name, down in (("red", -0.48), ("amber", 0.0), ("green", 0.48)):
        centre = middle + [0.0, down * metre]
        colour = np.array(_LENS_COLOURS[name])
        fill(image, centre + _DISC * (0.235 * metre), light.paint(np.full(3, 0.03), distance))
        if name == lit:
            fill(
                image, centre + _DISC * (0.205 * metre), to_rgb(light.fade(colour, distance * 0.3))
            )
            fill(image, centre + _DISC * (0.11 * metre), to_rgb(colour * 0.45 + 0.55))
            at = (float(centre[0]), float(centre[1]))
            glow(image, at, 0.46 * metre, colour, 0.55 + 0.3 * light.darkness)
        else:
            unlit = light.paint(colour * 0.16 + 0.02, distance)
            fill(image, centre + _DISC * (0.195 * metre), unlit)


def street_light_mesh(x: float, z: float, light: Light, bend: float) -> Mesh:
    """A lamp post that leans its arm over the road."""
    mesh = Mesh()
    towards = -np.sign(x)
    grey = light.paint(np.full(3, 0.34), z)
    x = x + bend
    tall = 7.2
    mesh.add(
        np.array([[x - 0.07, 0, z], [x + 0.07, 0, z], [x + 0.045, tall, z], [x - 0.045, tall, z]]),
        grey,
    )
    reach = x + towards * 1.7
    mesh.add(
        np.array(
            [[x, tall - 0.1, z], [x, tall, z], [reach, tall + 0.32, z], [reach, tall + 0.24, z]]
        ),
        grey,
    )
    head = light.paint(np.full(3, 0.5), z) if light.darkness < 0.4 else (255, 240, 205)
    mesh.add(np.array([[reach - 0.35, tall + 0.18, z], [reach + 0.35, tall + 0.18, z],
                       [reach + 0.3, tall + 0.34, z], [reach - 0.3, tall + 0.34, z]]), head)  # fmt: skip
    return mesh
