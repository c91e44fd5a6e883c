"""Affine heads, FT(f) = M f + b, solved exactly at the price of a few products (maths 1.1)."""

from dataclasses import replace

import torch
from torch import Tensor

from caf_video.attention.solvers.affine import AffineMap, DenseMap, KnownMap, or_one
from caf_video.attention.solvers.secular import minimise_on_sphere
from caf_video.attention.solvers.solution import FilterSolution
from caf_video.errors import InputError

MAX_PRODUCTS = 6  # with M and its transpose, before the dense solution takes over
GUARD_BYTES = 64 * 2**20  # of float64 matrices that the dense solution holds at once
VANISHING = 0.05  # a loss below this share of ||r||^2 loses digits to float32
ANGLE = {torch.float32: 3e-4, torch.float64: 1e-7}  # between f and -gradient, radians
GAP = {torch.float32: 3e-7, torch.float64: 1e-14}  # what may be left to gain, share of the loss


def solve_affine(map_matrix: Tensor, *, wanted: Tensor | None = None) -> FilterSolution:
    """Minimise ||r - M f||^2 over unit filters f, exactly (Eq. 1 for an affine head; maths 1.1).

    Args:
        map_matrix: M, the head's response to each cell, shape (b, d, *space).
        wanted: r (b, d), the outputs wanted less the head's constant; None is M 1, Eq. 1.

    Returns:
        Signed unit filters (b, *space) and the loss of each (b,). Where several filters are as good
        it is the one nearest to the all-pass filter; a dead map (M = 0) has the uniform filter.

    Raises:
        InputError: On a value that is not finite; names the first such sample.
    """
    for name, tensor in (("map matrix", map_matrix), ("wanted output", wanted)):
        if tensor is not None and not tensor.isfinite().all():
            sample = int((~tensor.flatten(1).isfinite().all(dim=1)).nonzero()[0])
            raise InputError(f"the {name} of sample {sample} is not finite")
    solution = minimise_distance(DenseMap.of(map_matrix.flatten(2)), wanted)
    return replace(solution, filters=solution.filters.unflatten(1, map_matrix.shape[2:]))


def minimise_distance(affine: KnownMap, wanted: Tensor | None = None) -> FilterSolution:
    """`solve_affine` for any form of M that is known; filters are (b, n).

    Problems that a few products do not settle are solved by eigenvalues in float64.
    """
    solution = search_subspace(affine, wanted)
    rows = (~solution.settled).nonzero().squeeze(1)
    filters, losses, unit = solution.filters, solution.losses, or_one(affine.scale)
    size = max(1, GUARD_BYTES // (8 * affine.cells * max(affine.cells, affine.passed.shape[1])))
    for chunk in rows.split(size) if len(rows) else ():
        some = None if wanted is None else (wanted[chunk] / unit[chunk, None]).double()
        f, loss = _by_eigenvalues(affine.select(chunk), some)
        filters[chunk] = f.to(filters.dtype)
        losses[chunk] = loss.to(losses.dtype) * unit[chunk].square()
    return replace(solution, settled=torch.ones_like(solution.settled))


def search_subspace(
    affine: AffineMap,
    wanted: Tensor | None = None,
    *,
    max_products: int = MAX_PRODUCTS,
    keep_images: bool = True,
) -> FilterSolution:
    """`solve_affine` by a few products with M and its transpose, where they are enough.

    Repeats f <- normalize(q) with q = M^T (r - M f), which is half the descent direction; all f met
    so far span a subspace in which the problem is solved whole for the next q. By convexity over
    the ball f has at most ||q|| angle(q, f)^2 left to gain: a problem is done when that is nothing
    in its precision.

    Args:
        affine: M of b problems.
        wanted: r (b, d); None is M 1, Eq. 1.
        max_products: After so many a problem is given up.
        keep_images: Whether to keep M of the whole subspace, (b, products, d), for the losses;
            without, the losses have lost up to two digits.

    Returns:
        Filters (b, n); `settled` is False, and the filter the uniform one, for those given up.
    """
    reference = affine.passed if wanted is None else wanted / or_one(affine.scale)[:, None]
    filters = reference.new_full((len(affine), affine.cells), affine.cells**-0.5)
    losses = reference.square().sum(dim=1)
    steps = torch.ones(len(affine), dtype=torch.int64, device=filters.device)

    slope = affine.adjoint(reference)
    live = slope.abs().amax(dim=1) > 0
    left = ~live if wanted is not None else torch.zeros_like(live)  # Eq. 1: uniform passes M1 = 0
    rows = live.nonzero().squeeze(1)
    search = _Subspace(affine, reference, slope, keep_images)
    search = search if len(rows) == len(live) else search.select(rows)
    while len(rows) and search.products < max_products:
        f, loss, settled = search.advance()
        if not settled.any():
            continue
        if len(rows) == len(live) and settled.all():  # nearly always: nothing to gather
            filters, losses, steps = f, loss, steps + search.products
            rows = rows[:0]
            break
        done = rows[settled]
        filters[done], losses[done] = f[settled], loss[settled]
        steps[done] += search.products
        open_rows = (~settled).nonzero().squeeze(1)
        rows, search = rows[open_rows], search.select(open_rows)
    left[rows] = True
    steps[left] += max_products
    return FilterSolution(
        filters=filters,
        losses=losses * or_one(affine.scale).square(),
        steps=steps,
        settled=~left,
        solver="exact",
    )


def minimise_linear(affine: AffineMap, weights: Tensor, constant: Tensor) -> FilterSolution:
    """Minimise <s, M f> + k over unit filters: f = -g / ||g||, g = M^T s (Eq. 2; maths 1.1).

    Args:
        affine: M of b problems.
        weights: s, shape (b, d).
        constant: k, shape (b,).

    Returns:
        Filters (b, n); g = 0 has the uniform one.
    """
    gradient = affine.adjoint(weights)
    largest = or_one(gradient.abs().amax(dim=1, keepdim=True))
    norm = (gradient / largest).norm(dim=1, keepdim=True)
    filters = torch.where(norm > 0, -gradient / largest / or_one(norm), affine.cells**-0.5)
    steps = torch.ones(len(affine), dtype=torch.int64, device=filters.device)
    return FilterSolution(
        filters=filters,
        losses=affine.scale * (gradient * filters).sum(dim=1) + constant,
        steps=steps,
        settled=torch.ones_like(steps, dtype=torch.bool),
        solver="exact",
    )


class _Subspace:
    """What M does to a growing orthonormal basis of filters, m problems side by side."""

    def __init__(
        self, affine: AffineMap, reference: Tensor, slope: Tensor, keep_images: bool
    ) -> None:
        self.products = 0
        self._affine = affine
        self._reference = reference  # r (m, d)
        self._slope = slope  # M^T r (m, n)
        self._energy = reference.square().sum(dim=1)
        self._q = _unit(slope)  # where f is drawn to
        self._basis = slope[:, None][:, :0]  # (m, k, n), rows orthonormal
        self._images = reference[:, None][:, :0] if keep_images else None  # M of it (m, k, d)
        self._pulled = self._basis  # M^T M of its rows (m, k, n)

    def select(self, rows: Tensor) -> "_Subspace":
        part = object.__new__(_Subspace)
        for name, value in self.__dict__.items():
            part.__dict__[name] = value[rows] if isinstance(value, Tensor) else value
        part._affine = self._affine.select(rows)
        return part

    def advance(self) -> tuple[Tensor, Tensor, Tensor]:
        """One more product: filters, their losses and which are settled.

        The filter is q as it was; where that does not settle all, the best of the whole subspace.
        """
        shares = self._grow()
        found = self._look(shares) if self.products > 1 else self._look_first()
        if self.products > 1 and not found[2].all():
            matrix = torch.bmm(self._basis, self._pulled.mT)
            slope = torch.bmm(self._slope[:, None], self._basis.mT).squeeze(1)
            best = minimise_on_sphere(matrix, slope, self._basis.sum(dim=2), GAP[shares.dtype])
            found = self._look(best.to(shares.dtype))
        return found

    def _grow(self) -> Tensor:
        """Multiply the part of q outside the subspace; returns q in the grown basis (m, k + 1)."""
        if self.products == 0:
            new = self._q
            shares = new.new_ones(len(new), 1)
        else:
            shares = torch.bmm(self._q[:, None], self._basis.mT)
            new = self._q - torch.bmm(shares, self._basis).squeeze(1)
            size = torch.linalg.vector_norm(new, dim=1, keepdim=True)
            shares = torch.cat([shares.squeeze(1), size], dim=1)
            new = _unit(new, size)  # again: what was removed left its rounding
            new = _unit(new - torch.bmm(torch.bmm(new[:, None], self._basis.mT), self._basis)[:, 0])
        image, pulled = self._affine.apply_and_pull(new)
        self._basis = torch.cat([self._basis, new[:, None]], dim=1)
        if self._images is not None:
            self._images = torch.cat([self._images, image[:, None]], dim=1)
        self._pulled = torch.cat([self._pulled, pulled[:, None]], dim=1)
        self.products += 1
        return shares

    def _look_first(self) -> tuple[Tensor, Tensor, Tensor]:
        """`_look` where the basis is q itself."""
        image = None if self._images is None else self._images[:, 0]
        return self._judge(self._basis[:, 0], image, self._slope - self._pulled[:, 0])

    def _look(self, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The filters of some shares of the basis, their losses, which are settled; sets q."""
        f = torch.bmm(shares[:, None], self._basis).squeeze(1)
        size = torch.linalg.vector_norm(f, dim=1, keepdim=True)
        f, shares = f / size, (shares / size)[:, None]
        image = None if self._images is None else torch.bmm(shares, self._images).squeeze(1)
        return self._judge(f, image, self._slope - torch.bmm(shares, self._pulled).squeeze(1))

    def _judge(self, f: Tensor, image: Tensor | None, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if image is None:  # ||r||^2 - 2 <h, f> + <f, H f>, with q = h - H f
            loss = self._energy - (f * (self._slope + q)).sum(dim=1)
        else:
            loss = (self._reference - image).square().sum(dim=1)
        force = torch.linalg.vector_norm(q, dim=1, keepdim=True)
        self._q = _unit(q, force)
        turn = torch.linalg.vector_norm(self._q - f, dim=1)
        gap = force.squeeze(1) * turn.square()
        settled = (turn <= ANGLE[f.dtype]) & (gap <= GAP[f.dtype] * loss)
        settled &= loss > VANISHING * self._energy
        return f, loss, settled


def _unit(vectors: Tensor, size: Tensor | None = None) -> Tensor:
    """Rows of unit length, their length if it is known (m, 1); rows of zeros stay."""
    if size is None:
        size = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / size.clamp(min=torch.finfo(size.dtype).tiny)


def _by_eigenvalues(affine: KnownMap, wanted: Tensor | None) -> tuple[Tensor, Tensor]:
    """Filters (b, n) and losses (b,) in units of scale^2, from M^T M in float64: every case."""
    matrix = affine.matrix()
    reference = matrix.sum(dim=2) if wanted is None else wanted.double()
    slope = torch.einsum("bdn,bd->bn", matrix, reference)
    f = minimise_on_sphere(matrix.mT @ matrix, slope, torch.ones_like(slope))
    f = f / f.norm(dim=1, keepdim=True)
    return f, (reference - torch.einsum("bdn,bn->bd", matrix, f)).square().sum(dim=1)
