"""The paper's loop, against the loop as the paper and its two codes write it."""

import math

import pytest
import torch
from torch import Tensor, nn

from caf_video.attention.objectives import ClassSpecific, SquaredDistance
from caf_video.attention.solvers.constraints import constrain, parameter_shape
from caf_video.attention.solvers.descent import PRESETS, Preset, solve_descent
from caf_video.attention.solvers.problems import Problems, pose

LOOPED = ("l2", "softmax", "gaussian")


class Linear:
    """FT(x, f) = M f + b."""

    space, dtype, device = (3, 4), torch.float64, torch.device("cpu")

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def __len__(self) -> int:
        return len(self.matrix)

    def __call__(self, filters: Tensor) -> Tensor:
        return torch.einsum("bdn,bn->bd", self.matrix, filters.flatten(1)) + 0.5

    def select(self, rows: Tensor) -> "Linear":
        return Linear(self.matrix[rows])


def linear_problems(generator: torch.Generator, count: int = 2) -> Problems:
    response = Linear(torch.randn(count, 8, 12, generator=generator, dtype=torch.float64))
    reference = response(torch.ones(count, 3, 4).double())
    return pose(response, SquaredDistance(reference))


def test_the_table_of_presets_is_that_of_the_paper_and_its_codes() -> None:
    paper, tf, pytorch = (PRESETS[name] for name in ("paper", "tf", "pytorch"))
    assert (paper.optimizer, tf.optimizer, pytorch.optimizer) == ("sgd", "adam", "sgd")
    assert (paper.init, tf.init, pytorch.init) == ("uniform", "normal", "ones")
    assert (paper.mean_loss, tf.mean_loss, pytorch.mean_loss) == (False, True, True)
    assert (paper.tolerance, tf.tolerance, pytorch.tolerance) == (1e-5, 1e-4, 1e-6)
    assert (paper.look_every, pytorch.look_every) == (1, 50)
    assert (tf.learning_rate, tf.last_learning_rate) == (0.5, 0.0)
    assert (pytorch.learning_rate, pytorch.last_learning_rate) == (0.5, 1e-5)
    assert (tf.max_steps, pytorch.max_steps) == (1000, 1000)


def as_written(matrix: Tensor, preset: Preset, seed: int) -> tuple[Tensor, int]:
    """Maths 1: gradient descent on a raw filter, the loss seen through f / ||f||."""
    generator = torch.Generator().manual_seed(seed)
    raw = {
        "uniform": lambda: torch.rand(3, 4, generator=generator),
        "normal": lambda: torch.randn(3, 4, generator=generator),
        "ones": lambda: torch.ones(3, 4),
    }[preset.init]().double()
    wanted = matrix.sum(dim=1)
    first, second = torch.zeros_like(raw), torch.zeros_like(raw)
    losses: list[float] = []
    for step in range(preset.max_steps + 1):
        raw = raw.detach().requires_grad_()
        f = raw / raw.norm()
        squares = (wanted - matrix @ f.flatten()).square()
        loss = squares.mean() if preset.mean_loss else squares.sum()
        losses.append(loss.item())
        if step >= 50 and step % preset.look_every == 0:
            if abs(losses[-1] - losses[-51]) < preset.tolerance:
                break
        if step == preset.max_steps:
            break
        (g,) = torch.autograd.grad(loss, raw)
        share = step / preset.max_steps
        rate = preset.learning_rate * (1 - share) + preset.last_learning_rate * share
        if preset.optimizer == "adam":
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
            corrected = first / (1 - 0.9 ** (step + 1))
            size = (second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
            g = corrected / size
        raw = raw - rate * g
    return f.detach(), len(losses)


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_is_its_loop_as_written(name, generator) -> None:
    problems = linear_problems(generator)
    solution = solve_descent(problems, preset=PRESETS[name], seed=3, trace=True)
    for i in range(2):
        f, steps = as_written(problems.response.matrix[i], PRESETS[name], seed=3)
        torch.testing.assert_close(solution.filters[i], f, atol=1e-8, rtol=0)
        assert solution.steps[i] == steps
        assert solution.trace[i].shape == (steps, 3, 4)
        torch.testing.assert_close(solution.trace[i][-1], solution.filters[i])


def test_the_class_specific_loss_is_never_averaged(generator) -> None:
    response = Linear(torch.randn(2, 8, 12, generator=generator, dtype=torch.float64))
    objective = ClassSpecific(torch.tensor([1, 5]))
    solution = solve_descent(pose(response, objective), preset=PRESETS["tf"])
    weights = objective.weights(8, torch.float64)
    g = torch.einsum("bd,bdn->bn", weights, response.matrix)
    expected = -(g / g.norm(dim=1, keepdim=True)).unflatten(1, (3, 4))
    torch.testing.assert_close(solution.filters, expected, atol=1e-2, rtol=0)
    torch.testing.assert_close(
        solution.losses, (weights * response(solution.filters)).sum(dim=1), rtol=1e-9, atol=1e-9
    )


def test_the_seed_decides_the_start_and_the_batch_does_not(generator) -> None:
    problems = linear_problems(generator, 3)
    together = solve_descent(problems, seed=5)
    alone = solve_descent(problems.select(torch.tensor([1])), seed=5)
    torch.testing.assert_close(alone.filters[0], together.filters[1])
    short = Preset("sgd", 0.5, 0.5, "uniform", False, 0.0, 1, max_steps=1)
    assert not solve_descent(problems, preset=short, seed=5).filters.equal(
        solve_descent(problems, preset=short, seed=6).filters
    )
    assert not solve_descent(problems, preset=short).settled.any()
    assert solve_descent(problems, preset=short).trace is None


@pytest.mark.parametrize("space", [(5,), (3, 4), (2, 3, 4)])
def test_every_constraint_holds_on_every_grid(space, generator) -> None:
    for name in LOOPED:
        raw = torch.randn(parameter_shape(name, space), generator=generator, dtype=torch.float64)
        f = constrain(raw, name, space)
        assert f.shape == space
        if name == "l2":
            assert f.norm().item() == pytest.approx(1)
        else:
            assert f.abs().sum().item() == pytest.approx(1)
        if name in ("softmax", "gaussian"):
            assert (f > 0).all()


def test_the_gaussian_of_mean_zero_lies_in_the_middle_of_any_grid() -> None:
    f = constrain(torch.zeros(2, dtype=torch.float64), "gaussian", (4, 7))
    torch.testing.assert_close(f, f.flip(0))
    torch.testing.assert_close(f, f.flip(1))


def test_the_gaussian_has_unit_variance_in_cells_about_its_mean() -> None:
    mean = torch.tensor([0.7, -1.2], dtype=torch.float64)
    f = constrain(mean, "gaussian", (21, 31))
    rows, columns = torch.arange(21) - 10.0, torch.arange(31) - 15.0
    density = torch.zeros(21, 31, dtype=torch.float64)
    for i in range(21):
        for j in range(31):
            distance = (rows[i] - mean[0]) ** 2 + (columns[j] - mean[1]) ** 2
            density[i, j] = math.exp(-distance / 2) / (2 * math.pi)
    torch.testing.assert_close(f, density, atol=1e-9, rtol=0)  # far from the edge they sum to 1
    assert constrain(torch.tensor([1e6, 0.0]), "gaussian", (3, 3)).isfinite().all()


@pytest.mark.parametrize("constraint", LOOPED)
def test_the_loop_finds_the_best_filter_under_each_constraint(constraint, generator) -> None:
    problems = linear_problems(generator, 1)
    long = Preset("adam", 0.1, 0.0, "normal", False, 0.0, 50, max_steps=1500)
    solution = solve_descent(problems, preset=long, constraint=constraint)
    starts = [
        constrain(
            torch.randn(parameter_shape(constraint, (3, 4)), generator=generator).double(),
            constraint,
            (3, 4),
        )
        for _ in range(300)
    ]
    matrix = problems.response.matrix[0]
    losses = [(matrix.sum(dim=1) - matrix @ f.flatten()).square().sum() for f in starts]
    assert solution.losses[0] <= min(losses)
    f = solution.filters[0]
    expected = (matrix.sum(dim=1) - matrix @ f.flatten()).square().sum()
    torch.testing.assert_close(solution.losses[0], expected)


def test_a_heads_nonlinearity_is_no_obstacle(generator) -> None:
    network = nn.Sequential(nn.Linear(12, 8), nn.Tanh()).double().requires_grad_(False)

    class Curved(Linear):
        def __call__(self, filters: Tensor) -> Tensor:
            return network(filters.flatten(1) * self.matrix[:, 0])

        def select(self, rows: Tensor) -> "Curved":
            return Curved(self.matrix[rows])

    response = Curved(torch.randn(2, 1, 12, generator=generator, dtype=torch.float64))
    reference = response(torch.ones(2, 3, 4).double())
    problems = pose(response, SquaredDistance(reference))
    first, _ = problems.evaluate(problems.uniform_filters())
    assert (solve_descent(problems).losses < first * problems.unit).all()
