"""Where any network looked: L2-CAF for a network, its inputs and a layer (Eq. 1, 2, 3 and pair)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from caf_video.attention.affine_head import solve_affine_head
from caf_video.attention.cutting.call import Output, check_finite
from caf_video.attention.cutting.cut import Cut, Endpoint, cut_network
from caf_video.attention.cutting.layers import maps_of, number_of_runs
from caf_video.attention.cutting.recorded import network_outputs
from caf_video.attention.cutting.response import CutResponse
from caf_video.attention.heatmap import (
    filters_to_heatmaps,
    like_and_unlike,
    mostly_negative,
    resize_maps,
)
from caf_video.attention.objectives import (
    ClassSpecific,
    Objective,
    SquaredDistance,
    Target,
    as_targets,
    class_numbers,
)
from caf_video.attention.pairs import centers_of, check_center, given_embeddings
from caf_video.attention.solvers.constraints import CONSTRAINTS
from caf_video.attention.solvers.descent import PRESETS, solve_descent
from caf_video.attention.solvers.problems import Problems
from caf_video.attention.solvers.solution import FilterSolution, join_solutions
from caf_video.attention.solvers.spectral import solve_spectral
from caf_video.attention.telling import (
    FLAT,
    MEANING,
    Flat,
    first_telling,
    raw_embedding,
    telling_layer,
    what_is_flat,
)
from caf_video.attention.warning import warn_caller
from caf_video.errors import InputError

SOLVERS = ("auto", "exact", "spectral", "descent")
MOST_LOOKED_AT = 64  # layers, from the last, for one that tells something


@dataclass(frozen=True)
class Explanation:
    """Filters and heatmaps of n samples.

    Where a network folds a clip's frames into the batch, or runs the layer once a frame, every
    frame has a filter of its own, solved with the others unfiltered (Sec. 4.3), and n below is
    (samples, frames). Each of those has norm 1: |f| must not be compared between frames. A network
    whose map has time among its cells (a 3-D one) has one filter over (t, h, w), the joint one of
    maths 1.6; `frame_shares(filters)` then says which frame.

    Attributes:
        filters: f, signed, unit norm under its constraint, shape (n, *space).
        heatmaps: |f| / ||f|| resized to the input, never rescaled to its own extremes, (n, *size);
            of a centred pair only its positive side, what resembles the reference.
        losses: The loss of each filter, (n,).
        steps: Evaluations each took, (n,).
        settled: Whether each met its solver's test; False means it ran out of steps, (n,).
        solver: "exact", "spectral" or "descent".
        endpoint: "fast" if only the rest of the network ran in the loop, else "vanilla".
        layer: The layer whose map the filters multiply.
        axes: What the axes of that map are.
        until: What was explained in place of the network's output, or None: "the input of
            normalize" is the raw embedding of a network that ends in a normalisation.
        flat: None, or why the filters say nothing, for the network "scale": ignores the map's
            scale; "cells": ignores the scale of each cell; "unread": does not read the cells.
        trace: On request, the filters on the way, (steps, *space) for each problem in turn.
        unlike: Of a centred pair, the negative side: what tells the input from the reference,
            resized like `heatmaps`; else None.
    """

    filters: Tensor
    heatmaps: Tensor
    losses: Tensor
    steps: Tensor
    settled: Tensor
    solver: str
    endpoint: Endpoint
    layer: str
    axes: str
    until: str | None = None
    flat: Flat | None = None
    trace: tuple[Tensor, ...] | None = None
    unlike: Tensor | None = None


def explain(
    model: nn.Module,
    inputs: Any,
    *,
    layer: str | nn.Module | None = None,
    target: Target | str | Sequence[str] | None = None,
    reference: Any = None,
    center: Tensor | Literal["map"] | None = None,
    output: Output = None,
    until: str | nn.Module | None = None,
    call: int | Literal["each"] | None = None,
    axes: str | None = None,
    input_axes: str | None = None,
    solver: str = "auto",
    constraint: str = "l2",
    endpoint: Endpoint = "fast",
    center_logits: bool = False,
    preset: str | None = None,
    size: Sequence[int] | None = None,
    after_relu: bool = True,
    trace: bool = False,
    seed: int = 0,
) -> Explanation:
    """The filters that change the network's answer least: where it looked.

    Class-oblivious (Eq. 1, 3) as it stands; with `target` class-specific (Eq. 2), with `reference`
    the pair variant: what in x makes it resemble y. The model is explained in eval mode and never
    touched. Where no filter changes the answer a warning says so, and which layer says more.

    Args:
        model: Any network.
        inputs: A tensor, a tuple of positional or a mapping of keyword arguments; anything else (a
            list of tensors, a dataclass) is the only argument. Samples first.
        layer: Name of a layer, or the module, whose output the filter multiplies; None: the last
            that gives a map with cells at which a filter changes the answer.
        target: A class for each sample, or one for all: its number, or its name where the model
            knows names (`label_names`, or `config.id2label` of transformers).
        reference: Inputs y like `inputs`, one for each sample or one for all; or, where the input
            is a tensor of more than two axes, their embeddings (d,) or (n, d).
        center: Of a pair, what every cell is measured against (maths 1.7): "map" is the map's own
            spatial mean, an embedding (d,) or (n, d) a mean one, of a gallery. Without it a vector
            common to all cells makes the filter of a pair nearly uniform. Centred, the positive
            side of the filter resembles y (`heatmaps`), the negative tells x from y (`unlike`).
        output: Which output, where the network returns several: a key, an index or a function.
        until: A layer behind `layer` whose output is explained in place of the network's, V'(x) of
            Eq. 3. A network that ends in a normalisation is explained before it (Sec. 4.2).
        call: Where the layer runs more than once: which run, 0 is the first, -1 the last; or
            "each": a filter for every run, the others unfiltered.
        axes: What the axes of the layer's map are, in the notation of einops; c are the channels,
            n the samples, and what shares brackets with n has filters of its own: "n c h w",
            "n t h w c", "(n t) c h w", frame-major "(t n) c h w", "n (1 h=14 w=14) c" after a class
            token, "l n c". None: told from how the network uses it, or an error that lists what
            it can be.
        input_axes: The same of the (first) input, for the heatmaps' size: "n t c h w".
        solver: "exact" (affine heads, maths 1.1), "spectral" (any head, maths 1.2), "descent"
            (the paper's loop) or "auto", the first of them that fits.
        constraint: "l2", or "softmax", "gaussian" or "l1" (Sec. 4.4), which "descent" solves.
        endpoint: "fast" runs only the network behind the layer in the loop, "vanilla" all of it.
        center_logits: Subtract the mean logit before Eq. 2, a named deviation: Eq. 2 depends on a
            vector common to all rows of the last layer, which the softmax ignores (maths 1.5).
        preset: Of "descent": "paper", "tf" or "pytorch"; None is "paper", and "tf" for constraints
            other than "l2", which only the TensorFlow code has.
        size: Of the heatmaps; None is the input's (of an image made from a vector: the output's).
        after_relu: Filter behind a ReLU that functional code applies right after the layer and that
            so has no name of its own (DenseNet's last), rather than before it.
        trace: Keep the filters on the way.
        seed: Of the random start of "descent".

    Raises:
        InputError: On a layer, target or input that is wrong, or a value that is not finite.
    """
    _check_choices(solver, constraint, preset, target, reference, center_logits, center)
    if layer is None:
        layer = default_layer(model, inputs, output=output, input_axes=input_axes)

    def of_call(number: int | None) -> Explanation:
        with cut_network(
            model,
            inputs,
            layer,
            output=output,
            endpoint=endpoint,
            axes=axes,
            input_axes=input_axes,
            call=number,
            until=until,
            after_relu=after_relu,
        ) as cut:
            return _of_cut(cut)

    def _of_cut(cut: Cut) -> Explanation:
        wanted = None
        if reference is not None:
            wanted = given_embeddings(reference, inputs)
            if wanted is None:
                wanted = network_outputs(model, reference, output=output, until=until)
        solution = _solution(cut, wanted)
        flat = _flat(cut, solution, of_class=target is not None)
        if flat == "scale" and reference is not None:
            flat = None  # a perfect answer to x is none to y
        is_plain = until is None and reference is None and target is None
        if is_plain and flat in ("scale", "cells"):  # "cells" where it saturates, too
            raw = raw_embedding(cut)
            if raw is not None:
                cut.stop_before(raw)
                solution, flat = _solution(cut, None), None
        if flat is not None:
            _warn_of_flat(model, inputs, cut, flat, output=output, input_axes=input_axes)
        return _explanation(cut, solution, flat, size=size, trace=trace, center=center)

    def _solution(cut: Cut, wanted: Tensor | None) -> FilterSolution:
        classes = None if target is None else class_numbers(model, target)
        objective = _objective(cut, classes, wanted, center_logits)
        centers = None if center is None else centers_of(cut, center)
        if solver == "descent" or constraint != "l2":
            name = preset or ("paper" if constraint == "l2" else "tf")
            return _iterate(
                cut,
                objective,
                lambda problems: solve_descent(
                    problems, preset=PRESETS[name], constraint=constraint, seed=seed, trace=trace
                ),
                centers,
            )
        exact = None
        if solver != "spectral":
            exact = _solve_exactly(
                cut, objective, pair=wanted is not None, insist=solver == "exact", center=centers
            )
        return exact or _iterate(
            cut, objective, lambda problems: solve_spectral(problems, trace=trace), centers
        )

    if call == "each":
        runs = number_of_runs(model, inputs, layer)
        found = [of_call(number) for number in range(runs)]
        explanation = _of_each_call(found)
    else:
        explanation = of_call(call)
    if target is not None and constraint == "l2" and not center_logits:
        _warn_of_negative_filters(explanation.filters)
    return explanation


def default_layer(
    model: nn.Module, inputs: Any, *, output: Output = None, input_axes: str | None = None
) -> str:
    """The last layer that gives a map with cells at which a filter changes the answer.

    Raises:
        InputError: There is none.
    """
    names = maps_of(model, inputs)[-MOST_LOOKED_AT:]
    found = first_telling(model, inputs, names[::-1], output=output, input_axes=input_axes)
    if found is None:
        raise InputError(
            f"no layer of {type(model).__name__} is sure to say where it looked"
            + (f" (tried {', '.join(names[:-9:-1])}): name one, layer=" if names else "")
        )
    return found


def _flat(cut: Cut, solution: FilterSolution, *, of_class: bool) -> Flat | None:
    """Why the filters say nothing, looked at only where they cannot say much."""
    if cut.is_pooled_linear:
        return None
    if not of_class:
        outputs = cut.outputs.flatten(1).square().sum(dim=1)
        losses = solution.losses.view(cut.samples, -1)
        if (losses > FLAT * outputs[:, None]).any():
            return None
    return what_is_flat(cut)


def _warn_of_flat(
    model: nn.Module, inputs: Any, cut: Cut, flat: Flat, *, output: Output, input_axes: str | None
) -> None:
    name = cut.name.strip('"')
    other = telling_layer(model, inputs, name, output=output, input_axes=input_axes)
    advice = f'; layer="{other}" tells something' if other else ""
    warn_caller(
        f"the filters of layer {cut.name} say nothing: the network {MEANING[flat]}{advice} "
        "(docs/mathematics.md, section 1.8)"
    )


def _explanation(
    cut: Cut,
    solution: FilterSolution,
    flat: Flat | None,
    *,
    size: Sequence[int] | None,
    trace: bool,
    center: Tensor | str | None,
) -> Explanation:
    if trace and solution.trace is None:
        solution = replace(solution, trace=tuple(f[None] for f in solution.filters))
    size, unlike = size or cut.input_size, None
    if center is None:
        heatmaps = filters_to_heatmaps(solution.filters, size)
    else:
        sides = like_and_unlike(solution.filters, removes_mean=isinstance(center, str))
        heatmaps, unlike = (resize_maps(side, size) for side in sides)
    rows = tuple(cut.layout.sizes[name] for name in cut.layout.row_names)
    shape = (cut.samples, *rows)
    return Explanation(
        filters=solution.filters.unflatten(0, shape),
        heatmaps=heatmaps.unflatten(0, shape),
        losses=solution.losses.view(shape),
        steps=solution.steps.view(shape),
        settled=solution.settled.view(shape),
        solver=solution.solver,
        endpoint=cut.endpoint,
        layer=cut.name.strip('"'),
        axes=str(cut.layout),
        until=cut.until,
        flat=flat,
        trace=solution.trace,
        unlike=None if unlike is None else unlike.unflatten(0, shape),
    )


def _of_each_call(found: Sequence[Explanation]) -> Explanation:
    """The explanations of every run of a layer as one, (samples, runs, …)."""
    if len({one.filters.shape for one in found}) > 1:
        shapes = ", ".join(str(tuple(one.filters.shape)) for one in found)
        raise InputError(
            f"the runs of layer {found[0].layer} have filters of shapes {shapes}: take one, call=0"
        )
    traces = [one.trace for one in found]
    unlike = [one.unlike for one in found if one.unlike is not None]
    return replace(
        found[0],
        filters=torch.stack([one.filters for one in found], dim=1),
        heatmaps=torch.stack([one.heatmaps for one in found], dim=1),
        losses=torch.stack([one.losses for one in found], dim=1),
        steps=torch.stack([one.steps for one in found], dim=1),
        settled=torch.stack([one.settled for one in found], dim=1),
        solver="+".join(dict.fromkeys(one.solver for one in found)),
        flat=next((one.flat for one in found if one.flat), None),
        trace=None if None in traces else tuple(f for trace in traces for f in trace or ()),
        unlike=torch.stack(unlike, dim=1) if unlike else None,
    )


def _check_choices(
    solver: str,
    constraint: str,
    preset: str | None,
    target: object,
    reference: Any,
    center_logits: bool,
    center: Tensor | str | None,
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
    if center is not None:
        check_center(center, has_reference=reference is not None)
        if constraint != "l2":
            raise InputError('a centred pair has filters of both signs: constraint is "l2"')


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
        outputs = wanted.to(outputs).expand_as(outputs)
    outputs = outputs.flatten(1)
    return SquaredDistance(outputs.repeat_interleave(each, dim=0) if each > 1 else outputs)


def _solve_exactly(
    cut: Cut,
    objective: ClassSpecific | SquaredDistance,
    *,
    pair: bool,
    insist: bool,
    center: Tensor | None,
) -> FilterSolution | None:
    response = CutResponse(cut)
    solution = solve_affine_head(cut, response, objective, pair=pair, insist=insist, center=center)
    if solution is None:
        if insist:
            raise InputError(
                f'the network behind layer {cut.name} is not affine: use solver "spectral"'
            )
        return None
    check_finite(solution.filters, "the filter")
    return replace(solution, filters=solution.filters.unflatten(1, response.space))


def _iterate(
    cut: Cut,
    objective: Objective,
    solve: Callable[[Problems], FilterSolution],
    center: Tensor | None,
) -> FilterSolution:
    """A few problems at a time, so that the network's activations stay small."""
    each = cut.rows_each

    def name(row: int) -> str:
        return f"sample {row // each}" + (f", frame {row % each}" if each > 1 else "")

    response = CutResponse(cut) if center is None else CutResponse(cut).centered(center)
    rows = torch.arange(len(response), device=response.device)
    problems = Problems(response, objective, rows, name, f"layer {cut.name}")
    chunks = response.chunks()
    if len(chunks) == 1:
        return solve(problems)
    return join_solutions([solve(problems.select(chunk)) for chunk in chunks])


def _warn_of_negative_filters(filters: Tensor) -> None:
    negative = mostly_negative(filters)
    if negative.any():
        rows = ", ".join(map(str, negative.nonzero().squeeze(1).tolist()[:8]))
        warn_caller(
            f"the class-specific filters of rows {rows} are more negative than positive: their "
            "heatmaps |f| show what speaks against the class; see center_logits "
            "(docs/mathematics.md, section 1.5)"
        )
