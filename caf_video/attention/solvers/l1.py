"""Filters of unit L1 norm: projected gradient steps, with a bound on what is left to gain.

A raw filter seen through raw / ||raw||_1 does not settle: the cells that should be 0 change their
sign with every step, and the norm has a kink there. A projection onto the sphere puts them to 0
and leaves them.

The answer is sparse, most often one cell (maths 1). The filters that softmax can reach, and come
near to, are the part of this sphere that is nowhere negative: where the best filter is in it, both
constraints have the same answer.
"""

import torch
from torch import Tensor

from caf_video.attention.solvers.problems import Problems
from caf_video.attention.solvers.solution import FilterSolution, join_solutions

TOLERANCE = 1e-5  # share of the loss that may be left to gain
SMALLEST_STEP = 1e-12  # of the first: no shorter one is tried
ROUNDING = 1e-7  # share of the loss below which a rise is none


def project_l1(values: Tensor) -> Tensor:
    """The nearest filter of unit L1 norm, of the shape of `values`.

    Every |value| is lowered (or, inside the ball, raised) by one number, and is 0 at least.
    """
    sizes = values.abs().flatten()
    if sizes.sum() <= 1:
        shift = (sizes.sum() - 1) / sizes.numel()
    else:
        ordered = sizes.sort(descending=True).values
        shifts = (ordered.cumsum(dim=0) - 1) / torch.arange(
            1, len(ordered) + 1, dtype=values.dtype, device=values.device
        )
        shift = shifts[int((ordered > shifts).sum()) - 1]
    signs = torch.where(values < 0, -1.0, 1.0).to(values.dtype)
    return signs * (values.abs() - shift).clamp(min=0)


def solve_l1(problems: Problems, *, max_steps: int = 1000, trace: bool = False) -> FilterSolution:
    """Minimise each problem's loss over filters of unit L1 norm, one problem after the other.

    A problem is settled when its linear model, at its best anywhere in the ball, is lower by less
    than TOLERANCE of the loss. Behind an affine head the loss is convex, and this bounds how much
    better any filter can be. Starts at the uniform filter.

    Args:
        problems: The n problems.
        max_steps: Evaluations at most.
        trace: Keep the filter of every accepted step.
    """
    rows = torch.arange(len(problems), device=problems.response.device)
    return join_solutions([_solve(problems.select(row[None]), max_steps, trace) for row in rows])


def _solve(problem: Problems, max_steps: int, trace: bool) -> FilterSolution:
    f = project_l1(torch.zeros_like(problem.uniform_filters()[0]))
    loss, gradient = _evaluate(problem, f)
    frames, evaluations = [f], 1
    steepest = float(gradient.abs().max())
    length = first = 1.0 / steepest if steepest > 0 else 1.0  # moves the steepest cell by 1
    while not (settled := _is_settled(f, loss, gradient)) and evaluations < max_steps:
        candidate = project_l1(f - length * gradient)
        new_loss, new_gradient = _evaluate(problem, candidate)
        evaluations += 1
        step = candidate - f
        promised = float((gradient * step).sum() + step.square().sum() / (2 * length))
        if new_loss > loss + promised + ROUNDING * abs(loss):
            length /= 4
            if length < SMALLEST_STEP * first:
                break
            continue
        bent = float((step * (new_gradient - gradient)).sum())
        f, loss, gradient = candidate, new_loss, new_gradient
        frames.append(f)
        length = float(step.square().sum()) / bent if bent > 0 else 4 * length
    return FilterSolution(
        filters=f[None],
        losses=loss * problem.unit,
        steps=torch.tensor([evaluations], device=f.device),
        settled=torch.tensor([settled], device=f.device),
        solver="descent",
        trace=(torch.stack(frames),) if trace else None,
    )


def _evaluate(problem: Problems, f: Tensor) -> tuple[float, Tensor]:
    losses, (gradient,) = problem.evaluate(f[None])
    return losses.item(), gradient


def _is_settled(f: Tensor, loss: float, gradient: Tensor) -> bool:
    """Whether less than TOLERANCE of the loss is left to gain, to first order."""
    left = float((gradient * f).sum() + gradient.abs().max())
    return left <= TOLERANCE * abs(loss)
