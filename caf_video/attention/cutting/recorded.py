"""Run a network's twin once with a layer noted; the layouts that the layer's map can have."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from caf_video.attention.cutting.axes import Layout
from caf_video.attention.cutting.call import Network, Output, check_finite, find_layer
from caf_video.attention.cutting.hooks import Lookers, lookers_of
from caf_video.attention.cutting.infer import (
    declared_layout,
    declared_sizes,
    inferred_layouts,
    input_sizes,
)
from caf_video.attention.cutting.pytrees import map_tensors, tensors_in
from caf_video.attention.cutting.record import Recording, record
from caf_video.attention.cutting.replay import NOT_REPLAYABLE
from caf_video.attention.cutting.twin import Twin
from caf_video.attention.cutting.undisturbed import undisturbed
from caf_video.attention.cutting.until import Until, UntilLayer
from caf_video.errors import InputError


@contextmanager
def recorded(
    model: nn.Module,
    inputs: Any,
    layer: str | nn.Module,
    *,
    output: Output,
    call: int | None,
    until: str | nn.Module | None,
    after_relu: bool,
    leaf: bool = False,
) -> Iterator[tuple[Network, Recording, str]]:
    """Inside: a network's twin, one run of it with a layer noted, and the layer's name in the twin.

    Arguments and errors are those of `cut_network`; `leaf` as in `record`.
    """
    with torch.inference_mode(False), undisturbed(model):
        twin = Twin(model)
        name = find_layer(model, layer, twin.of)
        with lookers_of(twin.model) as lookers:
            stop: Until | None = None
            if until is not None:  # its hook is ours, and stays
                where = find_layer(model, until, twin.of)
                stop = UntilLayer(where, twin.model.get_submodule(where))
            network = Network.checked(twin.model, inputs, output, stop)
            recording = record(
                twin.model, network.run, network.inputs, name,
                call=call, after_relu=after_relu, leaf=leaf, until=stop,
            )  # fmt: skip
        _remove_lookers(lookers, network, recording)
        if recording.evidence.is_unbatched:
            raise InputError(
                "the network's first convolution reads an input without an axis of samples: give "
                "one, x[None]"
            )
        yield network, recording, name


def _remove_lookers(lookers: Lookers, network: Network, recording: Recording) -> None:
    """Hooks that only look are removed, if the network answers the same without them."""
    if not lookers.found:
        return
    lookers.remove()
    try:
        with torch.no_grad():
            outputs = replace(network, until=None).run(network.inputs)
    except NOT_REPLAYABLE:  # they gather what it goes on with
        lookers.restore()
        return
    before, after = tensors_in(recording.outputs), tensors_in(outputs)
    if network.until is None and len(before) != len(after):
        lookers.restore()


def network_outputs(
    model: nn.Module, inputs: Any, *, output: Output = None, until: str | nn.Module | None = None
) -> Tensor:
    """NT(x) (samples, …) of some inputs, in eval mode; the model is not touched."""
    with torch.inference_mode(False), torch.no_grad(), undisturbed(model):
        twin = Twin(model)
        stop: Until | None = None
        if until is not None:
            where = find_layer(model, until, twin.of)
            stop = UntilLayer(where, twin.model.get_submodule(where), always=True)
        network = Network.checked(twin.model, inputs, output, stop)
        outputs = network.pick(network.run(network.inputs))
    check_finite(outputs, "the output")
    return outputs


def layouts_of(
    network: Network, recording: Recording, name: str, axes: str | None, input_axes: str | None
) -> tuple[list[Layout], dict[str, int]]:
    """The layouts that the map can have, and the input's sizes by name."""
    shapes = [tuple(tensor.shape) for tensor in tensors_in(network.inputs)]
    if input_axes is not None:
        found = [declared_sizes(input_axes, shapes[0])]
    else:
        found = input_sizes(shapes, recording.evidence.first_read)
    sizes = _of_the_layer(found, network, recording, name)
    shape, samples = tuple(recording.feature_map.shape), len(network.pick(recording.outputs))
    if axes is not None:
        layout = declared_layout(
            axes, shape, samples=samples, sizes=sizes, evidence=recording.evidence
        )
        return [layout], sizes
    layouts = inferred_layouts(
        shape, samples=samples, sizes=sizes, evidence=recording.evidence, layer=f'"{name}"'
    )
    return layouts, sizes


def _of_the_layer(
    found: list[tuple[int, dict[str, int]]], network: Network, recording: Recording, name: str
) -> dict[str, int]:
    """The sizes of the input that reaches the layer, where inputs differ (two rates of frames)."""
    kinds = [sizes for i, (_, sizes) in enumerate(found) if sizes not in [s for _, s in found[:i]]]
    if len(kinds) < 2:
        return kinds[0] if kinds else {}
    reaching = []
    for number, sizes in found:
        moved = _with_input(network.inputs, number, torch.zeros_like)
        other = record(
            network.model, network.run, moved, name, call=recording.run, until=network.until
        )
        same = other.feature_map.shape == recording.feature_map.shape
        if not (same and other.feature_map.equal(recording.feature_map)) and sizes not in reaching:
            reaching.append(sizes)
    return reaching[0] if len(reaching) == 1 else {}


def _with_input(inputs: Any, number: int, change: Callable[[Tensor], Tensor]) -> Any:
    """The inputs with one of their tensors, by number, changed."""
    count = -1

    def changed(tensor: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return change(tensor) if count == number else tensor

    return map_tensors(changed, inputs)
