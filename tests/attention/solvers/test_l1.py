"""Filters of unit L1 norm: against problems with known answers, and against random filters."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from caf_video.attention.objectives import ClassSpecific, SquaredDistance
from caf_video.attention.solvers.descent import PRESETS, solve_descent
from caf_video.attention.solvers.l1 import project_l1, solve_l1
from caf_video.attention.solvers.problems import Problems, pose


class Affine:
    """FT(x, f) = M f + b."""

    space, dtype, device = (3, 4), torch.float64, torch.device("cpu")

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def __len__(self) -> int:
        return len(self.matrix)

    def __call__(self, filters: Tensor) -> Tensor:
        return torch.einsum("bdn,bn->bd", self.matrix, filters.flatten(1)) + 0.5

    def select(self, rows: Tensor) -> "Affine":
        return Affine(self.matrix[rows])


def affine_problems(generator: torch.Generator, *, count: int = 3, shift: float = 0.0) -> Problems:
    matrix = torch.randn(count, 8, 12, generator=generator, dtype=torch.float64) + shift
    response = Affine(matrix)
    return pose(response, SquaredDistance(response(torch.ones(count, 3, 4).double())))


def nearest_by_bisection(values: np.ndarray) -> np.ndarray:
    """The number by which all are lowered, found by halving: outside the ball and inside."""
    low, high = -2.0, np.abs(values).max()
    for _ in range(200):
        middle = (low + high) / 2
        if np.maximum(np.abs(values) - middle, 0).sum() > 1:
            low = middle
        else:
            high = middle
    return np.where(values < 0, -1, 1) * np.maximum(np.abs(values) - low, 0)


@pytest.mark.parametrize("scale", [0.01, 0.1, 1.0, 30.0])
def test_the_projection_is_the_nearest_filter_of_unit_norm(scale: float, generator) -> None:
    values = scale * torch.randn(3, 4, generator=generator, dtype=torch.float64)
    found = project_l1(values)
    assert found.abs().sum().item() == pytest.approx(1)
    np.testing.assert_allclose(found.numpy(), nearest_by_bisection(values.numpy()), atol=1e-12)
    others = torch.randn(2000, 12, generator=generator, dtype=torch.float64)
    others /= others.abs().sum(dim=1, keepdim=True)
    distance = (found - values).norm()
    assert ((others - values.flatten()).norm(dim=1) >= distance - 1e-12).all()


@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_nothing_is_left_to_gain_on_the_sphere(shift: float, generator) -> None:
    problems = affine_problems(generator, shift=shift)
    solution = solve_l1(problems)
    assert solution.settled.all() and (solution.steps < 300).all()
    for matrix, f, loss in zip(
        problems.response.matrix, solution.filters, solution.losses, strict=True
    ):
        wanted = matrix.sum(dim=1)
        assert f.abs().sum().item() == pytest.approx(1)
        assert loss.item() == pytest.approx((wanted - matrix @ f.flatten()).square().sum().item())
        # The optimum of a convex loss over the ball: its slope is steepest where f is not 0.
        slope = -2 * matrix.T @ (wanted - matrix @ f.flatten())
        used = f.flatten().abs() > 1e-3
        torch.testing.assert_close(
            -slope[used] * f.flatten()[used].sign(), slope.abs().max().expand(used.sum()),
            rtol=2e-2, atol=0,
        )  # fmt: skip
        others = torch.randn(3000, 12, generator=generator, dtype=torch.float64)
        others /= others.abs().sum(dim=1, keepdim=True)
        corners = torch.cat([torch.eye(12), -torch.eye(12)]).double()
        near = f.flatten() + 0.05 * others
        near /= near.abs().sum(dim=1, keepdim=True)
        every = torch.cat([others, corners, near])
        losses = (wanted - every @ matrix.T).square().sum(dim=1)
        assert loss <= losses.min() * (1 + 1e-5)


def test_of_a_linear_loss_it_is_the_steepest_cell(generator) -> None:
    response = Affine(torch.randn(2, 5, 12, generator=generator, dtype=torch.float64))
    objective = ClassSpecific(torch.tensor([1, 3]))
    solution = solve_l1(pose(response, objective))
    slopes = torch.einsum(
        "bd,bdn->bn", objective.weights(5, torch.float64), response.matrix
    )  # fmt: skip
    expected = torch.zeros(2, 12, dtype=torch.float64)
    for row, slope in enumerate(slopes):
        expected[row, slope.abs().argmax()] = -slope[slope.abs().argmax()].sign()
    torch.testing.assert_close(solution.filters.flatten(1), expected)
    assert solution.settled.all()


def test_where_nothing_is_negative_it_has_the_answer_of_softmax(generator) -> None:
    problems = affine_problems(generator, count=2, shift=2.0)  # an output that all cells share
    by_l1 = solve_l1(problems)
    by_softmax = solve_descent(problems, preset=PRESETS["tf"], constraint="softmax")
    assert (by_l1.filters >= 0).all()
    assert (by_l1.losses <= by_softmax.losses * (1 + 1e-6)).all()
    torch.testing.assert_close(by_l1.losses, by_softmax.losses, rtol=2e-3, atol=0)


def test_a_dead_map_is_answered_by_the_uniform_filter() -> None:
    response = Affine(torch.zeros(1, 8, 12, dtype=torch.float64))
    solution = solve_l1(pose(response, SquaredDistance(torch.ones(1, 8).double())))
    torch.testing.assert_close(solution.filters, torch.full((1, 3, 4), 1 / 12).double())
    assert solution.settled.all() and solution.steps.item() == 1


def test_a_heads_nonlinearity_is_no_obstacle(generator) -> None:
    network = nn.Sequential(nn.Linear(12, 8), nn.Tanh()).double().requires_grad_(False)

    class Curved(Affine):
        def __call__(self, filters: Tensor) -> Tensor:
            return network(filters.flatten(1) * self.matrix[:, 0])

        def select(self, rows: Tensor) -> "Curved":
            return Curved(self.matrix[rows])

    response = Curved(torch.randn(2, 1, 12, generator=generator, dtype=torch.float64))
    problems = pose(response, SquaredDistance(response(torch.ones(2, 3, 4).double())))
    solution = solve_l1(problems)
    corners = torch.cat([torch.eye(12), -torch.eye(12)]).double().view(-1, 3, 4)
    for row, loss in enumerate(solution.losses):
        wanted = response.select(torch.tensor([row])).matrix[0, 0]
        at_corners = network(corners.flatten(1) * wanted)
        far = (problems.objective.reference[row] - at_corners).square().sum(dim=1)
        assert solution.settled[row] and loss <= far.min() * (1 + 1e-6)


def test_steps_that_run_out_are_told_and_the_path_ends_at_the_filter(generator) -> None:
    problems = affine_problems(generator, count=1)
    short = solve_l1(problems, max_steps=2, trace=True)
    assert not short.settled.any() and short.steps.item() == 2
    solution = solve_descent(problems, constraint="l1", trace=True)
    assert solution.solver == "descent" and solution.trace is not None
    torch.testing.assert_close(solution.trace[0][-1], solution.filters[0])
