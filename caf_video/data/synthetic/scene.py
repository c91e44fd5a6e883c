"""What is in the world, drawn from a seed before anyone knows what will happen in it.

A *drive* is a session: one car and camera, one season, through a long day. A *place* is one clip of that
drive: a stretch of road at an hour, its weather, traffic and street furniture, and how the driver moves.
Numbers only, no pixels.
"""

from dataclasses import dataclass

import numpy as np

from caf_video.data.synthetic.camera import WIDTH
from caf_video.data.synthetic.light import TIMES, Light, draw_light

FRAMES = 12
FPS = 4

NEUTRAL_SIGNS = ("none", "none", "parking", "speed", "diamond", "arrow")
TOWNS = ("city", "suburb", "country")
SEASONS = ("summer", "autumn", "winter")
CAR_KINDS = ("sedan", "hatchback", "suv", "van")

SIGNAL_METRES = (0.84, 1.62)  # width and height of a signal head's backplate
FAR_METRES = 46.0  # what is farther is painted once, on the backdrop


@dataclass(frozen=True)
class Drive:
    """A session, a long day's drive: what all its clips share."""

    focal: float
    camera_height_metres: float
    horizon_y: float
    season: str
    lane_metres: float
    bay_metres: float
    island_metres: float
    line_colour: tuple[float, float, float]
    bonnet: tuple[float, float, float]


@dataclass(frozen=True)
class Building:
    """A building: `side` is +1 right of the road and -1 left; z from near to far end, metres."""

    side: int
    setback_metres: float
    near_z: float
    far_z: float
    height_metres: float
    house: bool
    seed: int


@dataclass(frozen=True)
class Tree:
    """A tree: lateral offset from the middle of the ego lane, distance, size in metres."""

    lateral: float
    z: float
    height_metres: float
    shape: int
    tint: tuple[float, float, float]


@dataclass(frozen=True)
class Car:
    """A car of the traffic; `speed` in metres per second along z (negative: towards us)."""

    lateral: float
    z: float
    speed: float
    kind: str
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Walker:
    """Someone on foot: clothes, stature, and where they are and how fast they walk along the road."""

    lateral: float
    z: float
    speed: float
    height_metres: float
    coat: tuple[float, float, float]
    trousers: tuple[float, float, float]
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    bag: bool
    phase: float


@dataclass(frozen=True)
class Place:
    """One clip's stretch of road in its neutral state, and the path of the camera through it.

    The last block is what an event may use, whichever it is: it is drawn in every clip and costs a neutral
    one nothing. Distances are in metres from where the camera is in the first frame.
    """

    drive: Drive
    town: str
    light: Light
    snow_cover: float
    bend: float
    centre_x: np.ndarray
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
    sign_side: int
    sign_lateral: float
    sign_z: float
    sign_width_metres: float
    sign_height_metres: float
    sign_neutral: str
    signal_lateral: float
    signal_z: float
    signal_height_metres: float
    signal_scale: float
    signal_neutral: str
    crosser: Walker
    crosser_reach_metres: float
    joiner: Car
    joiner_gap_metres: float
    switch_time: float
    shift_frames: float
    shift_share: float

    def bend_at(self, z_metres: float | np.ndarray) -> float | np.ndarray:
        """How far to the right the road has bent at a distance."""
        return 0.5 * self.bend * z_metres * z_metres


def draw_drive(session: int) -> Drive:
    """The session of a seed."""
    rng = np.random.default_rng([session, 0])
    lane = rng.uniform(2.85, 3.05)
    return Drive(
        focal=rng.uniform(368, 392),
        camera_height_metres=rng.uniform(1.3, 1.45),
        horizon_y=rng.uniform(104, 120),
        season=str(rng.choice(SEASONS, p=(0.56, 0.22, 0.22))),
        lane_metres=lane,
        bay_metres=rng.uniform(2.0, 2.2),
        island_metres=rng.uniform(0.9, 1.2),
        line_colour=(0.93, 0.78, 0.30) if rng.random() < 0.4 else (0.90, 0.90, 0.88),
        bonnet=_car_colour(rng),
    )


def draw_place(session: int, variant: int) -> Place:
    """Clip `variant` of a session, before any event."""
    drive = draw_drive(session)
    rng = np.random.default_rng([session, variant, 1])
    town = str(rng.choice(TOWNS, p=(0.45, 0.33, 0.22)))
    time = str(rng.choice(TIMES, p=(0.5, 0.18, 0.14, 0.18)))
    light = draw_light(time, _weather(drive, rng), rng)
    wintry = drive.season == "winter" and (light.weather == "snow" or rng.random() < 0.5)

    # The driver creeps along; the camera sways a little on its springs.
    speed = rng.uniform(0.2, 1.0)
    seconds = np.arange(FRAMES) / FPS
    gain = rng.uniform(-0.12, 0.12)
    position = np.maximum.accumulate(seconds * speed * (1 + gain * (seconds - 1.4)))
    yaw = rng.uniform(-46, 46)
    sway = rng.normal(0, 0.5, FRAMES)
    drift = rng.normal(0, 1.6) * (seconds - 1.4)
    centre_x = WIDTH / 2 + yaw + drift
    horizon_y = drive.horizon_y + rng.uniform(-8, 8) + sway
    travel = float(position[-1])

    kerb_right = drive.lane_metres / 2 + drive.bay_metres
    island = -1.5 * drive.lane_metres - drive.island_metres / 2
    kerb_left = -2.5 * drive.lane_metres - drive.island_metres

    sign_side = 1 if rng.random() < 0.5 else -1
    posts = {1: kerb_right + 0.35, -1: island}
    sign_width = rng.uniform(1.6, 1.7)

    def post_z(lateral: float, half_width: float) -> float:
        # The whole thing stays in the picture until the last frame.
        room = WIDTH - centre_x.max() if lateral > 0 else centre_x.min()
        nearest = (abs(lateral) + half_width + 0.15) * drive.focal / room
        return travel + max(7.5, nearest) + rng.uniform(0.0, 0.9)

    sign_z = post_z(posts[sign_side], sign_width / 2 + 0.15)
    signal_z = post_z(posts[-sign_side], SIGNAL_METRES[0] / 2 + 0.2)
    gap = rng.uniform(9.6, 11.8) + rng.normal(0, 0.25) * (seconds - 1.4) / 1.4
    wobble = rng.uniform(-0.25, 0.25) + rng.uniform(-0.06, 0.06) * (seconds - 1.4)
    room = float(gap[0]) - 1.0 - travel
    crosser = _walker(rng, 0.0, travel + min(rng.uniform(5.6, 7.3), max(room, 4.9)), 0.0)
    return Place(
        drive=drive,
        town=town,
        light=light,
        snow_cover=rng.uniform(0.6, 1.0) if wintry else 0.0,
        bend=rng.normal(0, 0.0016),
        centre_x=centre_x,
        horizon_y=horizon_y,
        position_metres=position,
        ground_seed=int(rng.integers(2**31)),
        weather_seed=int(rng.integers(2**31)),
        zebra=bool(rng.random() < 0.45),
        buildings=_buildings(town, rng, kerb_left, kerb_right),
        trees=_trees(drive, town, rng, kerb_left, kerb_right),
        street_lights=_street_lights(rng, kerb_left, kerb_right),
        cars=_traffic(drive, rng, kerb_left, kerb_right),
        walkers=_walkers(rng, kerb_left, kerb_right),
        lead=Car(0.0, 0.0, 0.0, str(rng.choice(CAR_KINDS)), _car_colour(rng)),
        lead_gap_metres=gap,
        lead_lateral=wobble,
        sign_side=sign_side,
        sign_lateral=posts[sign_side],
        sign_z=sign_z,
        sign_width_metres=max(sign_width, 50.0 * sign_z / drive.focal),
        sign_height_metres=rng.uniform(2.2, 2.7),
        sign_neutral=str(rng.choice(NEUTRAL_SIGNS)),
        signal_lateral=posts[-sign_side],
        signal_z=signal_z,
        signal_scale=max(1.08, 27.0 * signal_z / drive.focal / SIGNAL_METRES[0]),
        signal_height_metres=rng.uniform(2.3, 2.9),
        signal_neutral=str(rng.choice(("dark", "red", "green"), p=(0.7, 0.15, 0.15))),
        crosser=crosser,
        crosser_reach_metres=rng.uniform(1.1, 1.6),
        joiner=_car(rng, 0.0, 0.0, 0.0),
        joiner_gap_metres=float(gap[0]) - rng.uniform(2.6, 3.2),
        switch_time=rng.uniform(4.0, 8.0),
        shift_frames=rng.uniform(3.5, 5.0),
        shift_share=rng.uniform(0.94, 1.04),
    )


def _weather(drive: Drive, rng: np.random.Generator) -> str:
    wet = "snow" if drive.season == "winter" else "rain"
    return str(rng.choice(("clear", "clouds", "haze", wet), p=(0.42, 0.26, 0.12, 0.2)))


def _car_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    paints = (
        (0.88, 0.89, 0.90), (0.62, 0.65, 0.68), (0.34, 0.36, 0.39), (0.13, 0.14, 0.16),
        (0.16, 0.28, 0.52), (0.30, 0.48, 0.68), (0.20, 0.38, 0.30), (0.72, 0.66, 0.54),
        (0.45, 0.16, 0.17), (0.80, 0.62, 0.22), (0.30, 0.22, 0.18), (0.48, 0.56, 0.58),
    )  # fmt: skip
    red, green, blue = np.clip(
        np.array(paints[int(rng.integers(len(paints)))]) + rng.normal(0, 0.02, 3), 0.05, 0.95
    )
    return float(red), float(green), float(blue)


def _buildings(
    town: str, rng: np.random.Generator, kerb_left: float, kerb_right: float
) -> tuple[Building, ...]:
    found = []
    for side, kerb in ((1, kerb_right), (-1, -kerb_left)):
        z = rng.uniform(4, 14)
        setback = kerb + rng.uniform(3.0, 4.0)
        while z < 110:
            if town == "city":
                length, gap = rng.uniform(9, 18), rng.choice((0.0, 0.0, 0.0, 7.0))
                height = rng.uniform(7, 19)
                back = setback + rng.choice((0.0, 0.0, 0.6))
            else:
                length, gap = rng.uniform(8, 12), rng.uniform(6, 16)
                height = rng.uniform(4.6, 6.4)
                back = setback + rng.uniform(3, 7)
                gap = gap * (1.0 if town == "suburb" else 4.0)
                if town == "country":
                    back += rng.uniform(4, 14)
            house = town != "city"
            found.append(
                Building(side, back, z, z + length, height, house, int(rng.integers(2**31)))
            )
            z += length + gap
    return tuple(found)


def _trees(
    drive: Drive, town: str, rng: np.random.Generator, kerb_left: float, kerb_right: float
) -> tuple[Tree, ...]:
    found = []
    spacing = {"city": 15.0, "suburb": 9.0, "country": 5.0}[town]
    greens = {
        "summer": ((0.42, 0.62, 0.26), (0.34, 0.55, 0.28), (0.52, 0.66, 0.30)),
        "autumn": ((0.86, 0.58, 0.20), (0.78, 0.36, 0.16), (0.66, 0.62, 0.24)),
        "winter": ((0.46, 0.42, 0.38), (0.40, 0.38, 0.36), (0.30, 0.42, 0.32)),
    }[drive.season]
    for kerb, side in ((kerb_right, 1), (-kerb_left, -1)):
        z = rng.uniform(15, 15 + spacing)
        while z < 95:
            deep = rng.random()
            beside = 1.3 + deep * {"city": 0.3, "suburb": 5.0, "country": 16.0}[town]
            tint = np.array(greens[int(rng.integers(3))]) * rng.uniform(0.85, 1.15)
            found.append(
                Tree(side * (kerb + beside), z, rng.uniform(4.5, 8.5), int(rng.integers(8)),
                     (float(tint[0]), float(tint[1]), float(tint[2])))
            )  # fmt: skip
            z += spacing * rng.uniform(0.5, 1.5)
    return tuple(found)


def _street_lights(
    rng: np.random.Generator, kerb_left: float, kerb_right: float
) -> tuple[tuple[float, float], ...]:
    first = rng.uniform(14, 30)
    right = [(kerb_right + 0.6, first + 24.0 * i) for i in range(4)]
    left = [(kerb_left - 0.6, first + 12.0 + 24.0 * i) for i in range(4)]
    return tuple(right + left)


def _traffic(
    drive: Drive, rng: np.random.Generator, kerb_left: float, kerb_right: float
) -> tuple[Car, ...]:
    found = []
    for z in np.arange(22.0, 62.0, 6.6):  # parked in the bay, beyond where the lead car may go
        if rng.random() < 0.36:
            found.append(_car(rng, kerb_right - 1.0, float(z + rng.uniform(0, 0.8)), 0.0))
    oncoming = -2.0 * drive.lane_metres - drive.island_metres
    z = rng.uniform(16, 40)
    pace = -rng.uniform(2.5, 6.5)
    while z < 75:
        found.append(_car(rng, oncoming + rng.uniform(-0.2, 0.2), float(z), pace))
        z += rng.uniform(12, 32)
    for lateral in (0.0, -drive.lane_metres):  # our own traffic, well ahead of the lead car
        if rng.random() < 0.7:
            pace = rng.uniform(0.2, 1.0)
            found.append(_car(rng, lateral + rng.uniform(-0.2, 0.2), rng.uniform(26, 42), pace))
    return tuple(found)


def _car(rng: np.random.Generator, lateral: float, z: float, speed: float) -> Car:
    return Car(lateral, z, float(speed), str(rng.choice(CAR_KINDS)), _car_colour(rng))


def _walkers(rng: np.random.Generator, kerb_left: float, kerb_right: float) -> tuple[Walker, ...]:
    found = []
    for _ in range(int(rng.integers(1, 6))):
        right = rng.random() < 0.6
        lateral = kerb_right + rng.uniform(0.9, 2.4) if right else kerb_left - rng.uniform(0.8, 2.4)
        pace = rng.choice((-1, 1)) * rng.uniform(0.7, 1.4)
        found.append(_walker(rng, float(lateral), rng.uniform(13, 40), float(pace)))
    return tuple(found)


def _walker(rng: np.random.Generator, lateral: float, z: float, speed: float) -> Walker:
    coats = (
        (0.75, 0.22, 0.20), (0.20, 0.34, 0.60), (0.85, 0.72, 0.30), (0.22, 0.24, 0.28),
        (0.30, 0.50, 0.40), (0.78, 0.76, 0.72), (0.55, 0.32, 0.50), (0.86, 0.50, 0.24),
    )  # fmt: skip
    trousers = ((0.18, 0.22, 0.34), (0.16, 0.16, 0.18), (0.42, 0.36, 0.30), (0.34, 0.38, 0.42))
    skins = ((0.93, 0.76, 0.66), (0.80, 0.60, 0.48), (0.56, 0.39, 0.30), (0.38, 0.26, 0.21))
    hairs = ((0.16, 0.12, 0.10), (0.36, 0.24, 0.16), (0.72, 0.58, 0.36), (0.60, 0.60, 0.60))

    def pick(options: tuple[tuple[float, float, float], ...]) -> tuple[float, float, float]:
        return options[int(rng.integers(len(options)))]

    return Walker(
        lateral, float(z), speed, rng.uniform(1.66, 1.88), pick(coats), pick(trousers), pick(skins),
        pick(hairs), bool(rng.random() < 0.4), rng.uniform(0, 1),
    )  # fmt: skip
