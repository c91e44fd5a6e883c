"""What lies between the driver and the world: rain, snowfall, the bonnet, grain."""

from functools import lru_cache

import cv2
import numpy as np

from caf_video.synthetic.world.camera import HEIGHT, WIDTH
from caf_video.synthetic.world.scene import FRAMES, Place

_BONNET_ROWS = 20


@lru_cache(maxsize=1)
def _grain() -> np.ndarray:
    """Film grain about 128, (512, 704, 3) uint8, mostly in brightness."""
    rng = np.random.default_rng(3)
    grey = rng.normal(0, 20, (512, 704, 1))
    return np.clip(128 + grey + rng.normal(0, 6, (512, 704, 3)), 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _vignette() -> np.ndarray:
    """(HEIGHT, WIDTH, 3) uint8, 255 in the middle."""
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    dark = 1 - 0.20 * np.clip((x * x * 0.8 + y * y * 0.6) - 0.25, 0, 1)
    return np.repeat((dark * 255).astype(np.uint8)[..., None], 3, axis=2)


class Weather:
    """The veil before one clip's frames."""

    def __init__(self, place: Place) -> None:
        self._place = place
        rng = np.random.default_rng(place.weather_seed)
        self._grain_at = rng.integers(0, 256, (FRAMES, 2))
        self._flakes = rng.random((FRAMES, 110, 4))
        self._snow = np.column_stack(
            [rng.random((150, 2)), rng.uniform(0.4, 1.0, 150), rng.random(150)]
        )
        self._bonnet = self._paint_bonnet()

    def draw(self, image: np.ndarray, frame: int) -> None:
        """Draw the veil over a finished frame."""
        if self._place.light.weather == "rain":
            self._rain(image, frame)
        elif self._place.light.weather == "snow":
            self._snowfall(image, frame)
        pixels, mask = self._bonnet
        under = image[HEIGHT - _BONNET_ROWS :]
        kept = cv2.multiply(under, cv2.merge([255 - mask] * 3), scale=1 / 255)
        under[:] = cv2.add(kept, pixels)
        image[:] = cv2.multiply(image, _vignette(), scale=1 / 255)
        y, x = self._grain_at[frame]
        cv2.addWeighted(
            image, 1.0, _grain()[y : y + HEIGHT, x : x + WIDTH], 0.09, -0.09 * 128, image
        )

    def _rain(self, image: np.ndarray, frame: int) -> None:
        light = self._place.light
        streaks = image.copy()
        colour = tuple(float(255 * c) for c in np.clip(light.sky_low * 0.85 + 0.2, 0, 1))
        for x, y, length, _ in self._flakes[frame, :70]:
            start = (int(x * WIDTH * 16), int(y * HEIGHT * 16))
            end = (start[0] - int(16 * 2.5 * length), start[1] + int(16 * (6 + 15 * length)))
            cv2.line(streaks, start, end, colour, 1, cv2.LINE_AA, 4)
        cv2.addWeighted(streaks, 0.35, image, 0.65, 0, image)

    def _snowfall(self, image: np.ndarray, frame: int) -> None:
        light = self._place.light
        colour = tuple(float(255 * c) for c in np.clip(light.ambient * 0.8 + 0.4, 0, 1))
        for x, y, near, phase in self._snow:
            px = (x + 0.012 * np.sin(6.3 * (phase + frame / 9))) * WIDTH
            py = ((y + frame * 0.13 * near) % 1.0) * HEIGHT
            radius = int(16 * (0.5 + 1.0 * near * near * phase))
            cv2.circle(image, (int(px * 16), int(py * 16)), radius, colour, -1, cv2.LINE_AA, 4)

    def _paint_bonnet(self) -> tuple[np.ndarray, np.ndarray]:
        """The bonnet of our own car along the lower edge: colours times cover, and cover."""
        light, paint = self._place.light, np.array(self._place.drive.bonnet)
        columns = np.linspace(-1, 1, WIDTH)[None, :]
        rows = np.arange(_BONNET_ROWS)[:, None]
        edge = 4.0 + 9.0 * columns**2 + 3.0 * columns**8
        cover = np.clip(rows - edge + 0.5, 0, 1)
        depth = np.clip((rows - edge) / 16.0, 0, 1)[..., None]
        base = light.shade(paint * 0.55, np.array([0.0, 1.0, 0.0]))
        sheen = light.sky_low * 0.6 + light.sky_top * 0.4
        colour = base + (sheen - base) * (0.42 * (1 - depth) ** 1.5)
        ridge = np.exp(-(((np.abs(columns) - 0.38 - 0.006 * rows) / 0.02) ** 2))[..., None]
        colour = np.clip(colour + 0.10 * ridge, 0, 1)
        pixels = (colour * cover[..., None] * 255).astype(np.uint8)
        return pixels, (cover * 255).astype(np.uint8)
