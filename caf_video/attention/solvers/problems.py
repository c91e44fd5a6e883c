"""n problems of one kind, side by side: the form in which a solver meets a network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from caf_video.attention.objectives import Objective
from caf_video.errors import InputError


class MissingGradient(InputError):
    """The outputs have no gradient in the filters: it is unknown, which is not zero."""


class Response(Protocol):
    """FT(x, .): from the filters of n problems to the network's outputs, differentiable in f.

    Attributes:
        space: The shape of one filter.
        dtype: The filters' floating type, at least float32.
        device: Where the filters live.
    """

    space: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def __len__(self) -> int: ...

    def __call__(self, filters: Tensor) -> Tensor:
        """Outputs (n, d), at least float32, of filters (n, *space)."""
        ...

    def select(self, rows: Tensor) -> "Response":
        """Some of the problems, so that finished ones cost nothing."""
        ...


@dataclass(frozen=True)
class Problems:
    """Minimise objective(response(f)) over unit filters f, for each of n problems.

    Attributes:
        response: FT(x, .) of the n problems.
        objective: The loss over its outputs.
        rows: The number of each problem among those first posed, shape (n,).
        name: From such a number to what an error calls the problem.
        where: What an error calls the map that the filters multiply.
    """

    response: Response
    objective: Objective
    rows: Tensor
    name: Callable[[int], str]
    where: str = "the filtered map"

    @property
    def space(self) -> tuple[int, ...]:
        return self.response.space

    @property
    def unit(self) -> Tensor:
        return self.objective.unit

    def __len__(self) -> int:
        return len(self.response)

    def uniform_filters(self) -> Tensor:
        """The constant unit filter for every problem, shape (n, *space)."""
        shape = (len(self), *self.space)
        filters = torch.ones(shape, dtype=self.response.dtype, device=self.response.device)
        return filters / filters[0].numel() ** 0.5 if len(self) else filters

    def evaluate(self, filters: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (n,) in the objective's unit and their gradients (n, *space) at `filters`.

        Raises:
            InputError: If a loss or a gradient is not finite; names the first such problem.
            MissingGradient: If no gradient reaches the filters.
        """
        with torch.enable_grad():
            variable = filters.detach().requires_grad_()
            losses = self.objective.losses(self.response(variable))
            gradients = gradient(losses, variable, torch.ones_like(losses), self.where)
        losses = losses.detach()
        finite = (losses + gradients.flatten(1).sum(dim=1)).isfinite()
        if not finite.all():
            row = int(self.rows[~finite][0])
            raise InputError(f"the loss of {self.name(row)} or its gradient is not finite")
        return losses, gradients

    def select(self, rows: Tensor) -> "Problems":
        """Some of the problems, by their position here."""
        return Problems(
            self.response.select(rows),
            self.objective.select(rows),
            self.rows[rows],
            self.name,
            self.where,
        )


def pose(
    response: Response, objective: Objective, name: Callable[[int], str] = "sample {}".format
) -> Problems:
    """All problems of `response`, numbered from 0."""
    rows = torch.arange(len(response), device=response.device)
    return Problems(response, objective, rows, name)


def gradient(
    results: Tensor, variable: Tensor, weights: Tensor, where: str, *, again: bool = False
) -> Tensor:
    """The gradient of <weights, results> in `variable`, of its shape.

    Args:
        results: What depends on the variable.
        variable: What the gradient is by.
        weights: Of the results, of their shape.
        where: What is between them, for errors.
        again: Whether another gradient of these results is asked for later.

    Raises:
        MissingGradient: If there is none; `where` says behind what it is lost.
    """
    found = None
    if results.requires_grad:
        try:
            (found,) = torch.autograd.grad(
                results, variable, weights, allow_unused=True, retain_graph=again or None
            )
        except NotImplementedError:  # an operation that has no derivative
            found = None
    if found is None:
        raise MissingGradient(
            f"the output does not depend on {where}, or its gradient is cut off behind it (detach, "
            "a quantised layer, a function without gradient); explain needs none where the network "
            "is affine from there on"
        )
    return found
