"""Where any network looked: L2-CAF for a network, its inputs and a layer (Eq. 1, 2, 3 and pair)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from caf_video.attention.affine_head import solve_affine_head
from caf_video.attention.cutting.call import Output, check_finite
from caf_video.attention.cutting.cut import Cut, Endpoint, cut_network, network_outputs
from caf_video.attention.cutting.response import CutResponse
from caf_video.attention.heatmap import filters_to_heatmaps
from caf_video.attention.objectives import (
    ClassSpecific,
    Objective,
    SquaredDistance,
    Target,
    as_targets,
)
from caf_video.attention.solvers.constraints import CONSTRAINTS
from caf_video.attention.solvers.descent import PRESETS, solve_descent
from caf_video.attention.solvers.problems import Problems
from caf_video.attention.solvers.solution import FilterSolution, join_solutions
from caf_video.attention.solvers.spectral import solve_spectral
from caf_video.attention.warning import warn_caller
from caf_video.errors import InputError

SOLVERS = ("auto", "exact", "spectral", "descent")


@dataclass(frozen=True)
class Explanation:
    """Filters and heatmaps of n samples.

    Where a network folds a clip's frames into the batch, every frame has a filter of its own,
    solved with the others unfiltered (Sec. 4.3), and n below is (samples, frames).

    Attributes:
        filters: f, signed, unit norm under its constraint, shape (n, *space).
        heatmaps: |f| / ||f|| resized to the input, never rescaled to its own extremes, (n, *size).
        losses: The loss of each filter, (n,).
        steps: Evaluations each took, (n,).
        settled: Whether each met its solver's test; False means it ran out of steps, (n,).
        solver: "exact", "spectral" or "descent".
        endpoint: "fast" if only the rest of the network ran in the loop, else "vanilla".
        trace: On request, the filters on the way, (steps, *space) for each problem in turn.
    """

    filters: Tensor
    heatmaps: Tensor
    losses: Tensor
    steps: Tensor
    settled: Tensor
    solver: str
    endpoint: Endpoint
    trace: tuple[Tensor, ...] | None = None


def explain(
    model: nn.Module,
    inputs: Any,
    *,
    layer: str | nn.Module,
    target: Target | None = None,
    reference: Any = None,
    output: Output = None,
    solver: str = "auto",
    constraint: str = "l2",
    endpoint: Endpoint = "fast",
    center_logits: bool = False,
    preset: str | None = None,
    size: Sequence[int] | None = None,
    layout: str = "auto",
    grid: Sequence[int] | None = None,
    after_relu: bool = True,
    trace: bool = False,
    seed: int = 0,
) -> Explanation:
    """The filters that change the network's answer least: where it looked.

    Class-oblivious (Eq. 1, 3) as it stands; with `target` class-specific (Eq. 2), with `reference`
    the pair variant: what in x makes it resemble y. The model is explained in eval mode and left as
    it was found, in train mode too.

    Args:
        model: Any network. Batches are explained sample by sample.
        inputs: A tensor, a tuple of positional or a dict of keyword arguments.
        layer: Name of a layer, or the module, whose output the filter multiplies.
        target: A class for each sample, or one for all.
        reference: Inputs y like `inputs`, one for each sample or one for all.
        output: Which output, where the network returns several: a key, an index or a function.
        solver: "exact" (affine heads, maths 1.1), "spectral" (any head, maths 1.2), "descent"
            (the paper's loop) or "auto", the first of them that fits.
        constraint: "l2", or "softmax", "gaussian" or "l1" (Sec. 4.4), which "descent" solves.
        endpoint: "fast" runs only the network behind the layer in the loop, "vanilla" all of it.
        center_logits: Subtract the mean logit before Eq. 2, a named deviation: Eq. 2 depends on a
            vector common to all rows of the last layer, which the softmax ignores (maths 1.5).
        preset: Of "descent": "paper", "tf" or "pytorch"; None is "paper", and "tf" for constraints
            other than "l2", which only the TensorFlow code has.
        size: Of the heatmaps; None is the input's (of an image made from a vector: the output's).
        layout: Where the map has its channels: "auto", "channels_first", "channels_last", "tokens".
        grid: (rows, columns) of the tokens that are cells, where it does not follow from the input.
        after_relu: Filter behind a ReLU that functional code applies right after the layer and that
            so has no name of its own (DenseNet's last), rather than before it.
        trace: Keep the filters on the way.
        seed: Of the random start of "descent".

    Raises:
        InputError: On a layer, target or input that is wrong, or a value that is not finite.
    """
    _check_choices(solver, constraint, preset, target, reference, center_logits)
    wanted = None if reference is None else network_outputs(model, reference, output=output)
    with cut_network(
        model,
        inputs,
        layer,
        output=output,
        endpoint=endpoint,
        layout=layout,
        grid=grid,
        after_relu=after_relu,
    ) as cut:
        objective = _objective(cut, target, wanted, center_logits)
        if solver == "descent" or constraint != "l2":
            name = preset or ("paper" if constraint == "l2" else "tf")
            solution = _iterate(
                cut,
                objective,
                lambda problems: solve_descent(
                    problems, preset=PRESETS[name], constraint=constraint, seed=seed, trace=trace
                ),
            )
        else:
            exact = None
            if solver != "spectral":
                exact = _solve_exactly(
                    cut, objective, pair=wanted is not None, insist=solver == "exact"
                )
            solution = exact or _iterate(
                cut, objective, lambda problems: solve_spectral(problems, trace=trace)
            )
    if target is not None and constraint == "l2" and not center_logits:
        _warn_of_negative_filters(solution.filters)
    if trace and solution.trace is None:
        solution = replace(solution, trace=tuple(f[None] for f in solution.filters))
    heatmaps = filters_to_heatmaps(solution.filters, size or cut.input_size)
    shape = (cut.samples, cut.rows_each) if cut.rows_each > 1 else (cut.samples,)
    return Explanation(
        filters=solution.filters.unflatten(0, shape),
        heatmaps=heatmaps.unflatten(0, shape),
        losses=solution.losses.view(shape),
        steps=solution.steps.view(shape),
        settled=solution.settled.view(shape),
        solver=solution.solver,
        endpoint=cut.endpoint,
        trace=solution.trace,
    )


def _check_choices(
    solver: str,
    constraint: str,
    preset: str | None,
    target: Target | None,
    reference: Any,
    center_logits: bool,
) -> None:
    for what, value, choices in (
        ("solver", solver, SOLVERS),
        ("constraint", constraint, CONSTRAINTS),
        ("preset", preset or "paper", tuple(PRESETS)),
    ):
        if value not in choices:
            raise InputError(f'{what} is "{value}", wanted one of {", ".join(choices)}')
    if constraint != "l2" and solver in ("exact", "spectral"):
        raise InputError(
            f'solver "{solver}" is for constraint "l2"; "{constraint}" needs "descent"'
        )
    if target is not None and reference is not None:
        raise InputError("target and reference exclude each other: class-specific or pair")
    if center_logits and target is None:
        raise InputError("center_logits is about class logits: it needs a target")


def _objective(
    cut: Cut, target: Target | None, wanted: Tensor | None, center_logits: bool
) -> ClassSpecific | SquaredDistance:
    """The loss of every problem, one for each row of the map."""
    each = cut.rows_each
    if target is not None:
        if cut.outputs.dim() != 2:
            raise InputError(
                f"target needs logits (samples, classes), the output is {tuple(cut.outputs.shape)}"
            )
        targets = as_targets(target, samples=cut.samples, classes=cut.outputs.shape[1])
        targets = targets.to(cut.outputs.device).repeat_interleave(each)
        return ClassSpecific(targets, centered=center_logits)
    outputs = cut.outputs
    if wanted is not None:
        if wanted.shape[1:] != outputs.shape[1:] or len(wanted) not in (1, len(outputs)):
            raise InputError(
                f"the reference gives {tuple(wanted.shape)}, the input {tuple(outputs.shape)}: "
                "wanted one reference for each sample, or one for all"
            )
        outputs = wanted.expand_as(outputs)
    outputs = outputs.flatten(1)
    return SquaredDistance(outputs.repeat_interleave(each, dim=0) if each > 1 else outputs)


def _solve_exactly(
    cut: Cut, objective: ClassSpecific | SquaredDistance, *, pair: bool, insist: bool
) -> FilterSolution | None:
    response = CutResponse(cut)
    solution = solve_affine_head(cut, response, objective, pair=pair, insist=insist)
    if solution is None:
        if insist:
            raise InputError(
                f'the network behind layer {cut.name} is not affine: use solver "spectral"'
            )
        return None
    check_finite(solution.filters, "the filter")
    return replace(solution, filters=solution.filters.unflatten(1, response.space))


def _iterate(
    cut: Cut, objective: Objective, solve: Callable[[Problems], FilterSolution]
) -> FilterSolution:
    """A few problems at a time, so that the network's activations stay small."""
    each = cut.rows_each

    def name(row: int) -> str:
        return f"sample {row // each}" + (f", frame {row % each}" if each > 1 else "")

    response = CutResponse(cut)
    rows = torch.arange(len(response), device=response.device)
    problems = Problems(response, objective, rows, name, f"layer {cut.name}")
    chunks = response.chunks()
    if len(chunks) == 1:
        return solve(problems)
    return join_solutions([solve(problems.select(chunk)) for chunk in chunks])


def _warn_of_negative_filters(filters: Tensor) -> None:
    cells = filters.flatten(1)
    negative = -cells.clamp(max=0).sum(dim=1) > cells.clamp(min=0).sum(dim=1)
    if negative.any():
        rows = ", ".join(map(str, negative.nonzero().squeeze(1).tolist()[:8]))
        warn_caller(
            f"the class-specific filters of rows {rows} are more negative than positive: their "
            "heatmaps |f| show what speaks against the class; see center_logits "
            "(docs/mathematics.md, section 1.5)"
        )
