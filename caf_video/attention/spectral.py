"""Any head: spectral projected gradient on the unit sphere, many problems at once (method 1.2)."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from caf_video.attention.problems import Problems
from caf_video.attention.solution import FilterSolution

STALL_WINDOW = 5  # accepted steps over which too small a decrease is a standstill
MAX_REJECTIONS = 8  # in a row: the step has shrunk 4^8-fold and still climbs, so f sits at a kink


def solve_spectral(
    problems: Problems,
    *,
    angle_tolerance: float = 1e-3,
    decrease_tolerance: float = 1e-5,
    max_steps: int = 500,
    trace: bool = False,
) -> FilterSolution:
    """Minimise each problem's loss over ||f||_2 = 1, starting from the uniform filter.

    A step minimises the model <g, f> + mu/2 ||f - f_k||^2 over the sphere, where mu follows the
    curvature met in the last step (Barzilai and Borwein); one that raises the loss is taken back and
    tried again with a larger mu. Every problem takes its own steps and stops by its own test;
    finished ones leave the batch.

    Args:
        problems: The n problems.
        angle_tolerance: Angle between f and the descent direction that counts as settled, radians.
        decrease_tolerance: A decrease over `STALL_WINDOW` steps that counts as settled, relative to
            the loss or, where that is nearly gone, to what has been gained since the start.
        max_steps: Evaluations per problem at most; running out of them is `settled` = False.
        trace: Keep the filters after every accepted step.

    Returns:
        Filters (n, *space), never worse than the uniform one.
    """
    space = problems.space
    filters = problems.uniform_filters().flatten(1)
    losses = filters.new_zeros(len(problems))
    steps = torch.zeros(len(problems), dtype=torch.int64, device=filters.device)
    settled = torch.zeros_like(steps, dtype=torch.bool)
    units = problems.unit
    frames: list[list[Tensor]] = [[f.clone()] for f in filters] if trace else []

    if len(problems):
        active = _start(problems, filters)
    while len(problems):
        done = active.settled(angle_tolerance, decrease_tolerance)
        leaving = done | (active.steps >= max_steps)
        if leaving.any():
            rows = active.rows[leaving]
            filters[rows] = active.f[leaving]
            losses[rows] = active.loss[leaving] * units[rows]
            steps[rows] = active.steps[leaving]
            settled[rows] = done[leaving]
            staying = (~leaving).nonzero().squeeze(1)
            problems = problems.select(staying)
            active = active.select(staying)
            if len(problems) == 0:
                break
        accepted = active.advance(problems)
        if trace:
            for row, f in zip(active.rows[accepted].tolist(), active.f[accepted], strict=True):
                frames[row].append(f)

    return FilterSolution(
        filters=filters.unflatten(1, space),
        losses=losses,
        steps=steps,
        settled=settled,
        solver="spectral",
        trace=tuple(torch.stack(path).unflatten(1, space) for path in frames) if trace else None,
    )


@dataclass
class _Active:
    """The problems still running: m of them, all tensors with m rows."""

    rows: Tensor  # which problem of the call each one is
    f: Tensor  # (m, cells) the best filter so far
    gradient: Tensor  # (m, cells) there
    loss: Tensor  # (m,) there
    mu: Tensor  # (m,) curvature of the model
    steps: Tensor  # (m,) evaluations so far
    accepted: Tensor  # (m,) of them that lowered the loss
    rejected: Tensor  # (m,) in a row, since the last that did
    first_loss: Tensor  # (m,)
    history: Tensor  # (m, STALL_WINDOW + 1) accepted losses, newest first

    def select(self, rows: Tensor) -> "_Active":
        return _Active(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def settled(self, angle_tolerance: float, decrease_tolerance: float) -> Tensor:
        descent = _normalize(-self.gradient, otherwise=self.f)
        aligned = (descent - self.f).square().sum(dim=1) <= angle_tolerance**2
        scale = torch.maximum(self.loss.abs(), self.first_loss - self.loss)
        stalled = self.history[:, -1] - self.loss <= decrease_tolerance * scale
        stalled &= self.accepted >= STALL_WINDOW
        return aligned | stalled | (self.rejected >= MAX_REJECTIONS)

    def advance(self, problems: Problems) -> Tensor:
        """One step of every problem; returns which were accepted (m,)."""
        model_step = self.mu[:, None] * self.f - self.gradient
        candidate = _normalize(model_step, otherwise=self.f)
        loss, gradient = problems.evaluate(candidate.unflatten(1, problems.space))
        gradient = gradient.flatten(1)
        self.steps = self.steps + 1
        accept = loss <= self.loss

        change = candidate - self.f
        moved = change.square().sum(dim=1)
        curvature = (change * (gradient - self.gradient)).sum(dim=1)
        curvature = (curvature / torch.where(moved > 0, moved, 1.0)).clamp(min=0)
        norm = self.gradient.norm(dim=1)
        self.mu = torch.where(accept, curvature, 4 * self.mu + norm / 4)

        self.history = torch.where(
            accept[:, None], torch.cat([loss[:, None], self.history[:, :-1]], dim=1), self.history
        )
        self.accepted = self.accepted + accept
        self.rejected = torch.where(accept, 0, self.rejected + 1)
        self.loss = torch.where(accept, loss, self.loss)
        self.f = torch.where(accept[:, None], candidate, self.f)
        self.gradient = torch.where(accept[:, None], gradient, self.gradient)
        return accept


def _start(problems: Problems, filters: Tensor) -> _Active:
    """The uniform filter, evaluated. Deterministic, and a better start than a random one (1.2)."""
    loss, gradient = problems.evaluate(filters.unflatten(1, problems.space))
    zeros = torch.zeros(len(problems), dtype=torch.int64, device=filters.device)
    return _Active(
        rows=torch.arange(len(problems), device=filters.device),
        f=filters.clone(),
        gradient=gradient.flatten(1),
        loss=loss,
        mu=torch.zeros_like(loss),
        steps=zeros + 1,
        accepted=zeros,
        rejected=zeros,
        first_loss=loss,
        history=loss[:, None].repeat(1, STALL_WINDOW + 1),
    )


def _normalize(vectors: Tensor, *, otherwise: Tensor) -> Tensor:
    """Rows scaled to unit length on any scale; a zero row becomes that of `otherwise`."""
    largest = vectors.abs().amax(dim=1, keepdim=True)
    scaled = vectors / torch.where(largest > 0, largest, 1.0)
    return torch.where(largest > 0, scaled / scaled.norm(dim=1, keepdim=True), otherwise)
