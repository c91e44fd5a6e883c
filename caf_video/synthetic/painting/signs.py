"""Signs as pictures: drawn once, large, and laid over the frame where they stand."""

from functools import lru_cache

import cv2
import numpy as np

from caf_video.synthetic.painting.drawing import Picture, Rgb
from caf_video.synthetic.world.light import Light

_PIXELS = 192  # of a sign's picture; drawn twice as large and halved


def _ngon(corners: int, radius: float, turn: float) -> np.ndarray:
    angle = np.arange(corners) * 2 * np.pi / corners + turn
    return 0.5 + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


class _Plate:
    """A sign being drawn, in coordinates 0 to 1."""

    def __init__(self) -> None:
        self._size = _PIXELS * 2
        self._rgb = np.zeros((self._size, self._size, 3), np.uint8)
        self._alpha = np.zeros((self._size, self._size), np.uint8)

    def area(self, points: np.ndarray, colour: Rgb) -> None:
        corners = np.asarray(np.asarray(points) * self._size * 16, np.int32)
        cv2.fillPoly(self._rgb, [corners], colour, cv2.LINE_AA, 4)
        cv2.fillPoly(self._alpha, [corners], 255, cv2.LINE_AA, 4)

    def disc(self, x: float, y: float, radius: float, colour: Rgb) -> None:
        self.area(_ngon(40, radius, 0.0) - 0.5 + [x, y], colour)

    def words(self, text: str, y: float, height: float, colour: Rgb) -> None:
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
    """A sign in this light, up to so many pixels wide; it reflects our headlamps at night."""
    tint = np.minimum(light.ambient + 0.5 * light.sun + 0.30 * light.darkness, 1.05)
    clear = float(np.exp(-max(distance_metres - 6.0, 0.0) / light.fog_metres))
    return _sign(name).tinted(tint, light.fog, clear, width=width)
