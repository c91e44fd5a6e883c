"""Attention of clips against ground truth in time: arrays in, numbers out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caf_video.attention import resize_maps
from caf_video.errors import InputError
from caf_video.evaluation.pointing import (
    box_area_share,
    box_prior,
    energy_in_box,
    pointing_game,
)

BOX_PRIOR, UNIFORM = "box-prior", "uniform"


@dataclass(frozen=True, eq=False)
class VisibleFrames:
    """The sampled frames whose evidence is visible, m of them, clip by clip.

    Attributes:
        clips: Position of each one's clip, (m,).
        timesteps: Position in the clip, (m,).
        boxes: Where the evidence is, in pixels of the video, (m, 4).
    """

    clips: Tensor
    timesteps: Tensor
    boxes: Tensor

    def __len__(self) -> int:
        return len(self.clips)

    def mask(self, clips: int, timesteps: int) -> Tensor:
        """Which of all sampled frames they are, bool (clips, timesteps)."""
        mask = torch.zeros(clips, timesteps, dtype=torch.bool)
        mask[self.clips, self.timesteps] = True
        return mask


def visible_frames(
    frame_indices: Sequence[np.ndarray], truths: Sequence[tuple[np.ndarray, np.ndarray]]
) -> VisibleFrames:
    """Those of the sampled frames in which the evidence is visible, and its boxes.

    Args:
        frame_indices: Positions in its video of each clip's sampled frames, (t,) each.
        truths: Of each clip, for every frame of its video: boxes (frames, 4), visible (frames,).

    Raises:
        InputError: The evidence is visible in none of them.
    """
    clips, timesteps, boxes = [], [], []
    for clip, (indices, (of_frames, visible)) in enumerate(zip(frame_indices, truths, strict=True)):
        for timestep, index in enumerate(indices.tolist()):
            if visible[index]:
                clips.append(clip)
                timesteps.append(timestep)
                boxes.append(of_frames[index])
    if not boxes:
        raise InputError(f"no visible evidence in any sampled frame of {len(truths)} clips")
    return VisibleFrames(
        torch.tensor(clips), torch.tensor(timesteps), torch.from_numpy(np.stack(boxes))
    )


def score_in_time(
    heat: Mapping[str, Tensor],
    visible: VisibleFrames,
    *,
    correct: np.ndarray,
    training_boxes: Tensor,
    size: tuple[int, int],
) -> dict[str, dict[str, Any]]:
    """Pointing game, energy in the box and area of the box, on frames of visible evidence.

    Args:
        heat: For each method the heat of every frame on the grid, none negative, (n, t, h, w).
        visible: Of the n clips.
        correct: Whether the retrieval of each clip was right, (n,).
        training_boxes: Where evidence was visible in training, of which one prior is made, (k, 4).
        size: (height, width) of the video's frames.

    Returns:
        For each method, and for the priors "box-prior" and "uniform": `pointing`, `energy`, `area`
        (share of the frame that its box covers, which is the energy of a map that knows nothing),
        `n` (frames), and `pointing_correct`: pointing on the clips whose retrieval was right, None
        if none was.
    """
    count = len(visible)
    right = torch.from_numpy(correct)[visible.clips]
    area = float(box_area_share(visible.boxes, size).mean())

    def scores(heatmaps: Tensor) -> dict[str, Any]:
        hits = pointing_game(heatmaps, visible.boxes)
        return {
            "pointing": float(hits.mean()),
            "energy": float(energy_in_box(heatmaps, visible.boxes).mean()),
            "area": area,
            "n": count,
            "pointing_correct": float(hits[right].mean()) if right.any() else None,
        }

    scored = {
        name: scores(resize_maps(grids[visible.clips, visible.timesteps], size))
        for name, grids in heat.items()
    }
    scored[BOX_PRIOR] = scores(box_prior(training_boxes, size).expand(count, *size))
    scored[UNIFORM] = scores(torch.ones(1).expand(count, *size))
    return scored


def played_backwards(feature_maps: Tensor) -> Tensor:
    """Clips (n, t, …) with their last frame first."""
    return feature_maps.flip(1)


def opposite_found(
    labels: Sequence[str], found: Sequence[str], opposites: Mapping[str, str]
) -> dict[str, float]:
    """How often a clip played backwards finds the opposite class.

    Args:
        labels: Of each clip as it was.
        found: Of the clip nearest to each, played backwards.
        opposites: What each class is when played backwards, of those that have an opposite.

    Returns:
        For each class that has an opposite the share of its clips.
    """
    hits: dict[str, list[bool]] = {}
    for label, nearest in zip(labels, found, strict=True):
        if label in opposites:
            hits.setdefault(label, []).append(nearest == opposites[label])
    return {label: float(np.mean(values)) for label, values in hits.items()}


def influence_of_evidence(shares: Tensor, visible: VisibleFrames) -> dict[str, float]:
    """Mean share of the embedding change, of frames with and without visible evidence.

    Only clips in which the evidence comes or goes count: elsewhere all frames are of one kind.

    Args:
        shares: Each frame's share of its clip's change when it is blanked, (n, t).
        visible: Of the n clips.

    Raises:
        InputError: The evidence comes or goes in no clip.
    """
    seen = visible.mask(*shares.shape)
    mixed = seen.any(dim=1) & ~seen.all(dim=1)
    if not mixed.any():
        raise InputError(f"evidence comes or goes in none of {len(shares)} clips")
    return {
        "evidence_visible": float(shares[mixed][seen[mixed]].mean()),
        "evidence_not_visible": float(shares[mixed][~seen[mixed]].mean()),
    }
