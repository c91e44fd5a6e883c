"""Cut any network at a layer: the map there, and the rest of the network as a function of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

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
from caf_video.attention.cutting.order import check_order
from caf_video.attention.cutting.pytrees import map_tensors, tensors_in
from caf_video.attention.cutting.record import Call, Recording, record
from caf_video.attention.cutting.replay import Diverged, Rerun, Taken
from caf_video.attention.cutting.twin import Twin
from caf_video.attention.cutting.undisturbed import undisturbed
from caf_video.attention.cutting.until import Until, UntilLayer
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
    axes: str | None = None,
    input_axes: str | None = None,
    call: int | None = None,
    until: str | nn.Module | None = None,
    after_relu: bool = True,
    ordered: bool = False,
) -> Iterator["Cut"]:
    """Cut a network at a layer, for one batch of inputs.

    A twin of the model is cut: its own modules over the same weights, in eval mode. The model
    itself is never touched, so others may use it meanwhile.

    Args:
        model: Any network.
        inputs: A tensor, a tuple of positional or a mapping of keyword arguments; anything else
            (a list, a dataclass) is the only argument. Samples first.
        layer: A layer's name or the module; it must give a map with cells.
        output: Which output, where the network returns several: a key, an index or a function.
        endpoint: "fast" runs only what comes after the layer; a network that cannot be run so is
            run whole, with a warning. "vanilla" always runs it whole.
        axes: What the axes of the map are, in the notation of einops: "n c h w", "n h w c",
            "(t n) c h w", "n (1 h=14 w=14) c"; None: told from the run, see `inferred_layouts`.
        input_axes: The same of the (first) input, where it is not told right: "n t c h w".
        call: Which run of the layer, where it runs more than once: 0 is the first, -1 the last.
        until: A layer behind it whose output is explained in place of the network's.
        after_relu: Cut behind a ReLU that is written in functional code right after the layer and
            so has no name of its own (DenseNet's last).

    Raises:
        InputError: On wrong inputs, layer or output, see the messages.
    """
    if endpoint not in ("fast", "vanilla"):
        raise InputError(f'endpoint is "{endpoint}", wanted "fast" or "vanilla"')
    with _recorded(
        model, inputs, layer, output=output, call=call, until=until, after_relu=after_relu
    ) as (network, recording, name):
        layouts, size = _layouts(network, recording, name, axes, input_axes)
        if axes is None and not ordered:
            check_order(network, recording, layouts[0], size, name)
        with ExitStack() as installed:
            cut = Cut(network, recording, layouts[0], size, name, endpoint, installed)
            cut.settle_layout(layouts, is_declared=axes is not None)
            yield cut


@contextmanager
def run_to_leaf(
    model: nn.Module,
    inputs: Any,
    layer: str | nn.Module,
    *,
    output: Output = None,
    axes: str | None = None,
    input_axes: str | None = None,
    call: int | None = None,
    until: str | nn.Module | None = None,
    after_relu: bool = False,
) -> "Iterator[View]":
    """Run a network once, with gradients from its outputs down to a layer and no further.

    Arguments and errors are those of `cut_network`.
    """
    with _recorded(
        model, inputs, layer, output=output, call=call, until=until, after_relu=after_relu,
        leaf=True,
    ) as (network, recording, name):  # fmt: skip
        layouts, size = _layouts(network, recording, name, axes, input_axes)
        if axes is None:
            check_order(network, recording, layouts[0], size, name)
        view = View(network, recording, layouts[0], size, name)
        view.settle_layout(layouts, is_declared=axes is not None)
        yield view


@contextmanager
def _recorded(
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


def _layouts(
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
        feature_map: A, a copy, as the layer gave it.
        outputs: NT(x), (samples, …).
        layout: What the axes of A are.
        samples: How many.
        rows_each: Rows of A that one sample has, each with a filter of its own: 1, or its frames,
            where the network folds those into the batch.
        linears: Weight and bias of every linear layer behind the layer, in order.
        is_pooled_linear: Whether the outputs are seen to be the map's mean through one of those.
        name: What an error calls the layer.
        until: What is explained in place of the network's output, or None.
        input_size: Of the input, a size for each axis of a filter; of an image made from a vector
            it is the output's, and else the filter's own.
    """

    def __init__(
        self,
        network: Network,
        recording: Recording,
        layout: Layout,
        sizes: dict[str, int],
        name: str,
    ) -> None:
        self.feature_map = recording.feature_map
        self.outputs = network.pick(recording.outputs)
        self.linears = recording.linears
        seen = recording.pooled
        self.is_pooled_linear = seen.linear is not None and seen.end is self.outputs
        self.name = f'"{name}"'
        self.until = None if network.until is None else network.until.name
        self.samples = len(self.outputs)
        self._sizes = sizes
        self._use(layout)
        check_finite(self.feature_map, f"the output of layer {self.name}")
        check_finite(self.outputs, "the output")

    def settle_layout(self, layouts: Sequence[Layout], *, is_declared: bool) -> None:
        """Choose the layout by which a sample's rows move its own output and no other.

        Raises:
            InputError: There is none.
        """
        if self.samples == 1 or (len(layouts) == 1 and layouts[0].rows_each == 1):
            return
        fitting = [layout for layout in layouts if self._keeps_apart(layout)]
        if fitting:
            self._use(fitting[0])
            return
        if is_declared:
            raise InputError(
                f'layer {self.name}: with axes="{layouts[0]}" what one sample shows moves the '
                "output of another: its rows lie in another order"
            )
        raise InputError(
            f"layer {self.name} gives {tuple(self.feature_map.shape)}, whose rows are those of no "
            f"one sample (tried {', '.join(map(str, layouts))}): explain one sample at a time, or "
            "say what its axes are with axes="
        )

    @property
    def rows(self) -> int:
        """How many filters there are."""
        return self.samples * self.rows_each

    def rows_of(self, samples: Tensor) -> Tensor:
        """1 where some samples' rows are in the map and 0 elsewhere, of the map's axes."""
        rows, place = self.layout.rows(samples), self.layout.sample_axis
        mask = torch.zeros_like(self.feature_map)
        if rows is None or place is None:
            return mask + 1
        return mask.index_fill_(place, rows, 1)

    def _use(self, layout: Layout) -> None:
        self.layout = layout
        self.rows_each = layout.rows_each
        names = layout.cell_names
        of_output = tuple(self.outputs.shape[2:])
        of_input = tuple(self._sizes.get(name, 0) for name in names)
        fits = (
            size
            for size in (of_input, of_output)
            if len(size) == len(names)
            and all(n >= c for n, c in zip(size, layout.space, strict=True))
        )
        self.input_size = next(fits, layout.space)

    def _keeps_apart(self, layout: Layout) -> bool:
        """Whether, by a layout, the outputs of some samples depend on their own rows alone."""
        outputs = self.outputs.flatten(1)
        for first in (0, 1):  # every other sample: what they give must not move the rest
            weights = torch.zeros_like(outputs)
            weights[first::2] = 1
            (gradient,) = torch.autograd.grad(
                outputs, self.feature_map, weights, retain_graph=True, allow_unused=True
            )
            if gradient is None:
                return True
            rows = layout.cells(gradient).flatten(1).abs().amax(dim=1).view(self.samples, -1)
            if rows[1 - first :: 2].amax() > 1e-6 * rows[first::2].amax():
                return False
        return True


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
        sizes: dict[str, int],
        name: str,
        endpoint: Endpoint,
        installed: ExitStack,
    ) -> None:
        super().__init__(network, recording, layout, sizes, name)
        self._network = network
        self._recording = recording
        self._installed = installed  # what the network is patched with, until the cut is left
        self._separable: bool | None = None  # None: not proven yet
        self._mixes: bool | None = None
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

    def settle_layout(self, layouts: Sequence[Layout], *, is_declared: bool) -> None:
        """As a view does. Of one sample, see in which order its rows lie when there are more."""
        if self.samples > 1 or len(layouts) == 1:
            super().settle_layout(layouts, is_declared=is_declared)
            return
        twice = torch.zeros(2, dtype=torch.int64, device=self.feature_map.device)
        for layout in layouts:
            self._use(layout)
            if self._departure(twice) is None:
                return
        self._use(layouts[0])  # it is run alone: all orders of one sample's rows are the same

    def prove(self) -> None:
        """See that the network runs again behind the layer, or run all of it from now on.

        Raises:
            InputError: It does not repeat itself.
        """
        _ = self.separable

    @property
    def mixes(self) -> bool:
        """Whether the output of a sample depends on others (statistics of the batch, z @ z.T).

        Then a problem filters its own row and nothing else, and is run apart.
        """
        if self._mixes is None:
            alone = self.samples == 1 or self.separable
            self._mixes = not alone and not self._keeps_apart(self.layout)
        return self._mixes

    def taped(self, filters: Tensor) -> list[Taken]:
        """What every torch function behind the layer is given and gives, under filters."""
        with self._rerun.taped() as tape:
            self.filtered(filters, self.part())
        return tape

    def stop_before(self, until: Until) -> None:
        """From now on the network stops there, and what it has there is what it answers."""
        self._network = replace(self._network, output=None, until=until)
        self.until = until.name
        self._install(skip=self._skip)
        self.outputs = self._run(self._all_pass, self.part()).detach()
        self._separable = self._mixes = None
        self.is_pooled_linear = False
        check_finite(self.outputs, f"what the network has at {self.until}")

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
            return map_tensors(lambda tensor: self._selected(tensor, samples), tree)

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
        return self._filtered(filters, part, self.layout)

    def _filtered(self, filters: Tensor, part: Part, layout: Layout) -> Tensor:
        if self._skip:
            return self._run(lambda _: layout.filtered(part.feature_map, filters), part)
        return self._run(lambda computed: layout.filtered(computed, filters), part)

    def _selected(self, tensor: Tensor, samples: Tensor) -> Tensor:
        """Some samples of a tensor that has them where the map does, or first; else all of it."""
        layout, place = self.layout, self.layout.sample_axis or 0
        if tensor.dim() > place and tensor.shape[place] == self.feature_map.shape[place]:
            rows = layout.rows(samples)
        elif tensor.dim() and tensor.shape[0] == self.samples:
            rows, place = samples, 0
        else:
            return tensor
        if rows is None:
            return tensor
        if not any(tensor.stride()):  # a stand-in
            sizes = [*tensor.shape[:place], len(rows), *tensor.shape[place + 1 :]]
            return tensor.as_strided(sizes, [0] * len(sizes))
        return tensor.index_select(place, rows.to(tensor.device))

    def _keeps_apart(self, layout: Layout) -> bool:
        noise = self._noise(layout).unflatten(0, (self.samples, -1))
        for first in (0, 1):  # every other sample is filtered: the rest must not move
            filters = torch.ones_like(noise)
            filters[first::2] = noise[first::2]
            try:
                outputs = self._filtered(filters.flatten(0, 1), self.part(), layout)
            except NOT_REPLAYABLE:
                return self._keeps_apart_whole(layout)
            moved = (outputs - self.outputs).abs()
            own, others = moved[first::2].max(), moved[1 - first :: 2]
            rounding = 10 * self._tolerance**1.5 * self.outputs.abs().max()
            if others.numel() and others.max() > torch.maximum(1e-2 * own, rounding):
                return False
        return True

    def _keeps_apart_whole(self, layout: Layout) -> bool:
        """The same by running the whole network, as what comes after the layer cannot be alone."""
        if not self._skip:
            raise InputError(f"the network does not run again behind layer {self.name}")
        self._install(skip=False)
        try:
            return self._keeps_apart(layout)
        finally:
            self._install(skip=True)

    def _all_pass(self, computed: Tensor) -> Tensor:
        return self.feature_map.clone() if self._skip else computed

    def _install(self, *, skip: bool) -> None:
        self._rerun = Rerun(self._recording, skip=skip, until=self._network.until)
        self._skip = skip
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
        """Whether some samples alone are as among the others; what is wrong with all of them.

        Under random filters: without, samples (of noise, of an untrained network) may be so alike
        that those of another order pass.
        """
        everyone = torch.arange(self.samples, device=self.feature_map.device)
        reason = self._departure(everyone)
        if reason is not None:
            return False, reason
        some = everyone.flip(0)[:-1] if self.samples > 1 else everyone.repeat(2)
        return self._departure(some) is None, None

    def _departure(self, samples: Tensor) -> str | None:
        """What is wrong with what a rerun answers for some samples, or None."""
        noise = self._noise(self.layout).unflatten(0, (self.samples, -1))
        filters = torch.ones_like(noise) if len(samples) == self.samples else noise
        try:
            outputs = self._filtered(
                filters[samples].flatten(0, 1), self.part(samples), self.layout
            )
            expected = self.outputs
            if filters is noise:
                expected = self._filtered(noise.flatten(0, 1), self.part(), self.layout)
        except NOT_REPLAYABLE as error:
            return f"{type(error).__name__}: {error}".splitlines()[0]
        expected = expected[samples]
        if outputs.shape != expected.shape:
            return f"it returns {tuple(outputs.shape)}, not {tuple(expected.shape)}"
        moved = (outputs - expected).abs().max()
        scale = expected.abs().max()
        if moved <= self._tolerance * scale:
            told_apart = (expected - self.outputs[samples]).abs().max()
            if filters is not noise or moved <= 1e-2 * told_apart or moved <= 1e-6 * scale:
                return None
        return f"its output moves by {moved / scale:.1e}"

    @property
    def _tolerance(self) -> float:
        return 1e-4 if self.feature_map.dtype.itemsize > 2 else 3e-2

    def _noise(self, layout: Layout) -> Tensor:
        """A random signed filter for every row."""
        shape = (self.samples * layout.rows_each, *layout.space)
        generator = torch.Generator().manual_seed(0)
        return torch.randn(shape, generator=generator).to(self.feature_map)

    def _run(self, at_cut: Callable[[Tensor], Tensor], part: Part) -> Tensor:
        outputs = self._rerun.run(lambda: self._network.run(part.inputs), part.calls, at_cut)
        return self._network.pick(outputs, len(part.samples))
