"""Affine heads, FT(f) = M f + b: what M does to a vector, not forming it where it has structure."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class AffineMap(Protocol):
    """The matrices M (d, n) of b problems, each in its own unit: any scale survives float32."""

    @property
    def scale(self) -> Tensor:
        """The units (b,): M is `scale`, or 1 where that is 0, times what the methods compute."""
        ...

    @property
    def passed(self) -> Tensor:
        """M 1 (b, d), what the all-pass filter lets through."""
        ...

    @property
    def cells(self) -> int:
        """n."""
        ...

    def __len__(self) -> int: ...

    def apply(self, filters: Tensor) -> Tensor:
        """M f (b, d) of filters (b, n)."""
        ...

    def adjoint(self, outputs: Tensor) -> Tensor:
        """M^T r (b, n) of outputs (b, d)."""
        ...

    def matrix(self) -> Tensor:
        """M itself (b, d, n), in float64."""
        ...

    def select(self, rows: Tensor) -> "AffineMap":
        """Some of the problems."""
        ...


@dataclass(frozen=True)
class DenseMap:
    """M given as matrices."""

    scaled: Tensor  # (b, d, n)
    scale: Tensor
    passed: Tensor

    @classmethod
    def of(cls, matrix: Tensor) -> "DenseMap":
        """From M (b, d, n)."""
        scale = torch.linalg.vector_norm(matrix, ord=torch.inf, dim=(1, 2))
        scaled = matrix / or_one(scale)[:, None, None]
        return cls(scaled, scale, scaled.sum(dim=2))

    @property
    def cells(self) -> int:
        return self.scaled.shape[2]

    def __len__(self) -> int:
        return len(self.scale)

    def apply(self, filters: Tensor) -> Tensor:
        return _rows_times(filters, self.scaled.mT)

    def adjoint(self, outputs: Tensor) -> Tensor:
        return _rows_times(outputs, self.scaled)

    def matrix(self) -> Tensor:
        return self.scaled.double()

    def select(self, rows: Tensor) -> "DenseMap":
        return DenseMap(self.scaled[rows], self.scale[rows], self.passed[rows])


@dataclass(frozen=True)
class PooledMap:
    """M = W A / n of global average pooling and a linear layer: two products in place of M."""

    weight: Tensor  # W (d, c)
    maps: Tensor  # A (b, c, n), in any memory format
    scale: Tensor
    passed: Tensor

    @classmethod
    def of(cls, weight: Tensor, maps: Tensor) -> "PooledMap":
        """From W (d, c) and A (b, c, n)."""
        passed = maps.mean(dim=2) @ weight.T
        scale = torch.linalg.vector_norm(passed, ord=torch.inf, dim=1)
        return cls(weight, maps, scale, passed / or_one(scale)[:, None])

    @property
    def cells(self) -> int:
        return self.maps.shape[2]

    def __len__(self) -> int:
        return len(self.maps)

    def apply(self, filters: Tensor) -> Tensor:
        outputs = _rows_times(filters, self.maps.mT) @ self.weight.T
        return outputs / (or_one(self.scale) * self.cells)[:, None]

    def adjoint(self, outputs: Tensor) -> Tensor:
        cells = _rows_times(outputs @ self.weight, self.maps)
        return cells / (or_one(self.scale) * self.cells)[:, None]

    def matrix(self) -> Tensor:
        matrix = self.weight.double() @ self.maps.double()
        return matrix / (or_one(self.scale.double()) * self.cells)[:, None, None]

    def select(self, rows: Tensor) -> "PooledMap":
        return PooledMap(self.weight, self.maps[rows], self.scale[rows], self.passed[rows])


def or_one(scale: Tensor) -> Tensor:
    """Scales that can be divided by: 1 in place of 0."""
    return scale.where(scale > 0, 1.0)


def _rows_times(rows: Tensor, matrices: Tensor) -> Tensor:
    """A row times a matrix, (b, k) by (b, k, m); a column is 3 to 30 times slower on a CPU."""
    return torch.bmm(rows[:, None], matrices).squeeze(1)
