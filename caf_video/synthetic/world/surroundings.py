"""What surrounds the road, in numbers: buildings, trees, street lights, traffic, people on foot."""

from dataclasses import dataclass

import numpy as np

TOWNS = ("city", "suburb", "country")

Colour = tuple[float, float, float]

_PAINTS: tuple[Colour, ...] = (
    (0.88, 0.89, 0.90), (0.62, 0.65, 0.68), (0.34, 0.36, 0.39), (0.13, 0.14, 0.16),
    (0.16, 0.28, 0.52), (0.30, 0.48, 0.68), (0.20, 0.38, 0.30), (0.72, 0.66, 0.54),
    (0.45, 0.16, 0.17), (0.80, 0.62, 0.22), (0.30, 0.22, 0.18), (0.48, 0.56, 0.58),
)  # fmt: skip
_COATS: tuple[Colour, ...] = (
    (0.75, 0.22, 0.20), (0.20, 0.34, 0.60), (0.85, 0.72, 0.30), (0.22, 0.24, 0.28),
    (0.30, 0.50, 0.40), (0.78, 0.76, 0.72), (0.55, 0.32, 0.50), (0.86, 0.50, 0.24),
)  # fmt: skip
_TROUSERS: tuple[Colour, ...] = (
    (0.18, 0.22, 0.34), (0.16, 0.16, 0.18), (0.42, 0.36, 0.30), (0.34, 0.38, 0.42),
)  # fmt: skip
_SKINS: tuple[Colour, ...] = (
    (0.93, 0.76, 0.66), (0.80, 0.60, 0.48), (0.56, 0.39, 0.30), (0.38, 0.26, 0.21),
)  # fmt: skip
_HAIRS: tuple[Colour, ...] = (
    (0.16, 0.12, 0.10), (0.36, 0.24, 0.16), (0.72, 0.58, 0.36), (0.60, 0.60, 0.60),
)  # fmt: skip
_LEAVES: dict[str, tuple[Colour, ...]] = {
    "summer": ((0.42, 0.62, 0.26), (0.34, 0.55, 0.28), (0.52, 0.66, 0.30)),
    "autumn": ((0.86, 0.58, 0.20), (0.78, 0.36, 0.16), (0.66, 0.62, 0.24)),
    "winter": ((0.46, 0.42, 0.38), (0.40, 0.38, 0.36), (0.30, 0.42, 0.32)),
}
CAR_KINDS = ("sedan", "hatchback", "suv", "van")
TREE_SHAPES = 8


@dataclass(frozen=True)
class Kerbs:
    """Where the road ends, in metres right of the middle of our lane, and its lanes' middles."""

    left: float
    right: float
    bay: float
    beside: float
    oncoming: float


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
    tint: Colour


@dataclass(frozen=True)
class Car:
    """A car of the traffic; `speed` in metres per second along z (negative: towards us)."""

    lateral: float
    z: float
    speed: float
    kind: str
    paint: Colour


@dataclass(frozen=True)
class Walker:
    """Someone on foot: where they are, how fast they walk along the road, looks and stature."""

    lateral: float
    z: float
    speed: float
    height_metres: float
    coat: Colour
    trousers: Colour
    skin: Colour
    hair: Colour
    bag: bool
    phase: float


def pick(options: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    """One of the colours."""
    return options[int(rng.integers(len(options)))]


def random_paint(rng: np.random.Generator) -> Colour:
    """The paint of a car. None is a pure red: that is the colour of what an event may show."""
    red, green, blue = np.clip(np.array(pick(_PAINTS, rng)) + rng.normal(0, 0.02, 3), 0.05, 0.95)
    return float(red), float(green), float(blue)


def random_car(
    lateral: float,
    z: float,
    speed: float,
    rng: np.random.Generator,
    *,
    kinds: tuple[str, ...] = CAR_KINDS,
) -> Car:
    """Some car at a place."""
    kind = kinds[int(rng.integers(len(kinds)))]
    return Car(lateral, z, speed, kind, random_paint(rng))


def random_walker(lateral: float, z: float, speed: float, rng: np.random.Generator) -> Walker:
    """Some person at a place."""
    return Walker(
        lateral, z, speed, rng.uniform(1.66, 1.88), pick(_COATS, rng), pick(_TROUSERS, rng),
        pick(_SKINS, rng), pick(_HAIRS, rng), bool(rng.random() < 0.4), rng.uniform(0, 1),
    )  # fmt: skip


def random_buildings(town: str, kerbs: Kerbs, rng: np.random.Generator) -> tuple[Building, ...]:
    """Both sides of the street: blocks in a city, houses and gardens elsewhere."""
    found = []
    for side, kerb in ((1, kerbs.right), (-1, -kerbs.left)):
        z = rng.uniform(4, 14)
        setback = kerb + rng.uniform(3.0, 4.0)
        while z < 85:
            if town == "city":
                length, gap = rng.uniform(9, 18), 7.0 * (rng.random() < 0.25)
                height, back = rng.uniform(7, 19), setback + 0.6 * (rng.random() < 0.33)
            else:
                length, gap = rng.uniform(8, 12), rng.uniform(6, 16)
                height, back = rng.uniform(4.6, 6.4), setback + rng.uniform(3, 7)
                if town == "country":
                    gap, back = gap * 4.0, back + rng.uniform(4, 14)
            seed = int(rng.integers(2**31))
            found.append(Building(side, back, z, z + length, height, town != "city", seed))
            z += length + gap
    return tuple(found)


def random_trees(
    town: str, season: str, kerbs: Kerbs, rng: np.random.Generator
) -> tuple[Tree, ...]:
    """Trees along the street, in gardens or in fields."""
    found = []
    spacing = {"city": 15.0, "suburb": 9.0, "country": 5.0}[town]
    depth = {"city": 0.3, "suburb": 5.0, "country": 16.0}[town]
    for side, kerb in ((1, kerbs.right), (-1, -kerbs.left)):
        z = rng.uniform(15, 15 + spacing)
        while z < 95:
            lateral = side * (kerb + 1.3 + rng.random() * depth)
            height, shape = rng.uniform(4.5, 8.5), int(rng.integers(TREE_SHAPES))
            red, green, blue = np.array(pick(_LEAVES[season], rng)) * rng.uniform(0.85, 1.15)
            tint = (float(red), float(green), float(blue))
            found.append(Tree(lateral, z, height, shape, tint))
            z += spacing * rng.uniform(0.5, 1.5)
    return tuple(found)


def random_street_lights(kerbs: Kerbs, rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    """(lateral, z) of lamp posts, left and right in turn."""
    first = rng.uniform(14, 30)
    right = [(kerbs.right + 0.6, first + 24.0 * i) for i in range(4)]
    left = [(kerbs.left - 0.6, first + 12.0 + 24.0 * i) for i in range(4)]
    return tuple(right + left)


def random_traffic(kerbs: Kerbs, rng: np.random.Generator) -> tuple[Car, ...]:
    """Parked, oncoming and our own traffic, all of it beyond where an event may happen."""
    found = []
    for z in np.arange(22.0, 62.0, 6.6).tolist():
        if rng.random() < 0.36:
            found.append(random_car(kerbs.bay, z + rng.uniform(0, 0.8), 0.0, rng))
    z, pace = rng.uniform(16, 40), -rng.uniform(2.5, 6.5)
    while z < 75:
        found.append(random_car(kerbs.oncoming + rng.uniform(-0.2, 0.2), z, pace, rng))
        z += rng.uniform(12, 32)
    for lateral in (0.0, kerbs.beside):
        if rng.random() < 0.7:
            lateral, z = lateral + rng.uniform(-0.2, 0.2), rng.uniform(26, 42)
            found.append(random_car(lateral, z, rng.uniform(0.2, 1.0), rng))
    return tuple(found)


def random_walkers(kerbs: Kerbs, rng: np.random.Generator) -> tuple[Walker, ...]:
    """People on the pavements."""
    found = []
    for _ in range(int(rng.integers(1, 4))):
        beside = rng.uniform(0.9, 2.4)
        lateral = kerbs.right + beside if rng.random() < 0.6 else kerbs.left - beside
        pace = rng.uniform(0.7, 1.4) * (1.0 if rng.random() < 0.5 else -1.0)
        found.append(random_walker(lateral, rng.uniform(13, 40), pace, rng))
    return tuple(found)
