"""How a network lays out its last map; the way from there to (n, c, h, w), and back.

What is not said is read from evidence only: the shape that came out of an image of known size. Of
tokens those before the cells (class, register) are left out. Where several readings fit, or none,
the network is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from caf_video.errors import InputError

CHANNELS_FIRST, CHANNELS_LAST, TOKENS = LAYOUTS = ("n c h w", "n h w c", "n (h w) c")
# None; a class token; with a distillation token; four registers, and those with a class token.
# Only these are read where the network does not say: among more, small maps have several readings.
_USUAL_PREFIXES = (0, 1, 2, 4, 5)

Size = tuple[int, int]


@dataclass(frozen=True)
class Hints:
    """What a network says of its last map; None is what it does not say.

    Attributes:
        axes: One of LAYOUTS, in einops' notation.
        channels: How many.
        prefix_tokens: Tokens before those of the cells.
        stride: Pixels a cell.
    """

    axes: str | None = None
    channels: int | None = None
    prefix_tokens: int | None = None
    stride: int | None = None


@dataclass(frozen=True)
class MapLayout:
    """How the last map comes out of a network.

    Attributes:
        axes: One of LAYOUTS.
        channels: c.
        stride: Pixels a cell.
        prefix_tokens: Tokens before those of the cells, 0 where there are no tokens.
    """

    axes: str
    channels: int
    stride: int
    prefix_tokens: int = 0

    def to_maps(self, output: Tensor, size: Size) -> Tensor:
        """Maps (n, c, h, w) of what came out for images of `size` (height, width).

        Raises:
            InputError: Not as many tokens as cells.
        """
        if self.axes == CHANNELS_FIRST:
            return output
        if self.axes == CHANNELS_LAST:
            return output.permute(0, 3, 1, 2)
        cells = output.shape[1] - self.prefix_tokens
        for height, width in _grids(size, self.stride):
            if height * width == cells:
                return output[:, self.prefix_tokens :].transpose(1, 2).unflatten(2, (height, width))
        raise InputError(
            f"{output.shape[1]} tokens, {self.prefix_tokens} of them before the cells, do not make "
            f"a map of {size[0]}x{size[1]} pixels at {self.stride} a cell"
        )

    def from_maps(self, maps: Tensor) -> Tensor:
        """The network's own layout of maps (n, c, h, w); prefix tokens, which are lost, are 0."""
        if self.axes == CHANNELS_FIRST:
            return maps
        if self.axes == CHANNELS_LAST:
            return maps.permute(0, 2, 3, 1)
        tokens = maps.flatten(2).transpose(1, 2)
        lost = tokens.new_zeros(len(tokens), self.prefix_tokens, self.channels)
        return torch.cat([lost, tokens], dim=1) if self.prefix_tokens else tokens


def read_layout(output: object, size: Size, hints: Hints, *, name: str, advice: str) -> MapLayout:
    """The one layout that fits what came out for images of `size` (height, width).

    Args:
        output: What came out.
        size: Of the images.
        hints: What the network says.
        name, advice: The network's name and how to say more, for errors.

    Raises:
        InputError: No map came out, or one that can be read in several ways; says what came and
            how to say it.
    """
    asked = f"for an image of {size[0]}x{size[1]}"
    if not isinstance(output, Tensor):
        raise InputError(f"{name} returned {_told(output)} {asked}, not a map: {advice}")
    if hints.axes is not None and hints.axes not in LAYOUTS:
        raise InputError(f"{name} has axes {hints.axes!r}: wanted one of {', '.join(LAYOUTS)}")
    readings = [one for one in _readings(tuple(output.shape), size, hints) if _agrees(one, hints)]
    if len(readings) == 1:
        return readings[0]
    shape = tuple(output.shape)
    if not readings:
        raise InputError(
            f"{name} returned {shape} {asked}, which is no map of it ({', '.join(LAYOUTS)}): "
            f"{advice}"
        )
    told = " or ".join(_spelled(reading) for reading in readings)
    raise InputError(f"{name} returned {shape} {asked}, which may be {told}: {advice}")


def _readings(shape: tuple[int, ...], size: Size, hints: Hints) -> Iterator[MapLayout]:
    if len(shape) == 4:
        both = ((CHANNELS_FIRST, shape[2:], shape[1]), (CHANNELS_LAST, shape[1:3], shape[3]))
        whole = [one for one in both if _in_whole_cells(one[1], size)]
        for axes, grid, channels in whole or both:
            if _has_the_aspect(grid, size):
                stride = round(size[0] / grid[0])
                if hints.stride and abs(size[0] // hints.stride - grid[0]) <= 2:
                    stride = hints.stride  # what a convolution without padding drops is no stride
                yield MapLayout(axes, channels, stride)
    elif len(shape) == 3:
        tokens, channels = shape[1:]
        strides = [hints.stride] if hints.stride else _common_divisors(size)
        said = hints.prefix_tokens
        prefixes = _USUAL_PREFIXES if said is None else (said,)
        for stride in strides:
            for height, width in _grids(size, stride):
                prefix = tokens - height * width
                if prefix in prefixes:
                    yield MapLayout(TOKENS, channels, stride, prefix)


def _agrees(layout: MapLayout, hints: Hints) -> bool:
    return hints.axes in (None, layout.axes) and hints.channels in (None, layout.channels)


def _in_whole_cells(grid: tuple[int, ...], size: Size) -> bool:
    """Whether h x w cells of one whole number of pixels are all of height x width."""
    (h, w), (height, width) = grid, size
    return height % h == 0 and width % w == 0 and height // h == width // w


def _has_the_aspect(grid: tuple[int, ...], size: Size) -> bool:
    """Whether h x w cells are those of height x width pixels, but for rounding at a border."""
    (h, w), (height, width) = grid, size
    if h > height or w > width:
        return False
    return h == w if height == width else abs(w - h * width / height) <= 1


def _grids(size: Size, stride: int) -> list[Size]:
    """The grids that a stride makes of a size: what does not fill a cell is dropped, or padded."""
    dropped = size[0] // stride, size[1] // stride
    padded = -(-size[0] // stride), -(-size[1] // stride)
    return [dropped] if dropped == padded else [dropped, padded]


def _common_divisors(size: Size) -> list[int]:
    return [s for s in range(1, min(size) + 1) if size[0] % s == 0 and size[1] % s == 0]


def _spelled(layout: MapLayout) -> str:
    if layout.axes != TOKENS:
        return f'"{layout.axes}"'
    return f'"{layout.axes}" at stride {layout.stride} after {layout.prefix_tokens} tokens'


def _told(output: object) -> str:
    """What an output that is no tensor is, for an error."""
    if isinstance(output, list | tuple):
        kinds = ", ".join(
            str(tuple(one.shape)) if isinstance(one, Tensor) else type(one).__name__
            for one in output[:4]
        )
        return f"a {type(output).__name__} of {len(output)} ({kinds})"
    if isinstance(output, dict):
        return f"a {type(output).__name__} of {', '.join(map(str, output))}"
    return f"a {type(output).__name__}"
