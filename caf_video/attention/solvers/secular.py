"""The quadratic on a sphere, solved from its eigenvalues, with all hard cases (maths 1.1)."""

import torch
from torch import Tensor

FLAT = 1e-13  # eigenvalues this close, relative to the largest, are not told apart in float64
MAX_NEWTON_STEPS = 60


def minimise_on_sphere(
    matrix: Tensor, slope: Tensor, all_pass: Tensor, tolerance: float = 4e-16
) -> Tensor:
    """The global minimum of <f, H f> - 2 <h, f> over ||f|| = 1, one problem a row, in float64.

    Args:
        matrix: H, symmetric and positive semidefinite up to rounding, shape (b, n, n).
        slope: h, shape (b, n).
        all_pass: Among many answers, the nearest to this vector is taken, shape (b, n).
        tolerance: On ||f|| - 1 before f is normalised.

    Returns:
        f, shape (b, n), float64.
    """
    eigenvalues, vectors = torch.linalg.eigh(matrix.double())
    rotated, nearest = torch.stack([slope, all_pass], dim=1).double().matmul(vectors).unbind(dim=1)
    y = solve_secular(eigenvalues, rotated, nearest, tolerance)
    return torch.bmm(y[:, None], vectors.mT).squeeze(1)


def solve_secular(eigenvalues: Tensor, slope: Tensor, nearest: Tensor, tolerance: float) -> Tensor:
    """`minimise_on_sphere` in the eigenbasis: y_i = slope_i / (mu_i + lambda), ||y|| = 1.

    lambda >= -mu_min, by Newton on 1/||y|| - 1 from a bound below it, which is monotone. Hard case:
    the slope has no part in the eigenspace of mu_min (the flat directions) and ||y|| < 1 even with
    lambda = -mu_min; the rest of the norm then goes to that eigenspace, toward `nearest`.
    """
    mu = eigenvalues - eigenvalues[:, :1]  # lambda below is counted from -mu_min
    largest = torch.maximum(eigenvalues.abs().amax(dim=1), slope.norm(dim=1))[:, None]
    flat = mu <= FLAT * largest
    flat_slope = slope.where(flat, 0.0).norm(dim=1, keepdim=True)
    no_slope = flat_slope <= FLAT * largest
    slope = slope.where(~(flat & no_slope), 0.0)
    mu = mu.where(~flat, 0.0)

    at_edge = torch.where(flat, 0.0, slope / mu.where(~flat, 1.0))
    edge_norm = at_edge.square().sum(dim=1, keepdim=True)
    hard = no_slope & (edge_norm <= 1)

    multiplier = (slope.abs() - mu).amax(dim=1, keepdim=True).clamp(min=0)
    for _ in range(MAX_NEWTON_STEPS):
        shifted = mu + multiplier
        y = slope / shifted.where(shifted > 0, 1.0)
        norm = y.norm(dim=1, keepdim=True)
        excess = (norm - 1).where(~hard, 0.0)
        if (excess.abs() <= tolerance).all():
            break
        curvature = (y.square() / shifted.where(shifted > 0, 1.0)).sum(dim=1, keepdim=True)
        step = excess * norm.square() / curvature.where(curvature > 0, 1.0)
        multiplier = (multiplier + step).clamp(min=0)
    y = y / norm.where(norm > 0, 1.0)

    toward = nearest.where(flat, 0.0)
    length = toward.norm(dim=1, keepdim=True)
    first_flat = torch.zeros_like(toward)
    first_flat[:, 0] = 1.0
    toward = torch.where(length > FLAT, toward / length.where(length > 0, 1.0), first_flat)
    return torch.where(hard, at_edge + (1 - edge_norm).clamp(min=0).sqrt() * toward, y)
