"""Per-frame filters of a clip: all frames of all clips as one batch of problems (Sec. 4.3)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from caf_video.attention.cutting.twin import Twin
from caf_video.attention.cutting.undisturbed import undisturbed
from caf_video.attention.heatmap import filters_to_heatmaps
from caf_video.attention.objectives import SquaredDistance
from caf_video.attention.recurrent_tail import RecurrentHead, RecurrentTail, has_recurrent_head
from caf_video.attention.solvers.descent import PRESETS, solve_descent
from caf_video.attention.solvers.problems import Response, pose
from caf_video.attention.solvers.solution import FilterSolution, join_solutions
from caf_video.attention.solvers.spectral import solve_spectral
from caf_video.errors import InputError

FEATURE_CHUNK_BYTES = 64 * 2**20  # of input maps that go through `features` at once
PROBLEM_CHUNK_BYTES = 16 * 2**20  # of what one evaluation reads: half a last-level cache
STRUCTURE_TOLERANCE = 1e-3  # relative error at which a head is not what it declares to be


class ClipModel(Protocol):
    """A network over clips in two halves: `head(features(feature_maps))` is the embedding."""

    def features(self, feature_maps: Tensor) -> Tensor:
        """Stored maps (b, t, c, h, w) to A, the maps that a filter multiplies."""
        ...

    def head(self, maps: Tensor) -> Tensor:
        """A to raw embeddings (b, d)."""
        ...


@dataclass(frozen=True)
class ClipExplanation:
    """A filter for every frame of every clip.

    Attributes:
        filters: Signed, unit norm, (b, t, h, w); each solved with the other frames unfiltered.
        heatmaps: |f| resized, shape (b, t, height, width).
        losses: ||NT(x) - FT(x, f_t)||^2, shape (b, t).
        steps: Evaluations each took, shape (b, t).
        settled: Whether each met its solver's test, shape (b, t).
        solver: Its name.
        outputs: The raw embeddings, of the same pass, (b, d).
    """

    filters: Tensor
    heatmaps: Tensor
    losses: Tensor
    steps: Tensor
    settled: Tensor
    solver: str
    outputs: Tensor | None = None


def explain_clip(
    clip_model: ClipModel,
    feature_maps: Tensor,
    *,
    solver: str = "auto",
    size: Sequence[int] | None = None,
    seed: int = 0,
) -> ClipExplanation:
    """Where the network looked in every frame of every clip (Eq. 3 per frame, Sec. 4.3).

    Args:
        clip_model: A network with `features` and `head`. One that also declares `pooling`, `lstm`
            and `projection` (see `RecurrentHead`) is solved on that structure, hundreds of times
            faster, after a check that its head really computes it.
        feature_maps: The maps `features` takes, (b, t, c, h, w); half precision is cast to the
            model's own.
        solver: "auto" or "spectral" for all frames at once (maths 1.2), "descent" for the paper's
            loop, one frame after the other.
        size: (height, width) of the heatmaps; None leaves them on the grid.
        seed: Of the paper's random start ("descent" only).

    Raises:
        InputError: On maps of a wrong shape or device, or a non-finite value; names clip and frame.
    """
    if solver not in ("auto", "spectral", "descent"):
        raise InputError(f'solver is "{solver}", wanted "auto", "spectral" or "descent"')
    clip_model = in_halves(clip_model)
    feature_maps = check_clip_maps(clip_model, feature_maps)
    clips, timesteps = feature_maps.shape[:2]
    solutions: list[FilterSolution] = []
    outputs: list[Tensor] = []
    with undisturbed(clip_model), torch.no_grad():
        for first, chunk in _chunks(feature_maps, feature_maps[0].nbytes, FEATURE_CHUNK_BYTES):
            maps = clip_model.features(chunk).clone()
            _check_finite(maps, "feature map A", first)
            outputs.append(clip_model.head(maps))
            if not solutions:
                structured = solver != "descent" and _keeps_to_its_structure(clip_model, maps)
            bytes_a_clip = _bytes_a_clip(clip_model, maps, structured)
            for start, part in _chunks(maps, bytes_a_clip, PROBLEM_CHUNK_BYTES):
                solutions.append(
                    _solve(
                        clip_model,
                        part,
                        first_clip=first + start,
                        structured=structured,
                        solver=solver,
                        seed=seed,
                    )
                )
    solution = join_solutions(solutions)
    heatmaps = filters_to_heatmaps(solution.filters, size or solution.filters.shape[1:])
    return ClipExplanation(
        filters=solution.filters.unflatten(0, (clips, timesteps)),
        heatmaps=heatmaps.unflatten(0, (clips, timesteps)),
        losses=solution.losses.view(clips, timesteps),
        steps=solution.steps.view(clips, timesteps),
        settled=solution.settled.view(clips, timesteps),
        solver=solution.solver,
        outputs=torch.cat(outputs),
    )


def in_halves(clip_model: ClipModel) -> ClipModel:
    """A clip model's twin, in eval mode: the model itself is not touched.

    Raises:
        InputError: It is not in two halves.
    """
    halves = [name for name in ("features", "head") if callable(getattr(clip_model, name, None))]
    if len(halves) < 2:
        raise InputError(
            f"{type(clip_model).__name__} is not in two halves: wanted features(feature_maps), up "
            "to the maps that a filter multiplies, and head(maps), from there to the embedding; "
            "any other network is cut at a layer, caf_video.explain(model, clips, layer=…)"
        )
    if isinstance(clip_model, nn.Module):
        return cast(ClipModel, Twin(clip_model).model)
    return clip_model


def frame_influence(clip_model: ClipModel, feature_maps: Tensor) -> Tensor:
    """Which frame matters: its share of the embedding's change when its map A_t is blanked.

    A unit filter says where in a frame the network looked, not which frame it looked at. Blanking
    feeds the head a zero map in place of A_t, the filter 0.

    Args:
        clip_model: A network with `features` and `head`.
        feature_maps: (b, t, c, h, w).

    Returns:
        Shares (b, t) of the sum of the norms of the changes, each row summing to 1; equal shares
        where no frame changes anything.
    """
    clip_model = in_halves(clip_model)
    feature_maps = check_clip_maps(clip_model, feature_maps)
    timesteps = feature_maps.shape[1]
    changes = []
    with undisturbed(clip_model), torch.no_grad():
        for first, chunk in _chunks(feature_maps, feature_maps[0].nbytes, FEATURE_CHUNK_BYTES):
            maps = clip_model.features(chunk).clone()
            _check_finite(maps, "feature map A", first)
            embeddings = clip_model.head(maps)
            moved_by = []
            for frame in range(timesteps):
                blanked = maps.clone()
                blanked[:, frame] = 0
                moved = clip_model.head(blanked) - embeddings
                moved_by.append(moved.flatten(1).norm(dim=1, dtype=_accurate(maps.dtype)))
            changes.append(torch.stack(moved_by, dim=1))
    change = torch.cat(changes)
    total = change.sum(dim=1, keepdim=True)
    return torch.where(total > 0, change / total.where(total > 0, 1.0), 1 / timesteps)


class FramewiseResponse:
    """FT(x, f_t) through any head: frame t's map filtered, the clip's others as they are.

    Args:
        head: From maps (m, t, c, h, w) to embeddings (m, d).
        maps: A of b clips, (b, t, c, h, w).

    Its problems are ordered by frame, then clip: row r is frame r // b of clip r % b.
    """

    def __init__(self, head: Callable[[Tensor], Tensor], maps: Tensor) -> None:
        clips, timesteps = maps.shape[:2]
        self.space = tuple(maps.shape[3:])
        self.dtype = _accurate(maps.dtype)
        self.device = maps.device
        self._head = head
        self._maps = maps.repeat(timesteps, *[1] * (maps.dim() - 1))
        self._frames = torch.arange(timesteps, device=maps.device).repeat_interleave(clips)

    def __len__(self) -> int:
        return len(self._frames)

    def __call__(self, filters: Tensor) -> Tensor:
        weights = filters.new_ones(*self._maps.shape[:2], 1, *self.space)
        problems = torch.arange(len(self), device=self.device)
        weights = weights.index_put((problems, self._frames), filters[:, None])
        outputs = self._head(self._maps * weights.to(self._maps.dtype))
        return outputs.flatten(1).to(self.dtype)

    def select(self, rows: Tensor) -> "FramewiseResponse":
        part = object.__new__(FramewiseResponse)
        part.__dict__.update(self.__dict__)
        part._maps, part._frames = self._maps[rows], self._frames[rows]
        return part


def check_clip_maps(clip_model: ClipModel, feature_maps: Tensor) -> Tensor:
    """The maps in the model's own dtype; InputError names the clip and frame that are wrong."""
    if feature_maps.dim() != 5 or not feature_maps.dtype.is_floating_point:
        raise InputError(
            f"feature_maps are {tuple(feature_maps.shape)} {feature_maps.dtype}, "
            "wanted floating (clips, timesteps, channels, height, width)"
        )
    if feature_maps.numel() == 0:
        raise InputError(f"feature_maps are empty: {tuple(feature_maps.shape)}")
    parameter = next(clip_model.parameters(), None) if isinstance(clip_model, nn.Module) else None
    if parameter is not None:
        if parameter.device != feature_maps.device:
            raise InputError(
                f"feature_maps are on {feature_maps.device}, the model on {parameter.device}"
            )
        feature_maps = feature_maps.to(parameter.dtype)
    _check_finite(feature_maps, "feature map", 0)
    return feature_maps


def _check_finite(maps: Tensor, what: str, first_clip: int) -> None:
    if maps.sum(dtype=_accurate(maps.dtype)).isfinite():  # one cheap pass; nothing cancels a NaN
        return
    finite = maps.flatten(2).isfinite().all(dim=2)
    if not finite.all():
        clip, frame = (~finite).nonzero()[0].tolist()
        raise InputError(f"the {what} of clip {first_clip + clip}, frame {frame} is not finite")


def _solve(
    clip_model: ClipModel,
    maps: Tensor,
    *,
    first_clip: int,
    structured: bool,
    solver: str,
    seed: int,
) -> FilterSolution:
    """All frames of some clips, rows in the order clip, then frame."""
    clips, timesteps = maps.shape[:2]
    response: Response
    if structured:
        tail = RecurrentTail(cast(RecurrentHead, clip_model), maps)
        response, reference = tail, tail.embeddings
    else:
        response = FramewiseResponse(clip_model.head, maps)
        reference = clip_model.head(maps).flatten(1).to(response.dtype)
    _check_finite(reference[:, None], "embedding", first_clip)

    def name(row: int) -> str:
        return f"clip {first_clip + row % clips}, frame {row // clips}"

    problems = pose(response, SquaredDistance(reference.repeat(timesteps, 1)), name)
    solved = (
        solve_descent(problems, preset=PRESETS["paper"], seed=seed)
        if solver == "descent"
        else solve_spectral(problems, second_look=False)  # smooth, and pulled hard: one minimum
    )
    order = torch.arange(len(problems), device=maps.device).view(timesteps, clips).T.flatten()
    return replace(
        solved,
        filters=solved.filters[order],
        losses=solved.losses[order],
        steps=solved.steps[order],
        settled=solved.settled[order],
    )


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


def _chunks(maps: Tensor, bytes_a_clip: int, limit: int) -> Iterator[tuple[int, Tensor]]:
    """Runs of clips within `limit` bytes, at least one clip each, and the number of the first."""
    size = max(1, limit // bytes_a_clip)
    for first in range(0, len(maps), size):
        yield first, maps[first : first + size]


def _accurate(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
