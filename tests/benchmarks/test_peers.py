"""The peers are what they are called: otherwise the ratios mean nothing."""

import pytest
import torch
from torch import Tensor, nn

from benchmarks.bench import Bench, Contender
from benchmarks.hostile import best_filter, problems
from benchmarks.peers import LOOK_BACK, TOLERANCE, batched_adam, hand_written_grad_cam, paper_adam
from caf_video import grad_cam


def make_network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(6, 10)).eval()


def test_batched_adam_does_what_the_papers_loop_does_for_each_problem(generator) -> None:
    head = make_network()[2:].requires_grad_(False)
    maps = torch.rand(2, 6, 4, 5, generator=generator)
    wanted = head(maps)

    def losses_of(filters: Tensor) -> Tensor:
        return (wanted - head(maps * filters[:, None])).square().sum(dim=1)

    start = torch.rand(4, 5, generator=torch.Generator().manual_seed(7)).expand(2, 4, 5)
    together, alone = batched_adam(losses_of, start), paper_adam(head, maps, seed=7)
    assert together.steps.tolist() == alone.steps.tolist()
    torch.testing.assert_close(together.losses, alone.losses)


def test_the_papers_loop_ends_where_its_loss_stands_still(generator) -> None:
    head = make_network()[2:].requires_grad_(False)
    maps = torch.rand(1, 6, 4, 5, generator=generator)
    found = paper_adam(head, maps)
    assert LOOK_BACK < int(found.steps) < 1000
    loss = (head(maps) - head(maps * found.filters[:, None])).square().sum()
    assert loss - found.losses < TOLERANCE
    assert found.filters.norm().item() == pytest.approx(1)


def test_the_hand_written_grad_cam_is_grad_cam_and_leaves_no_hook(generator) -> None:
    model = make_network()
    images = torch.rand(2, 3, 8, 8, generator=generator)
    classes = torch.tensor([4, 7])
    found = hand_written_grad_cam(model, model[1], images, classes)
    torch.testing.assert_close(found, grad_cam(model, images, layer="1", target=classes))
    assert not model[1]._forward_hooks and torch.is_grad_enabled()


def test_the_reference_filter_is_a_minimum_on_the_sphere(generator) -> None:
    for name, matrix in problems().items():
        scaled = matrix / (matrix.abs().max() or 1.0)
        f = best_filter(scaled)
        assert f.norm().item() == pytest.approx(1), name
        nearby = f + 1e-3 * torch.randn(64, len(f), generator=generator, dtype=f.dtype)
        nearby /= nearby.norm(dim=1, keepdim=True)
        losses = ((1 - nearby) @ scaled.T).square().sum(dim=1)
        assert ((scaled @ (1 - f)).square().sum() <= losses + 1e-12).all(), name


def test_contenders_take_turns_and_a_sample_is_multiplied() -> None:
    order: list[str] = []
    bench = Bench(repeats=3, device=torch.device("cpu"))

    def busy(name: str) -> float:
        order.append(name)
        return sum(i * 0.5 for i in range(400_000))

    seconds = bench.time(
        "case",
        [Contender("a", lambda _: busy("a"), share=10.0), Contender("b", lambda _: busy("b"))],
    )
    turns = [name for name, last in zip(order, [None, *order], strict=False) if name != last]
    assert turns == ["a", "b", "a", "b", "a", "b"]  # to warm up; there, back, there
    assert len(seconds["a"]) == 3 and min(seconds["a"]) > 3 * max(seconds["b"])
    assert [timing.contender for timing in bench.timings] == ["a", "b"]
