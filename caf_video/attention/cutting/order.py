"""Whether tokens lie in rows and columns as their grid says: see which move with which part."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from caf_video.attention.cutting.axes import CHANNELS, Axis, Layout
from caf_video.attention.cutting.call import Network
from caf_video.attention.cutting.pytrees import map_in, map_tensors, tensors_in
from caf_video.attention.cutting.record import Recording
from caf_video.attention.cutting.until import Reached
from caf_video.errors import InputError


class OutOfOrder(InputError):
    """Tokens do not lie in the rows and columns of their grid."""


MARGIN = 0.15  # of an axis: less may be chance, in a network that mixes all cells


def check_order(
    network: Network, recording: Recording, layout: Layout, sizes: dict[str, int], name: str
) -> None:
    """See that tokens in order are.

    Networks with windows may sort their tokens by window (Hiera): as many as the grid has cells,
    but in no order of rows and columns. One half of the input after the other is changed, along
    each axis: the tokens that this moves must lie in that half of the grid rather than
    elsewhere. It is looked at only where several axes were made one. A map that mixes all cells
    moves everywhere: then the last one before it that lies like it and tells is looked at.

    Raises:
        OutOfOrder: They do not.
    """
    axis = next((a for a in layout.axes if len(set(a.names) - {"n", *layout.row_names}) > 1), None)
    inputs = tensors_in(network.inputs)
    if axis is None or len(inputs) != 1 or not inputs[0].dtype.is_floating_point:
        return
    places = _places(tuple(inputs[0].shape), sizes)
    cells = layout.cell_names
    tested = [cell for cell in cells if cell in places and layout.sizes[cell] > 1]
    if not tested:
        return
    before = _maps(network, recording, layout, network.inputs)
    moved = {}
    for cell in tested:
        lower, upper = (
            _centres(network, recording, layout, before, places[cell], upper)
            for upper in (False, True)
        )
        moved[cell] = [second - first for first, second in zip(lower, upper, strict=False)]
    for number in reversed(range(min(map(len, moved.values())))):
        found = [moved[cell][number].tolist() for cell in tested]
        if max(abs(value) for one in found for value in one) > MARGIN:
            break
    else:
        return  # everything is mixed from the start: no map tells
    for cell, along in zip(tested, found, strict=True):
        others = [abs(value) for other, value in zip(cells, along, strict=True) if other != cell]
        if along[cells.index(cell)] < max([0.0, *others]) - MARGIN:
            grid = " ".join(f"{one}={layout.sizes[one]}" for one in cells)
            raise OutOfOrder(
                f'layer "{name}" gives {tuple(recording.feature_map.shape)}, as many tokens as a '
                f"grid {grid} has, but in another order (that of windows?): take a layer whose "
                "tokens lie in rows and columns, layer=, or a filter of them as they come, "
                'axes="n l c"'
            )


def _places(shape: Sequence[int], sizes: dict[str, int]) -> dict[str, int]:
    """Where in an input's shape its sizes stand, if t, h and w follow each other."""
    places: dict[str, int] = {}
    end = len(shape)
    for name in ("w", "h", "t"):
        if name not in sizes:
            continue
        found = [i for i in range(1, end) if shape[i] == sizes[name]]
        if not found:
            return {}
        places[name] = end = found[-1]
    return places


def _centres(
    network: Network,
    recording: Recording,
    layout: Layout,
    before: list[Tensor],
    axis: int,
    upper: bool,
) -> list[Tensor]:
    """Where the cells of each map lie that move when half of the input changes."""

    def changed(tensor: Tensor) -> Tensor:
        new = tensor.clone()
        half = new.shape[axis] // 2
        part = new.narrow(axis, new.shape[axis] - half if upper else 0, half)
        noise = torch.randn(part.shape, generator=torch.Generator().manual_seed(0))
        part += noise.to(part) * tensor.std()
        return new

    after = _maps(network, recording, layout, map_tensors(changed, network.inputs))
    return [_centre(one - other) for one, other in zip(before, after, strict=False)]


def _centre(change: Tensor) -> Tensor:
    """The middle of a change (rows, c, *cells), in parts of each axis."""
    weights = change.double().square().sum(dim=(0, 1))
    centres = []
    for cell in range(weights.dim()):
        along = weights.movedim(cell, 0).flatten(1).sum(dim=1)
        middles = (torch.arange(len(along), device=along.device) + 0.5) / len(along)
        centres.append((along * middles).sum() / along.sum().clamp(min=1e-300))
    return torch.stack(centres)


def _maps(network: Network, recording: Recording, layout: Layout, inputs: Any) -> list[Tensor]:
    """The maps (rows, c, *cells) that lie like the layer's, from modules up to the layer."""
    maps: list[Tensor] = []
    runs = 0

    def note(module: Any, args: Any, output: Any) -> None:
        nonlocal runs
        found = map_in(output)
        if found is not None:
            channels = dict(zip(layout.axes, found.shape, strict=False)).get(Axis((CHANNELS,)), 1)
            like = replace(layout, sizes={**layout.sizes, CHANNELS: channels})
            if like.shape == tuple(found.shape):
                maps.append(like.cells(found).clone())
        if module is recording.layer:
            if runs == recording.run:
                raise Reached(None)
            runs += 1

    handles = [module.register_forward_hook(note) for module in network.model.modules()]
    try:
        with torch.no_grad():
            replace(network, until=None).run(inputs)
    except Reached:
        return maps
    finally:
        for handle in handles:
            handle.remove()
    raise InputError("the network takes another path for other inputs")
