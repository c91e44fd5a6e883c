"""Energy rewards sharpening: the norm, sharpened until it is as sharp as a method (maths 7)."""

import torch
from torch import Tensor

from caf_video.errors import InputError

_POWERS = (0.05, 40.0)  # of the norm: almost uniform, almost one cell
_HALVINGS = 40


def effective_cells(heat: Tensor) -> Tensor:
    """How many cells a map spreads over: (sum h)^2 / sum h^2, of maps (n, h, w); float64, (n,).

    A uniform map has all its cells, a single lit one has 1, and so has, by definition, a map of
    zeros all of them.
    """
    cells = heat.double().flatten(1)
    squares = cells.square().sum(dim=1)
    found = cells.sum(dim=1).square() / squares.where(squares > 0, 1.0)
    return found.where(squares > 0, float(cells.shape[1]))


def as_sharp_as(norm: Tensor, heat: Tensor) -> tuple[Tensor, float]:
    """The norm to the power at which it spreads, on average, over as many cells as the map does.

    Args:
        norm: Of the map that the filter multiplies, nowhere negative, (n, h, w).
        heat: A method's map of the same frames.

    Returns:
        The sharpened norm (n, h, w), float64, and the power.

    Raises:
        InputError: Shapes that differ, or a norm below 0.
    """
    if norm.shape != heat.shape:
        raise InputError(f"norm of shape {tuple(norm.shape)} for heat {tuple(heat.shape)}")
    if (norm < 0).any():
        raise InputError("a norm is nowhere negative")
    wanted = float(effective_cells(heat).mean())
    peak = norm.double().amax(dim=(1, 2), keepdim=True)
    scaled = norm.double() / peak.where(peak > 0, 1.0)
    low, high = (torch.tensor(power, dtype=torch.float64).log() for power in _POWERS)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if float(effective_cells(scaled ** middle.exp()).mean()) > wanted:
            low = middle  # too spread: a higher power
        else:
            high = middle
    power = float(((low + high) / 2).exp())
    return scaled**power, power
