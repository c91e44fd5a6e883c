"""Tell an affine head from its answers, and find its M and b (maths 1.1)."""

import torch
from torch import Tensor

from caf_video.attention.cutting.cut import Cut
from caf_video.attention.cutting.response import CutResponse
from caf_video.attention.solvers.affine import AffineMap, DenseMap, PooledMap, or_one

AUTO_CELLS = 256  # M is found a cell at a time: beyond this many, iterating is as fast


def find_affine_map(
    cut: Cut, response: CutResponse, *, max_cells: int | None = AUTO_CELLS
) -> tuple[AffineMap, Tensor] | None:
    """M and b of FT(f) = M f + b for every problem, or None where the head is not affine.

    Global average pooling and a linear layer cost no M. They are known by having been seen, or
    guessed from the only linear layer behind the cut; any other affine head is tried cell by cell.
    A guess is believed only if it foretells the network's answer to random filters, signed ones: a
    ReLU head is positively homogeneous and would pass with f >= 0.

    Args:
        cut: The network.
        response: All its problems.
        max_cells: Cells of a filter up to which heads of no known structure are tried.

    Returns:
        The maps of the m problems and b (m, outputs).
    """
    found = _pooled(cut)
    if found is not None and cut.is_pooled_linear:
        return found
    generator = torch.Generator().manual_seed(0)
    probes = torch.randn(len(response), *response.space, generator=generator)
    probes = probes.to(response.device, response.dtype)
    if found is not None and _foretells(found, probes, cut.trial(probes), cut):
        return found
    found = _by_cells(response, generator, max_cells)
    if found is None:
        return None
    with torch.no_grad():
        answers = response(probes)
    return found if _foretells(found, probes, answers, cut) else None


def pooled_linear(cut: Cut) -> tuple[Tensor, Tensor | None] | None:
    """Weight and bias of the only linear layer, if it could follow global average pooling."""
    if cut.rows_each > 1 or len(cut.linears) != 1:
        return None
    (weight, bias) = cut.linears[0]
    channels = cut.layout.cells(cut.feature_map).shape[1]
    fits = weight.shape == (cut.outputs.shape[-1], channels) and cut.outputs.dim() == 2
    return (weight, bias) if fits else None


def _pooled(cut: Cut) -> tuple[AffineMap, Tensor] | None:
    linear = pooled_linear(cut)
    if linear is None:
        return None
    dtype = cut.outputs.dtype
    weight, bias = linear
    maps = cut.layout.cells(cut.feature_map).flatten(2).to(dtype)
    constant = cut.outputs.new_zeros(1, len(weight)) if bias is None else bias.to(dtype)[None]
    affine = PooledMap.of(weight.to(dtype), maps, cut.outputs - constant)
    return affine, constant.expand(len(maps), -1)


def _foretells(
    found: tuple[AffineMap, Tensor], probes: Tensor, answers: Tensor | None, cut: Cut
) -> bool:
    """Whether M and b give the network's answers to the probes."""
    affine, bias = found
    if answers is None or answers.shape != bias.shape:
        return False
    foretold = affine.apply(probes.flatten(1)) * or_one(affine.scale)[:, None]
    return _agree(answers - bias, foretold, bias, cut.feature_map.dtype)


def _by_cells(
    response: CutResponse, generator: torch.Generator, max_cells: int | None
) -> tuple[AffineMap, Tensor] | None:
    cells = torch.Size(response.space).numel()
    if not response.separable or (max_cells is not None and cells > max_cells):
        return None
    first, second = torch.randn(2, cells, generator=generator).to(response.device, response.dtype)
    signed = torch.stack([first, second, first + second, torch.zeros_like(first)])
    with torch.no_grad():
        of_first, of_second, of_sum, of_zero = _answers(response, 0, signed)
        if not _agree(of_first - of_zero + of_second - of_zero, of_sum - of_zero, of_zero):
            return None
        basis = torch.eye(cells, dtype=response.dtype, device=response.device)
        basis = torch.cat([basis, torch.zeros_like(basis[:1])])
        answers = torch.stack([_answers(response, row, basis) for row in range(len(response))])
    bias = answers[:, -1]
    return DenseMap.of((answers[:, :-1] - bias[:, None]).mT.contiguous()), bias


def _answers(response: CutResponse, row: int, filters: Tensor) -> Tensor:
    """The outputs of one problem for several filters (k, cells)."""
    rows = torch.full((len(filters),), row, device=filters.device)
    return response.select(rows)(filters.unflatten(1, response.space))


def _agree(
    found: Tensor, foretold: Tensor, bias: Tensor, dtype: torch.dtype = torch.float32
) -> bool:
    """Whether two answers less a constant are the same up to the rounding of both."""
    tolerance = 1e-4 if dtype.itemsize > 2 else 3e-2
    rounding = 1e-6 if dtype.itemsize > 2 else 1e-2
    allowed = tolerance * foretold.abs().amax(dim=-1) + rounding * bias.abs().amax(dim=-1)
    return bool(((found - foretold).abs().amax(dim=-1) <= allowed).all())
