"""Whether a loss can tell anything: filters that change nothing, and what to look at instead."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from caf_video.attention.cutting.call import Output
from caf_video.attention.cutting.cut import Cut, cut_network
from caf_video.attention.cutting.layers import maps_of
from caf_video.attention.cutting.order import OutOfOrder
from caf_video.attention.cutting.replay import NOT_REPLAYABLE
from caf_video.attention.cutting.until import UntilCall
from caf_video.attention.warning import quiet
from caf_video.errors import InputError

Flat = Literal["scale", "cells", "unread"]
FLAT = 1e-6  # of ||NT||^2: a loss below it is none
MOST_TRIED = 16  # neighbours of a layer that tells nothing

MEANING = {
    "scale": "ignores the scale of the map there (a normalisation follows its pooling), so that "
    "the uniform filter is a perfect answer",
    "cells": "ignores the scale of every cell there (a normalisation in each cell follows), so "
    "that every positive filter is a perfect answer",
    "unread": "does not read the cells there (only a class token, or nothing), so that every "
    "filter is a perfect answer",
}


def what_is_flat(cut: Cut) -> Flat | None:
    """Why no filter changes what the network answers, or None: it says where it looked.

    Tried on the uniform filter, on random positive ones and on random signed ones: each costs an
    evaluation of the head.
    """
    cells = torch.Size(cut.layout.space).numel()
    generator = torch.Generator().manual_seed(0)
    shape = (cut.rows, *cut.layout.space)
    noise = torch.randn(shape, generator=generator).to(cut.feature_map)
    if not _changes_nothing(cut, torch.full_like(noise, cells**-0.5)):
        return None
    if cells > 1 and not _changes_nothing(cut, noise.abs() + 0.1):
        return "scale"
    return "unread" if _changes_nothing(cut, noise) else "cells"


def raw_embedding(cut: Cut) -> UntilCall | None:
    """Where a network that ignores its map's scale still has the raw embedding (Sec. 4.2).

    That is what the first function is given whose answer no longer changes with the map's scale,
    if it holds no cells any more: a normalisation behind the pooling.
    """
    shape = (cut.rows, *cut.layout.space)
    ones = torch.ones(shape, device=cut.feature_map.device, dtype=cut.feature_map.dtype)
    with torch.no_grad():
        try:
            first, second = (cut.taped(ones * scale) for scale in (1.0, 0.5))
        except NOT_REPLAYABLE:
            return None
    for position, (one, other) in enumerate(zip(first, second, strict=False)):
        if one.name != other.name or len(one.given) != len(other.given):
            return None
        moved = [
            (tensor.numel(), number)
            for number, (tensor, changed) in enumerate(zip(one.given, other.given, strict=True))
            if _moved(tensor, changed)
        ]
        if not moved or not isinstance(one.output, Tensor) or _moved(one.output, other.output):
            continue
        _, argument = max(moved)
        raw = one.given[argument]
        if raw.dim() < 2 or len(raw) != cut.samples or raw[0].numel() != max(raw.shape[1:]):
            return None  # it still has cells
        if raw[0].numel() < 2 or not one.output.dtype.is_floating_point:
            continue  # a norm, or a comparison
        return UntilCall(f"the input of {one.name}", position, argument)
    return None


def telling_layer(
    model: nn.Module, inputs: Any, layer: str, *, output: Output, input_axes: str | None
) -> str | None:
    """The nearest layer at which a filter changes what the network answers, before and after."""
    names = maps_of(model, inputs)
    start = names.index(layer) if layer in names else len(names) - 1
    near = sorted(names, key=lambda name: abs(names.index(name) - start))
    return first_telling(
        model, inputs, [name for name in near if name != layer][:MOST_TRIED],
        output=output, input_axes=input_axes,
    )  # fmt: skip


def first_telling(
    model: nn.Module,
    inputs: Any,
    layers: Sequence[str],
    *,
    output: Output,
    input_axes: str | None,
) -> str | None:
    """The first of some layers that gives a map with cells at which a filter changes the answer."""
    disordered: set[tuple[int, ...]] = set()  # grids whose tokens are in no order
    for name in layers:
        space = None
        try:
            space = _space_that_tells(model, inputs, name, output=output, input_axes=input_axes)
            if space is not None and space not in disordered:
                with cut_network(model, inputs, name, output=output, input_axes=input_axes):
                    return name
        except OutOfOrder:
            disordered |= {space} if space is not None else set()
        except (InputError, *NOT_REPLAYABLE):
            continue
    return None


def _space_that_tells(
    model: nn.Module, inputs: Any, layer: str, *, output: Output, input_axes: str | None
) -> tuple[int, ...] | None:
    """The cells of a layer's map, if a filter there changes the answer."""
    with (
        quiet(),
        cut_network(
            model, inputs, layer, output=output, input_axes=input_axes, ordered=True
        ) as cut,
    ):
        if _is_the_answer(cut):
            return None
        if not cut.is_pooled_linear:
            cut.prove()
            flat = what_is_flat(cut)
            if flat is not None and (flat == "unread" or raw_embedding(cut) is None):
                return None
        return cut.layout.space


def _is_the_answer(cut: Cut) -> bool:
    """Whether the map is what the network returns, cell by cell (the logits of a segmentation)."""
    outputs = cut.outputs
    channels = cut.layout.sizes.get("c", 1)
    return outputs.dim() > 2 and outputs.shape[1] == channels


def _changes_nothing(cut: Cut, filters: Tensor) -> bool:
    with torch.no_grad():
        outputs = cut.filtered(filters, cut.part()).flatten(1)
    expected = cut.outputs.flatten(1)
    loss = (outputs - expected).square().sum(dim=1)
    return bool((loss <= FLAT * expected.square().sum(dim=1)).all())


def _moved(one: Any, other: Any) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return False
    if one.shape != other.shape or not one.dtype.is_floating_point:
        return True
    return bool((one - other).abs().max() > 1e-3 * one.abs().max()) if one.numel() else False
