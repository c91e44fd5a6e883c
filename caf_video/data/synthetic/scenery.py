"""What stands beside the road: buildings, houses, trees."""

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from caf_video.data.synthetic.drawing import Mesh, Picture
from caf_video.data.synthetic.light import Light, to_rgb
from caf_video.data.synthetic.scene import Building, Place, Tree

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
_WARM = np.array([1.0, 0.80, 0.46])

# (along, up) on a wall, in metres from its lower corner -> world points
Wall = Callable[[np.ndarray], np.ndarray]


def _band(wide: float, low: float, high: float) -> np.ndarray:
    """A rectangle (4, 2) across a wall."""
    return np.array([[0.0, low], [wide, low], [wide, high], [0.0, high]])


def _row(wall: Wall, lefts: np.ndarray, width: float, low: float, high: float) -> np.ndarray:
    """Rectangles side by side on a wall, (k, 4, 3)."""
    corner = np.array([[0.0, low], [width, low], [width, high], [0.0, high]])
    points = np.repeat(corner[None], len(lefts), axis=0)
    points[:, :, 0] += lefts[:, None]
    return wall(points.reshape(-1, 2)).reshape(-1, 4, 3)


def building_mesh(building: Building, place: Place) -> Mesh:
    """A building in the light of a place; far details are left out."""
    rng = np.random.default_rng(building.seed)
    near = max(building.near_z, _NEAREST_WALL)
    mesh = Mesh()
    if building.far_z > near:
        if building.house:
            _house(mesh, building, near, place, rng)
        else:
            _block(mesh, building, near, place, rng)
    return mesh


def _side_wall(building: Building, near: float, place: Place) -> Wall:
    """The wall along the road."""

    def on_wall(points: np.ndarray) -> np.ndarray:
        z = near + points[:, 0]
        x = building.side * building.setback_metres + place.bend_at(z)
        return np.stack([x, points[:, 1], z], axis=1)

    return on_wall


def _front_wall(building: Building, near: float, place: Place) -> Wall:
    """The end wall that faces us."""
    corner = building.side * building.setback_metres + place.bend_at(near)

    def on_wall(points: np.ndarray) -> np.ndarray:
        x = corner + building.side * points[:, 0]
        return np.stack([x, points[:, 1], np.full(len(points), near)], axis=1)

    return on_wall


def _block(
    mesh: Mesh, building: Building, near: float, place: Place, rng: np.random.Generator
) -> None:
    light = place.light
    colour = np.array(_WALLS[int(rng.integers(len(_WALLS)))]) * rng.uniform(0.9, 1.08)
    trim = np.minimum(colour * 1.25 + 0.05, 0.95) if rng.random() < 0.6 else colour * 0.7
    length, tall = building.far_z - near, building.height_metres
    storeys = max(int((tall - 3.9) / 3.0), 1)
    style = {
        "pitch": rng.uniform(1.7, 3.0), "share": rng.uniform(0.42, 0.72), "rise": rng.uniform(1.3, 2.0),
    }  # fmt: skip
    awning = np.array(_AWNINGS[int(rng.integers(len(_AWNINGS)))])
    walls = (
        (_front_wall(building, near, place), 14.0, np.array([0.0, 0.0, -1.0]), near),
        (_side_wall(building, near, place), length, np.array([-float(building.side), 0, 0]),
         near + min(length, 8.0) * 0.4),
    )  # fmt: skip
    for wall, wide, normal, distance in walls:
        paint = _painter(light, distance, normal)
        mesh.add(wall(_band(wide, 0.0, tall)), paint(colour))
        mesh.add(wall(_band(wide, 0.0, 3.5)), paint(colour * 0.72))
        mesh.add(wall(_band(wide, tall - 0.55, tall)), paint(trim))
        mesh.add(wall(_band(wide, 3.5, 3.75)), paint(trim))
        if place.snow_cover:
            snow = light.paint(np.array([0.9, 0.92, 0.96]), distance)
            mesh.add(wall(_band(wide, tall - 0.06, tall + 0.16)), snow)
        pitch = style["pitch"]
        lefts = np.arange(0.5, wide - pitch * style["share"] - 0.3, pitch)
        if len(lefts) == 0:
            continue
        lit_share = 0.04 + 0.38 * light.darkness
        for storey in range(storeys):
            low = 4.5 + storey * 3.0
            if low + style["rise"] > tall - 0.7:
                break
            _windows(mesh, wall, lefts, pitch * style["share"], low, low + style["rise"],
                     light, distance, normal, trim, lit_share, rng)  # fmt: skip
        # Shops on the street.
        shop = np.arange(0.6, wide - 2.6, 3.4)
        if len(shop):
            _windows(mesh, wall, shop, 2.5, 0.5, 2.6, light, distance, normal, colour * 0.4,
                     0.25 + 0.6 * light.darkness, rng)  # fmt: skip
            mesh.add(_row(wall, shop - 0.15, 2.8, 2.65, 3.15), paint(awning))


def _painter(
    light: Light, distance: float, normal: np.ndarray
) -> Callable[[np.ndarray], tuple[int, int, int]]:
    return lambda colour: light.paint(colour, distance, normal)


def _windows(
    mesh: Mesh, wall: Wall, lefts: np.ndarray, width: float, low: float, high: float, light: Light,
    distance: float, normal: np.ndarray, frame: np.ndarray, lit_share: float,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """A row of windows: frames, panes that mirror the sky above, and some with the lamp on."""
    lit = rng.random(len(lefts)) < lit_share
    if distance < 60:
        frames = _row(wall, lefts - 0.08, width + 0.16, low - 0.12, high + 0.08)
        mesh.add(frames, light.paint(frame, distance, normal))
    dark = light.shade(np.array([0.15, 0.18, 0.22]), normal)
    glass = to_rgb(light.fade(dark * 0.75 + light.sky_low * 0.12, distance))
    bright = to_rgb(light.fade(dark * 0.5 + light.sky_low * 0.42, distance))
    warm = _WARM * (0.55 + 0.45 * light.darkness)
    mesh.add(_row(wall, lefts[~lit], width, low, high), glass)
    middle = low + (high - low) * 0.55
    if distance < 40:
        mesh.add(_row(wall, lefts[~lit], width, middle, high), bright)
    mesh.add(_row(wall, lefts[lit], width, low, high),
             to_rgb(light.fade(warm, distance * 0.6)))  # fmt: skip


def _house(
    mesh: Mesh, building: Building, near: float, place: Place, rng: np.random.Generator
) -> None:
    light = place.light
    colour = np.array(_WALLS[int(rng.integers(len(_WALLS)))]) * 1.05
    roof = np.array(_ROOFS[int(rng.integers(len(_ROOFS)))])
    eaves, length, deep = building.height_metres - 1.2, building.far_z - near, rng.uniform(7.0, 9.0)
    ridge = eaves + rng.uniform(2.2, 3.4)
    front, side = _front_wall(building, near, place), _side_wall(building, near, place)
    facing, along = np.array([0.0, 0.0, -1.0]), np.array([-float(building.side), 0.0, 0.0])
    white = np.array([0.9, 0.9, 0.87])
    snow = place.snow_cover
    covered = roof * (1 - snow) + np.array([0.9, 0.92, 0.96]) * snow
    mesh.add(
        side(_band(length, 0, eaves)),
        light.paint(colour, near + 2, along),
    )
    gable = np.array([[0, 0], [deep, 0], [deep, eaves], [deep / 2, ridge], [0, eaves]])
    mesh.add(front(gable), light.paint(colour, near, facing))
    lit = 0.05 + 0.5 * light.darkness
    for wall, wide, normal, distance in (
        (side, length, along, near + 2),
        (front, deep, facing, near),
    ):
        for low in (0.9, 3.5) if eaves > 4.6 else (0.9,):
            lefts = np.arange(1.0, wide - 1.6, 2.7)
            _windows(
                mesh, wall, lefts, 1.15, low, low + 1.35, light, distance, normal, white, lit, rng
            )
    door = _row(side, np.array([length * 0.45]), 1.0, 0.0, 2.1)
    mesh.add(door, light.paint(np.array(_AWNINGS[int(rng.integers(4))]), near, along))
    # The slope towards the road overhangs the wall a little.
    slope = np.array(
        [[-0.3, eaves - 0.25], [length + 0.3, eaves - 0.25], [length + 0.3, ridge], [-0.3, ridge]]
    )
    tile = side(slope)
    tile[:2, 0] -= building.side * 0.45
    tile[2:, 0] += building.side * deep / 2
    normal = np.array([-float(building.side), 1.2, 0.0])
    mesh.add(tile, light.paint(covered, near + 2, normal / np.linalg.norm(normal)))
    barge = np.array([[-0.3, eaves - 0.3], [deep / 2, ridge + 0.05], [deep + 0.3, eaves - 0.3],
                      [deep + 0.3, eaves - 0.05], [deep / 2, ridge + 0.3], [-0.3, eaves - 0.05]])  # fmt: skip
    mesh.add(front(barge), light.paint(covered * 0.8 + 0.1, near, facing))
    stack = np.array([[deep * 0.28, ridge - 1.6], [deep * 0.28 + 0.7, ridge - 1.6],
                      [deep * 0.28 + 0.7, ridge + 0.5], [deep * 0.28, ridge + 0.5]])  # fmt: skip
    mesh.add(front(stack), light.paint(np.array([0.46, 0.30, 0.26]), near, facing))


@lru_cache(maxsize=16)
def _tree(shape: int, bare: bool) -> Picture:
    """A tree in white and grey, (192, 144, 4) float32 premultiplied, lit from the upper left."""
    rng = np.random.default_rng([shape, int(bare), 5])
    height, width = 384, 288
    rgb = np.zeros((height, width, 3), np.uint8)
    alpha = np.zeros((height, width), np.uint8)

    def both(
        draw: Callable[[np.ndarray, tuple[int, ...]], object], level: int, red: float = 1.0
    ) -> None:
        draw(rgb, (int(min(level * red, 255)), level, int(level * (2 - red))))
        draw(alpha, (255,))

    def branch(x: float, y: float, angle: float, length: float, thick: float, depth: int) -> None:
        x2, y2 = x + np.cos(angle) * length, y - np.sin(angle) * length
        level = int(rng.integers(60, 90))
        start, end = (int(x * 16), int(y * 16)), (int(x2 * 16), int(y2 * 16))
        both(lambda a, c: cv2.line(a, start, end, c, max(int(thick), 1), cv2.LINE_AA, 4), level)
        if depth:
            for turn in rng.normal(0, 0.16, 3) + np.array([-0.52, 0.02, 0.5]):
                branch(
                    x2, y2, angle + turn, length * rng.uniform(0.62, 0.8), thick * 0.62, depth - 1
                )

    conifer = shape >= 6
    if conifer:
        trunk = np.array([[136, 383], [152, 383], [148, 250], [140, 250]])
        both(lambda a, c: cv2.fillPoly(a, [trunk], c, cv2.LINE_AA), 70)
        for tier in range(9):
            y = 345 - tier * 37
            wide = 104 * (1 - tier / 10.5)
            for k in range(26):
                x = 144 + rng.normal(0, 0.42) * wide
                drop = y + abs(x - 144) * 0.32 + rng.uniform(-10, 12)
                level = int(
                    np.clip(118 + 70 * (144 - x) / 120 + tier * 4 + rng.normal(0, 16), 60, 240)
                )
                spray = np.array([[x - 15, drop + 9], [x + 15, drop + 9], [x, drop - 28]], np.int32)
                both(lambda a, c, s=spray: cv2.fillPoly(a, [s], c, cv2.LINE_AA), level)
    else:
        branch(144, 383, np.pi / 2 + rng.normal(0, 0.03), 92, 15, 5 if bare else 3)
        if not bare:
            blobs = []
            spread = rng.uniform(0.8, 1.05)
            for _ in range(26):
                a, r = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
                blobs.append(
                    (
                        144 + np.cos(a) * r * 92 * spread,
                        150 - np.sin(a) * r * 98,
                        rng.uniform(24, 44),
                    )
                )
            blobs.sort(
                key=lambda blob: blob[1] * 0.4 + blob[0] * 0.15 + rng.uniform(0, 60), reverse=True
            )
            for x, y, radius in blobs:
                for _ in range(22):
                    a, r = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.uniform(0, 1))
                    px, py = x + np.cos(a) * r, y - np.sin(a) * r
                    toward_light = (-(px - 144) * 0.5 - (py - 150)) / 130 + (
                        np.sin(a) - np.cos(a) * 0.5
                    ) * r / 60
                    level = int(np.clip(138 + 52 * toward_light + rng.normal(0, 12), 52, 250))
                    centre, size = (int(px * 16), int(py * 16)), int(rng.uniform(5, 11) * 16)
                    both(
                        lambda a2, c, p=centre, s=size: cv2.circle(a2, p, s, c, -1, cv2.LINE_AA, 4),
                        level,
                    )
    stacked = np.dstack([rgb.astype(np.float32) * (alpha[..., None] / 255.0), alpha]).astype(
        np.float32
    )
    return Picture.halved(cv2.resize(stacked, (144, 192), interpolation=cv2.INTER_AREA))


def tree_picture(tree: Tree, place: Place) -> Picture:
    """A tree's picture in the light of a place."""
    light = place.light
    bare = place.drive.season == "winter" and tree.shape < 6
    tint = np.array(tree.tint) if tree.shape < 6 or bare else np.array([0.26, 0.40, 0.26])
    tint = tint * (1 - 0.45 * place.snow_cover) + 0.45 * place.snow_cover * np.array(
        [0.9, 0.92, 0.96]
    )
    lit = np.minimum(light.ambient + light.sun * 0.7, 1.4) * tint * 1.5
    clear = float(np.exp(-max(tree.z - 6.0, 0.0) / light.fog_metres))
    width = (
        0.75 * tree.height_metres * place.drive.focal / (tree.z - float(place.position_metres[-1]))
    )
    return _tree(tree.shape, bare).tinted(lit, light.fog, clear, width=width)
