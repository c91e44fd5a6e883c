"""Problems built to break an exact solver, and what eigenvalues in float64 say of them."""

import torch
from torch import Tensor

from benchmarks.bench import Bench
from benchmarks.report import at_most
from caf_video.attention.solvers.exact import solve_affine

BISECTIONS = 300
FLAT = 1e-13  # share of the largest eigenvalue below which one is zero


def hostile(bench: Bench, case: str) -> None:
    """Losses against eigh and the secular equation, in float64, of float32 and float64 filters."""
    for dtype in (torch.float32, torch.float64):
        excess, norms = [], []
        for matrix in problems().values():
            matrix = matrix.to(dtype)
            f = solve_affine(matrix[None].to(bench.device)).filters[0].cpu().double()
            exact = matrix.double() / (matrix.double().abs().max() or 1.0)
            best, found = (_loss(exact, g) for g in (best_filter(exact), f))
            # A loss that is exactly zero is held to the rounding of what is added up to it.
            all_passed = exact.sum(dim=1).square().sum() + exact.square().sum()
            rounding = 100 * torch.finfo(dtype).eps ** 2 * all_passed
            gap = (found - best - rounding).clamp(min=0)
            excess.append((gap / torch.where(best > 0, best, 1.0)).item())
            norms.append(abs(f.norm().item() - 1))
            bench.tick(case)
        name = f"{case}, {str(dtype).removeprefix('torch.')}"
        note = f"{len(excess)} problems"
        bench.row(
            name,
            "loss above that of float64 eigh, relative",
            excess,
            at_most(1e-6),
            worst=True,
            note=note,
        )
        bench.row(name, "‖f‖ − 1", norms, at_most(1e-6), worst=True)


def problems() -> dict[str, Tensor]:
    """M (d, n) by what is wrong with it, in float64."""
    generator = torch.Generator().manual_seed(20_201_123)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    ordinary = normal(10, 6) @ normal(6, 12).abs()
    left, right = torch.linalg.qr(normal(14, 9))[0], torch.linalg.qr(normal(9, 9))[0]
    balanced = normal(10, 12)
    one_column = torch.zeros(10, 12, dtype=torch.float64)
    one_column[:, 5] = normal(10)
    short_row = normal(1, 12).abs()
    short_row[0, 0] = 0.1 - short_row[0, 1:].sum()
    return {
        "ordinary": ordinary,
        "signed": normal(20, 12),
        "fewer outputs than cells": normal(3, 12),
        "rank 1": normal(10, 1) @ normal(1, 12).abs(),
        "rank 1, hardly seen by the all-pass filter": normal(10, 1) @ short_row,
        "rank 2": normal(10, 2) @ normal(2, 12),
        "M1 = 0": balanced - balanced.mean(dim=1, keepdim=True),
        "dead": torch.zeros(10, 12, dtype=torch.float64),
        "one live column": one_column,
        "identical columns": normal(10, 1).expand(10, 12).clone(),
        "conditioning 1e-12": left @ torch.diag(torch.logspace(0, -12, 9).double()) @ right,
        "one cell": normal(10, 1),
        "scale 1e15": ordinary * 1e15,
        "scale 1e-15": ordinary * 1e-15,
        "signed at scale 1e15": normal(20, 12) * 1e15,
        "signed at scale 1e-15": normal(20, 12) * 1e-15,
    }


def best_filter(matrix: Tensor) -> Tensor:
    """Maths 1.1 for one M (d, n), as written: eigenvalues, bisection for λ, the hard case."""
    eigenvalues, vectors = torch.linalg.eigh(matrix.T @ matrix)
    live = eigenvalues > FLAT * eigenvalues.max()
    ones = vectors.T @ torch.ones(len(vectors), dtype=matrix.dtype)
    if ones[live].square().sum() <= 1 + 1e-9:  # loss 0: what is missing goes to the null space
        row, null = vectors[:, live] @ ones[live], vectors[:, ~live] @ ones[~live]
        missing = (1 - row.square().sum()).clamp(min=0).sqrt()
        f = row + missing * null / null.norm() if null.norm() > 1e-6 else row
    else:
        slope, mu = eigenvalues[live] * ones[live], eigenvalues[live]
        low, high = 0.0, slope.norm().item()
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if (slope / (mu + middle)).norm() > 1 else (low, middle)
        f = vectors[:, live] @ (slope / (mu + high))
    return f / f.norm()


def _loss(matrix: Tensor, f: Tensor) -> Tensor:
    return (matrix @ (1 - f)).square().sum()
