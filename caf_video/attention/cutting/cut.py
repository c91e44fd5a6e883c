"""Cut any network at a layer: the map there, and the rest of the network as a function of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from caf_video.attention.cutting.axes import Layout
from caf_video.attention.cutting.call import Network, Output, check_finite
from caf_video.attention.cutting.order import check_order
from caf_video.attention.cutting.pytrees import map_tensors
from caf_video.attention.cutting.record import Call, Recording
from caf_video.attention.cutting.recorded import layouts_of, recorded
from caf_video.attention.cutting.replay import NOT_REPLAYABLE, Rerun, Taken
from caf_video.attention.cutting.until import Until
from caf_video.attention.cutting.view import View
from caf_video.attention.warning import warn_caller
from caf_video.errors import InputError

Endpoint = Literal["fast", "vanilla"]


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
    with recorded(
        model, inputs, layer, output=output, call=call, until=until, after_relu=after_relu
    ) as (network, recording, name):
        layouts, size = layouts_of(network, recording, name, axes, input_axes)
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
    with recorded(
        model, inputs, layer, output=output, call=call, until=until, after_relu=after_relu,
        leaf=True,
    ) as (network, recording, name):  # fmt: skip
        layouts, size = layouts_of(network, recording, name, axes, input_axes)
        if axes is None:
            check_order(network, recording, layouts[0], size, name)
        view = View(network, recording, layouts[0], size, name)
        view.settle_layout(layouts, is_declared=axes is not None)
        yield view


@dataclass(frozen=True)
class Part:
    """Some of a cut's samples, each as often as wanted, and what running them takes."""

    samples: Tensor
    feature_map: Tensor  # their rows of A
    inputs: Any
    calls: tuple[Call, ...]


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
