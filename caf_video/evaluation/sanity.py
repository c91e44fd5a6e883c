"""How alike two heatmaps are, and weights made random: sanity checks (Adebayo et al. 2018)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from caf_video.attention import resize_maps
from caf_video.errors import InputError

ROUNDING = 1e-12  # a map that differs from its mean by no more is constant
SIDE = 64  # pixels across, in which structural similarity is measured
_WINDOW, _SIGMA = 11, 1.5  # of its Gaussian (Wang et al. 2004)
_C1, _C2 = 0.01**2, 0.03**2  # of values in [0, 1]


def pearson(ones: Tensor, others: Tensor) -> Tensor:
    """The correlation of each map with its other, (n,): 0 where one is constant, 1 where both are.

    Args:
        ones, others: Maps (n, h, w).

    Raises:
        InputError: Their shapes differ.
    """
    _require_pairs(ones, others)
    return _correlation(ones.double().flatten(1), others.double().flatten(1))


def spearman(ones: Tensor, others: Tensor) -> Tensor:
    """The same of their ranks, of ties the mean one, (n,)."""
    _require_pairs(ones, others)
    return _correlation(_ranks(ones.double().flatten(1)), _ranks(others.double().flatten(1)))


def structural_similarity(ones: Tensor, others: Tensor) -> Tensor:
    """SSIM (Wang et al. 2004) of maps that are nowhere negative, each over its maximum, (n,).

    They are resized to SIDE x SIDE; the Gaussian window stays inside.

    Args:
        ones, others: Maps (n, h, w).

    Raises:
        InputError: Their shapes differ.
    """
    _require_pairs(ones, others)
    a, b = (_drawn(maps) for maps in (ones, others))
    line = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    bell = torch.exp(-line.square() / (2 * _SIGMA**2))
    window = torch.outer(bell, bell) / bell.sum() ** 2

    def mean(values: Tensor) -> Tensor:
        return functional.conv2d(values[:, None], window[None, None].to(values.device))[:, 0]

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    both = mean(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + _C1) * (2 * both + _C2)
    below = (mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2)
    return (above / below).flatten(1).mean(dim=1)


@contextmanager
def random_weights(parameters: Sequence[Tensor], *, seed: int) -> Iterator[None]:
    """Parameters drawn at random inside the block, and as they were behind it.

    Each tensor is drawn from a normal distribution of its own mean and deviation: what it has
    learnt is gone, its scale is not, with batch norm folded into it or without.

    Args:
        parameters: They are changed in place.
        seed: Of the draw.
    """
    kept = [parameter.detach().clone() for parameter in parameters]
    generator = torch.Generator().manual_seed(seed)
    try:
        for parameter in parameters:
            drawn = torch.randn(parameter.shape, generator=generator).to(parameter)
            values = parameter.detach()
            deviation = values.std(correction=0)
            parameter.data.copy_(values.mean() + deviation * drawn)
        yield
    finally:
        for parameter, before in zip(parameters, kept, strict=True):
            parameter.data.copy_(before)


def _require_pairs(ones: Tensor, others: Tensor) -> None:
    if ones.shape != others.shape or ones.dim() != 3:
        raise InputError(
            f"maps of shapes {tuple(ones.shape)} and {tuple(others.shape)}: wanted two of (n, h, w)"
        )


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = (values - values.mean(dim=1, keepdim=True) for values in (a, b))
    scale = a.norm(dim=1) * b.norm(dim=1)
    flat_a, flat_b = (values.abs().amax(dim=1) <= ROUNDING for values in (a, b))
    defined = (a * b).sum(dim=1) / torch.where(flat_a | flat_b, 1.0, scale)
    return torch.where(flat_a & flat_b, 1.0, torch.where(flat_a | flat_b, 0.0, defined))


def _ranks(values: Tensor) -> Tensor:
    """How many are lower, and half of the others that are equal, (n, cells)."""
    lower = (values[:, :, None] > values[:, None]).sum(dim=2)
    equal = (values[:, :, None] == values[:, None]).sum(dim=2)
    return lower.double() + (equal.double() - 1) / 2


def _drawn(maps: Tensor) -> Tensor:
    large = resize_maps(maps.double(), (SIDE, SIDE))
    highest = large.flatten(1).amax(dim=1).clamp(min=0)
    return large / torch.where(highest > 0, highest, 1.0)[:, None, None]
