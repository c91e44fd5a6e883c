"""Heatmaps of many kinds, small enough to go over pixel by pixel."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray


def draw_heatmap(random: np.random.Generator, kind: str) -> NDArray[np.floating]:
    """A heatmap of random size, up to 40 pixels a side, down to one pixel."""
    height, width = (int(side) for side in random.integers(1, 41, size=2))
    if kind == "noise":
        heatmap = random.random((height, width))
    elif kind == "plateaus":
        heatmap = random.integers(0, random.integers(2, 9), (height, width)).astype(float)
    elif kind == "smooth":
        heatmap = cv2.GaussianBlur(random.random((height, width)), (0, 0), random.uniform(0.5, 4))
    elif kind == "specks":
        heatmap = np.zeros((height, width))
        for _ in range(random.integers(1, 6)):
            heatmap[random.integers(height), random.integers(width)] = random.random()
    else:  # a grid resized, as a network's heatmap is
        grid = random.normal(size=random.integers(1, 7, size=2)).astype(np.float32)
        heatmap = cv2.resize(grid, (width, height))
    return heatmap.reshape(height, width)


@pytest.fixture(scope="session")
def heatmaps() -> list[NDArray[np.floating]]:
    """Fifty heatmaps of each kind, the same in every test."""
    random = np.random.default_rng(20_201_123)
    kinds = ("noise", "plateaus", "smooth", "specks", "resized")
    return [draw_heatmap(random, kind) for kind in kinds for _ in range(50)]


@pytest.fixture
def random() -> np.random.Generator:
    """A seeded source of randomness, the same in every test."""
    return np.random.default_rng(7)
