"""Trees as pictures: grown once from a seed in white and grey, tinted by season and light."""

from functools import lru_cache

import cv2
import numpy as np

from caf_video.synthetic.painting.drawing import Picture
from caf_video.synthetic.world.scene import Place
from caf_video.synthetic.world.surroundings import Tree

_HEIGHT, _WIDTH = 384, 288  # a tree is drawn this large and halved
_MIDDLE = _WIDTH / 2
_FIRST_CONIFER = 6  # shapes from here on are conifers


def tree_picture(tree: Tree, place: Place) -> Picture:
    """A tree's picture, 4 wide and 3 high, in the light of a place."""
    light, snow = place.light, place.snow_cover
    conifer = tree.shape >= _FIRST_CONIFER
    bare = place.drive.season == "winter" and not conifer
    tint = np.array([0.26, 0.40, 0.26]) if conifer else np.array(tree.tint)
    tint = tint + 0.45 * snow * (np.array([0.9, 0.92, 0.96]) - tint)
    lit = np.minimum(light.ambient + light.sun * 0.7, 1.4) * tint * 1.5
    clear = float(np.exp(-max(tree.z - 6.0, 0.0) / light.fog_metres))
    nearest = tree.z - float(place.position_metres[-1])
    width = _WIDTH / _HEIGHT * tree.height_metres * place.drive.focal / nearest
    return _grown(tree.shape, bare).tinted(lit, light.fog, clear, width=width)


@lru_cache(maxsize=16)
def _grown(shape: int, bare: bool) -> Picture:
    """A tree lit from the upper left."""
    tree = _Growing(np.random.default_rng([shape, int(bare), 5]))
    if shape >= _FIRST_CONIFER:
        tree.conifer()
    else:
        tree.trunk(forks=5 if bare else 3)
        if not bare:
            tree.crown()
    return Picture.halved(tree.picture())


class _Growing:
    """A tree being drawn: brightness and cover."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._grey = np.zeros((_HEIGHT, _WIDTH), np.uint8)
        self._cover = np.zeros((_HEIGHT, _WIDTH), np.uint8)

    def picture(self) -> np.ndarray:
        """(192, 144, 4), premultiplied."""
        grey = self._grey.astype(np.float32) * (self._cover / np.float32(255))
        stacked = np.dstack([grey, grey, grey, self._cover.astype(np.float32)])
        half = (_WIDTH // 2, _HEIGHT // 2)
        return cv2.resize(stacked, half, interpolation=cv2.INTER_AREA)

    def trunk(self, forks: int) -> None:
        """A trunk and its branches."""
        self._branch(_MIDDLE, 383, np.pi / 2 + self._rng.normal(0, 0.03), 92, 15, forks)

    def crown(self) -> None:
        """Leaves in clumps, the lower ones first."""
        rng = self._rng
        spread = rng.uniform(0.8, 1.05)
        clumps = []
        for _ in range(26):
            turn, out = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
            x, y = _MIDDLE + np.cos(turn) * out * 92 * spread, 150 - np.sin(turn) * out * 98
            clumps.append((x, y, rng.uniform(24, 44)))
        clumps.sort(key=lambda clump: -(clump[1] * 0.4 + clump[0] * 0.15 + rng.uniform(0, 60)))
        for x, y, radius in clumps:
            for _ in range(22):
                turn, out = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.uniform(0, 1))
                leaf_x, leaf_y = x + np.cos(turn) * out, y - np.sin(turn) * out
                bright = (-(leaf_x - _MIDDLE) * 0.5 - (leaf_y - 150)) / 130
                bright += (np.sin(turn) - np.cos(turn) * 0.5) * out / 60
                level = int(np.clip(138 + 52 * bright + rng.normal(0, 12), 52, 250))
                center, size = (int(leaf_x * 16), int(leaf_y * 16)), int(rng.uniform(5, 11) * 16)
                for canvas, value in ((self._grey, level), (self._cover, 255)):
                    cv2.circle(canvas, center, size, value, -1, cv2.LINE_AA, 4)

    def conifer(self) -> None:
        """Tiers of hanging sprays, the lowest first."""
        rng = self._rng
        self._fill(np.array([[138, 383], [150, 383], [147, 250], [141, 250]]), 70)
        for tier in range(13):
            y, wide = 352 - tier * 26, 92 * (1 - tier / 14.0)
            offsets = np.linspace(-1, 1, max(5, int(wide / 7)))
            for offset in rng.permutation(offsets):
                x = _MIDDLE + offset * wide + rng.normal(0, 2.5)
                tip = y + abs(offset) * wide * 0.26 + rng.uniform(-5, 6)
                level = 122 - 46 * offset + tier * 3 + rng.normal(0, 14)
                spray = np.array(
                    [[x - 12, tip - 6], [x, tip + 8], [x + 12, tip - 6], [x, tip - 34]]
                )
                self._fill(spray, int(np.clip(level, 60, 240)))

    def _branch(
        self, x: float, y: float, angle: float, length: float, thick: float, forks: int
    ) -> None:
        end_x, end_y = x + np.cos(angle) * length, y - np.sin(angle) * length
        level = int(self._rng.integers(60, 90))
        start, end = (int(x * 16), int(y * 16)), (int(end_x * 16), int(end_y * 16))
        for canvas, value in ((self._grey, level), (self._cover, 255)):
            cv2.line(canvas, start, end, value, max(int(thick), 1), cv2.LINE_AA, 4)
        if forks:
            for turn in self._rng.normal(0, 0.16, 3) + np.array([-0.52, 0.02, 0.5]):
                shorter = length * self._rng.uniform(0.62, 0.8)
                self._branch(end_x, end_y, angle + turn, shorter, thick * 0.62, forks - 1)

    def _fill(self, outline: np.ndarray, level: int) -> None:
        points = np.asarray(outline * 16, dtype=np.int32)
        for canvas, value in ((self._grey, level), (self._cover, 255)):
            cv2.fillPoly(canvas, [points], value, cv2.LINE_AA, 4)
