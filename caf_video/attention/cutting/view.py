"""What a network did at a layer: its map there, what the map's axes are, and the outputs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from caf_video.attention.cutting.axes import Layout
from caf_video.attention.cutting.call import Network, check_finite
from caf_video.attention.cutting.record import Recording
from caf_video.errors import InputError


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
