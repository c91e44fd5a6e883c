"""Affine heads, FT(f) = M f + b: what M does to a vector, not forming it where it has structure."""

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

CACHED_BYTES = 2**20  # of W at once: half of a second-level cache of today


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

    def apply_and_pull(self, filters: Tensor) -> tuple[Tensor, Tensor]:
        """M f (b, d) and M^T M f (b, n) of filters (b, n)."""
        ...

    def select(self, rows: Tensor) -> Self:
        """Some of the problems."""
        ...


class KnownMap(AffineMap, Protocol):
    """One whose M can be had whole."""

    def matrix(self) -> Tensor:
        """M itself (b, d, n), in float64."""
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

    def apply_and_pull(self, filters: Tensor) -> tuple[Tensor, Tensor]:
        image = self.apply(filters)
        return image, self.adjoint(image)

    def matrix(self) -> Tensor:
        return self.scaled.double()

    def select(self, rows: Tensor) -> Self:
        return type(self)(self.scaled[rows], self.scale[rows], self.passed[rows])


@dataclass(frozen=True)
class PooledMap:
    """M = W A / n of global average pooling and a linear layer: two products in place of M."""

    weight: Tensor  # W (d, c)
    maps: Tensor  # A (b, c, n), in any memory format
    scale: Tensor
    passed: Tensor

    @classmethod
    def of(cls, weight: Tensor, maps: Tensor, passed: Tensor | None = None) -> "PooledMap":
        """From W (d, c) and A (b, c, n); M 1 (b, d) is the network's output less its bias."""
        if passed is None:
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

    def apply_and_pull(self, filters: Tensor) -> tuple[Tensor, Tensor]:
        # W is read once for both products, a piece that stays in the cache at a time: with few
        # problems the reading is all that costs (measured: 20 to 50 % less at 1 to 8 problems).
        unit = (or_one(self.scale) * self.cells)[:, None]
        pooled = _rows_times(filters, self.maps.mT) / unit
        rows = max(1, CACHED_BYTES // self.weight[0].nbytes)
        images, pulled = [], torch.zeros_like(pooled)
        for piece in self.weight.split(len(self.weight) if self.weight.is_cuda else rows):
            images.append(pooled @ piece.T)
            pulled.addmm_(images[-1], piece)
        return torch.cat(images, dim=1), _rows_times(pulled, self.maps) / unit

    def matrix(self) -> Tensor:
        matrix = self.weight.double() @ self.maps.double()
        return matrix / (or_one(self.scale.double()) * self.cells)[:, None, None]

    def select(self, rows: Tensor) -> Self:
        return type(self)(self.weight, self.maps[rows], self.scale[rows], self.passed[rows])


@dataclass(frozen=True)
class CenteredMap:
    """M - c 1^T / n: each cell's response less an equal share of a vector c (maths 1.7)."""

    whole: KnownMap  # M
    center: Tensor  # c (b, d), in the units of M

    @classmethod
    def of(cls, whole: KnownMap, center: Tensor) -> "CenteredMap":
        """From M and c (b, d)."""
        return cls(whole, center / or_one(whole.scale)[:, None])

    @property
    def scale(self) -> Tensor:
        return self.whole.scale

    @property
    def passed(self) -> Tensor:
        return self.whole.passed - self.center

    @property
    def cells(self) -> int:
        return self.whole.cells

    def __len__(self) -> int:
        return len(self.whole)

    def apply(self, filters: Tensor) -> Tensor:
        return self.whole.apply(filters) - filters.mean(dim=1, keepdim=True) * self.center

    def adjoint(self, outputs: Tensor) -> Tensor:
        share = (outputs * self.center).sum(dim=1, keepdim=True) / self.cells
        return self.whole.adjoint(outputs) - share

    def apply_and_pull(self, filters: Tensor) -> tuple[Tensor, Tensor]:
        image = self.apply(filters)
        return image, self.adjoint(image)

    def matrix(self) -> Tensor:
        return self.whole.matrix() - self.center.double()[:, :, None] / self.cells

    def select(self, rows: Tensor) -> Self:
        return type(self)(self.whole.select(rows), self.center[rows])


def or_one(scale: Tensor) -> Tensor:
    """Scales that can be divided by: 1 in place of 0."""
    return scale.where(scale > 0, 1.0)


def _rows_times(rows: Tensor, matrices: Tensor) -> Tensor:
    """A row times a matrix, (b, k) by (b, k, m); a column is 3 to 30 times slower on a CPU."""
    return torch.bmm(rows[:, None], matrices).squeeze(1)
