"""The ground: road, worn markings, kerbs, pavements and verges, painted once and then driven over.

The ground is painted twice as large as it is seen from the first camera position; every later frame
is that picture through the homography of a camera that moved forward over a plane.
"""

from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np

from caf_video.synthetic.painting.drawing import fixed_point
from caf_video.synthetic.world.camera import HEIGHT, WIDTH, Camera
from caf_video.synthetic.world.light import to_rgb
from caf_video.synthetic.world.scene import Place

_SCALE = 2
_MARGIN = 40  # source pixels beyond each side
_STRETCHES = np.array([2.4, 4, 6, 8, 11, 15, 21, 30, 45, 80, 400.0])


_ASPHALT_METRES = 0.03  # of a texture pixel
_TURN = np.linspace(0, 2 * np.pi, 14, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)
_UP = np.array([0.0, 1.0, 0.0])
_VERGES = {
    "city": (0.50, 0.48, 0.46),
    "suburb": (0.34, 0.44, 0.22),
    "country": (0.36, 0.45, 0.20),
}


@lru_cache(maxsize=1)
def _asphalt() -> np.ndarray:
    """(1024, 1024) uint8 about 128: grain, patches and faint cracks, seen from above."""
    rng = np.random.default_rng(11)
    fine = rng.normal(0, 13, (1024, 1024)).astype(np.float32)
    mottle = cv2.resize(rng.normal(0, 9, (96, 96)).astype(np.float32), (1024, 1024))
    patches = cv2.resize(rng.normal(0, 7, (10, 10)).astype(np.float32), (1024, 1024))
    picture = 128 + fine + mottle + patches
    for _ in range(16):  # cracks and joints
        points = np.cumsum(rng.normal(0, 22, (14, 2)) + rng.normal(0, 12, 2), axis=0)
        points = (points + rng.uniform(0, 1024, 2)).astype(np.int32)
        cv2.polylines(picture, [points], False, 92.0, 1, cv2.LINE_AA)
    for _ in range(5):  # mended patches
        x, y = rng.integers(0, 900, 2)
        width, length = rng.integers(40, 120, 2)
        picture[y : y + length, x : x + width] -= 11
    return np.clip(picture, 0, 255).astype(np.uint8)


class Ground:
    """The painted ground of one clip."""

    def __init__(self, place: Place, sky: np.ndarray, sky_horizon: int) -> None:
        drive = place.drive
        self._height = drive.camera_height_metres
        rng = np.random.default_rng(place.ground_seed)
        width = (WIDTH + 2 * _MARGIN) * _SCALE
        self._center = width / 2
        rows = int((HEIGHT - place.horizon_y.min() + 6) * _SCALE)
        self._camera = Camera(drive.focal * _SCALE, self._center, 0.0, self._height)
        self._picture: np.ndarray = np.zeros((rows, width, 3), np.uint8)
        self._place = place
        self._paint(rng)
        self._texture(rng)
        self._weather(sky, sky_horizon)

    def draw(self, image: np.ndarray, camera: Camera, *, top: int) -> None:
        """Draw the ground from row `top` on, the horizon's or a lower one."""
        drop = top - camera.horizon_y + 0.5
        moved = camera.position_metres / self._height
        scale, focal = float(_SCALE), camera.focal
        shift = 0.5 - camera.center_x
        # (u, v) of the frame -> (x, h, z) of the ground, z advanced by the way driven -> picture.
        to_ground = np.array(
            [[1.0, 0.0, shift], [0.0, 1.0, drop], [0.0, moved, focal + moved * drop]]
        )
        to_picture = np.array(
            [[scale * focal, 0.0, self._center - 0.5], [0.0, scale * focal, -0.5], [0.0, 0.0, 1.0]]
        )
        image[top:] = cv2.warpPerspective(
            self._picture,
            to_picture @ to_ground,
            (image.shape[1], image.shape[0] - top),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )

    def _strip(
        self, left: float, right: float, colour: np.ndarray, near: float = 2.4, far: float = 400.0
    ) -> None:
        """Paint the ground between two lateral offsets and two distances, following the bend."""
        inside = _STRETCHES[(near < _STRETCHES) & (far > _STRETCHES)]
        z = np.concatenate([[near], inside, [far]])
        middle = self._place.bend_at(z)
        there = np.stack([middle + left, np.zeros_like(z), z], axis=1)
        back = np.stack([middle + right, np.zeros_like(z), z], axis=1)[::-1]
        self._fill([np.concatenate([there, back])], colour)

    def _patches(self, patches: np.ndarray, colour: np.ndarray) -> None:
        """Paint short strips, (k, 4): left, right, near, far."""
        left, right, near, far = patches.T
        near_bend, far_bend = self._place.bend_at(near), self._place.bend_at(far)
        x = np.stack(
            [left + near_bend, right + near_bend, right + far_bend, left + far_bend], axis=1
        )
        z = np.stack([near, near, far, far], axis=1)
        self._fill(list(np.stack([x, np.zeros_like(x), z], axis=2)), colour)

    def _fill(self, polygons: list[np.ndarray], colour: np.ndarray) -> None:
        outlines = [fixed_point(self._camera.project(polygon)) for polygon in polygons]
        rgb = to_rgb(self._place.light.shade(colour, _UP))
        cv2.fillPoly(self._picture, outlines, rgb, cv2.LINE_AA, 4)

    def _paint(self, rng: np.random.Generator) -> None:
        place, drive = self._place, self._place.drive
        lane, half = drive.lane_metres, drive.lane_metres / 2
        island, kerbs = drive.island, drive.kerbs
        kerb_left, kerb_right = kerbs.left, kerbs.right
        asphalt = np.array([0.27, 0.275, 0.29]) * rng.uniform(0.88, 1.2)
        snow = place.snow_cover
        road = asphalt * (1 - 0.25 * snow) + 0.25 * snow * np.array([0.8, 0.82, 0.86])
        self._paint_sides(kerb_left, kerb_right)
        self._strip(kerb_left, kerb_right, road)
        self._strip(half + 0.1, kerb_right, road * 0.94)
        for center in (0.0, kerbs.beside, kerbs.oncoming):  # where wheels run
            for side in (-0.75, 0.75):
                track = road * 0.90 if not snow else road * 0.82
                self._strip(center + side - 0.24, center + side + 0.24, track)
        stone, grass = self._snowy((0.66, 0.65, 0.62), 0.6), self._snowy((0.40, 0.46, 0.28))
        self._strip(kerb_right, kerb_right + 0.17, stone)
        self._strip(kerb_right - 0.05, kerb_right, self._snowy((0.36, 0.35, 0.34), 0.5))
        self._strip(kerb_left - 0.17, kerb_left, stone)
        self._strip(*island, stone)
        self._strip(island[0] + 0.16, island[1] - 0.16, grass)
        worn = rng.uniform(0.62, 0.95) * (1 - 0.5 * snow)
        white = road + (np.array([0.90, 0.90, 0.88]) - road) * worn
        yellow = road + (np.array(drive.line_colour) - road) * worn
        self._strip(island[1] + 0.10, island[1] + 0.22, yellow)
        self._strip(kerb_left + 0.15, kerb_left + 0.27, white)
        zebra = (place.crosser.z - 1.4, place.crosser.z + 1.4) if place.zebra else (0.0, 0.0)
        dashes = []
        phase = rng.uniform(0, 6)
        for middle, half_width, pitch, dash in ((-half, 0.07, 6.0, 3.0), (half, 0.06, 2.0, 1.0)):
            for z in np.arange(phase - 6, 60, pitch):
                if z + dash > 2.5 and not zebra[0] - dash - 0.4 < z < zebra[1] + 0.4:
                    near = max(z, 2.4)
                    dashes.append((middle - half_width, middle + half_width, near, z + dash))
        if place.zebra:
            lefts = np.arange(-1.5 * lane + 0.3, kerb_right - 0.5, 1.0)
            dashes += [(left, left + 0.5, *zebra) for left in lefts]
        self._patches(np.array(dashes), white)

    def _snowy(self, colour: tuple[float, float, float], share: float = 1.0) -> np.ndarray:
        snow = self._place.snow_cover * share
        return np.array(colour) * (1 - snow) + np.array([0.86, 0.88, 0.92]) * snow

    def _paint_sides(self, kerb_left: float, kerb_right: float) -> None:
        """Verges and pavements."""
        place = self._place
        verge = _VERGES[place.town]
        if place.drive.season == "autumn" and place.town != "city":
            verge = (0.46, 0.42, 0.22)
        self._strip(-300, 300, self._snowy(verge))
        slab = (0.56, 0.54, 0.52) if place.town != "country" else (0.46, 0.42, 0.34)
        lefts = (kerb_right + 0.15, kerb_left - 3.0)
        for left in lefts:
            self._strip(left, left + 2.85, self._snowy(slab, 0.9))
        joints = [
            (left, left + 2.85, z, z * 1.008) for z in np.geomspace(5, 34, 18) for left in lefts
        ]
        self._patches(np.array(joints), self._snowy((0.45, 0.44, 0.42), 0.9))

    def _texture(self, rng: np.random.Generator) -> None:
        """Grain, seen in perspective, and the shadows of the sun, over everything painted."""
        rows, width = self._picture.shape[:2]
        focal, height = self._camera.focal, self._height / _ASPHALT_METRES
        # Picture (u, v) -> ground (x, z) -> texture, by one homography; far rows are left smooth.
        back = np.array([[height, 0, -self._center * height], [0, 0, focal * height], [0, 1, 0.5]])
        move = np.eye(3)
        move[:2, 2] = rng.uniform(0, 1024, 2)
        near = int(rows * 0.12)
        down = np.array([[1, 0, 0], [0, 1, near], [0, 0, 1.0]])
        grain = cv2.warpPerspective(
            _asphalt(), move @ back @ down, (width, rows - near),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_WRAP,
        )  # fmt: skip
        fade = np.clip(np.arange(rows - near) / (rows * 0.35), 0, 1)[:, None].astype(np.float32)
        level: np.ndarray = np.full((rows, width), 128, np.uint8)
        level[near:] = (grain.astype(np.float32) - 128) * fade + 128.5
        shadows = self._shadows()
        if shadows is not None:
            level = cv2.multiply(level, shadows, scale=1 / 255)
        self._picture = cv2.multiply(self._picture, cv2.merge([level] * 3), scale=1 / 128)

    def _shadows(self) -> np.ndarray | None:
        """What is left of the light where buildings and trees stand in the sun, 255: all of it."""
        light = self._place.light
        direct = float(light.sun.mean()) * light.sun_direction[1]
        share = direct / (direct + float(light.ambient.mean()))
        if share < 0.06:
            return None
        mask = np.full(self._picture.shape[:2], 255, np.uint8)
        kept = int(255 * (1 - 0.9 * share))
        for outline in self._shadow_outlines():
            x, z = outline[:, 0], np.maximum(outline[:, 1], 2.4)
            corners = self._camera.project(np.stack([x, np.zeros_like(x), z], axis=1))
            cv2.fillConvexPoly(mask, fixed_point(corners), kept, cv2.LINE_AA, 4)
        return cv2.blur(mask, (5, 3))

    def _shadow_outlines(self) -> Iterator[np.ndarray]:
        """Outlines (n, 2) as x, z on the ground of the shadows near enough to see."""
        place, sun = self._place, self._place.light.sun_direction
        away = -sun[[0, 2]] / max(float(sun[1]), 0.22)  # of a metre's height
        for building in place.buildings:
            z = np.array([max(building.near_z, 3.0), building.far_z])
            if z[0] < min(z[1], 60.0):
                x = building.side * building.setback_metres + place.bend_at(z)
                wall = np.stack([x, z], axis=1)
                back = wall + [building.side * 8.0, 0.0]
                roof = away * building.height_metres * (0.8 if building.house else 1.0)
                corners = np.concatenate([wall, back, wall + roof, back + roof])
                yield cv2.convexHull(corners.astype(np.float32))[:, 0]
        for tree in place.trees:
            if tree.z < 60.0:
                foot = np.array([tree.lateral + place.bend_at(tree.z), tree.z])
                crown = foot + away * tree.height_metres * 0.6
                half = np.array([-away[1], away[0]]) * (0.12 / max(float(np.hypot(*away)), 0.1))
                yield crown + _CIRCLE * tree.height_metres * 0.3
                yield np.array([foot - half, foot + half, crown + half, crown - half])

    def _weather(self, sky: np.ndarray, sky_horizon: int) -> None:
        """Wet roads mirror the sky, and far ground fades into the air."""
        light = self._place.light
        rows, width = self._picture.shape[:2]
        if light.wetness:
            soft = cv2.GaussianBlur(sky[:sky_horizon], (0, 0), 3.0, sigmaY=16.0)
            mirror = cv2.resize(soft[::-1], (width, rows), interpolation=cv2.INTER_LINEAR)
            share = np.linspace(0.62, 0.22, rows)
            self._picture = _mix(self._picture, mirror, share)
        z = self._camera.focal * self._height / (np.arange(rows) + 0.5)
        if light.darkness > 0.4:
            self._light_up()
        faded = 1.0 - np.exp(-np.maximum(z - 6.0, 0.0) / light.fog_metres)
        far = int((faded > 0.004).sum())  # rows: the near ones keep their colours
        fog = np.empty_like(self._picture[:far])
        fog[:] = to_rgb(light.fog)
        self._picture[:far] = _mix(self._picture[:far], fog, faded[:far])

    def _light_up(self) -> None:
        """Our headlamps on the road, as from the middle of the way."""
        rows, width = self._picture.shape[:2]
        # A soft light: worked out for every eighth row and column.
        z = (self._camera.focal * self._height / (np.arange(4, rows + 4, 8) + 0.5))[:, None]
        x = (np.arange(4, width + 4, 8) - self._center)[None, :] * z / self._camera.focal
        away = np.maximum(z - float(self._place.position_metres.mean()), 2.0)
        across, ahead = x / (1.6 + 0.24 * away), (away - 6.0) / 11.0
        cone = np.exp(-across * across - ahead * ahead)
        gain = cone * (max(0.0, self._place.light.darkness - 0.4) / 0.6)
        warm = [np.minimum(64.0 + 64.0 * tint * gain, 255.0) for tint in (2.7, 2.2, 1.5)]
        small = np.stack(warm, axis=2).astype(np.uint8)
        scaled = cv2.resize(small, (width, rows), interpolation=cv2.INTER_LINEAR)
        self._picture = cv2.multiply(self._picture, scaled, scale=1 / 64)


def _mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Two pictures mixed row by row; `share` (rows,) is the second's."""
    weight = np.broadcast_to((share * 255 + 0.5).astype(np.uint8)[:, None, None], first.shape)
    kept = cv2.multiply(first, np.ascontiguousarray(255 - weight), scale=1 / 255)
    return cv2.add(kept, cv2.multiply(second, np.ascontiguousarray(weight), scale=1 / 255))
