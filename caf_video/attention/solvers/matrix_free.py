"""Affine heads known by running them: M f from answers, M^T r from gradients (maths 1.1)."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from caf_video.attention.solvers.affine import or_one
from caf_video.attention.solvers.exact import search_subspace
from caf_video.attention.solvers.problems import Response, gradient
from caf_video.attention.solvers.secular import minimise_on_sphere
from caf_video.attention.solvers.solution import FilterSolution

MAX_PRODUCTS = 20  # an iteration on the sphere takes about as many
GRAM_CELLS = 4096  # M^T M is found a cell at a time, and has eigenvalues to be found


@dataclass(frozen=True)
class ResponseMap:
    """M of FT(f) = M f + b, by evaluations of FT and their gradients: it is never formed.

    Needs problems that do not touch each other, and the gradient of what FT computes.
    """

    response: Response
    where: str  # what an error calls the map that the filters multiply
    constant: Tensor  # b (b, d)
    scale: Tensor
    passed: Tensor

    @classmethod
    def of(cls, response: Response, outputs: Tensor, constant: Tensor, where: str) -> Self:
        """From FT, FT(1) = NT and FT(0) = b, both (b, d)."""
        passed = outputs - constant
        scale = torch.linalg.vector_norm(passed, ord=torch.inf, dim=1)
        return cls(response, where, constant, scale, passed / or_one(scale)[:, None])

    @property
    def cells(self) -> int:
        return torch.Size(self.response.space).numel()

    def __len__(self) -> int:
        return len(self.scale)

    def apply(self, filters: Tensor) -> Tensor:
        with torch.no_grad():
            return self._image(filters)

    def adjoint(self, outputs: Tensor) -> Tensor:
        with torch.enable_grad():
            variable = outputs.new_zeros(len(self), self.cells).requires_grad_()
            return gradient(self._image(variable), variable, outputs, self.where)

    def apply_and_pull(self, filters: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            variable = filters.detach().requires_grad_()
            image = self._image(variable)
            return image.detach(), gradient(image, variable, image.detach(), self.where)

    def gram(self) -> Tensor:
        """M^T M (b, n, n), a cell at a time."""
        columns = []
        for cell in torch.eye(self.cells, dtype=self.passed.dtype, device=self.passed.device):
            columns.append(self.apply_and_pull(cell.repeat(len(self), 1))[1].double())
        gram = torch.stack(columns, dim=2)
        return (gram + gram.mT) / 2

    def select(self, rows: Tensor) -> Self:
        return replace(
            self,
            response=self.response.select(rows),
            constant=self.constant[rows],
            scale=self.scale[rows],
            passed=self.passed[rows],
        )

    def _image(self, filters: Tensor) -> Tensor:
        outputs = self.response(filters.unflatten(1, self.response.space))
        return (outputs - self.constant) / or_one(self.scale)[:, None]


def minimise_matrix_free(
    affine: ResponseMap, wanted: Tensor | None = None, *, insist: bool = False
) -> FilterSolution:
    """Minimise ||r - M f||^2 over unit filters (b, n), in the memory of a few maps and outputs.

    Args:
        affine: M of b problems.
        wanted: r (b, d); None is M 1, Eq. 1.
        insist: Solve what a few products leave open (few live cells, signed or nearly singular M)
            by eigenvalues of M^T M, at an evaluation a cell; else its `settled` is False. M^T M has
            the precision of the network, so a loss that vanishes does so up to its rounding.
    """
    solution = search_subspace(affine, wanted, max_products=MAX_PRODUCTS, keep_images=False)
    rows = (~solution.settled).nonzero().squeeze(1)
    if not insist or not len(rows) or affine.cells > GRAM_CELLS:
        return solution
    part = affine.select(rows)
    unit = or_one(part.scale)
    gram = part.gram()
    if wanted is None:
        reference, slope = part.passed, gram.sum(dim=2)
    else:
        reference = wanted[rows] / unit[:, None]
        slope = part.adjoint(reference).double()
    f = minimise_on_sphere(gram, slope, torch.ones_like(slope))
    f = (f / f.norm(dim=1, keepdim=True)).to(solution.filters.dtype)
    solution.filters[rows] = f
    loss = (reference - part.apply(f)).square().sum(dim=1)
    solution.losses[rows] = loss * unit.square()
    solution.steps[rows] += part.cells
    solution.settled[rows] = True
    return solution
