"""A photograph-like frame and a heatmap with known level lines."""

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture
def photograph() -> NDArray[np.uint8]:
    """Random pixels, (60, 80, 3): nothing in it can be mistaken for a drawn line."""
    return np.random.default_rng(0).integers(40, 200, (60, 80, 3), dtype=np.uint8)


@pytest.fixture
def ramp() -> NDArray[np.float64]:
    """Heat growing evenly from left to right, (60, 80): a level is one column."""
    return np.tile(np.linspace(0, 7.5, 80), (60, 1))
