"""What keeps a filter from passing everything: L2, softmax and Gaussian (Sec. 4.4, Fig. 11).

The L1 norm has a solver of its own: see `l1`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

CONSTRAINTS = ("l2", "softmax", "gaussian", "l1")


def constrain(raw: Tensor, constraint: str, space: tuple[int, ...]) -> Tensor:
    """The filter (*space) that a raw parameter stands for, differentiable.

    * `l2`: raw / ||raw||_2, raw of shape `space` (the paper's);
    * `softmax`: over all cells at once, positive, summing to 1;
    * `gaussian`: raw is the free mean, one number an axis, in cells from the middle of the grid;
      covariance the identity in cells, sum 1. Any grid (the authors' is fixed to 7x7).
    """
    return _FILTERS[constraint](raw, space)


def parameter_shape(constraint: str, space: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the raw parameter of a filter of shape `space`."""
    return (len(space),) if constraint == "gaussian" else space


def _l2(raw: Tensor, space: tuple[int, ...]) -> Tensor:
    return raw / raw.norm()


def _softmax(raw: Tensor, space: tuple[int, ...]) -> Tensor:
    return raw.flatten().softmax(dim=0).view(space)


def _gaussian(raw: Tensor, space: tuple[int, ...]) -> Tensor:
    exponent = raw.new_zeros(space)
    for axis, (length, mean) in enumerate(zip(space, raw, strict=True)):
        cells = torch.arange(length, dtype=raw.dtype, device=raw.device) - (length - 1) / 2
        shape = [length if i == axis else 1 for i in range(len(space))]
        exponent = exponent - (cells - mean).square().view(shape) / 2
    return _softmax(exponent, space)  # exp and division by the sum, safe far outside the grid


_FILTERS: dict[str, Callable[[Tensor, tuple[int, ...]], Tensor]] = {
    "l2": _l2,
    "softmax": _softmax,
    "gaussian": _gaussian,
}
