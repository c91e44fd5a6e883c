"""The paper's loop: gradient descent on a raw filter, one problem at a time. The slow truth."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from caf_video.attention.objectives import SquaredDistance
from caf_video.attention.solvers.constraints import constrain, parameter_shape
from caf_video.attention.solvers.l1 import solve_l1
from caf_video.attention.solvers.problems import Problems
from caf_video.attention.solvers.solution import FilterSolution, join_solutions

LOOK_BACK = 50  # steps between the two losses whose difference ends the loop


@dataclass(frozen=True)
class Preset:
    """Settings of the loop: the paper's text and its two codes disagree (the table of maths 1).

    Attributes:
        optimizer: "sgd" (plain, no momentum) or "adam".
        learning_rate: Of the first step.
        last_learning_rate: Reached linearly at `max_steps`.
        init: How the raw filter starts: "uniform" in [0, 1], "normal" or "ones".
        mean_loss: Whether the squared distance is averaged over outputs rather than summed.
        tolerance: Change of the loss over `LOOK_BACK` steps that counts as settled.
        look_every: Steps between two such looks.
        max_steps: L_max.
    """

    optimizer: Literal["sgd", "adam"]
    learning_rate: float
    last_learning_rate: float
    init: Literal["uniform", "normal", "ones"]
    mean_loss: bool
    tolerance: float
    look_every: int
    max_steps: int = 1000


PRESETS = {
    # The paper gives no learning rate and no L_max: these are the authors' (both codes).
    "paper": Preset("sgd", 0.5, 0.5, "uniform", False, 1e-5, 1),
    "tf": Preset(
        "adam", 0.5, 0.0, "normal", True, 1e-4, 50
    ),  # 1e-6 where it runs the whole network
    "pytorch": Preset("sgd", 0.5, 1e-5, "ones", True, 1e-6, 50),
}


def solve_descent(
    problems: Problems,
    *,
    preset: Preset = PRESETS["paper"],
    constraint: str = "l2",
    seed: int = 0,
    trace: bool = False,
) -> FilterSolution:
    """Minimise each problem's loss by the paper's loop, one problem after the other.

    Args:
        problems: The n problems.
        preset: Optimiser, schedule, start and stop; of "l1", which has no raw parameter, only how
            many steps at most.
        constraint: How the raw parameter becomes a filter: "l2", "softmax" or "gaussian"; or "l1",
            see `solve_l1`.
        seed: Of the random start, which is the same for every problem, so that a batch gives what
            separate calls give.
        trace: Keep the filter of every step.
    """
    if constraint == "l1":
        return solve_l1(problems, max_steps=preset.max_steps + 1, trace=trace)
    parts = []
    for row in range(len(problems)):
        problem = problems.select(torch.tensor([row], device=problems.response.device))
        generator = torch.Generator().manual_seed(seed)
        parts.append(_descend(problem, preset, constraint, generator, trace))
    return join_solutions(parts)


def _descend(
    problem: Problems, preset: Preset, constraint: str, generator: torch.Generator, trace: bool
) -> FilterSolution:
    unit = problem.unit.item()
    if preset.mean_loss and isinstance(problem.objective, SquaredDistance):
        factor = unit / problem.objective.reference.shape[1]
    else:
        factor = unit
    raw = _start(problem, preset, constraint, generator).requires_grad_()
    optimizer = _optimizer(preset, raw)
    frames: list[Tensor] = []
    history: list[float] = []
    settled = False
    while True:
        with torch.enable_grad():
            filters = constrain(raw, constraint, problem.space)
        losses, (gradient,) = problem.evaluate(filters.detach()[None])
        if trace:
            frames.append(filters.detach())
        history.append(losses.item() * factor)
        step = len(history) - 1  # gradient steps taken so far
        if step >= LOOK_BACK and step % preset.look_every == 0:
            settled = abs(history[-1] - history[-1 - LOOK_BACK]) < preset.tolerance
        if settled or step == preset.max_steps:
            break
        for group in optimizer.param_groups:  # linear from the first rate to the last
            done = step / preset.max_steps
            group["lr"] = preset.learning_rate + done * (
                preset.last_learning_rate - preset.learning_rate
            )
        (raw.grad,) = torch.autograd.grad(filters, raw, gradient * factor)
        optimizer.step()
    return FilterSolution(
        filters=filters.detach()[None],
        losses=losses * problem.unit,
        steps=torch.tensor([len(history)], device=raw.device),
        settled=torch.tensor([settled], device=raw.device),
        solver="descent",
        trace=(torch.stack(frames),) if trace else None,
    )


def _start(
    problem: Problems, preset: Preset, constraint: str, generator: torch.Generator
) -> Tensor:
    shape = parameter_shape(constraint, problem.space)
    if constraint == "gaussian":  # a mean, in cells: a start of ones would mean off the middle
        raw = (
            torch.randn(shape, generator=generator)
            if preset.init == "normal"
            else torch.zeros(shape)
        )
    elif preset.init == "uniform":
        raw = torch.rand(shape, generator=generator)
    elif preset.init == "normal":
        raw = torch.randn(shape, generator=generator)
    else:
        raw = torch.ones(shape)
    return raw.to(problem.response.device, problem.response.dtype)


def _optimizer(preset: Preset, raw: Tensor) -> torch.optim.Optimizer:
    if preset.optimizer == "adam":
        return torch.optim.Adam([raw], lr=preset.learning_rate)
    return torch.optim.SGD([raw], lr=preset.learning_rate)
