"""The exact solver: against eigenvalues and bisection, Adam, and problems built to break it."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from caf_video.attention.solvers import affine
from caf_video.attention.solvers.affine import DenseMap, PooledMap
from caf_video.attention.solvers.exact import (
    minimise_distance,
    minimise_linear,
    search_subspace,
    solve_affine,
)
from caf_video.attention.solvers.secular import minimise_on_sphere
from caf_video.errors import InputError

DTYPES = [torch.float32, torch.float64]


def loss_of(matrix: Tensor, filters: Tensor, wanted: Tensor | None = None) -> Tensor:
    """||r - M f||^2 in float64, one sample after the other."""
    losses = []
    for i in range(len(matrix)):
        m = matrix[i].double()
        r = m.sum(dim=1) if wanted is None else wanted[i].double()
        losses.append((r - m @ filters[i].double()).square().sum())
    return torch.stack(losses)


def best_filter(matrix: Tensor) -> Tensor:
    """Maths 1.1 for one M (d, n), as written: eigenvalues, bisection for lambda, the hard case."""
    scale = matrix.abs().max().double()
    m = matrix.double() / (scale if scale > 0 else 1.0)
    n = m.shape[1]
    mu, v = torch.linalg.eigh(m.T @ m)
    live = mu > 1e-13 * mu.max()
    c = v.T @ torch.ones(n, dtype=torch.float64)
    s_squared = c[live].square().sum() if live.any() else torch.tensor(0.0)
    if s_squared <= 1 + 1e-9:
        null = v[:, ~live] @ c[~live]
        row = v[:, live] @ c[live]
        toward = null / null.norm() if null.norm() > 1e-6 else torch.zeros(n).double()
        return row + (1 - s_squared).clamp(min=0).sqrt() * toward
    mu, c, v = mu[live], c[live], v[:, live]
    low, high = 0.0, (mu * c).norm().item()
    for _ in range(2000):
        middle = (low + high) / 2
        if (mu * c / (mu + middle)).norm() > 1:
            low = middle
        else:
            high = middle
    f = v @ (mu * c / (mu + high))
    return f / f.norm()


def hostile(generator: torch.Generator) -> dict[str, Tensor]:
    """M (d, n) that break a careless solver."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def positive(*shape: int) -> Tensor:
        return normal(*shape).abs()

    ordinary = normal(10, 6) @ positive(6, 12)
    left, right = torch.linalg.qr(normal(14, 9))[0], torch.linalg.qr(normal(9, 9))[0]
    orthogonal_to_ones = normal(10, 12)
    orthogonal_to_ones -= orthogonal_to_ones.mean(dim=1, keepdim=True)
    live_column = torch.zeros(10, 12).double()
    live_column[:, 5] = normal(10)
    two_columns = torch.zeros(10, 12).double()
    two_columns[:, 3:5] = normal(10, 2)
    short_row = positive(1, 12)
    short_row[0, 0] = -short_row[0, 1:].sum() + 0.1  # <v, 1> / ||v|| far below 1
    return {
        "ordinary": ordinary,
        "signed": normal(20, 12),
        "square": normal(12, 12),
        "fewer outputs than cells": normal(3, 12),
        "rank 1": normal(10, 1) @ positive(1, 12),
        "rank 1, nearly orthogonal to the all-pass filter": normal(10, 1) @ short_row,
        "rank 2": normal(10, 2) @ normal(2, 12),
        "M1 = 0": orthogonal_to_ones,
        "dead": torch.zeros(10, 12).double(),
        "one live column": live_column,
        "two live columns": two_columns,
        "identical columns": normal(10, 1).expand(10, 12).clone(),
        "conditioning 1e-12": left @ torch.diag(torch.logspace(0, -12, 9).double()) @ right,
        "one cell": normal(10, 1),
        "one cell, one output": -positive(1, 1),
        "scale 1e15": ordinary * 1e15,
        "scale 1e-15": ordinary * 1e-15,
        "signed at scale 1e15": normal(20, 12) * 1e15,
        "signed at scale 1e-15": normal(20, 12) * 1e-15,
    }


NAMES = list(hostile(torch.Generator()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_hostile_problems_are_solved_to_a_millionth(name, dtype, generator) -> None:
    matrix = hostile(generator)[name].to(dtype)[None]
    solution = solve_affine(matrix)
    expected = loss_of(matrix, best_filter(matrix[0])[None])
    found = loss_of(matrix, solution.filters)
    all_passed = matrix.double().sum(dim=2).square().sum() + matrix.double().square().sum()
    rounding = 100 * torch.finfo(dtype).eps ** 2 * all_passed  # of what is exactly zero
    assert (found <= expected * (1 + 1e-6) + rounding).all()
    torch.testing.assert_close(solution.losses.double(), found, rtol=2e-6, atol=rounding.item())
    assert abs(solution.filters[0].norm().item() - 1) < 1e-6
    assert solution.settled.all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_many_filters_are_as_good_it_is_the_one_nearest_to_all_pass(dtype, generator) -> None:
    problems = hostile(generator)
    for name in ("one live column", "rank 1, nearly orthogonal to the all-pass filter", "dead"):
        matrix = problems[name].to(dtype)
        f = solve_affine(matrix[None]).filters[0]
        torch.testing.assert_close(f, best_filter(matrix).to(dtype), atol=1e-5, rtol=0)
    uniform = torch.full((12,), 12**-0.5, dtype=dtype)
    for name in ("M1 = 0", "dead"):
        f = solve_affine(problems[name].to(dtype)[None]).filters[0]
        torch.testing.assert_close(f, uniform, atol=1e-5, rtol=0)


def adam(matrix: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    """Many starts (starts, n) of the paper's problem for one M, run well past its own stop."""
    raw = raw.clone().requires_grad_()
    optimizer = torch.optim.Adam([raw], lr=0.05)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.985)
    for _ in range(700):
        f = raw / raw.norm(dim=1, keepdim=True)
        losses = ((1 - f) @ matrix.T).square().sum(dim=1)
        (raw.grad,) = torch.autograd.grad(losses.sum(), raw)
        optimizer.step()
        schedule.step()
    return f.detach(), losses.detach()


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_adam_start_does_better(dtype, generator) -> None:
    for _ in range(2):
        maps = torch.randn(8, 12, generator=generator, dtype=torch.float64).relu()
        weight = torch.randn(20, 8, generator=generator, dtype=torch.float64)
        matrix = (weight @ maps / 12).to(dtype)
        solution = solve_affine(matrix[None])
        starts = torch.randn(32, 12, generator=generator, dtype=torch.float64).to(dtype)
        filters, losses = adam(matrix, starts)
        slack = 1e-6 if dtype == torch.float32 else 1e-12
        assert solution.losses[0] <= losses.min() * (1 + slack)
        best = filters[losses.argmin()].abs()
        together = torch.corrcoef(torch.stack([best, solution.filters[0].abs()]))
        assert together[0, 1] > 0.9999


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_pooled_form_solves_the_same_problem_as_its_matrix(dtype, generator) -> None:
    maps = torch.randn(5, 8, 3, 4, generator=generator, dtype=torch.float64).relu().to(dtype)
    maps[3] = 0
    weight = torch.randn(20, 8, generator=generator, dtype=torch.float64).to(dtype)
    for layout in (maps, maps.contiguous(memory_format=torch.channels_last)):
        pooled = PooledMap.of(weight, layout.flatten(2))
        matrix = torch.einsum("dc,bcn->bdn", weight, maps.flatten(2)) / 12
        vectors = torch.randn(5, 12, generator=generator, dtype=torch.float64).to(dtype)
        outputs = torch.randn(5, 20, generator=generator, dtype=torch.float64).to(dtype)
        scale = pooled.scale[:, None]
        torch.testing.assert_close(
            pooled.apply(vectors) * scale, torch.einsum("bdn,bn->bd", matrix, vectors)
        )
        torch.testing.assert_close(
            pooled.adjoint(outputs) * scale, torch.einsum("bdn,bd->bn", matrix, outputs)
        )
        found, expected = minimise_distance(pooled), solve_affine(matrix)
        tolerance = {torch.float32: 1e-3, torch.float64: 1e-6}[dtype]
        torch.testing.assert_close(found.filters, expected.filters, atol=tolerance, rtol=0)
        torch.testing.assert_close(found.losses, expected.losses, rtol=2e-6, atol=0)


@pytest.mark.parametrize("rows", [1, 7, 20])
def test_the_pooled_form_is_the_same_whatever_is_read_of_its_weight_at_a_time(
    rows, generator, monkeypatch
) -> None:
    maps = torch.randn(3, 8, 12, generator=generator, dtype=torch.float64).relu()
    weight = torch.randn(20, 8, generator=generator, dtype=torch.float64)
    monkeypatch.setattr(affine, "CACHED_BYTES", rows * 8 * 8)
    pooled = PooledMap.of(weight, maps)
    filters = torch.randn(3, 12, generator=generator, dtype=torch.float64)
    image, pulled = pooled.apply_and_pull(filters)
    for i in range(3):
        matrix = weight @ maps[i] / 12 / pooled.scale[i]
        torch.testing.assert_close(image[i], matrix @ filters[i])
        torch.testing.assert_close(pulled[i], matrix.T @ (matrix @ filters[i]))


@pytest.mark.parametrize("scale", [1e15, 1e-15])
def test_the_pooled_form_survives_any_scale(scale, generator) -> None:
    maps = torch.randn(5, 8, 12, generator=generator).relu()
    weight = torch.randn(20, 8, generator=generator)
    plain = minimise_distance(PooledMap.of(weight, maps))
    scaled = minimise_distance(PooledMap.of(weight, maps * scale))
    torch.testing.assert_close(plain.filters, scaled.filters, atol=1e-3, rtol=0)
    torch.testing.assert_close(plain.losses, scaled.losses / scale / scale, rtol=1e-5, atol=0)


def test_a_batch_gives_what_separate_calls_give(generator) -> None:
    problems = hostile(generator)
    names = [name for name in NAMES if problems[name].shape == (10, 12)]
    together = solve_affine(torch.stack([problems[name] for name in names]))
    for i, name in enumerate(names):
        alone = solve_affine(problems[name][None])
        torch.testing.assert_close(alone.filters[0], together.filters[i], atol=1e-6, rtol=0)
        torch.testing.assert_close(alone.losses[0], together.losses[i])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("unit", [2.0**-10, 2.0**10])
def test_when_a_problem_is_settled_does_not_depend_on_its_unit(unit, dtype, generator) -> None:
    """What is left to gain is a share of the loss, however large that is."""
    maps = torch.rand(4, 6, 12, generator=generator)
    plain = DenseMap.of((torch.randn(4, 10, 6, generator=generator) @ maps).to(dtype))
    other = replace(plain, scaled=plain.scaled * unit, passed=plain.passed * unit)
    found, expected = search_subspace(other), search_subspace(plain)
    assert expected.settled.all()
    assert found.steps.tolist() == expected.steps.tolist()
    assert torch.equal(found.filters, expected.filters)
    assert torch.equal(found.losses, expected.losses * unit**2)


@pytest.mark.parametrize("share", [1.0, 0.02, 0.0])
def test_a_pair_is_solved_inside_the_ball_and_outside(share, generator) -> None:
    matrix = torch.randn(4, 15, 6, generator=generator, dtype=torch.float64)
    wanted = share * torch.randn(4, 15, generator=generator, dtype=torch.float64)
    solution = solve_affine(matrix, wanted=wanted)
    starts = torch.randn(20_000, 6, generator=generator, dtype=torch.float64)
    for i in range(4):
        f = starts / starts.norm(dim=1, keepdim=True)
        for _ in range(300):  # projected gradient, small steps, from everywhere
            f = f[((f @ matrix[i].T - wanted[i]).square().sum(1)).argsort()[:50]]
            gradient = (f @ matrix[i].T - wanted[i]) @ matrix[i]
            f = f - 0.01 * gradient
            f = f / f.norm(dim=1, keepdim=True)
        best = (f @ matrix[i].T - wanted[i]).square().sum(dim=1).min()
        assert solution.losses[i] <= best + 1e-12
    torch.testing.assert_close(solution.losses, loss_of(matrix, solution.filters, wanted))


def test_class_specific_is_minus_the_gradient(generator) -> None:
    matrix = torch.randn(3, 5, 12, generator=generator, dtype=torch.float64)
    matrix[2] = 0
    constant = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    weights = torch.ones(3, 5, dtype=torch.float64)
    weights[range(3), [4, 0, 1]] -= 2
    solution = minimise_linear(DenseMap.of(matrix), weights, (weights * constant).sum(dim=1))
    for i, target in enumerate([4, 0, 1]):
        others = [k for k in range(5) if k != target]
        logits = matrix[i] @ solution.filters[i] + constant[i]
        torch.testing.assert_close(solution.losses[i], -logits[target] + logits[others].sum())
        g = matrix[i].T @ weights[i]
        expected = -g / g.norm() if i < 2 else torch.full((12,), 12**-0.5).double()
        torch.testing.assert_close(solution.filters[i], expected)


def test_grids_keep_their_shape_in_one_two_and_three_dimensions(generator) -> None:
    for space in ((12,), (3, 4), (2, 3, 2)):
        matrix = torch.randn(2, 9, *space, generator=generator, dtype=torch.float64)
        solution = solve_affine(matrix)
        assert solution.filters.shape == (2, *space)
        flat = solve_affine(matrix.flatten(2))
        torch.testing.assert_close(solution.filters.flatten(1), flat.filters)


def test_a_value_that_is_not_finite_is_traced_to_its_sample() -> None:
    matrix = torch.ones(3, 4, 5)
    matrix[1, 2, 3] = math.nan
    with pytest.raises(InputError, match="map matrix of sample 1"):
        solve_affine(matrix)
    with pytest.raises(InputError, match="wanted output of sample 2"):
        solve_affine(
            torch.ones(3, 4, 5),
            wanted=torch.full((3, 4), math.inf).where(torch.arange(3)[:, None] == 2, 0.0),
        )


def test_the_sphere_problem_in_two_dimensions_by_trying_every_angle(generator) -> None:
    angles = torch.linspace(0, 2 * math.pi, 200_001, dtype=torch.float64)
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    for scale in (0.0, 1e-3, 1.0, 30.0):
        root = torch.randn(2, 2, generator=generator, dtype=torch.float64)
        matrix, slope = root @ root.T, scale * torch.randn(2, generator=generator).double()
        values = ((circle @ matrix) * circle).sum(dim=1) - 2 * circle @ slope
        f = minimise_on_sphere(matrix[None], slope[None], torch.ones(1, 2).double())[0]
        assert f @ matrix @ f - 2 * slope @ f <= values.min() + 1e-12


def test_a_loss_that_nearly_vanishes_is_left_to_eigenvalues() -> None:
    """M = 1, r = c u with a unit u: the answer is u, its loss (c - 1)^2, a share of c^2."""
    unit = torch.full((4,), 0.5)
    multiples = torch.tensor([1.1, 1.5])  # shares of 0.008 and 0.11; 0.05 is the limit
    matrix = DenseMap.of(torch.eye(4).expand(2, 4, 4))
    found = search_subspace(matrix, multiples[:, None] * unit)
    assert found.settled.tolist() == [False, True]
    whole = minimise_distance(matrix, multiples[:, None] * unit)
    torch.testing.assert_close(whole.filters, unit.expand(2, 4))
    torch.testing.assert_close(whole.losses, (multiples - 1).square())
