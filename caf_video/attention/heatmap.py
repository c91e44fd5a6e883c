"""From a filter on the grid to a heatmap over the input."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from caf_video.errors import InputError

UNIT = 1e-3  # by which the squared norm of a unit filter may miss 1
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


def like_and_unlike(filters: Tensor, *, removes_mean: bool) -> tuple[Tensor, Tensor]:
    """The two sides of a centred pair's filters (n, *space): what resembles, and what tells apart.

    Args:
        filters: f, signed.
        removes_mean: Whether the map's own mean was the centre. A constant in f then changes
            nothing (where the loss can be 0, the filter nearest to the all-pass one has some), and
            is left out.

    Returns:
        max(f, 0) and max(-f, 0), (n, *space).
    """
    if removes_mean:
        filters = filters - filters.flatten(1).mean(dim=1).view(-1, *[1] * (filters.dim() - 1))
    return filters.clamp(min=0), (-filters).clamp(min=0)


def frame_shares(filters: Tensor) -> Tensor:
    """Each frame's share of a unit filter over time and space: the sum over cells of f_t^2.

    Args:
        filters: Of unit norm over all frames together, (n, t, h, w): joint filters of clips, or
            those of a 3-D network.

    Returns:
        Shares (n, t), each row summing to 1.

    Raises:
        InputError: On filters whose norm over all frames is not 1, as per-frame filters': each of
            those has norm 1, so nothing compares frames.
    """
    if filters.dim() != 4:
        raise InputError(f"filters of shape {tuple(filters.shape)}, wanted (n, t, h, w)")
    shares = filters.square().flatten(2).sum(dim=2)
    if ((shares.sum(dim=1) - 1).abs() > UNIT).any():
        raise InputError(
            "filters have no unit norm over a clip's frames together: filters of single frames say "
            'nothing about which frame; use filters="joint" or frame_influence'
        )
    return shares


def mostly_negative(filters: Tensor) -> Tensor:
    """Which filters (n, *space) have more negative than positive mass, (n,) bool (maths 1.5).

    Of a class-specific filter |f| then shows what speaks against the class.
    """
    return filters.flatten(1).sum(dim=1) < 0


def resize_maps(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (n, *grid) resized (linear, bilinear, trilinear; no corner alignment) to (n, *size)."""
    axes = maps.dim() - 1
    if axes not in _MODES or len(size) != axes or min(size) < 1:
        raise InputError(f"maps of shape {tuple(maps.shape)} cannot be resized to {tuple(size)}")
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    resized = functional.interpolate(
        maps[:, None], size=tuple(size), mode=_MODES[axes], align_corners=False
    )
    return resized[:, 0]
