"""The loss of a filter said a second time: by a plain hook on the model, and Adam through it."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pytest
import torch
from torch import Tensor, nn


@dataclass
class Hooked:
    """A network whose layer's output is multiplied by a plain forward hook.

    Attributes:
        model: The network, in eval mode.
        inputs: What it is called with.
        layer: The layer's name.
        spread: From filters (n, [rows], *space) to what the layer's output is multiplied by.
        run: Which run of the layer.
        pick: From what the network returns to its answer (samples, …).
        answer: What it answers to the inputs, in place of `pick` of what it returns.
    """

    model: nn.Module
    inputs: Any
    layer: str
    spread: Callable[[Tensor], Tensor]
    run: int = 0
    pick: Callable[[Any], Tensor] = field(default=lambda output: output)
    answer: Callable[[Any], Tensor] | None = None

    def __call__(self, filters: Tensor | None = None) -> Tensor:
        """NT(x), or FT(x, f)."""
        runs = itertools.count()
        mine = None if filters is None else self.spread(filters)

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            if mine is None or next(runs) != self.run:
                return None
            return (output[0] * mine, *output[1:]) if type(output) is tuple else output * mine

        handle = self.model.get_submodule(self.layer).register_forward_hook(hook)
        try:
            if self.answer is not None:
                return self.answer(self.inputs)
            if isinstance(self.inputs, Mapping):
                output = self.model(**self.inputs)
            elif isinstance(self.inputs, tuple):
                output = self.model(*self.inputs)
            else:
                output = self.model(self.inputs)
            return self.pick(output)
        finally:
            handle.remove()

    @cached_property
    def plain(self) -> Tensor:
        """NT(x)."""
        with torch.no_grad():
            return self()

    def loss(self, filters: Tensor, problem: tuple[int, ...]) -> Tensor:
        """||NT - FT||^2 of one problem's sample, its own filter alone in place."""
        alone = torch.ones_like(filters)
        alone[problem] = filters[problem]
        return (self(alone) - self.plain)[problem[0]].square().sum()

    def adam(self, filters: Tensor, problem: tuple[int, ...], steps: int = 200) -> float:
        """The lowest loss that Adam comes to from the uniform filter."""
        raw = torch.ones_like(filters[problem]).requires_grad_()
        optimizer = torch.optim.Adam([raw], 0.05)
        lowest = float("inf")
        for _ in range(steps):
            mine = torch.ones_like(filters).index_put(
                tuple(torch.tensor(i) for i in problem), raw / raw.norm()
            )
            loss = self.loss(mine, problem)
            lowest = min(lowest, loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return lowest

    def check(self, explanation: Any, rows: int = 0, *, adam: bool = True) -> None:
        """The reported losses are the hook's, and Adam through the hook does no better.

        Args:
            explanation: Of the network.
            rows: How many axes of it number the rows of a sample.
        """
        filters, losses = explanation.filters, explanation.losses
        shape = filters.shape[: 1 + rows]
        assert losses.shape == shape
        problems = list(itertools.product(*map(range, shape)))
        with torch.no_grad():
            scale = self.plain.flatten(1) if self.plain.dim() > 1 else self.plain[:, None]
            scale = scale.square().sum(dim=1)
            for problem in problems:
                found = self.loss(filters, problem)
                allowed = 1e-3 * found + 1e-7 * scale[problem[0]]
                assert (losses[problem] - found).abs() <= allowed, (problem, losses[problem], found)
        for problem in problems[-1:] if adam else []:
            best = self.adam(filters, problem)
            assert losses[problem] <= best * 1.001 + 1e-7 * scale[problem[0]], (problem, best)
        assert explanation.settled.all()


@pytest.fixture
def hooked() -> type[Hooked]:
    """A network with a plain hook at a layer, to say a loss a second time."""
    return Hooked
