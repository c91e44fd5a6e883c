"""The spectral solver: against exact answers, against Adam, and its laws."""

import pytest
import torch
from torch import Tensor, nn

from caf_video.attention.objectives import ClassSpecific, SquaredDistance
from caf_video.attention.solvers import spectral
from caf_video.attention.solvers.exact import solve_affine
from caf_video.attention.solvers.problems import Problems, pose
from caf_video.attention.solvers.spectral import IDLE, solve_spectral
from caf_video.errors import InputError


class Filtered:
    """FT(x, f) = head(A * f), written out."""

    def __init__(self, head: nn.Module, maps: Tensor) -> None:
        self.head, self.maps = head, maps
        self.space, self.dtype, self.device = maps.shape[2:], maps.dtype, maps.device
        self.evaluated: list[int] = []

    def __len__(self) -> int:
        return len(self.maps)

    def __call__(self, filters: Tensor) -> Tensor:
        self.evaluated.append(len(filters))
        return self.head(self.maps * filters[:, None])

    def select(self, rows: Tensor) -> "Filtered":
        part = Filtered(self.head, self.maps[rows])
        part.evaluated = self.evaluated
        return part


def maps(generator: torch.Generator, count: int = 4) -> Tensor:
    return torch.randn(count, 6, 3, 4, generator=generator, dtype=torch.float64).relu()


def head(kind: str) -> nn.Module:
    torch.manual_seed(1)
    layers = {
        "linear": [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 9)],
        "mlp": [nn.Flatten(), nn.Linear(72, 40), nn.Tanh(), nn.Linear(40, 9)],
        "relu": [nn.Flatten(), nn.Linear(72, 40), nn.ReLU(), nn.Linear(40, 9)],
        "conv": [nn.Conv2d(6, 12, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 9)],
    }
    return nn.Sequential(*layers[kind]).double()


def problems_of(kind: str, a: Tensor) -> Problems:
    network = head(kind)
    return pose(Filtered(network, a), SquaredDistance(network(a).detach()))


def adam_from_ones(problems: Problems) -> Tensor:
    """The losses that the paper's problem ends at, well past its own stop."""
    raw = torch.ones(len(problems), *problems.space, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.05)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.985)
    for _ in range(500):
        f = raw / raw.flatten(1).norm(dim=1)[:, None, None]
        losses = problems.objective.losses(problems.response(f))
        (raw.grad,) = torch.autograd.grad(losses.sum(), raw)
        optimizer.step()
        schedule.step()
    return losses.detach() * problems.unit


def test_on_an_affine_head_it_finds_the_exact_answer(generator) -> None:
    a = maps(generator)
    network = head("linear")
    solution = solve_spectral(problems_of("linear", a))
    matrix = torch.einsum("dc,bchw->bdhw", network[2].weight.detach(), a) / 12
    exact = solve_affine(matrix)
    torch.testing.assert_close(solution.losses, exact.losses, rtol=1e-5, atol=0)
    torch.testing.assert_close(solution.filters, exact.filters, rtol=0, atol=3e-3)
    assert solution.settled.all() and solution.solver == "spectral"


@pytest.mark.parametrize("kind", ["mlp", "relu", "conv"])
def test_on_other_heads_it_is_as_good_as_adam_from_ones(kind, generator) -> None:
    problems = problems_of(kind, maps(generator))
    solution = solve_spectral(problems)
    expected = adam_from_ones(problems)
    assert (solution.losses <= expected * (1 + 1e-4) + 1e-4).all()
    assert solution.settled.all()
    norms = solution.filters.flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["linear", "mlp", "relu"])
def test_a_batch_gives_what_separate_calls_give(kind, generator) -> None:
    a = maps(generator, 6)
    together = solve_spectral(problems_of(kind, a))
    for i in range(6):
        alone = solve_spectral(problems_of(kind, a[i : i + 1]))
        torch.testing.assert_close(alone.filters[0], together.filters[i], atol=1e-6, rtol=0)
        torch.testing.assert_close(alone.losses[0], together.losses[i])
        assert alone.steps[0] == together.steps[i]


def test_finished_problems_leave_the_batch(generator) -> None:
    problems = problems_of("conv", maps(generator, 6))
    solution = solve_spectral(problems, second_look=False)
    sizes = problems.response.evaluated
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < sizes[0]
    assert solution.steps.sum() <= sum(sizes) <= solution.steps.sum() / (1 - IDLE)
    assert len(sizes) == solution.steps.max()


def test_a_second_look_finds_lower_minima_and_is_counted(generator) -> None:
    a = maps(generator, 24)
    once, twice = (problems_of("relu", a) for _ in range(2))
    first = solve_spectral(once, second_look=False)
    second = solve_spectral(twice)
    assert second.steps.sum() <= sum(twice.response.evaluated) <= second.steps.sum() / (1 - IDLE)
    assert second.losses.sum() < first.losses.sum()
    assert second.steps.sum() < 2 * first.steps.sum()


def test_it_never_does_worse_than_the_uniform_filter_and_may_run_out_of_steps(generator) -> None:
    problems = problems_of("relu", maps(generator))
    first, _ = problems.evaluate(problems.uniform_filters())
    for steps in (1, 2, 5):
        solution = solve_spectral(problems, max_steps=steps)
        assert (solution.losses <= first * problems.unit).all()
        assert (solution.steps <= steps).all()
        assert not solution.settled.all()


def test_the_class_specific_loss_is_followed_down(generator) -> None:
    a, network = maps(generator), head("mlp")
    targets = torch.tensor([0, 8, 3, 3])
    for centered in (False, True):
        objective = ClassSpecific(targets, centered=centered)
        problems = pose(Filtered(network, a), objective)
        solution = solve_spectral(problems)
        torch.testing.assert_close(
            solution.losses, objective.losses(network(a * solution.filters[:, None])).detach()
        )
        better = [adam_from_ones(problems)]
        assert (solution.losses <= torch.stack(better).amin(dim=0) + 1e-4).all()


@pytest.mark.parametrize("scale", [1e15, 1e-15])
def test_any_scale_survives_single_precision(scale, generator) -> None:
    a, network = maps(generator).float(), head("linear").float()
    nn.init.zeros_(network[2].bias)
    plain = solve_spectral(pose(Filtered(network, a), SquaredDistance(network(a).detach())))
    a = a * scale
    scaled = solve_spectral(pose(Filtered(network, a), SquaredDistance(network(a).detach())))
    torch.testing.assert_close(plain.filters, scaled.filters, atol=1e-4, rtol=0)
    torch.testing.assert_close(plain.losses, scaled.losses / scale / scale, rtol=1e-4, atol=0)


def test_dead_maps_have_the_uniform_filter(generator) -> None:
    a = maps(generator)
    a[1] = 0
    solution = solve_spectral(problems_of("mlp", a))
    torch.testing.assert_close(solution.filters[1], torch.full((3, 4), 12**-0.5).double())
    assert solution.settled[1] and solution.steps[1] == 1


def test_no_problems_have_no_filters(generator) -> None:
    solution = solve_spectral(problems_of("linear", maps(generator, 4)[:0]))
    assert solution.filters.shape == (0, 3, 4)


@pytest.mark.parametrize("kind", ["mlp", "relu"])
def test_the_trace_goes_from_the_uniform_filter_to_the_answer(kind, generator) -> None:
    problems = problems_of(kind, maps(generator, 12))
    solution = solve_spectral(problems, trace=True)
    for i, path in enumerate(solution.trace):
        torch.testing.assert_close(path[0], torch.full((3, 4), 12**-0.5).double())
        losses = [
            problems.select(torch.tensor([i])).evaluate(f[None])[0].item() * problems.unit[i].item()
            for f in path
        ]
        assert min(losses) == pytest.approx(solution.losses[i].item())


@pytest.mark.parametrize("kind", ["mlp", "relu", "conv"])
def test_no_accepted_step_ends_above_the_worst_of_the_last_five_losses(kind, generator) -> None:
    problems = problems_of(kind, maps(generator, 12))
    solution = solve_spectral(problems, second_look=False, trace=True)
    for i, path in enumerate(solution.trace):
        problem = problems.select(torch.tensor([i]))
        losses = [problem.evaluate(f[None])[0].item() for f in path]
        for k in range(1, len(losses)):
            assert losses[k] <= max(losses[max(0, k - 5) : k]) * (1 + 1e-12)


@pytest.mark.parametrize("kind", ["linear", "relu"])
def test_a_second_look_that_comes_back_to_the_first_answer_is_not_followed_in_vain(
    kind, generator, monkeypatch
) -> None:
    """An affine head has one minimum, one with a ReLU several: what is new is followed."""
    problems = problems_of(kind, maps(generator, 24))
    left = solve_spectral(problems)
    monkeypatch.setattr(spectral, "SAME", 0.0)
    followed = solve_spectral(problems)
    assert left.steps.sum() < followed.steps.sum()
    torch.testing.assert_close(left.losses, followed.losses, rtol=1e-2, atol=0)


def test_a_loss_that_is_not_finite_names_its_problem(generator) -> None:
    class Bursting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            total = x.flatten(1).sum(dim=1, keepdim=True)
            return torch.where(total < 0, torch.nan, total).expand(-1, 3)

    a = maps(generator)
    a[2] = -1
    problems = pose(Filtered(Bursting(), a), SquaredDistance(torch.ones(4, 3).double()))
    with pytest.raises(InputError, match="loss of sample 2"):
        solve_spectral(problems)


def test_only_a_step_along_which_the_slope_rises_is_remembered(generator) -> None:
    """From f along one axis: of three problems the gradient rises, falls, and stays."""
    f, candidate, slope, gradient = torch.zeros(4, 3, 12, dtype=torch.float64)
    f[:, 0] = 1
    candidate[:, 0], candidate[:, 1] = 0.8, 0.6
    gradient[0, 1], gradient[1, 1], gradient[2, 2] = 1, -1, 1
    state = spectral._State.at(problems_of("linear", maps(generator, count=3)), f)
    state._remember(torch.ones(3, dtype=torch.bool), slope, candidate, gradient)
    # The step in the new tangent plane: (0.8 - 1, 0.6) less its part along (0.8, 0.6).
    torch.testing.assert_close(state.moves[0, 0, :2], torch.tensor([-0.36, 0.48]).double())
    assert (state.moves[:, 0].norm(dim=1) > 0).tolist() == [True, False, False]
    assert (state.curvatures[:, 0] > 0).tolist() == [True, False, False]
    assert not state.curvatures[1:].any()
