"""The far world, painted once per clip: sky, clouds, sun, stars, hills."""

from functools import lru_cache

import cv2
import numpy as np

from caf_video.synthetic.world.camera import HEIGHT, WIDTH
from caf_video.synthetic.world.light import Light
from caf_video.synthetic.world.scene import Place

MARGIN = 24  # pixels painted beyond every edge, for the camera's sway


@lru_cache(maxsize=1)
def _cloud_noise() -> np.ndarray:
    """(256, 512) float 0 to 1, soft at every scale."""
    rng = np.random.default_rng(7)
    noise = np.zeros((256, 512), np.float32)
    for octave in range(6):
        cells = (4 * 2**octave, 5 * 2**octave)
        grid = rng.random(cells).astype(np.float32)
        noise += cv2.resize(grid, (512, 256), interpolation=cv2.INTER_CUBIC) * 0.55**octave
    low, high = np.percentile(noise, (2, 98))
    return np.clip((noise - low) / (high - low), 0, 1)


def paint_sky(place: Place, rng: np.random.Generator) -> np.ndarray:
    """Sky and hills, uint8 RGB (HEIGHT + 2 MARGIN, WIDTH + 2 MARGIN, 3)."""
    light = place.light
    height, width = HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN
    horizon = int(round(float(place.horizon_y.mean()))) + MARGIN
    up = np.clip((horizon - np.arange(height, dtype=np.float32)) / (horizon + 40.0), 0, 1)
    blend = (up**0.75)[:, None]
    column = light.sky_low[None] * (1 - blend) + light.sky_top[None] * blend
    sky = np.repeat(column[:, None, :], width, axis=1).astype(np.float32)
    if light.darkness > 0.9 and light.weather == "clear":
        _stars(sky, horizon, rng)
    _sun(sky, place, horizon)
    _clouds(sky, light, horizon, rng)
    image = (np.clip(sky, 0, 1) * 255 + 0.5).astype(np.uint8)
    _hills(image, place, horizon, rng)
    return image


def _sun(sky: np.ndarray, place: Place, horizon: int) -> None:
    light = place.light
    if light.weather in ("rain", "snow"):
        return
    direction = light.sun_direction
    moon = light.time == "night"
    if direction[2] < 0.3 and not moon:
        return
    x = MARGIN + float(place.center_x.mean()) + 240 * direction[0] / max(float(direction[2]), 0.4)
    y = horizon - (90 if light.time == "day" else 46 if not moon else 80) * (0.6 + direction[1])
    columns = np.arange(sky.shape[1], dtype=np.float32)[None, :] - x
    rows = np.arange(horizon, dtype=np.float32)[:, None] - y
    radius = np.sqrt(columns * columns + rows * rows)
    haze = np.exp(-radius / (70.0 if not moon else 26.0)) * (0.55 if not moon else 0.22)
    disc = np.clip((8.5 if not moon else 5.5) - radius, 0, 1) * (
        0.9 if light.weather == "clear" else 0.3
    )
    glow = np.array([1.0, 0.86, 0.62] if not moon else [0.75, 0.8, 0.95], np.float32)
    sky[:horizon] += (haze[..., None] * glow) * (0.8 if light.time == "day" else 1.0)
    sky[:horizon] += disc[..., None]


def _stars(sky: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    count = 70
    rows = (rng.random(count) ** 1.3 * horizon * 0.85).astype(int)
    columns = rng.integers(0, sky.shape[1], count)
    sky[rows, columns] += (rng.random(count) ** 2 * 0.6)[:, None]


def _clouds(sky: np.ndarray, light: Light, horizon: int, rng: np.random.Generator) -> None:
    cover = {"clear": 0.28, "clouds": 0.62, "haze": 0.2, "rain": 0.95, "snow": 0.8}[light.weather]
    drift_x, drift_y = rng.uniform(0, 512), rng.uniform(0, 256)
    # Soft things: worked out at half size. Clouds lie on a ceiling: smaller towards the horizon.
    width = sky.shape[1]
    rows = np.arange(0, horizon, 2, dtype=np.float32)[:, None]
    columns = np.arange(0, width, 2, dtype=np.float32)[None, :] - width / 2
    away = 90.0 / (horizon - rows + 14.0)
    map_x = (columns * away * 0.55 + drift_x).astype(np.float32)
    map_y = np.broadcast_to(away * 46.0 + drift_y, map_x.shape).astype(np.float32)
    patch = cv2.remap(_cloud_noise(), map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    soft = 0.30 if light.weather != "rain" else 0.7
    amount = np.clip((patch - (1 - cover)) / soft, 0, 1)
    amount *= np.clip((horizon - rows) / 26.0, 0, 1) * (0.85 if light.weather != "haze" else 0.4)
    lit = light.sky_low * 0.35 + np.minimum(light.ambient + 0.75 * light.sun, 1.2) * 0.62
    shaded = light.sky_top * 0.35 + light.ambient * 0.55
    under = np.clip((patch - 0.55) * 1.8, 0, 1)[..., None]
    colour = (lit * (1 - under) + shaded * under).astype(np.float32) * amount[..., None]
    kept, added = (
        cv2.resize(half, (width, horizon), interpolation=cv2.INTER_LINEAR)
        for half in (1.0 - amount, colour)
    )
    sky[:horizon] = sky[:horizon] * kept[..., None] + added


def _hills(image: np.ndarray, place: Place, horizon: int, rng: np.random.Generator) -> None:
    light = place.light
    width = image.shape[1]
    columns = np.arange(0, width + 8, 8, dtype=float)
    tall = {"city": 0.55, "suburb": 0.8, "country": 1.25}[place.town]
    green = np.array([0.30, 0.38, 0.30]) if place.drive.season != "winter" else np.array([0.45] * 3)
    green = green * (1 - place.snow_cover * 0.5) + place.snow_cover * 0.45
    for layer, (distance, rise) in enumerate(((260.0, 34.0), (170.0, 20.0), (95.0, 9.0))):
        waves = sum(
            np.sin(columns * frequency / width + rng.uniform(0, 7)) / (1 + i)
            for i, frequency in enumerate((5.0, 11.0, 23.0, 51.0))
        )
        ridge = horizon - rise * tall * (0.62 + 0.34 * np.asarray(waves)) * rng.uniform(0.6, 1.2)
        if layer == 2:  # a far line of trees: a rough edge
            ridge -= rng.uniform(0, 3.0, len(columns))
        colour = light.paint(green, distance * 0.75)
        outline = np.stack([columns, np.minimum(ridge, horizon + 1)], axis=1)
        outline = np.concatenate([outline, [[width, horizon + 4], [0, horizon + 4]]])
        points = np.asarray(outline * 16, dtype=np.int32)
        cv2.fillPoly(image, [points], colour, cv2.LINE_AA, 4)
