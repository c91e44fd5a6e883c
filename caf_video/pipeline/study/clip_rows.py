"""The rows of the study of clips: every method's heat and frame scores, and what they must beat."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from caf_video.attention import METHODS, frame_influence
from caf_video.data.manifest import read_manifest
from caf_video.pipeline.opened import open_features, split_maps
from caf_video.pipeline.study.synthetic import CLIPS_AT_ONCE, KnownClips
from caf_video.training import ClipRun

NORM, PER_FRAME, JOINT = "feature-norm", "l2-caf", "l2-caf-joint"
RIVALS = (NORM, "retrieval-grad-cam", "retrieval-grad-cam-abs")
METHOD, BASELINE, TRUTH = "method", "baseline", "truth"


@dataclass(frozen=True, eq=False)
class ClipRow:
    """One row of the table.

    Attributes:
        title: What people read.
        heat: Nowhere negative, on the grid, (n, t, h, w); None: it scores frames alone.
        frames: A score of each frame, (n, t); None: it says nothing of frames.
        kind: METHOD, BASELINE or TRUTH: the last has seen what it is measured by.
    """

    title: str
    heat: Tensor | None
    frames: Tensor | None
    kind: str = METHOD


def clip_rows(known: KnownClips, *, seed: int = 0) -> dict[str, ClipRow]:
    """All rows for a run's clips, by name.

    Args:
        known: The clips.
        seed: Of the row that orders cells at random.
    """
    model, center = known.run.model, mean_training_embedding(known.run)
    rows = {}
    for name, method in METHODS.items():
        if method.clip_maps is None or "reference" in method.needs:
            continue
        heat = in_parts(partial(method.heat_of_frames, model, center=center), known)
        # A filter's unit is shared out among the frames by its squares (maths 1.6).
        frames = mass(heat.square() if name == JOINT else heat)
        rows[name] = ClipRow(method.title, heat, frames, BASELINE if name in RIVALS else METHOD)
    norm = in_parts(partial(METHODS[NORM].heat_of_frames, model), known)
    rows["feature-norm-squared"] = ClipRow(
        "The same, squared", norm.square(), mass(norm.square()), BASELINE
    )
    influence = in_parts(partial(frame_influence, model), known)
    rows["frame-influence"] = ClipRow("Frame influence", None, influence, BASELINE)
    number = torch.arange(norm.shape[1], dtype=torch.float64).expand(norm.shape[:2])
    rows["frame-number"] = ClipRow("Frame number", None, number, BASELINE)
    generator = torch.Generator().manual_seed(seed)
    random = torch.rand(norm.shape, generator=generator)
    rows["random"] = ClipRow("Random cells", random, mass(random), BASELINE)
    rows["center"] = ClipRow("Centre first", center_first(norm), None, BASELINE)
    difference = (known.maps - known.neutral).norm(dim=2).cpu()
    rows["ceiling"] = ClipRow("‖A − A₀‖, the ceiling", difference, mass(difference), TRUTH)
    inside = cells_in_box(known)
    rows["box"] = ClipRow("The box itself", inside, None, TRUTH)
    return rows


def mass(heat: Tensor) -> Tensor:
    """Sum over each frame's cells, float64, (n, t)."""
    return heat.double().sum(dim=(2, 3))


def center_first(like: Tensor) -> Tensor:
    """Cells by their nearness to the middle of the frame, the same in every frame."""
    height, width = like.shape[2:]
    y = (torch.arange(height) + 0.5) / height - 0.5
    x = (torch.arange(width) + 0.5) / width - 0.5
    near = 1 - (y[:, None] ** 2 + x[None, :] ** 2).sqrt()
    return near.expand(like.shape)


def cells_in_box(known: KnownClips) -> Tensor:
    """The share of each cell that the box of visible evidence covers, (n, t, h, w)."""
    height, width = known.maps.shape[3:]
    covered = []
    for low, high, cells, pixels in ((1, 3, height, known.size[0]), (0, 2, width, known.size[1])):
        edges = torch.arange(cells + 1, dtype=torch.float64) * pixels / cells
        start = torch.maximum(known.boxes[..., low, None], edges[:-1])
        end = torch.minimum(known.boxes[..., high, None], edges[1:])
        covered.append((end - start).clamp(min=0) * cells / pixels)
    inside = covered[0][..., :, None] * covered[1][..., None, :]
    return inside * known.visible[..., None, None]


def in_parts(function: Callable[[Tensor], Tensor], known: KnownClips) -> Tensor:
    """A function of stored maps, some clips at a time, its answers on the CPU."""
    device = known.maps.device
    parts = known.stored.split(CLIPS_AT_ONCE)
    return torch.cat([function(part.to(device)).cpu() for part in parts])


@torch.no_grad()
def mean_training_embedding(run: ClipRun) -> Tensor:
    """The mean raw embedding (d,) of the clips that the run was trained on."""
    store = open_features(run)
    clips = [clip for clip in read_manifest(store.manifest_path) if clip.split == "train"]
    parts = [
        run.model(split_maps(store, clips[first : first + CLIPS_AT_ONCE]))
        for first in range(0, len(clips), CLIPS_AT_ONCE)
    ]
    return torch.cat(parts).mean(dim=0)
