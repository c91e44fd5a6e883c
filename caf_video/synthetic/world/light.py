"""Time of day and weather: what colours the world, from a seed."""

import math
from dataclasses import dataclass

import numpy as np

TIMES = ("day", "golden", "dusk", "night")
WEATHERS = ("clear", "clouds", "haze", "rain", "snow")


@dataclass(frozen=True)
class Light:
    """The light of one clip. Colours are RGB 0 to 1; `sun` and `ambient` multiply what they meet.

    Attributes:
        time: One of TIMES.
        weather: One of WEATHERS.
        sun_direction: Unit vector towards the sun.
        sun: Colour of direct light.
        ambient: Colour of the light from everywhere.
        sky_top: Sky overhead.
        sky_low: Sky at the horizon.
        fog: What far things fade into.
        fog_metres: Distance at which 63 % has faded.
        darkness: 0 by day to 1 at night: how much lamps and windows glow.
        wetness: 0 dry to 1 wet road.
    """

    time: str
    weather: str
    sun_direction: np.ndarray
    sun: np.ndarray
    ambient: np.ndarray
    sky_top: np.ndarray
    sky_low: np.ndarray
    fog: np.ndarray
    fog_metres: float
    darkness: float
    wetness: float

    def shade(self, colour: np.ndarray, normal: np.ndarray | None = None) -> np.ndarray:
        """RGB 0 to 1 of a matt surface; without a normal, of one lit from no side in particular."""
        facing = 0.45 if normal is None else max(0.0, float(normal @ self.sun_direction))
        return np.minimum(colour * (self.ambient + self.sun * facing), 1.0)

    def fade(self, colour: np.ndarray, distance_metres: float) -> np.ndarray:
        """The colour seen through so much air."""
        clear = math.exp(-max(distance_metres - 6.0, 0.0) / self.fog_metres)
        return self.fog + (colour - self.fog) * clear

    def beam(self, distance_metres: float) -> np.ndarray:
        """RGB that our headlamps add, after dark, to the ambient light on what is before us."""
        reach = math.exp(-max(distance_metres - 6.0, 0.0) / 12.0)
        return _HEADLAMP * (0.5 * max(0.0, self.darkness - 0.4) / 0.6 * reach)

    def paint(
        self,
        colour: np.ndarray,
        distance_metres: float,
        normal: np.ndarray | None = None,
        *,
        in_beam: bool = False,
    ) -> tuple[int, int, int]:
        """8-bit RGB of a lit surface seen at a distance; `in_beam`: before us on the road."""
        lit = self.shade(colour, normal)
        if in_beam and self.darkness:
            lit = lit + colour * self.beam(distance_metres)
        return to_rgb(self.fade(lit, distance_metres))


def to_rgb(colour: np.ndarray) -> tuple[int, int, int]:
    """8-bit RGB of a colour 0 to 1."""
    red, green, blue = colour.tolist()
    return (
        int(min(max(red, 0.0), 1.0) * 255.0 + 0.5),
        int(min(max(green, 0.0), 1.0) * 255.0 + 0.5),
        int(min(max(blue, 0.0), 1.0) * 255.0 + 0.5),
    )


_HEADLAMP = np.array([1.0, 0.96, 0.84])

# time: sun, ambient, sky overhead, sky at the horizon, darkness
_TIMES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "day": ((0.62, 0.60, 0.54), (0.56, 0.59, 0.64), (0.27, 0.50, 0.80), (0.74, 0.84, 0.92)),
    "golden": ((0.86, 0.58, 0.30), (0.47, 0.42, 0.44), (0.36, 0.48, 0.70), (0.98, 0.77, 0.50)),
    "dusk": ((0.26, 0.16, 0.18), (0.42, 0.40, 0.52), (0.16, 0.20, 0.42), (0.92, 0.54, 0.42)),
    "night": ((0.10, 0.11, 0.16), (0.27, 0.29, 0.38), (0.03, 0.05, 0.12), (0.17, 0.20, 0.32)),
}
_DARKNESS = {"day": 0.0, "golden": 0.15, "dusk": 0.65, "night": 1.0}
_FOG_METRES = {"clear": 190.0, "clouds": 150.0, "haze": 48.0, "rain": 75.0, "snow": 62.0}


def draw_light(time: str, weather: str, rng: np.random.Generator) -> Light:
    """The light at a time of day in a weather; the seed moves the sun and tints the sky."""
    sun, ambient, sky_top, sky_low = (np.array(colour) for colour in _TIMES[time])
    darkness = _DARKNESS[time]
    tint = rng.normal(0.0, 0.025, 3)
    sky_top, sky_low = sky_top + tint, sky_low + tint
    if weather in ("clouds", "rain", "snow"):
        # An overcast sky: less direct light, more from everywhere, colours drawn to grey.
        overcast = {"clouds": 0.45, "rain": 0.8, "snow": 0.85}[weather]
        bright = {"clouds": 1.0, "rain": 0.82, "snow": 1.08}[weather]
        grey_top = np.full(3, sky_top.mean()) * np.array([0.97, 1.0, 1.05]) * 1.08
        grey_low = np.full(3, sky_low.mean()) * np.array([0.97, 1.0, 1.04])
        sky_top = (sky_top + (grey_top - sky_top) * overcast) * bright
        sky_low = (sky_low + (grey_low - sky_low) * overcast) * bright
        ambient = (ambient + sun * 0.30 * overcast) * bright
        sun = sun * (1.0 - overcast)
    elif weather == "haze":
        sky_top = sky_top * 0.45 + sky_low * 0.55
        sun = sun * 0.7
    elevation = {"day": rng.uniform(0.6, 1.1), "golden": rng.uniform(0.12, 0.3)}.get(time, 0.25)
    azimuth = rng.uniform(-2.2, 2.2)  # 0 is straight ahead: then we look at shaded sides
    sun_direction = np.array(
        [
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
            np.cos(azimuth) * np.cos(elevation),
        ]
    )
    fog = sky_low * 0.92 + sky_top * 0.08
    return Light(
        time, weather, sun_direction, sun, ambient, np.clip(sky_top, 0, 1), np.clip(sky_low, 0, 1),
        np.clip(fog, 0, 1), _FOG_METRES[weather] * rng.uniform(0.85, 1.2), darkness,
        wetness=1.0 if weather == "rain" else 0.0,
    )  # fmt: skip
