"""Filters of clips: one for each frame (Sec. 4.3), or one for the whole clip (maths 1.6)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from caf_video.attention.clip_model import (
    FEATURE_CHUNK_BYTES,
    ClipModel,
    check_clip_maps,
    check_frames_finite,
    chunks_of,
    in_halves,
)
from caf_video.attention.clip_responses import (
    CenteredResponse,
    FramewiseResponse,
    JointResponse,
)
from caf_video.attention.cutting.undisturbed import undisturbed
from caf_video.attention.heatmap import (
    filters_to_heatmaps,
    frame_shares,
    like_and_unlike,
    resize_maps,
)
from caf_video.attention.objectives import SquaredDistance
from caf_video.attention.pairs import check_center, one_each
from caf_video.attention.recurrent_tail import (
    JointTail,
    RecurrentHead,
    RecurrentTail,
    has_recurrent_head,
)
from caf_video.attention.solvers.descent import PRESETS, solve_descent
from caf_video.attention.solvers.problems import Response, pose
from caf_video.attention.solvers.solution import FilterSolution, join_solutions
from caf_video.attention.solvers.spectral import solve_spectral
from caf_video.errors import InputError

PROBLEM_CHUNK_BYTES = 16 * 2**20  # of what one evaluation reads: half a last-level cache
STRUCTURE_TOLERANCE = 1e-3  # relative error at which a head is not what it declares to be

Filters = Literal["per-frame", "joint"]


@dataclass(frozen=True)
class ClipExplanation:
    """The filters of b clips of t frames.

    Per-frame filters each have norm 1, so |f_t| must not be compared between frames: its mass is
    largest where there is least to see. Which frame matters is told by a joint filter
    (`frame_shares`), or by `frame_influence`.

    Attributes:
        filters: Signed, (b, t, h, w). "per-frame": each of unit norm, solved with the other frames
            unfiltered. "joint": of unit norm over the clip's frames together.
        heatmaps: Resized, (b, t, height, width): |f_t| of per-frame filters, a scale for each
            frame; max(f, 0) of joint filters and of centred pairs.
        losses: ||e - FT(x, f)||^2 with e = NT(x), or the reference's embedding; (b, t), or of joint
            filters (b,).
        steps: Evaluations each took, of the shape of `losses`.
        settled: Whether each met its solver's test, of the shape of `losses`.
        solver: Its name.
        kind: "per-frame" or "joint".
        unlike: Of a centred pair, max(-f, 0) resized like `heatmaps`: what tells the clip from the
            reference; else None.
    """

    filters: Tensor
    heatmaps: Tensor
    losses: Tensor
    steps: Tensor
    settled: Tensor
    solver: str
    kind: Filters = "per-frame"
    unlike: Tensor | None = None

    @property
    def frame_shares(self) -> Tensor:
        """Each frame's share of a joint filter, (b, t), each row summing to 1 (maths 1.6).

        Raises:
            InputError: The filters are per-frame, which say nothing about it.
        """
        return frame_shares(self.filters)


def explain_clip(
    clip_model: ClipModel,
    feature_maps: Tensor,
    *,
    filters: Filters = "per-frame",
    reference: Tensor | None = None,
    center: Tensor | Literal["map"] | None = None,
    solver: str = "auto",
    size: Sequence[int] | None = None,
    seed: int = 0,
) -> ClipExplanation:
    """Where the network looked in clips (Eq. 3): in every frame, or where and when at once.

    Args:
        clip_model: A network with `features` and `head`. One that also declares `pooling`, `lstm`
            and `projection` (see `RecurrentHead`) is solved on that structure, hundreds of times
            faster, after a check that its head really computes it.
        feature_maps: The maps `features` takes, (b, t, c, h, w); half precision is cast to the
            model's own.
        filters: "per-frame" is the paper's L2-CAF (Sec. 4.3): a unit filter for every frame, the
            others unfiltered. "joint" is one unit filter over (t, h, w): frames compete for the
            same unit, so it also says which of them (maths 1.6). A 3-D network, whose map has time
            among its cells, has such filters by `explain`.
        reference: What in a clip makes it resemble another: the other's maps (b, t, c, h, w), or
            its embedding (b, d); one for all is (1, …) or (d,).
        center: Of a pair, what every cell is measured against (maths 1.7): "map" is the map's own
            mean, an embedding (d,) or (b, d) a mean one, of a gallery; that needs joint filters.
        solver: "auto" or "spectral" for all problems at once (maths 1.2), "descent" for the paper's
            loop, one after the other.
        size: (height, width) of the heatmaps; None leaves them on the grid.
        seed: Of the paper's random start ("descent" only).

    Raises:
        InputError: On maps of a wrong shape or device, or a non-finite value; names clip and frame.
    """
    if solver not in ("auto", "spectral", "descent"):
        raise InputError(f'solver is "{solver}", wanted "auto", "spectral" or "descent"')
    if filters not in ("per-frame", "joint"):
        raise InputError(f'filters is "{filters}", wanted "per-frame" or "joint"')
    if center is not None:
        check_center(center, has_reference=reference is not None)
        if filters != "joint" and not isinstance(center, str):
            raise InputError(
                "a mean embedding stands for a clip of which nothing passes: it needs "
                'filters="joint"'
            )
    clip_model = in_halves(clip_model)
    feature_maps = check_clip_maps(clip_model, feature_maps)
    clips = len(feature_maps)
    wanted = None if reference is None else _reference_embeddings(clip_model, reference)
    problem = _Problem(clip_model, filters == "joint", wanted, center, solver, seed, clips)
    solutions: list[FilterSolution] = []
    with undisturbed(clip_model), torch.no_grad():
        for first, chunk in chunks_of(feature_maps, feature_maps[0].nbytes, FEATURE_CHUNK_BYTES):
            maps = clip_model.features(chunk).clone()
            check_frames_finite(maps, "feature map A", first)
            if not solutions:
                structured = solver != "descent" and _keeps_to_its_structure(clip_model, maps)
            bytes_a_clip = _bytes_a_clip(clip_model, maps, structured)
            for start, part in chunks_of(maps, bytes_a_clip, PROBLEM_CHUNK_BYTES):
                solutions.append(problem.solve(part, first + start, structured=structured))
    solution = join_solutions(solutions)
    return _explanation(solution, feature_maps.shape[1], filters, center, size)


def _reference_embeddings(clip_model: ClipModel, reference: Tensor) -> Tensor:
    """(b, d) or (1, d), of clips' maps (b, t, c, h, w) or of embeddings."""
    if reference.dim() in (1, 2):
        return reference.view(-1, reference.shape[-1])
    reference = check_clip_maps(clip_model, reference)
    with undisturbed(clip_model), torch.no_grad():
        parts = chunks_of(reference, reference[0].nbytes, FEATURE_CHUNK_BYTES)
        return torch.cat(
            [clip_model.head(clip_model.features(part)).flatten(1) for _, part in parts]
        )


@dataclass(frozen=True)
class _Problem:
    """What is asked of some clips.

    Attributes:
        clip_model: The network.
        joint: Whether a clip has one filter.
        reference: Embeddings to be resembled, (clips, d) or (1, d); None: the clips' own.
        center: As of `explain_clip`.
        solver: As of `explain_clip`.
        seed: Of the paper's random start.
        clips: How many there are in all.
    """

    clip_model: ClipModel
    joint: bool
    reference: Tensor | None
    center: Tensor | str | None
    solver: str
    seed: int
    clips: int

    def solve(self, maps: Tensor, first_clip: int, *, structured: bool) -> FilterSolution:
        """The filters for A of some clips; rows in the order clip, then frame."""
        clips, timesteps = maps.shape[:2]
        each = 1 if self.joint else timesteps
        response, embeddings = self._response(maps, structured)
        check_frames_finite(embeddings[:, None], "embedding", first_clip)
        mine = slice(first_clip, first_clip + clips)
        wanted = embeddings if self.reference is None else self._of_each(self.reference, embeddings)
        wanted = wanted if self.reference is None else wanted[mine]
        if self.center is not None:
            center = embeddings
            if isinstance(self.center, Tensor):
                center = self._of_each(self.center, embeddings, "center")[mine]
            response = CenteredResponse(response, center.repeat(each, 1))

        def name(row: int) -> str:
            frame = "" if self.joint else f", frame {row // clips}"
            return f"clip {first_clip + row % clips}{frame}"

        problems = pose(response, SquaredDistance(wanted.repeat(each, 1)), name)
        solved = (
            solve_descent(problems, preset=PRESETS["paper"], seed=self.seed)
            if self.solver == "descent"
            # Eq. 1 of a smooth head, and pulled hard: one minimum.
            else solve_spectral(problems, second_look=False)
        )
        order = torch.arange(len(problems), device=maps.device).view(each, clips).T.flatten()
        return replace(
            solved,
            filters=solved.filters[order],
            losses=solved.losses[order],
            steps=solved.steps[order],
            settled=solved.settled[order],
        )

    def _response(self, maps: Tensor, structured: bool) -> tuple[Response, Tensor]:
        """FT(x, .) and the embeddings (b, d) of the unfiltered clips."""
        if structured and not self.joint:
            tail = RecurrentTail(cast(RecurrentHead, self.clip_model), maps)
            return tail, tail.embeddings
        response: Response
        if structured:
            response = JointTail(cast(RecurrentHead, self.clip_model), maps)
        else:
            response = (JointResponse if self.joint else FramewiseResponse)(
                self.clip_model.head, maps
            )
        return response, self.clip_model.head(maps).flatten(1).to(response.dtype)

    def _of_each(self, given: Tensor, embeddings: Tensor, what: str = "reference") -> Tensor:
        """Embeddings given for all clips or for each, for each, (clips, d)."""
        return one_each(given, embeddings[:1].expand(self.clips, -1), what)


def _explanation(
    solution: FilterSolution,
    timesteps: int,
    filters: Filters,
    center: Tensor | str | None,
    size: Sequence[int] | None,
) -> ClipExplanation:
    joint, found = filters == "joint", solution.filters
    each = (-1,) if joint else (-1, timesteps)
    size = size or found.shape[-2:]
    unlike = None
    if center is not None:
        heat, unlike = like_and_unlike(found, removes_mean=isinstance(center, str))
        unlike = _resized(unlike, timesteps, size)
        heatmaps = _resized(heat, timesteps, size)
    elif joint:
        heatmaps = _resized(found.clamp(min=0), timesteps, size)
    else:
        heatmaps = filters_to_heatmaps(found, size).unflatten(0, each)
    return ClipExplanation(
        filters=found if joint else found.unflatten(0, each),
        heatmaps=heatmaps,
        losses=solution.losses.view(each),
        steps=solution.steps.view(each),
        settled=solution.settled.view(each),
        solver=solution.solver,
        kind=filters,
        unlike=unlike,
    )


def _resized(heat: Tensor, timesteps: int, size: Sequence[int]) -> Tensor:
    """Heat of frames, (b, t, h, w) or (b t, h, w), as (b, t, height, width)."""
    frames = heat.reshape(-1, *heat.shape[-2:])
    return resize_maps(frames, size).unflatten(0, (-1, timesteps))


def _keeps_to_its_structure(clip_model: ClipModel, maps: Tensor) -> bool:
    """Whether the head is what its attributes declare: tried on random maps of these maps' scale.

    Signed maps: a head with a ReLU before its pooling would pass with positive ones.
    """
    if not has_recurrent_head(clip_model):
        return False
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(2, *maps.shape[1:], generator=generator)
    scale = maps.float().abs().mean()
    probe = (probe.to(maps.device) * scale.where(scale > 0, 1.0)).to(maps.dtype)
    expected = clip_model.head(probe)
    found = RecurrentTail(cast(RecurrentHead, clip_model), probe).embeddings
    if found.shape != expected.shape:
        return False
    tolerance = STRUCTURE_TOLERANCE if maps.dtype.itemsize > 2 else 50 * STRUCTURE_TOLERANCE
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())


def _bytes_a_clip(clip_model: ClipModel, maps: Tensor, structured: bool) -> int:
    """Bytes that one evaluation reads for all frames of one clip."""
    timesteps, channels, cells = maps.shape[1], maps.shape[2], maps.shape[3:].numel()
    if not structured:
        return timesteps * maps[0].nbytes
    model = cast(RecurrentHead, clip_model)
    gates = (4 if isinstance(model.lstm, nn.LSTM) else 3) * model.lstm.hidden_size
    rows = min(channels, gates) if model.pooling == "average" else gates
    return 4 * timesteps * rows * cells
