"""Any head: spectral gradient steps on the unit sphere, many problems at once (method 1.2)."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from caf_video.attention.problems import Problems
from caf_video.attention.solution import FilterSolution

MEMORY = 5  # pairs of steps and gradient changes that shape the next step
WINDOW = 5  # accepted losses that a new one is measured against, and that a standstill is seen over
MAX_REJECTIONS = 6  # in a row: every shorter step climbs as well, so f sits at a kink
MAX_TANGENT = 1.5  # longest step, as the tangent of the angle it turns f by
ARMIJO = 1e-4  # share of the decrease promised by the gradient that a step must keep


def solve_spectral(
    problems: Problems,
    *,
    angle_tolerance: float = 1e-3,
    decrease_tolerance: float = 1e-5,
    max_steps: int = 200,
    trace: bool = False,
) -> FilterSolution:
    """Minimise each problem's loss over ||f||_2 = 1, starting from the uniform filter.

    The first step goes to normalize(-g), the answer if the head were a constant slope. After it the
    step along the sphere has the length of the curvature last met (Barzilai and Borwein) and a
    direction shaped by the last few steps (L-BFGS): as fast as the plain spectral step where that
    is fast, and several times faster on ill-conditioned heads. A step need only improve on the
    worst of the last losses, which carries it over the kinks of ReLU heads; the best filter met is
    the answer. Every problem steps and stops for itself; finished ones leave the batch.

    Args:
        problems: The n problems.
        angle_tolerance: Angle between f and the descent direction that counts as settled, radians.
        decrease_tolerance: A decrease over `WINDOW` accepted steps that counts as settled, relative
            to the loss or, where that is nearly gone, to what has been gained since the start.
        max_steps: Evaluations per problem at most; running out of them is `settled` = False.
        trace: Keep the filters after every accepted step.

    Returns:
        Filters (n, *space), never worse than the uniform one.
    """
    space, units = problems.space, problems.unit
    filters = problems.uniform_filters().flatten(1)
    losses = filters.new_zeros(len(problems))
    steps = torch.zeros(len(problems), dtype=torch.int64, device=filters.device)
    settled = torch.zeros_like(steps, dtype=torch.bool)
    frames: list[list[Tensor]] = [[f.clone()] for f in filters] if trace else []

    if len(problems):
        active = _start(problems, filters)
    while len(problems):
        done = active.settled(angle_tolerance, decrease_tolerance)
        leaving = done | (active.steps >= max_steps)
        if leaving.any():
            rows = active.rows[leaving]
            filters[rows] = active.best[leaving]
            losses[rows] = active.best_loss[leaving] * units[rows]
            steps[rows] = active.steps[leaving]
            settled[rows] = done[leaving]
            staying = (~leaving).nonzero().squeeze(1)
            problems, active = problems.select(staying), active.select(staying)
            continue
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
    """The problems still running: m of them, every tensor with m rows."""

    rows: Tensor  # which problem of the call each one is
    f: Tensor  # (m, cells) where it stands
    gradient: Tensor  # (m, cells) there
    loss: Tensor  # (m,) there
    best: Tensor  # (m, cells) the lowest so far
    best_loss: Tensor  # (m,)
    first_loss: Tensor  # (m,) of the uniform filter
    length: Tensor  # (m,) share of the proposed step to take: 1 unless the last was rejected
    steps: Tensor  # (m,) evaluations so far
    accepted: Tensor  # (m,) of them that were accepted
    rejected: Tensor  # (m,) in a row, since the last that was
    recent: Tensor  # (m, WINDOW) accepted losses, newest first
    recent_best: Tensor  # (m, WINDOW + 1) the lowest loss after each accepted step, newest first
    moves: Tensor  # (m, MEMORY, cells) accepted steps, newest first
    turns: Tensor  # (m, MEMORY, cells) how the gradient changed over each
    curvatures: Tensor  # (m, MEMORY) <move, turn>; 0 where there is none yet

    def select(self, rows: Tensor) -> "_Active":
        return _Active(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def settled(self, angle_tolerance: float, decrease_tolerance: float) -> Tensor:
        descent = _normalize(-self.gradient, otherwise=self.f)
        aligned = (descent - self.f).square().sum(dim=1) <= angle_tolerance**2
        scale = torch.maximum(self.best_loss.abs(), self.first_loss - self.best_loss)
        stalled = self.recent_best[:, -1] - self.best_loss <= decrease_tolerance * scale
        stalled &= self.accepted >= WINDOW
        return aligned | stalled | (self.rejected >= MAX_REJECTIONS)

    def advance(self, problems: Problems) -> Tensor:
        """One evaluation of every problem; returns which were accepted (m,)."""
        slope = _tangent(self.gradient, self.f)
        direction, decrease = self._propose(slope)
        length = self.length * (MAX_TANGENT / direction.norm(dim=1)).clamp(max=1)
        candidate = _normalize(self.f + length[:, None] * direction, otherwise=self.f)
        loss, gradient = problems.evaluate(candidate.unflatten(1, problems.space))
        gradient = gradient.flatten(1)

        promised = length * decrease
        rounding = 4 * torch.finfo(loss.dtype).eps * self.loss.abs()
        accept = loss <= self.recent.amax(dim=1) + ARMIJO * promised + rounding
        # The minimum of the parabola through what is known of a rejected step, kept in bounds.
        excess = (loss - self.loss - promised).clamp(min=torch.finfo(loss.dtype).tiny)
        shorter = (-promised / (2 * excess)).clamp(0.1, 0.5) * self.length
        self.length = torch.where(accept, 1.0, shorter)
        self.steps = self.steps + 1
        self.accepted = self.accepted + accept
        self.rejected = torch.where(accept, 0, self.rejected + 1)

        self._remember(accept, slope, candidate, gradient)
        better = accept & (loss < self.best_loss)
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.best = torch.where(better[:, None], candidate, self.best)
        self.loss = torch.where(accept, loss, self.loss)
        self.f = torch.where(accept[:, None], candidate, self.f)
        self.gradient = torch.where(accept[:, None], gradient, self.gradient)
        self.recent = _push(self.recent, self.loss, accept)
        self.recent_best = _push(self.recent_best, self.best_loss, accept)
        return accept

    def _propose(self, slope: Tensor) -> tuple[Tensor, Tensor]:
        """The step in the tangent plane at f (m, cells), and <step, slope> (m,) < 0.

        L-BFGS' two loops. Without memory it is -slope / lambda with lambda = -<g, f>, which the
        retraction turns into normalize(-g).
        """
        memory = int(self.accepted.max().clamp(max=MEMORY))
        inverse = torch.where(self.curvatures > 0, 1 / self.curvatures, 0.0)
        step, shares = slope, []
        for k in range(memory):
            share = inverse[:, k] * _dot(self.moves[:, k], step)
            shares.append(share)
            step = step - share[:, None] * self.turns[:, k]
        pull = -_dot(self.gradient, self.f)
        radius = 1 / torch.maximum(pull, 1e-3 * self.gradient.norm(dim=1))
        spectral = self.curvatures[:, 0] / _dot(self.turns[:, 0], self.turns[:, 0])
        scale = torch.where(self.curvatures[:, 0] > 0, spectral, radius)[:, None]
        step = scale * step
        for k in reversed(range(memory)):
            share = shares[k] - inverse[:, k] * _dot(self.turns[:, k], step)
            step = step + share[:, None] * self.moves[:, k]
        step = -_tangent(step, self.f)
        decrease = _dot(step, slope)
        descends = decrease < 0
        step = torch.where(descends[:, None], step, -scale * slope)
        return step, torch.where(descends, decrease, _dot(step, slope))

    def _remember(self, accept: Tensor, slope: Tensor, candidate: Tensor, gradient: Tensor) -> None:
        """Keep the step and the change of slope, both carried to the new tangent plane."""
        move = _tangent(candidate - self.f, candidate)
        turn = _tangent(gradient, candidate) - _tangent(slope, candidate)
        curvature = _dot(move, turn)
        convex = curvature > 1e-8 * move.norm(dim=1) * turn.norm(dim=1)
        keep = accept & convex
        self.moves = _push(self.moves, move, keep)
        self.turns = _push(self.turns, turn, keep)
        self.curvatures = _push(self.curvatures, curvature, keep)


def _start(problems: Problems, filters: Tensor) -> _Active:
    """The uniform filter, evaluated. Deterministic, and a better start than a random one (1.2)."""
    loss, gradient = problems.evaluate(filters.unflatten(1, problems.space))
    zeros = torch.zeros(len(problems), dtype=torch.int64, device=filters.device)
    memory = filters.new_zeros(len(filters), MEMORY, filters.shape[1])
    return _Active(
        rows=torch.arange(len(problems), device=filters.device),
        f=filters.clone(),
        gradient=gradient.flatten(1),
        loss=loss,
        best=filters.clone(),
        best_loss=loss,
        first_loss=loss,
        length=torch.ones_like(loss),
        steps=zeros + 1,
        accepted=zeros,
        rejected=zeros,
        recent=loss[:, None].repeat(1, WINDOW),
        recent_best=loss[:, None].repeat(1, WINDOW + 1),
        moves=memory,
        turns=memory,
        curvatures=filters.new_zeros(len(filters), MEMORY),
    )


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(dim=1)


def _tangent(vectors: Tensor, f: Tensor) -> Tensor:
    """The part of each row that is orthogonal to that of f."""
    return vectors - _dot(vectors, f)[:, None] * f


def _push(kept: Tensor, new: Tensor, rows: Tensor) -> Tensor:
    """Put `new` (m, …) before `kept` (m, k, …) and drop the oldest, in some of the rows."""
    pushed = torch.cat([new[:, None], kept[:, :-1]], dim=1)
    return torch.where(rows.view(-1, *[1] * (kept.dim() - 1)), pushed, kept)


def _normalize(vectors: Tensor, *, otherwise: Tensor) -> Tensor:
    """Rows scaled to unit length on any scale; a zero row becomes that of `otherwise`."""
    largest = vectors.abs().amax(dim=1, keepdim=True)
    scaled = vectors / torch.where(largest > 0, largest, 1.0)
    return torch.where(largest > 0, scaled / scaled.norm(dim=1, keepdim=True), otherwise)
