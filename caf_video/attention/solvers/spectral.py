"""Any head: spectral gradient steps on the unit sphere, many problems at once (maths 1.2)."""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from caf_video.attention.solvers.problems import Problems
from caf_video.attention.solvers.solution import FilterSolution

MEMORY = 5  # pairs of steps and gradient changes that shape the next step
WINDOW = 5  # accepted losses that a new one is measured against
MAX_REJECTIONS = 6  # in a row: every shorter step climbs as well, so f sits at a kink
MAX_TANGENT = 1.5  # longest step, as the tangent of the angle it turns f by
ARMIJO = 1e-4  # share of the decrease promised by the gradient that a step must keep
STALL = 4  # accepted steps over which too small a decrease is a standstill
KICK = 0.75  # of the uniform filter, taken off the first answer to look for a second
PLAIN = 2  # evaluations in which only a problem with one minimum settles, roughly
IDLE = 0.25  # of a batch, finished: from there on copying the rest is cheaper than stepping all
SAME = 0.1  # distance at which the second look has come back to the first answer


@dataclass(frozen=True)
class _Stop:
    """When a problem is settled: either test is enough."""

    angle: float  # between f and the descent direction, radians
    decrease: float  # over `window` accepted steps, relative
    window: int


ROUGH = _Stop(angle=3e-2, decrease=5e-3, window=3)  # enough to tell two basins apart


def solve_spectral(
    problems: Problems,
    *,
    angle_tolerance: float = 1e-3,
    decrease_tolerance: float = 1e-5,
    max_steps: int = 300,
    second_look: bool = True,
    trace: bool = False,
) -> FilterSolution:
    """Minimise each problem's loss over ||f||_2 = 1, starting from the uniform filter.

    The first step goes to normalize(-g), the answer if the head were a constant slope. After it the
    step along the sphere has the length of the curvature last met (Barzilai and Borwein) and a
    direction shaped by the last few steps (L-BFGS): as fast as the plain spectral step where that
    is fast, and several times faster on ill-conditioned heads. A step need only improve on the
    worst of the last losses, which carries it over the kinks of ReLU heads; the best filter met is
    the answer. Every problem steps and stops for itself; finished ones leave the batch, once there
    are enough of them to be worth it.

    Heads with kinks have several minima. Where the first step does not settle it, a second look
    starts from the first answer, roughly found, less most of the uniform filter in it, and the
    better of the two is brought to the end.

    Args:
        problems: The n problems.
        angle_tolerance: Angle between f and the descent direction that counts as settled, radians.
        decrease_tolerance: A decrease over `STALL` accepted steps that counts as settled, relative
            to the loss or, where that is nearly gone, to what has been gained since the start.
        max_steps: Evaluations per problem at most; running out of them is `settled` = False.
        second_look: Look for a second minimum, at up to half as many evaluations again.
        trace: Keep the filters of every accepted step on the way to the answer.

    Returns:
        Filters (n, *space), never worse than the uniform one.
    """
    space, units = problems.space, problems.unit
    end = _Stop(angle_tolerance, decrease_tolerance, STALL)
    uniform = problems.uniform_filters().flatten(1)
    frames: list[list[Tensor]] = [[f] for f in uniform]
    state = _State.at(problems, uniform)
    if second_look:
        state, _ = _run(problems, state, ROUGH, max_steps, frames if trace else None)
        kicked = _normalize(state.best - KICK * uniform, otherwise=uniform)
        elsewhere = (state.steps > PLAIN) & (state.steps < max_steps)
        rows = elsewhere.nonzero().squeeze(1)
        part = problems.select(rows)
        other = _State.at(part, kicked[rows], steps=state.steps[rows])
        paths = [[f] for f in kicked[rows]]
        first = state.best[rows]
        other, _ = _run(part, other, ROUGH, max_steps, paths if trace else None, leave=first)
        better = other.best_loss < state.best_loss[rows]
        for row, path, found in zip(rows.tolist(), paths, better.tolist(), strict=True):
            frames[row] += path if found else []
        state.steps[rows] = other.steps
        other.first_loss = state.first_loss[rows]
        state.write(rows[better], other.select(better))
        state = replace(state, rejected=torch.zeros_like(state.rejected))
    state, settled = _run(problems, state, end, max_steps, frames if trace else None)
    return FilterSolution(
        filters=state.best.unflatten(1, space),
        losses=state.best_loss * units,
        steps=state.steps,
        settled=settled,
        solver="spectral",
        trace=tuple(torch.stack(path).unflatten(1, space) for path in frames) if trace else None,
    )


def _run(
    problems: Problems,
    state: "_State",
    stop: _Stop,
    max_steps: int,
    frames: list[list[Tensor]] | None,
    leave: Tensor | None = None,
) -> "tuple[_State, Tensor]":
    """Step every problem until it is settled or out of steps; which are settled (n,).

    One that comes close to its row of `leave` (n, cells) is not followed any further.
    """
    final = state.select(torch.arange(len(problems), device=state.f.device))
    settled = torch.zeros_like(state.accepted, dtype=torch.bool)
    rows = torch.arange(len(problems), device=state.f.device)
    going = torch.ones_like(settled)  # rows that have not left; the others only fill the batch
    while True:
        done = state.settled(stop)
        leaving = done | (state.steps >= max_steps)
        if leave is not None:
            leaving |= (state.f - leave[rows]).norm(dim=1) < SAME
        leaving &= going
        if leaving.any():
            final.write(rows[leaving], state.select(leaving))
            settled[rows[leaving]] = done[leaving]
            going = going & ~leaving
        staying = going.nonzero().squeeze(1)
        if not len(staying):
            return final, settled
        if len(staying) <= (1 - IDLE) * len(rows):
            problems, state, rows = problems.select(staying), state.select(staying), rows[staying]
            going = going[staying]
        accepted = state.advance(problems) & going
        if frames is not None:
            for row, f in zip(rows[accepted].tolist(), state.f[accepted], strict=True):
                frames[row].append(f)


@dataclass
class _State:
    """Where m problems stand, every tensor with m rows."""

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

    @classmethod
    def at(cls, problems: Problems, filters: Tensor, steps: Tensor | None = None) -> "_State":
        """Begin at some filters (m, cells). The uniform one is deterministic and better than any
        random start (1.2)."""
        count, cells = filters.shape
        if count:
            loss, gradient = problems.evaluate(filters.unflatten(1, problems.space))
        else:
            loss, gradient = filters.new_zeros(0), filters
        zeros = torch.zeros(count, dtype=torch.int64, device=filters.device)
        return cls(
            f=filters,
            gradient=gradient.flatten(1),
            loss=loss,
            best=filters,
            best_loss=loss,
            first_loss=loss,
            length=torch.ones_like(loss),
            steps=(zeros if steps is None else steps) + 1,
            accepted=zeros,
            rejected=zeros,
            recent=loss[:, None].repeat(1, WINDOW),
            recent_best=loss[:, None].repeat(1, WINDOW + 1),
            moves=filters.new_zeros(count, MEMORY, cells),
            turns=filters.new_zeros(count, MEMORY, cells),
            curvatures=filters.new_zeros(count, MEMORY),
        )

    def select(self, rows: Tensor) -> "_State":
        return _State(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def write(self, rows: Tensor, other: "_State") -> None:
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)

    def settled(self, stop: _Stop) -> Tensor:
        descent = _normalize(-self.gradient, otherwise=self.f)
        aligned = (descent - self.f).square().sum(dim=1) <= stop.angle**2
        scale = torch.maximum(self.best_loss.abs(), self.first_loss - self.best_loss)
        stalled = self.recent_best[:, stop.window] - self.best_loss <= stop.decrease * scale
        stalled &= self.accepted >= stop.window
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
        memory = int((self.curvatures > 0).sum(dim=1).max())
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
