"""Affine heads that are only run: the answers of the solver that has M, whatever the unit."""

import pytest
import torch
from torch import Tensor

from caf_video.attention.solvers.affine import DenseMap
from caf_video.attention.solvers.exact import minimise_distance
from caf_video.attention.solvers.matrix_free import ResponseMap, minimise_matrix_free

SHIFT = 0.5


class Affine:
    """FT(x, f) = M f + b."""

    space, dtype, device = (3, 4), torch.float64, torch.device("cpu")

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def __len__(self) -> int:
        return len(self.matrix)

    def __call__(self, filters: Tensor) -> Tensor:
        return torch.einsum("bdn,bn->bd", self.matrix, filters.flatten(1)) + SHIFT

    def select(self, rows: Tensor) -> "Affine":
        return Affine(self.matrix[rows])


def run_only(matrix: Tensor) -> ResponseMap:
    response = Affine(matrix)
    outputs = response(torch.ones(len(matrix), 3, 4, dtype=torch.float64))
    return ResponseMap.of(response, outputs, torch.full_like(outputs, SHIFT), "the map")


def hard_matrix(generator: torch.Generator, scale: float) -> Tensor:
    """Signed and far from what a few products settle; of the second problem one cell lives."""
    matrix = torch.randn(2, 9, 12, generator=generator, dtype=torch.float64)
    matrix[1, :, 1:] = 0
    return matrix * scale


@pytest.mark.parametrize("scale", [1e-3, 1.0, 40.0])
@pytest.mark.parametrize("asked", [False, True])
def test_what_products_leave_open_is_solved_by_eigenvalues_in_any_unit(
    scale: float, asked: bool, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = hard_matrix(generator, scale)
    wanted = torch.randn(2, 9, generator=generator, dtype=torch.float64) * scale if asked else None
    monkeypatch.setattr("caf_video.attention.solvers.matrix_free.MAX_PRODUCTS", 2)
    affine = run_only(matrix)
    assert not minimise_matrix_free(affine, wanted).settled.all()
    found = minimise_matrix_free(affine, wanted, insist=True)
    assert found.settled.all()
    reference = matrix.sum(dim=2) if wanted is None else wanted
    for row, f in enumerate(found.filters):
        loss = (reference[row] - matrix[row] @ f).square().sum()
        torch.testing.assert_close(found.losses[row], loss, rtol=1e-9, atol=1e-12 * scale**2)
        assert float(f.norm()) == pytest.approx(1)
    known = minimise_distance(DenseMap.of(matrix), wanted)
    torch.testing.assert_close(found.losses, known.losses, rtol=1e-7, atol=1e-9 * scale**2)
