"""Where the cells and the channels of a feature map are: images, clips, signals, tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from caf_video.errors import InputError

PREFIXES = (0, 1, 2, 5)  # none, a class token, one to distil with, four registers more
LAYOUTS = ("auto", "channels_first", "channels_last", "tokens")


@dataclass(frozen=True)
class Layout:
    """How the map of one row is laid out, and how a filter multiplies it.

    Attributes:
        kind: "channels_first" (n, c, *space), "channels_last" (n, *space, c) or "tokens"
            (n, prefix + cells, c), of which the first `prefix` (class token, registers) are left
            alone.
        space: The shape of a filter.
        prefix: Tokens that are not cells.
    """

    kind: str
    space: tuple[int, ...]
    prefix: int = 0

    def filtered(self, feature_map: Tensor, filters: Tensor) -> Tensor:
        """A * f: every channel multiplied by the filter (n, *space) of its row."""
        filters = filters.to(feature_map.dtype)
        if self.kind == "channels_first":
            return feature_map * filters[:, None]
        if self.kind == "channels_last":
            return feature_map * filters[..., None]
        cells = feature_map[:, self.prefix :] * filters.flatten(1)[:, :, None]
        return torch.cat([feature_map[:, : self.prefix], cells], dim=1)

    def cells(self, feature_map: Tensor) -> Tensor:
        """The map as (n, c, *space), a view."""
        if self.kind == "channels_first":
            return feature_map
        if self.kind == "channels_last":
            return feature_map.movedim(-1, 1)
        return feature_map[:, self.prefix :].movedim(-1, 1).unflatten(2, self.space)


def find_layout(
    feature_map: Tensor,
    *,
    layout: str = "auto",
    grid: Sequence[int] | None = None,
    input_size: Sequence[int] | None = None,
) -> Layout:
    """The layout of a map (n, …), as declared or, for "auto", by its shape and the input's.

    A map of three axes is tokens if the input is an image and the tokens, less a class token or
    registers, make a grid of the input's proportions; else a signal (n, c, length). One of four
    axes is channels-last only if that reading alone has the input's proportions.

    Args:
        feature_map: A, three axes or more.
        layout: "auto", "channels_first", "channels_last" or "tokens".
        grid: The cells' grid, for tokens whose grid is not that of the input's proportions.
        input_size: (height, width) of the input, if it is an image.
    """
    shape = tuple(feature_map.shape)
    if layout not in LAYOUTS:
        raise InputError(f'layout is "{layout}", wanted one of {", ".join(LAYOUTS)}')
    if layout == "auto":
        layout = "tokens" if grid is not None else _guess(shape, input_size)
    if layout == "channels_first":
        return Layout(layout, shape[2:])
    if layout == "channels_last":
        return Layout(layout, shape[1:-1])
    if len(shape) != 3:
        raise InputError(f"tokens are (n, tokens, channels), the layer gives {shape}")
    space = tuple(grid) if grid is not None else _token_grid(shape[1], input_size)
    if space is None or math.prod(space) > shape[1]:
        raise InputError(
            f"{shape[1]} tokens make no grid of {space or 'the input'}: say grid=(rows, columns)"
        )
    return Layout(layout, space, shape[1] - math.prod(space))


def _guess(shape: tuple[int, ...], input_size: Sequence[int] | None) -> str:
    if input_size is None or len(input_size) != 2:
        return "channels_first"
    if len(shape) == 3 and _token_grid(shape[1], input_size) is not None:
        return "tokens"
    if len(shape) == 4 and not _proportional(shape[2:], input_size):
        return "channels_last" if _proportional(shape[1:3], input_size) else "channels_first"
    return "channels_first"


def _token_grid(tokens: int, input_size: Sequence[int] | None) -> tuple[int, int] | None:
    """The grid that square patches of the input make, with the fewest tokens left over."""
    if input_size is None or len(input_size) != 2:
        return None
    for prefix in PREFIXES:
        cells = tokens - prefix
        for rows in range(1, cells + 1):
            if cells % rows == 0 and _proportional((rows, cells // rows), input_size, padded=0):
                return rows, cells // rows
    return None


def _proportional(grid: Sequence[int], size: Sequence[int], padded: int = 1) -> bool:
    """Whether (rows, columns) is (height, width) over one stride, rounded down, or up if padded."""
    low = max((cells - padded) / length for cells, length in zip(grid, size, strict=True))
    high = min((cells + 1) / length for cells, length in zip(grid, size, strict=True))
    return low < high and all(c <= n for c, n in zip(grid, size, strict=True))
