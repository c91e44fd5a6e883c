"""From a filter on the grid to a heatmap over the input."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from caf_video.errors import InputError

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def filters_to_heatmaps(filters: Tensor, size: Sequence[int]) -> Tensor:
    """|f| / ||f||, resized linearly: never rescaled to its own minimum and maximum (maths 1).

    Args:
        filters: Signed filters (n, length), (n, h, w) or (n, t, h, w).
        size: The input's size, as many numbers as a filter has axes: (height, width) for an image.

    Returns:
        Heatmaps (n, *size). A constant filter gives a constant picture, a zero filter zeros.
    """
    norms = filters.flatten(1).norm(dim=1)
    norms = norms.where(norms > 0, 1.0).reshape(-1, *[1] * (filters.dim() - 1))
    return resize_maps(filters.abs() / norms, size)


def mostly_negative(filters: Tensor) -> Tensor:
    """Which filters (n, *space) have more negative than positive mass, (n,) bool (maths 1.5).

    Of a class-specific filter |f| then shows what speaks against the class.
    """
    return filters.flatten(1).sum(dim=1) < 0


def resize_maps(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (n, *grid) resized (linear, bilinear, trilinear; no corner alignment) to (n, *size)."""
    axes = maps.dim() - 1
    if axes not in _MODES or len(size) != axes:
        raise InputError(f"maps of shape {tuple(maps.shape)} cannot be resized to {tuple(size)}")
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    resized = functional.interpolate(
        maps[:, None], size=tuple(size), mode=_MODES[axes], align_corners=False
    )
    return resized[:, 0]
