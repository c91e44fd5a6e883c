"""A pooled linear head is known by being seen, and nothing else passes for one."""

import warnings
from collections.abc import Callable
from itertools import count

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from caf_video.attention import cut_network, explain, solve_affine
from caf_video.attention.solvers.affine import DenseMap, PooledMap
from caf_video.attention.warning import AttentionWarning, warn_caller

Behind = Callable[[nn.Module, Tensor], Tensor]

POOLED: dict[str, Behind] = {
    "adaptive pooling": lambda m, a: m.fc(torch.flatten(functional.adaptive_avg_pool2d(a, 1), 1)),
    "a mean": lambda m, a: m.fc(a.mean(dim=(2, 3))),
    "a mean that keeps its axes": lambda m, a: m.fc(torch.mean(a, (2, 3), True).squeeze()),
    "view and dropout": lambda m, a: m.fc(
        functional.dropout(a.mean((2, 3)), 0.5, training=m.training).view(-1, 6)
    ),
    "a look at its shape": lambda m, a: m.fc(a.mean((2, 3)).reshape(a.shape[0], a.size(1))),
}
OTHERS: dict[str, Behind] = {
    "a maximum": lambda m, a: m.fc(a.amax(dim=(2, 3))),
    "pooling to two cells": lambda m, a: m.fc(
        functional.adaptive_avg_pool2d(a, (1, 2)).mean((2, 3))
    ),
    "a ReLU before": lambda m, a: m.fc((a - 1).relu().mean((2, 3))),
    "a ReLU between": lambda m, a: m.fc((a.mean((2, 3)) - 0.3).relu()),
    "a ReLU behind": lambda m, a: m.fc(a.mean((2, 3))).relu(),
    "unit norm behind": lambda m, a: functional.normalize(m.fc(a.mean((2, 3)))),
    "a shortcut": lambda m, a: m.fc(a.mean((2, 3))) + a.amax((2, 3))[:, :5],
    "a change in place": lambda m, a: m.fc(a.mean((2, 3))).mul_(2),
    "two layers": lambda m, a: m.again(m.fc(a.mean((2, 3)))),
    "a part of it": lambda m, a: m.fc(a.mean((2, 3)))[:, :4],
}


class Tail(nn.Module):
    def __init__(self, behind: Behind) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.fc, self.again = nn.Conv2d(3, 6, 3), nn.Linear(6, 5), nn.Linear(5, 5)
        self.behind = behind

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self, self.conv(x))


@pytest.mark.parametrize("kind", POOLED)
def test_global_average_pooling_and_one_linear_layer_are_seen(kind, generator) -> None:
    model, x = Tail(POOLED[kind]), torch.randn(4, 3, 6, 7, generator=generator)
    with cut_network(model, x, "conv") as cut:
        assert cut.is_pooled_linear
    found = explain(model, x, layer="conv")
    assert found.solver == "exact"
    matrix = torch.einsum("dc,bchw->bdhw", model.fc.weight, model.conv(x)).detach() / 20
    torch.testing.assert_close(found.losses, solve_affine(matrix).losses, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", OTHERS)
def test_anything_else_is_not_taken_for_it(kind, generator) -> None:
    model, x = Tail(OTHERS[kind]), torch.randn(4, 3, 6, 7, generator=generator)
    with cut_network(model, x, "conv") as cut:
        assert not cut.is_pooled_linear
    found = explain(model, x, layer="conv")
    with torch.no_grad():  # whichever solver it was, the loss is that of its filter
        answer = model.behind(model, model.conv(x) * found.filters[:, None])
        loss = (model(x) - answer).square().sum(dim=1)
    torch.testing.assert_close(found.losses, loss, rtol=1e-4, atol=1e-6)


def test_a_mean_over_one_of_two_equal_axes_is_not_seen(generator) -> None:
    model = Tail(lambda m, a: m.fc(a.mean(dim=1).mean(dim=2)))  # over channels and one cell axis
    x = torch.randn(2, 3, 8, 8, generator=generator)  # a map of 6 channels on 6 x 6 cells
    with cut_network(model, x, "conv") as cut:
        assert not cut.is_pooled_linear


def test_dropout_that_stays_on_in_eval_mode_is_not_seen(generator) -> None:
    seen = POOLED["a mean"]
    model = Tail(lambda m, a: seen(m, functional.dropout(a, 0.0)))
    with cut_network(model, torch.randn(2, 3, 6, 7, generator=generator), "conv") as cut:
        assert not cut.is_pooled_linear


def test_a_seen_head_costs_no_second_run_of_it(generator) -> None:
    calls = count()

    def behind(m: nn.Module, a: Tensor) -> Tensor:
        next(calls)
        return POOLED["a mean"](m, a)

    explain(Tail(behind), torch.randn(2, 3, 6, 7, generator=generator), layer="conv")
    assert next(calls) == 1


@pytest.mark.parametrize("form", [DenseMap, PooledMap])
def test_both_products_at_once_are_the_two_in_turn(form, generator, monkeypatch) -> None:
    pieces_of_seven_rows = 7 * 6 * 8
    monkeypatch.setattr("caf_video.attention.solvers.affine.CACHED_BYTES", pieces_of_seven_rows)
    weight = torch.randn(20, 6, generator=generator, dtype=torch.float64)
    maps = torch.randn(3, 6, 12, generator=generator, dtype=torch.float64)
    matrix = weight @ maps / 12
    affine = DenseMap.of(matrix) if form is DenseMap else PooledMap.of(weight, maps)
    filters = torch.randn(3, 12, generator=generator, dtype=torch.float64)
    image, pulled = affine.apply_and_pull(filters)
    scale = affine.scale[:, None]
    expected = torch.einsum("bdn,bn->bd", matrix, filters)
    torch.testing.assert_close(image * scale, expected)
    torch.testing.assert_close(
        pulled * scale.square(), torch.einsum("bdn,bd->bn", matrix, expected)
    )


def test_a_warning_names_the_line_of_the_caller() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_caller("look at this")
    assert caught[0].category is AttentionWarning
    assert caught[0].filename == __file__
