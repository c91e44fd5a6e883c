"""Cut any network at a layer: the map there, and the rest of the network as a function of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from caf_video.attention.cutting.call import Network, Output, check_finite, find_layer
from caf_video.attention.cutting.layout import Layout, find_layout
from caf_video.attention.cutting.pytrees import select_samples
from caf_video.attention.cutting.record import Call, Recording, record
from caf_video.attention.cutting.replay import Diverged, Rerun
from caf_video.attention.cutting.undisturbed import undisturbed
from caf_video.attention.warning import warn_caller
from caf_video.errors import InputError

Endpoint = Literal["fast", "vanilla"]
# What a network's own code raises when it is replayed on stand-ins and needs more than those.
NOT_REPLAYABLE = (Diverged, RuntimeError, ValueError, TypeError, IndexError, KeyError)


@contextmanager
def cut_network(
    model: nn.Module,
    inputs: Any,
    layer: str | nn.Module,
    *,
    output: Output = None,
    endpoint: Endpoint = "fast",
    layout: str = "auto",
    grid: Sequence[int] | None = None,
    after_relu: bool = True,
) -> Iterator["Cut"]:
    """Cut a network at a layer, for one batch of inputs.

    Inside, the model is in eval mode and its modules' `forward` is patched; afterwards, also after
    an error, it is as it was.

    Args:
        model: Any network.
        inputs: A tensor, a tuple of positional or a dict of keyword arguments, samples first.
        layer: A layer's name or the module; it must run once and give a map (n, …).
        output: Which output, where the network returns several: a key, an index or a function.
        endpoint: "fast" runs only what comes after the layer; a network that cannot be run so is
            run whole, with a warning. "vanilla" always runs it whole.
        layout: Where the map's channels are, see `find_layout`.
        grid: The cells' grid, for tokens.
        after_relu: Cut behind a ReLU that is written in functional code right after the layer and
            so has no name of its own (DenseNet's last).

    Raises:
        InputError: On wrong inputs, layer or output, see the messages.
    """
    if endpoint not in ("fast", "vanilla"):
        raise InputError(f'endpoint is "{endpoint}", wanted "fast" or "vanilla"')
    name = find_layer(model, layer)
    with torch.inference_mode(False), undisturbed(model):
        network = Network.checked(model, inputs, output)
        recording = record(model, network.run, network.inputs, name, after_relu=after_relu)
        where = find_layout(
            recording.feature_map, layout=layout, grid=grid, input_size=network.input_size(2)
        )
        with ExitStack() as installed:
            yield Cut(network, recording, where, name, endpoint=endpoint, installed=installed)


@contextmanager
def run_to_leaf(
    model: nn.Module,
    inputs: Any,
    layer: str | nn.Module,
    *,
    output: Output = None,
    layout: str = "auto",
    grid: Sequence[int] | None = None,
    after_relu: bool = False,
) -> "Iterator[View]":
    """Run a network once, with gradients from its outputs down to a layer and no further.

    Arguments and errors are those of `cut_network`.
    """
    name = find_layer(model, layer)
    with torch.inference_mode(False), undisturbed(model):
        network = Network.checked(model, inputs, output)
        recording = record(
            model, network.run, network.inputs, name, after_relu=after_relu, leaf=True
        )
        where = find_layout(
            recording.feature_map, layout=layout, grid=grid, input_size=network.input_size(2)
        )
        yield View(network, recording, where, name)


def network_outputs(model: nn.Module, inputs: Any, *, output: Output = None) -> Tensor:
    """NT(x) (samples, …) of some inputs, in eval mode; the model is left as it was found."""
    with torch.inference_mode(False), torch.no_grad(), undisturbed(model):
        network = Network.checked(model, inputs, output)
        outputs = network.pick(network.run(network.inputs))
    check_finite(outputs, "the output")
    return outputs


@dataclass(frozen=True)
class Part:
    """Some of a cut's samples, each as often as wanted, and what running them takes."""

    samples: Tensor
    feature_map: Tensor  # their rows of A
    inputs: Any
    calls: tuple[Call, ...]


class View:
    """What a network did at a layer, for one batch of inputs.

    Attributes:
        feature_map: A, a copy, (samples * rows_each, …).
        outputs: NT(x), (samples, …).
        layout: Where A has its channels and cells.
        samples: How many.
        rows_each: Rows of A that one sample has: 1, or its frames, where the network folds those
            into the batch.
        linears: Weight and bias of every linear layer behind the layer, in order.
        is_pooled_linear: Whether the outputs are seen to be the map's mean through one of those.
        name: What an error calls the layer.
        input_size: (height, width) of the input image, or what `layout.space` has more axes of; of
            an image made from a vector it is the output's.
    """

    def __init__(self, network: Network, recording: Recording, layout: Layout, name: str) -> None:
        self.feature_map = recording.feature_map
        self.outputs = network.pick(recording.outputs)
        self.layout = layout
        self.linears = recording.linears
        seen = recording.pooled
        self.is_pooled_linear = seen.linear is not None and seen.end is self.outputs
        self.name = f'"{name}"'
        rows, self.samples = len(self.feature_map), len(self.outputs)
        if self.samples == 0 or rows % self.samples:
            raise InputError(
                f"layer {self.name} gives {rows} maps, the network {self.samples} outputs: not a "
                "whole number of maps a sample"
            )
        self.rows_each = rows // self.samples
        axes = len(layout.space)
        sizes = (network.input_size(axes), tuple(self.outputs.shape[2:]), layout.space)
        self.input_size = next(size for size in sizes if size and len(size) == axes)
        check_finite(self.feature_map, f"the output of layer {self.name}")
        check_finite(self.outputs, "the output")


class Cut(View):
    """A network cut at a layer: `head` of the map there is what the network returns.

    That the network can be run again from the layer on is proven on first use; a network that
    cannot be is run whole, with a warning.
    """

    def __init__(
        self,
        network: Network,
        recording: Recording,
        layout: Layout,
        name: str,
        *,
        endpoint: Endpoint,
        installed: ExitStack,
    ) -> None:
        super().__init__(network, recording, layout, name)
        self._network = network
        self._recording = recording
        self._installed = installed  # what the network is patched with, until the cut is left
        self._separable: bool | None = None  # None: not proven yet
        self._install(skip=endpoint == "fast")

    @property
    def endpoint(self) -> Endpoint:
        """Whether `head` runs only what comes after the layer: "fast", else "vanilla"."""
        return "fast" if self._skip else "vanilla"

    @property
    def separable(self) -> bool:
        """Whether some of the samples can be run without the others."""
        if self._separable is None:
            self._separable = self._prove()
        return self._separable

    def trial(self, filters: Tensor) -> Tensor | None:
        """FT(x, f) of every row, by a rerun that nothing has proven yet: None if it fails.

        Whoever can foretell the answer has the proof in it, at the price of a use.
        """
        try:
            return self.filtered(filters, self.part())
        except NOT_REPLAYABLE:
            return None

    def part(self, samples: Tensor | None = None) -> Part:
        """Some of the samples, by number; None is all of them."""
        recording = self._recording
        if samples is None:
            everything = torch.arange(self.samples, device=self.feature_map.device)
            inputs = recording.inputs if self._skip else self._network.inputs
            return Part(everything, self.feature_map, inputs, recording.calls)

        def selected(tree: Any) -> Any:
            return select_samples(tree, samples, count=self.samples, rows_each=self.rows_each)

        return Part(
            samples,
            selected(self.feature_map),
            selected(recording.inputs if self._skip else self._network.inputs),
            tuple(replace(call, output=selected(call.output)) for call in recording.calls)
            if self._skip
            else (),
        )

    def head(self, feature_map: Tensor, part: Part | None = None) -> Tensor:
        """NT from a replaced map, differentiable in it; for all samples, or those of a part."""
        return self._run(lambda _: feature_map.clone(), part or self.part())

    def filtered(self, filters: Tensor, part: Part) -> Tensor:
        """FT(x, f): filters (rows, *space), one for each row of the part's map."""
        if self._skip:
            return self._run(lambda _: self.layout.filtered(part.feature_map, filters), part)
        return self._run(lambda computed: self.layout.filtered(computed, filters), part)

    def _install(self, *, skip: bool) -> None:
        self._rerun, self._skip = Rerun(self._recording, skip=skip), skip
        self._installed.close()
        self._installed.enter_context(self._rerun.installed())

    def _prove(self) -> bool:
        """See that a rerun gives NT(x), or run the whole network from now on; `separable`."""
        separable, reason = self._compare()
        alone = reason
        if reason is not None and self._skip:
            self._install(skip=False)
            separable, reason = self._compare()
        if reason is not None:
            raise InputError(
                f"the network does not repeat itself behind layer {self.name} ({reason}): is there "
                "randomness in it?"
            )
        if alone is not None:
            warn_caller(
                f"what comes after layer {self.name} cannot be run alone ({alone}): the whole "
                "network runs for every step"
            )
        return separable

    def _compare(self) -> tuple[bool, str | None]:
        """Whether some samples alone are as among the others; what is wrong with all of them."""
        some = torch.arange(self.samples, device=self.feature_map.device).flip(0)
        some = some[:-1] if self.samples > 1 else some.repeat(min(2, self.rows_each))
        reason = self._departure(self.part(some))
        separable = reason is None
        if not separable and self.rows_each == 1:
            reason = self._departure(self.part())
        return separable, reason

    def _departure(self, part: Part) -> str | None:
        try:
            outputs = self._run(
                lambda computed: part.feature_map.clone() if self._skip else computed, part
            )
        except NOT_REPLAYABLE as error:
            return f"{type(error).__name__}: {error}".splitlines()[0]
        expected = self.outputs[part.samples]
        if outputs.shape != expected.shape:
            return f"it returns {tuple(outputs.shape)}, not {tuple(expected.shape)}"
        scale = expected.abs().max()
        tolerance = 1e-4 if self.feature_map.dtype.itemsize > 2 else 3e-2
        moved = (outputs - expected).abs().max()
        return None if moved <= tolerance * scale else f"its output moves by {moved / scale:.1e}"

    def _run(self, at_cut: Callable[[Tensor], Tensor], part: Part) -> Tensor:
        outputs = self._rerun.run(lambda: self._network.run(part.inputs), part.calls, at_cut)
        return self._network.pick(outputs)
