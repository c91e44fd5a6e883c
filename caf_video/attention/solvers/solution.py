"""What a solver hands back: the filters, how good they are and how they were found."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FilterSolution:
    """The filters of n problems.

    Attributes:
        filters: f, signed, of unit norm under their constraint, shape (n, *space).
        losses: The loss of each filter, shape (n,).
        steps: Evaluations of the loss that each problem took, shape (n,).
        settled: Whether each met its solver's test; False: it ran out of steps, shape (n,).
        solver: The name of the solver that found them.
        trace: On request, the filters after each accepted step, (steps, *space) per problem.
    """

    filters: Tensor
    losses: Tensor
    steps: Tensor
    settled: Tensor
    solver: str
    trace: tuple[Tensor, ...] | None = None


def join_solutions(parts: Sequence[FilterSolution]) -> FilterSolution:
    """The solutions of consecutive chunks of problems as one; `solver` names all that took part."""
    traces = [part.trace for part in parts]
    return FilterSolution(
        filters=torch.cat([part.filters for part in parts]),
        losses=torch.cat([part.losses for part in parts]),
        steps=torch.cat([part.steps for part in parts]),
        settled=torch.cat([part.settled for part in parts]),
        solver="+".join(dict.fromkeys(part.solver for part in parts)),
        trace=None if None in traces else tuple(f for trace in traces for f in trace or ()),
    )
