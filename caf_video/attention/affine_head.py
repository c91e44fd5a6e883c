"""Tell an affine head from its answers, and solve it exactly by the cheapest way (maths 1.1)."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

from caf_video.attention.cutting.cut import Cut
from caf_video.attention.cutting.response import CutResponse
from caf_video.attention.objectives import ClassSpecific, SquaredDistance
from caf_video.attention.solvers.affine import (
    AffineMap,
    CenteredMap,
    DenseMap,
    PooledMap,
    or_one,
)
from caf_video.attention.solvers.exact import minimise_distance, minimise_linear
from caf_video.attention.solvers.matrix_free import ResponseMap, minimise_matrix_free
from caf_video.attention.solvers.problems import MissingGradient, gradient
from caf_video.attention.solvers.solution import FilterSolution, join_solutions
from caf_video.errors import InputError

DENSE_CELLS = 64  # M takes an evaluation a cell, products with it about twenty in all
DENSE_BYTES = 64 * 2**20  # of M, held three times while it is made
LIMIT_BYTES = 4 * DENSE_BYTES  # where there is no other way
WRONG_GRADIENT = 1e-3  # share by which <M^T M p, p> may miss ||M p||^2


class Rounding(NamedTuple):
    """What rounding may add to a difference of answers."""

    of_difference: float
    of_answer: float


SINGLE, HALF = Rounding(1e-4, 1e-6), Rounding(3e-2, 1e-2)
QUANTIZED = Rounding(1e-1, 3e-2)  # a ReLU behind the mean is off by 50 to 60 % (both measured)


@dataclass(frozen=True)
class Plan:
    """How the problems of an affine head are solved.

    Attributes:
        dense: By M, found a cell at a time; else by products, from evaluations and gradients.
        at_once: Problems whose M, or whose maps and outputs, are held at a time.
    """

    dense: bool
    at_once: int


def plan_affine(
    *, cells: int, matrix_bytes: int, problems: int, fit: int, gradients: bool = True
) -> Plan | None:
    """The cheapest way in bounded memory; None if M is needed and is too large.

    Args:
        cells: Of a filter.
        matrix_bytes: Of one problem's M, outputs times cells.
        problems: How many there are.
        fit: As many as one evaluation should hold.
        gradients: Whether the head has them: products need them.
    """
    if gradients and _wants_products(cells, matrix_bytes):
        return Plan(dense=False, at_once=min(problems, fit))
    if matrix_bytes > LIMIT_BYTES:
        return None
    return Plan(dense=True, at_once=min(problems, fit, max(1, DENSE_BYTES // matrix_bytes)))


def _wants_products(cells: int, matrix_bytes: int) -> bool:
    return cells > DENSE_CELLS or matrix_bytes > DENSE_BYTES


def solve_affine_head(
    cut: Cut,
    response: CutResponse,
    objective: ClassSpecific | SquaredDistance,
    *,
    pair: bool,
    insist: bool,
    center: Tensor | None = None,
) -> FilterSolution | None:
    """Every problem's filter (n, cells), or None where the head is not affine.

    Global average pooling and a linear layer cost no M. They are known by having been seen, or
    guessed from the only linear layer behind the cut. Any other head is asked whether it is
    additive, with signed filters: a ReLU head is positively homogeneous and would pass with f >= 0.
    A quantised head, which has no gradients either, need be so only up to its rounding.

    Args:
        cut: The network.
        response: All its problems.
        objective: Their losses.
        pair: Whether the reference is not the network's own output.
        insist: Solve it at any price; else give up where another solver is cheaper.
        center: Of a centred pair, what each cell is measured against, (problems, d).

    Raises:
        InputError: On a head that would need a matrix that is too large, saying why.
    """
    found = find_pooled_map(cut, response)
    if found is not None:
        affine, bias = found
        if isinstance(objective, ClassSpecific):
            return _minimise_linear(affine, bias, objective)
        if center is not None:
            centered = CenteredMap.of(affine, center - bias)
            return minimise_distance(centered, objective.reference - center)
        return minimise_distance(affine, objective.reference - bias if pair else None)
    if center is not None:
        response = response.centered(center)
    head = _examine(cut, response)
    if head is None or (head.rounding is HALF and not insist and head.cells > DENSE_CELLS):
        return None  # M of half-precision numbers is dear, and products with it do not settle
    together = 1 if response.separable else len(response)
    plan = plan_affine(
        cells=head.cells,
        matrix_bytes=head.cells * cut.outputs[0].nbytes * together,
        problems=len(response),
        fit=response.at_once,
        gradients=head.gradients,
    )
    if plan is None:
        raise InputError(
            f"behind layer {cut.name} the network is affine but gives no exact gradient, and its "
            f"matrix of {cut.outputs[0].numel()} outputs by {head.cells} cells is too large: take "
            "fewer outputs (output=) or a layer with fewer cells"
        )
    rows = torch.arange(len(response), device=response.device)
    solutions = []
    for chunk in rows.split(plan.at_once) if response.separable else (rows,):
        part = response if len(chunk) == len(rows) else response.select(chunk)
        outputs = cut.outputs.flatten(1)[chunk // cut.rows_each]
        losses = objective.select(chunk)
        if plan.dense:
            solution = _by_matrix(part, losses, head, pair)
        else:
            solution = _by_products(part, outputs, losses, head, pair, insist)
        if solution is None:
            return None
        with torch.no_grad():
            answers = part(solution.filters.unflatten(1, part.space))
        solutions.append(replace(solution, losses=losses.losses(answers) * losses.unit))
    return join_solutions(solutions)


def find_pooled_map(cut: Cut, response: CutResponse) -> tuple[PooledMap, Tensor] | None:
    """M and b (n, outputs) of global average pooling and one linear layer, if that is the head.

    Where it was not seen, the guess is believed only if it foretells the answer to random filters.
    """
    found = _pooled(cut)
    if found is None or cut.is_pooled_linear:
        return found
    probes = _probes(response)
    return found if _foretells(found, probes, cut.trial(probes), _rounding(cut)) else None


def pooled_linear(cut: Cut) -> tuple[Tensor, Tensor | None] | None:
    """Weight and bias of the only linear layer, if it could follow global average pooling."""
    if cut.rows_each > 1 or len(cut.linears) != 1:
        return None
    (weight, bias) = cut.linears[0]
    channels = cut.layout.cells(cut.feature_map).shape[1]
    fits = weight.shape == (cut.outputs.shape[-1], channels) and cut.outputs.dim() == 2
    return (weight, bias) if fits else None


def _pooled(cut: Cut) -> tuple[PooledMap, Tensor] | None:
    linear = pooled_linear(cut)
    if linear is None:
        return None
    dtype = cut.outputs.dtype
    weight, bias = linear
    maps = cut.layout.cells(cut.feature_map).flatten(2).to(dtype)
    constant = cut.outputs.new_zeros(1, len(weight)) if bias is None else bias.to(dtype)[None]
    affine = PooledMap.of(weight.to(dtype), maps, cut.outputs - constant)
    return affine, constant.expand(len(maps), -1)


def _minimise_linear(affine: AffineMap, bias: Tensor, objective: ClassSpecific) -> FilterSolution:
    weights = objective.weights(bias.shape[1], bias.dtype)
    return minimise_linear(affine, weights, (weights * bias).sum(dim=1))


@dataclass(frozen=True)
class _Head:
    """A head whose answers are additive.

    Attributes:
        where: What an error calls the layer before it.
        cells: Of a filter.
        gradients: Whether its gradients are known to be those of its answers.
        rounding: How exact its answers are.
    """

    where: str
    cells: int
    gradients: bool
    rounding: Rounding


def _examine(cut: Cut, response: CutResponse) -> _Head | None:
    """What the first problem shows of a head; None if it is not affine."""
    first = response.select(torch.arange(1)) if response.separable else response
    outputs = cut.outputs.flatten(1).repeat_interleave(cut.rows_each, dim=0)[: len(first)]
    rounding = _rounding(cut)
    where, cells = f"layer {cut.name}", torch.Size(response.space).numel()
    probe = _Probe.of(first, outputs)
    if response.separable and probe.is_additive(rounding):
        # Asked for only where M is not cheap: a gradient costs more than an answer.
        wanted = rounding is SINGLE and _wants_products(cells, cells * outputs[0].nbytes)
        gradients = not wanted or probe.gradient_error(first, where) <= WRONG_GRADIENT
        return _Head(where, cells, gradients, rounding)
    if probe.is_additive(QUANTIZED) and _has_gaps(_with_graph(first)[1]):
        return _Head(where, cells, False, QUANTIZED)
    return None


def _by_matrix(
    response: CutResponse,
    objective: ClassSpecific | SquaredDistance,
    head: _Head,
    pair: bool,
) -> FilterSolution | None:
    basis = torch.eye(head.cells, dtype=response.dtype, device=response.device)
    answers = _answers(response, torch.cat([basis, torch.zeros_like(basis[:1])]))
    bias = answers[:, -1]
    affine = DenseMap.of((answers[:, :-1] - bias[:, None]).mT.contiguous())
    del answers
    probes = _probes(response)
    with torch.no_grad():
        if not _foretells((affine, bias), probes, response(probes), head.rounding):
            return None
    if isinstance(objective, ClassSpecific):
        return _minimise_linear(affine, bias, objective)
    return minimise_distance(affine, objective.reference - bias if pair else None)


def _by_products(
    response: CutResponse,
    outputs: Tensor,
    objective: ClassSpecific | SquaredDistance,
    head: _Head,
    pair: bool,
    insist: bool,
) -> FilterSolution | None:
    probe = _Probe.of(response, outputs)
    if not probe.is_additive(SINGLE):
        return None
    bias = probe.bias
    affine = ResponseMap.of(response, outputs, bias, head.where)
    if isinstance(objective, ClassSpecific):
        return _minimise_linear(affine, bias, objective)
    wanted = objective.reference - bias if pair else None
    solution = minimise_matrix_free(affine, wanted, insist=insist)
    if solution.settled.all():
        return solution
    if insist:
        raise InputError(
            f'solver "exact" does not come to an end on the {head.cells} cells of {head.where}: '
            'use solver "spectral", or a layer with fewer cells'
        )
    return None


@dataclass(frozen=True)
class _Probe:
    """Whether FT(1 + p) - FT(0) is M 1 + M p for a random p, one for each problem."""

    bias: Tensor  # FT(0) (m, d)
    outputs: Tensor  # FT(1)
    filters: Tensor  # p (m, *space)
    image: Tensor  # FT(p) - FT(0)
    together: Tensor  # FT(1 + p) - FT(1)

    @classmethod
    def of(cls, response: CutResponse, outputs: Tensor) -> Self:
        # So long that the answer is as large as that to 1, and int8's rounding a small part of it.
        filters = _probes(response) * torch.Size(response.space).numel() ** 0.5
        with torch.no_grad():
            bias = response(torch.zeros_like(filters))
            image = response(filters) - bias
            return cls(bias, outputs, filters, image, response(1 + filters) - outputs)

    def is_additive(self, rounding: Rounding) -> bool:
        size = torch.maximum(self.bias.abs(), self.outputs.abs())
        return _agree(self.together, self.image, size, rounding)

    def gradient_error(self, response: CutResponse, where: str) -> float:
        """How far <M^T M p, p>, of which M^T is a gradient, is from ||M p||^2; inf without one."""
        variable, outputs = _with_graph(response)
        if _has_gaps(outputs):
            return math.inf
        try:
            pulled = gradient(outputs, variable, self.image, where)
        except MissingGradient:
            return math.inf
        energy = self.image.square().sum(dtype=torch.float64).item()
        product = (pulled * self.filters).sum(dtype=torch.float64).item()
        return abs(product - energy) / energy if energy else abs(product)


def _with_graph(response: CutResponse) -> tuple[Tensor, Tensor]:
    """Filters of zeros and the outputs, of which gradients can be asked."""
    variable = torch.zeros(len(response), *response.space, dtype=response.dtype)
    variable = variable.to(response.device).requires_grad_()
    with torch.enable_grad():
        return variable, response(variable)


def _has_gaps(outputs: Tensor) -> bool:
    """Whether a quantised operation, whose gradient PyTorch does not know, is in the graph."""
    seen: set[torch.autograd.graph.Node] = set()
    left = [outputs.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        if node.name().endswith("WarnNotImplemented"):
            return True
        seen.add(node)
        left.extend(following for following, _ in node.next_functions)
    return False


def _rounding(cut: Cut) -> Rounding:
    return HALF if cut.feature_map.dtype.itemsize <= 2 else SINGLE


def _probes(response: CutResponse) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    probes = torch.randn(len(response), *response.space, generator=generator)
    return probes.to(response.device, response.dtype)


def _answers(response: CutResponse, filters: Tensor) -> Tensor:
    """The outputs (m, k, d) of every problem for each of some filters (k, cells)."""
    filters = filters.unflatten(1, response.space)
    count, each = len(response), len(filters)
    with torch.no_grad():
        if not response.separable:
            answers = [response(f.expand(count, *response.space)) for f in filters]
            return torch.stack(answers, dim=1)
        pairs = torch.arange(count * each, device=response.device).split(response.at_once)
        answers = [response.select(pair // each)(filters[pair % each]) for pair in pairs]
    return torch.cat(answers).unflatten(0, (count, each))


def _foretells(
    found: tuple[AffineMap, Tensor], probes: Tensor, answers: Tensor | None, rounding: Rounding
) -> bool:
    """Whether M and b give the network's answers to the probes."""
    affine, bias = found
    if answers is None or answers.shape != bias.shape:
        return False
    foretold = affine.apply(probes.flatten(1)) * or_one(affine.scale)[:, None]
    return _agree(answers - bias, foretold, bias, rounding)


def _agree(found: Tensor, foretold: Tensor, size: Tensor, rounding: Rounding) -> bool:
    """Whether two differences of answers of some size are the same up to the rounding of both."""
    allowed = rounding.of_difference * foretold.abs().amax(dim=-1)
    allowed += rounding.of_answer * size.abs().amax(dim=-1)
    return bool(((found - foretold).abs().amax(dim=-1) <= allowed).all())
