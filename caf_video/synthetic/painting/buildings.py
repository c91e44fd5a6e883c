"""Buildings: blocks with shops and rows of windows, houses with gables."""

import numpy as np

from caf_video.synthetic.painting.drawing import Mesh
from caf_video.synthetic.world.light import to_rgb
from caf_video.synthetic.world.scene import Place
from caf_video.synthetic.world.surroundings import Building

_NEAREST_WALL = (
    4.6  # metres: nearer walls are outside the picture, and must not pass behind the eye
)
_WALLS = (
    (0.62, 0.42, 0.34), (0.74, 0.66, 0.54), (0.55, 0.53, 0.52), (0.80, 0.77, 0.70),
    (0.50, 0.34, 0.30), (0.66, 0.58, 0.50), (0.42, 0.46, 0.52), (0.76, 0.58, 0.42),
    (0.58, 0.62, 0.58), (0.84, 0.80, 0.76),
)  # fmt: skip
_ROOFS = ((0.40, 0.22, 0.18), (0.28, 0.28, 0.31), (0.36, 0.29, 0.24), (0.46, 0.30, 0.22))
_AWNINGS = ((0.64, 0.18, 0.18), (0.18, 0.36, 0.30), (0.20, 0.28, 0.48), (0.78, 0.60, 0.28))
_SNOW = np.array([0.9, 0.92, 0.96])
_LAMPLIGHT = np.array([1.0, 0.80, 0.46])
_FACING = np.array([0.0, 0.0, -1.0])
_STOREY_METRES = 3.0
_SHOP_METRES = 3.5


def building_mesh(building: Building, place: Place) -> Mesh:
    """A building in the light of a place; far details are left out."""
    rng = np.random.default_rng(building.seed)
    near = max(building.near_z, _NEAREST_WALL)
    mesh = Mesh()
    if building.far_z > near:
        draw = _house if building.house else _block
        draw(mesh, building, near, place, rng)
    return mesh


class _Wall:
    """A wall in a mesh: points on it are (along, up) in metres from its lower corner.

    Args:
        start: World x, z of the corner.
        end: World x, z of the other end.
        distance: At which it is seen, for the light and the details.
    """

    def __init__(
        self, mesh: Mesh, place: Place, start: np.ndarray, end: np.ndarray, normal: np.ndarray,
        distance: float,
    ) -> None:  # fmt: skip
        self._mesh, self._light, self._normal = mesh, place.light, normal
        self._distance = distance
        self._origin = np.array([start[0], 0.0, start[1]])
        self.length = float(np.hypot(*(end - start)))
        along = (end - start) / self.length
        self._axes = np.array([[along[0], 0.0, along[1]], [0.0, 1.0, 0.0]])

    def world(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) of points on the wall (..., 2)."""
        return self._origin + points @ self._axes

    def paint(self, points: np.ndarray, colour: np.ndarray) -> None:
        """One polygon (n, 2)."""
        self._mesh.add(self.world(points), self._light.paint(colour, self._distance, self._normal))

    def band(self, low: float, high: float, colour: np.ndarray) -> None:
        """A stripe from one end to the other."""
        wide = self.length
        self.paint(np.array([[0.0, low], [wide, low], [wide, high], [0.0, high]]), colour)

    def grid(self, lefts: np.ndarray, lows: np.ndarray, width: float, height: float) -> np.ndarray:
        """Rectangles in rows, (k, 4, 3)."""
        corner = np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])
        left, low = (axis.ravel() for axis in np.meshgrid(lefts, lows))
        return self.world(corner + np.stack([left, low], axis=1)[:, None])

    def windows(
        self, lefts: np.ndarray, lows: np.ndarray, width: float, height: float,
        frame: np.ndarray, lit_share: float, rng: np.random.Generator,
    ) -> None:  # fmt: skip
        """Windows in rows: frames, panes that mirror the sky above, some with the lamp on."""
        count = len(lefts) * len(lows)
        if not count:
            return
        light, distance = self._light, self._distance
        lit = rng.random(count) < lit_share
        if distance < 50.0:
            frames = self.grid(lefts - 0.08, lows - 0.12, width + 0.16, height + 0.2)
            self._mesh.add(frames, light.paint(frame, distance, self._normal))
        dark = light.shade(np.array([0.15, 0.18, 0.22]), self._normal)
        panes = self.grid(lefts, lows, width, height)
        glass = to_rgb(light.fade(dark * 0.75 + light.sky_low * 0.12, distance))
        self._mesh.add(panes[~lit], glass)
        if distance < 36.0:
            upper = self.grid(lefts, lows + height * 0.55, width, height * 0.45)
            bright = to_rgb(light.fade(dark * 0.5 + light.sky_low * 0.42, distance))
            self._mesh.add(upper[~lit], bright)
        warm = _LAMPLIGHT * (0.55 + 0.45 * light.darkness)
        self._mesh.add(panes[lit], to_rgb(light.fade(warm, distance * 0.6)))


def _walls(
    mesh: Mesh, building: Building, near: float, deep: float, place: Place
) -> tuple[_Wall, _Wall]:
    """The end wall that faces us and the wall along the road."""
    side, setback = building.side, building.side * building.setback_metres
    corner = np.array([setback + place.bend_at(near), near])
    far = np.array([setback + place.bend_at(building.far_z), building.far_z])
    inwards = np.array([-float(side), 0.0, 0.0])
    seen = near + min(building.far_z - near, 8.0) * 0.4
    return (
        _Wall(mesh, place, corner, corner + [side * deep, 0.0], _FACING, near),
        _Wall(mesh, place, corner, far, inwards, seen),
    )


def _block(
    mesh: Mesh, building: Building, near: float, place: Place, rng: np.random.Generator
) -> None:
    darkness = place.light.darkness
    colour = np.array(_WALLS[int(rng.integers(len(_WALLS)))]) * rng.uniform(0.9, 1.08)
    trim = np.minimum(colour * 1.25 + 0.05, 0.95) if rng.random() < 0.6 else colour * 0.7
    awning = np.array(_AWNINGS[int(rng.integers(len(_AWNINGS)))])
    pitch, share, rise = rng.uniform(1.7, 3.0), rng.uniform(0.42, 0.72), rng.uniform(1.3, 2.0)
    tall = building.height_metres
    lows = np.arange(_SHOP_METRES + 1.0, tall - 0.7 - rise, _STOREY_METRES)
    for wall in _walls(mesh, building, near, 14.0, place):
        wall.band(0.0, tall, colour)
        wall.band(0.0, _SHOP_METRES, colour * 0.72)
        wall.band(tall - 0.55, tall, trim)
        wall.band(_SHOP_METRES, _SHOP_METRES + 0.25, trim)
        if place.snow_cover:
            wall.band(tall - 0.06, tall + 0.16, _SNOW)
        lefts = np.arange(0.5, wall.length - pitch * share - 0.3, pitch)
        wall.windows(lefts, lows, pitch * share, rise, trim, 0.04 + 0.38 * darkness, rng)
        shops = np.arange(0.6, wall.length - 2.6, 3.4)
        lit_share = 0.25 + 0.6 * darkness
        wall.windows(shops, np.array([0.5]), 2.5, 2.1, colour * 0.4, lit_share, rng)
        for left in shops.tolist():
            blind = [
                [left - 0.15, 2.65],
                [left + 2.65, 2.65],
                [left + 2.65, 3.15],
                [left - 0.15, 3.15],
            ]
            wall.paint(np.array(blind), awning)


def _house(
    mesh: Mesh, building: Building, near: float, place: Place, rng: np.random.Generator
) -> None:
    light = place.light
    colour = np.array(_WALLS[int(rng.integers(len(_WALLS)))]) * 1.05
    roof = np.array(_ROOFS[int(rng.integers(len(_ROOFS)))])
    roof = roof + (_SNOW - roof) * place.snow_cover
    door = np.array(_AWNINGS[int(rng.integers(len(_AWNINGS)))])
    deep, eaves = rng.uniform(7.0, 9.0), building.height_metres - 1.2
    ridge = eaves + rng.uniform(2.2, 3.4)
    front, side = _walls(mesh, building, near, deep, place)
    side.band(0.0, eaves, colour)
    gable = [[0, 0], [deep, 0], [deep, eaves], [deep / 2, ridge], [0, eaves]]
    front.paint(np.array(gable), colour)
    lows = np.array([0.9, 3.5]) if eaves > 4.6 else np.array([0.9])
    for wall in (side, front):
        lefts = np.arange(1.0, wall.length - 1.6, 2.7)
        white, lit_share = np.array([0.9, 0.9, 0.87]), 0.05 + 0.5 * light.darkness
        wall.windows(lefts, lows, 1.15, 1.35, white, lit_share, rng)
    left = side.length * 0.45
    side.paint(np.array([[left, 0.0], [left + 1, 0.0], [left + 1, 2.1], [left, 2.1]]), door)
    # The slope towards the road overhangs the wall a little.
    low, end = eaves - 0.25, side.length + 0.3
    tiles = side.world(np.array([[-0.3, low], [end, low], [end, ridge], [-0.3, ridge]]))
    tiles[:2, 0] -= building.side * 0.45
    tiles[2:, 0] += building.side * deep / 2
    slope = np.array([-float(building.side), 1.2, 0.0])
    mesh.add(tiles, light.paint(roof, near + 2.0, slope / np.linalg.norm(slope)))
    barge = [[-0.3, eaves - 0.3], [deep / 2, ridge + 0.05], [deep + 0.3, eaves - 0.3],
             [deep + 0.3, eaves - 0.05], [deep / 2, ridge + 0.3], [-0.3, eaves - 0.05]]  # fmt: skip
    front.paint(np.array(barge), roof * 0.8 + 0.1)
    stack = [[deep * 0.28, ridge - 1.6], [deep * 0.28 + 0.7, ridge - 1.6],
             [deep * 0.28 + 0.7, ridge + 0.5], [deep * 0.28, ridge + 0.5]]  # fmt: skip
    front.paint(np.array(stack), np.array([0.46, 0.30, 0.26]))
