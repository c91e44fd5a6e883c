"""How each published program enlarges a map, stated pixel by pixel."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from caf_video.localization import PROTOCOLS, enlarge

SIZES = [(30, 40), (23, 24), (5, 9), (7, 6)]
# What the cubic with a = -0.5 weighs at distances of 0.25, 0.75, 1.25 and 1.75 cells.
NEAR = (0.8671875, 0.2265625, -0.0703125, -0.0234375)


def keys_cubic(x: float, a: float) -> float:
    """Keys (1981), Eq. 15 with its free parameter."""
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def resized_column(
    column: NDArray[np.float64], wanted: int, *, a: float, edge: str, antialias: bool
) -> NDArray[np.float64]:
    """One output pixel after the other, over a column that goes on beyond its edges."""
    scale = wanted / len(column)
    stretch = min(scale, 1.0) if antialias else 1.0
    far = 40
    padded = np.pad(column, far, mode=edge)
    resized = []
    for row in range(wanted):
        center = (row + 0.5) / scale - 0.5
        weights = [keys_cubic(stretch * (center - (i - far)), a) for i in range(len(padded))]
        resized.append(np.dot(weights, padded) / sum(weights))
    return np.array(resized)


def resized(grid: NDArray, size: tuple[int, int], **how) -> NDArray[np.float64]:
    rows = np.stack([resized_column(column, size[0], **how) for column in grid.T], axis=1)
    return np.stack([resized_column(row, size[1], **how) for row in rows])


def of_column(protocol: str, column: list[float], wanted: int) -> NDArray:
    """A column enlarged; across there is nothing to do."""
    size = wanted, 1
    return enlarge(protocol, np.array(column)[:, None], size, size)[:, 0]


@pytest.mark.parametrize("protocol", ["adl", "simple"])
@pytest.mark.parametrize("size", SIZES)
def test_linear_is_that_of_torch(protocol: str, size, random: np.random.Generator) -> None:
    grid = random.normal(size=(7, 6)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(grid)[None, None], size=size, mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(enlarge(protocol, grid, size, (9, 9)), expected[0, 0], atol=2e-6)


@pytest.mark.parametrize("protocol", ["maxboxacc", "maxboxacc_v2"])
@pytest.mark.parametrize("size", SIZES)
def test_the_benchmark_is_cubic_with_the_edge_repeated(
    protocol: str, size, random: np.random.Generator
) -> None:
    grid = random.normal(size=(7, 6))
    expected = resized(grid, size, a=-0.75, edge="edge", antialias=False)
    found = enlarge(protocol, grid, size, (9, 9))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=5e-6)  # its coefficients are float32


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shown", [(14, 12), (24, 20)])
def test_cam_is_cubic_to_the_input_and_on_to_the_image(
    size, shown, random: np.random.Generator
) -> None:
    grid = random.normal(size=(7, 6))
    how = {"a": -0.5, "edge": "symmetric", "antialias": True}
    expected = resized(resized(grid, shown, **how), size, **how)
    np.testing.assert_allclose(enlarge("cam", grid, size, shown), expected, atol=1e-12)


def test_doubling_for_cam_has_the_weights_worked_out_on_paper() -> None:
    found = of_column("cam", [0, 0, 1, 0, 0, 0], 12)
    np.testing.assert_allclose(found[1:9], [NEAR[i] for i in (3, 2, 1, 0, 0, 1, 2, 3)], atol=1e-15)
    # At the edge the column is mirrored: the first cell stands for the one before it, too.
    assert of_column("cam", [1, 0, 0, 0], 8)[0] == pytest.approx(NEAR[0] + NEAR[1])
    assert of_column("cam", [0, 1, 0, 0], 8)[0] == pytest.approx(NEAR[2] + NEAR[3])


def test_a_cubic_overshoots_and_a_linear_map_does_not() -> None:
    step = [0.0, 0.0, 1.0, 1.0]
    for protocol in PROTOCOLS:
        found = of_column(protocol, step, 32)
        assert (found.max() > 1.01) == (protocol not in ("adl", "simple"))
