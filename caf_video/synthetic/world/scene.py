"""What is in the world, drawn from a seed before anyone knows what will happen in it.

A *drive* is a session: one car and camera, one season, through a long day. A *place* is one clip of
that drive: a stretch of road at an hour, its weather, traffic and street furniture, and how the
driver moves. Numbers only, no pixels.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from caf_video.synthetic.world.camera import WIDTH
from caf_video.synthetic.world.light import TIMES, Light, draw_light
from caf_video.synthetic.world.surroundings import (
    TOWNS,
    Building,
    Car,
    Colour,
    Kerbs,
    Tree,
    Walker,
    random_buildings,
    random_car,
    random_paint,
    random_street_lights,
    random_traffic,
    random_trees,
    random_walker,
    random_walkers,
)

FRAMES = 12
FPS = 4
SIGNAL_METRES = (0.84, 1.62)  # width and height of a signal head's backplate

Metres = TypeVar("Metres", float, np.ndarray)

_SEASONS = ("summer", "autumn", "winter")
_NEUTRAL_SIGNS = ("none", "none", "parking", "speed", "diamond", "arrow")
# A van joins or leaves, so that it is no second lead car; there are vans in the traffic, too.
_LEAD_KINDS = ("sedan", "hatchback", "suv")
_JOINER_KINDS = ("van",)
_POST_METRES = 0.35  # of a signpost from the kerb
_SIGN_PIXELS = 50.0  # the least width of a sign: 1.5 cells of a feature map of stride 32
_SIGNAL_PIXELS = 27.5  # the least width of a signal


@dataclass(frozen=True)
class Drive:
    """A session, a long day's drive: what all its clips share. Lengths in metres."""

    focal: float
    camera_height_metres: float
    horizon_y: float
    season: str
    lane_metres: float
    bay_metres: float
    island_metres: float
    line_colour: Colour
    bonnet: Colour

    @property
    def island(self) -> tuple[float, float]:
        """Left and right edge of the island between the two directions."""
        right = -1.5 * self.lane_metres
        return right - self.island_metres, right

    @property
    def kerbs(self) -> Kerbs:
        """The road: bay, our lane, a lane beside it on the left, island, oncoming lane."""
        lane = self.lane_metres
        right = lane / 2 + self.bay_metres
        return Kerbs(
            left=self.island[0] - lane,
            right=right,
            bay=right - 1.0,
            beside=-lane,
            oncoming=self.island[0] - lane / 2,
        )


@dataclass(frozen=True)
class Place:
    """One clip's stretch of road in its neutral state, and the path of the camera through it.

    Distances are in metres, z from where the camera is in the first frame, lateral from the middle
    of our lane to the right. Whatever an event may use is here in every clip, whichever it is.

    Attributes:
        drive: The session.
        town: One of TOWNS.
        light: Time of day and weather.
        snow_cover: Of the ground, 0 to 1.
        bend: Curvature of the road, 1 / metre, positive to the right.
        center_x: Column of the vanishing point in each frame, (12,).
        horizon_y: Row of the horizon in each frame, (12,).
        position_metres: Way driven by each frame, (12,).
        ground_seed: Of what the ground and the sky look like.
        weather_seed: Of rain, snow and grain.
        zebra: Whether there is a crossing where somebody might cross.
        buildings: Both sides of the street.
        trees: On pavements, in gardens and fields.
        street_lights: (lateral, z) of each.
        cars: The traffic, without the lead car.
        walkers: On the pavements.
        lead: The car ahead of us.
        lead_gap_metres: From the camera to its rear in each frame, (12,).
        lead_lateral: Where it drives in each frame, (12,).
        sign_lateral, sign_z: Where the signpost stands.
        sign_width_metres, sign_height_metres: Of the sign on it, and up to its middle.
        sign_neutral: What it carries: a sign of no importance, or "none".
        signal_lateral, signal_z, signal_height_metres: Where the signal is.
        signal_scale: Its size in SIGNAL_METRES.
        signal_neutral: Its colour in each frame: "red", "green", "dark", or "none": no signal.
        crosser: Who might cross, around lateral 0.
        crosser_reach_metres: How far to either side.
        joiner: The car that might join our lane or leave it.
        joiner_gap_metres: From the camera to its rear.
        switch_time: When something might happen, in frames.
        shift_frames: How long a change of lane takes.
        shift_share: How much of a lane it crosses.
    """

    drive: Drive
    town: str
    light: Light
    snow_cover: float
    bend: float
    center_x: np.ndarray
    horizon_y: np.ndarray
    position_metres: np.ndarray
    ground_seed: int
    weather_seed: int
    zebra: bool
    buildings: tuple[Building, ...]
    trees: tuple[Tree, ...]
    street_lights: tuple[tuple[float, float], ...]
    cars: tuple[Car, ...]
    walkers: tuple[Walker, ...]
    lead: Car
    lead_gap_metres: np.ndarray
    lead_lateral: np.ndarray
    sign_lateral: float
    sign_z: float
    sign_width_metres: float
    sign_height_metres: float
    sign_neutral: str
    signal_lateral: float
    signal_z: float
    signal_height_metres: float
    signal_scale: float
    signal_neutral: tuple[str, ...]
    crosser: Walker
    crosser_reach_metres: float
    joiner: Car
    joiner_gap_metres: float
    switch_time: float
    shift_frames: float
    shift_share: float

    def bend_at(self, z_metres: Metres) -> Metres:
        """How far to the right the road has bent at a distance."""
        return z_metres * z_metres * (0.5 * self.bend)


def draw_drive(session: int) -> Drive:
    """The session of a seed."""
    rng = np.random.default_rng([session, 0])
    return Drive(
        focal=rng.uniform(368, 392),
        camera_height_metres=rng.uniform(1.3, 1.45),
        horizon_y=rng.uniform(104, 120),
        season=str(rng.choice(_SEASONS, p=(0.56, 0.22, 0.22))),
        lane_metres=rng.uniform(2.85, 3.05),
        bay_metres=rng.uniform(2.0, 2.2),
        island_metres=rng.uniform(0.9, 1.2),
        line_colour=(0.93, 0.78, 0.30) if rng.random() < 0.4 else (0.90, 0.90, 0.88),
        bonnet=random_paint(rng),
    )


def draw_place(session: int, variant: int) -> Place:
    """Clip `variant` of a session, before any event."""
    drive = draw_drive(session)
    rng = np.random.default_rng([session, variant, 1])
    town = str(rng.choice(TOWNS, p=(0.45, 0.33, 0.22)))
    time = str(rng.choice(TIMES, p=(0.5, 0.18, 0.14, 0.18)))
    light = draw_light(time, _weather(drive, rng), rng)
    wintry = drive.season == "winter" and (light.weather == "snow" or rng.random() < 0.5)

    # The driver creeps along, a little faster or slower; the camera sways on its springs.
    seconds = np.arange(FRAMES) / FPS
    middle = seconds - seconds.mean()
    speed, gain = rng.uniform(0.2, 1.0), rng.uniform(-0.12, 0.12)
    position = np.maximum.accumulate(seconds * speed * (1 + gain * middle))
    travel = float(position[-1])
    center_x = WIDTH / 2 + rng.uniform(-46, 46) + rng.normal(0, 1.6) * middle
    horizon_y = drive.horizon_y + rng.uniform(-8, 8) + rng.normal(0, 0.5, FRAMES)

    def post_z(lateral: float, half_width: float) -> float:
        # Whatever it carries stays in the picture until the last frame.
        room = float(WIDTH - center_x.max() if lateral > 0 else center_x.min())
        nearest = (abs(lateral) + half_width) * drive.focal / room
        return travel + max(7.5, nearest) + rng.uniform(0.0, 0.9)

    kerbs = drive.kerbs
    posts = {1: kerbs.right + _POST_METRES, -1: sum(drive.island) / 2}
    sign_side = 1 if rng.random() < 0.5 else -1
    sign_width = rng.uniform(1.6, 1.7)
    sign_z = post_z(posts[sign_side], sign_width / 2 + 0.15)
    signal_z = post_z(posts[-sign_side], SIGNAL_METRES[0] * 0.65 + 0.1)
    gap = rng.uniform(9.6, 11.8) + rng.normal(0, 0.18) * middle
    # Who crosses does so between us and the lead car.
    before_lead = float(gap[0]) - 1.0 - travel
    crosser_z = travel + min(rng.uniform(5.5, 6.9), max(before_lead, 4.9))
    return Place(
        drive=drive,
        town=town,
        light=light,
        snow_cover=rng.uniform(0.6, 1.0) if wintry else 0.0,
        bend=float(np.clip(rng.normal(0, 0.002), -0.005, 0.005)),
        center_x=center_x,
        horizon_y=horizon_y,
        position_metres=position,
        ground_seed=int(rng.integers(2**31)),
        weather_seed=int(rng.integers(2**31)),
        zebra=bool(rng.random() < 0.45),
        buildings=random_buildings(town, kerbs, rng),
        trees=random_trees(town, drive.season, kerbs, rng),
        street_lights=random_street_lights(kerbs, rng),
        cars=random_traffic(kerbs, rng),
        walkers=random_walkers(kerbs, rng),
        lead=random_car(0.0, 0.0, 0.0, rng, kinds=_LEAD_KINDS),
        lead_gap_metres=gap,
        lead_lateral=rng.uniform(-0.25, 0.25) + rng.uniform(-0.06, 0.06) * middle,
        sign_lateral=posts[sign_side],
        sign_z=sign_z,
        sign_width_metres=max(sign_width, _SIGN_PIXELS * sign_z / drive.focal),
        sign_height_metres=rng.uniform(2.2, 2.7),
        sign_neutral=_NEUTRAL_SIGNS[int(rng.integers(len(_NEUTRAL_SIGNS)))],
        signal_lateral=posts[-sign_side],
        signal_z=signal_z,
        signal_height_metres=rng.uniform(1.95, 2.4),
        signal_scale=max(1.22, _SIGNAL_PIXELS * signal_z / drive.focal / SIGNAL_METRES[0]),
        signal_neutral=_signal_states(rng),
        crosser=random_walker(0.0, crosser_z, 0.0, rng),
        crosser_reach_metres=rng.uniform(1.1, 1.6),
        joiner=random_car(0.0, 0.0, 0.0, rng, kinds=_JOINER_KINDS),
        joiner_gap_metres=float(gap[0]) - rng.uniform(2.6, 3.2),
        switch_time=rng.uniform(4.0, 8.0),
        shift_frames=rng.uniform(3.5, 5.0),
        shift_share=rng.uniform(0.94, 1.04),
    )


def _weather(drive: Drive, rng: np.random.Generator) -> str:
    wet = "snow" if drive.season == "winter" else "rain"
    return str(rng.choice(("clear", "clouds", "haze", wet), p=(0.42, 0.26, 0.12, 0.2)))


def _signal_states(rng: np.random.Generator) -> tuple[str, ...]:
    """A signal that tells nothing: not there, dark, steady, or blinking for want of repair."""
    colour = "red" if rng.random() < 0.5 else "green"
    phase = int(rng.integers(6))
    mode = rng.choice(("none", "dark", "steady", "blinking"), p=(0.55, 0.1, 0.15, 0.2))
    if mode == "blinking":  # three frames on, three off
        return tuple(colour if (frame + phase) % 6 < 3 else "dark" for frame in range(FRAMES))
    return (colour if mode == "steady" else str(mode),) * FRAMES
