"""Attention against ground truth in time: every method on the frames whose evidence is visible."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caf_video.attention import explain_clip, feature_norm, frame_influence, retrieval_grad_cam
from caf_video.attention.heatmap import resize_maps
from caf_video.data.clip_boxes import read_boxes
from caf_video.data.features import FeatureStore
from caf_video.data.manifest import Clip, read_manifest
from caf_video.evaluation import box_area_share, box_prior, energy_in_box, pointing_game
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.pipeline.evaluate import Evaluation
from caf_video.pipeline.opened import open_features
from caf_video.retrieval.index import EmbeddingIndex
from caf_video.synthetic import OPPOSITES
from caf_video.training import ClipRun

CLIPS_AT_ONCE = 64

Truth = Mapping[str, tuple[np.ndarray, np.ndarray]]  # clip id: boxes (frames, 4), visible (frames,)
Method = Callable[[RecurrentEmbedder, Tensor], Tensor]  # model, maps (b, t, c, h, w): (b, t, h, w)


def l2_caf(model: RecurrentEmbedder, maps: Tensor) -> Tensor:
    """|f_t| of every frame."""
    return explain_clip(model, maps).filters.abs()


def grad_cam(model: RecurrentEmbedder, maps: Tensor) -> Tensor:
    """Vanilla retrieval Grad-CAM of every frame (Eq. 6)."""
    return retrieval_grad_cam(model.head, filtered_maps(model, maps), mode="relu")


def grad_cam_abs(model: RecurrentEmbedder, maps: Tensor) -> Tensor:
    """Retrieval Grad-CAM with the absolute value in place of ReLU (Eq. 7)."""
    return retrieval_grad_cam(model.head, filtered_maps(model, maps), mode="abs")


def norm_of_maps(model: RecurrentEmbedder, maps: Tensor) -> Tensor:
    """The plain norm over channels of the map that a filter multiplies: a strong baseline."""
    return feature_norm(filtered_maps(model, maps))


BASELINES: dict[str, Method] = {
    "grad_cam": grad_cam,
    "grad_cam_abs": grad_cam_abs,
    "feature_norm": norm_of_maps,
}


@dataclass(frozen=True)
class FrameTruth:
    """The sampled frames whose evidence is visible: positions of clip and timestep, and boxes."""

    clips: Tensor
    frames: Tensor
    boxes: Tensor


def solve(method: Method, run: ClipRun, maps: Tensor) -> Tensor:
    """One method's answer for every frame of every clip (n, t, …), on the CPU."""
    return torch.cat([method(run.model, part).cpu() for part in maps.split(CLIPS_AT_ONCE)])


def score_attention(
    run: ClipRun,
    evaluation: Evaluation,
    maps: Tensor,
    attention: Tensor,
    boxes_csv: Path,
    size: tuple[int, int],
) -> dict[str, dict[str, Any]]:
    """Pointing game, energy in the box and area of the box: L2-CAF, its rivals and both priors.

    Args:
        run: The trained network.
        evaluation: The split to score on; all of its clips count, right or wrong.
        maps: Its feature maps, as `split_maps` gives them.
        attention: What `solve` found by `l2_caf`, (n, t, h, w).
        boxes_csv: Ground truth of all clips.
        size: (height, width) of the video's frames.

    Returns:
        For each method `pointing`, `energy`, `area` (share of the frame that its box covers, which
        is the energy of a map that knows nothing), `n` (frames), and `pointing_correct`: pointing
        on the clips whose retrieval was right, None if none was.
    """
    store = open_features(run)
    truth = read_boxes(boxes_csv)
    visible = visible_frames(store, evaluation.clips, truth)
    train = [clip for clip in read_manifest(store.manifest_path) if clip.split == "train"]
    prior = box_prior(visible_frames(store, train, truth).boxes, size)
    right = torch.from_numpy(evaluation.result.correct)[visible.clips]
    area = box_area_share(visible.boxes, size).mean()
    count = len(visible.boxes)

    def scores(heatmaps: Tensor) -> dict[str, Any]:
        hits = pointing_game(heatmaps, visible.boxes)
        return {
            "pointing": float(hits.mean()),
            "energy": float(energy_in_box(heatmaps, visible.boxes).mean()),
            "area": float(area),
            "n": count,
            "pointing_correct": float(hits[right].mean()) if right.any() else None,
        }

    grids = {"l2_caf": attention}
    grids |= {name: solve(method, run, maps) for name, method in BASELINES.items()}
    scored = {
        name: scores(resize_maps(grid[visible.clips, visible.frames], size))
        for name, grid in grids.items()
    }
    scored["box_prior"] = scores(prior.expand(count, *size))
    scored["uniform"] = scores(torch.ones(1).expand(count, *size))
    return scored


def visible_frames(store: FeatureStore, clips: list[Clip], truth: Truth) -> FrameTruth:
    """The middle frames of the clips in which the evidence is visible, with its boxes."""
    chosen, frames, boxes = [], [], []
    for position, clip in enumerate(clips):
        indices = store.read(clip.clip_id).middle_frames().frame_indices
        clip_boxes, visible = truth[clip.clip_id]
        for timestep, index in enumerate(indices.tolist()):
            if visible[index]:
                chosen.append(position)
                frames.append(timestep)
                boxes.append(clip_boxes[index])
    return FrameTruth(torch.tensor(chosen), torch.tensor(frames), torch.from_numpy(np.stack(boxes)))


def played_backwards(run: ClipRun, evaluation: Evaluation, maps: Tensor) -> dict[str, float]:
    """How often a clip played backwards finds the opposite class, by class that has an opposite."""
    clips = evaluation.clips
    index = EmbeddingIndex(evaluation.embeddings, [clip.clip_id for clip in clips])
    turned = [clip for clip in clips if clip.label in OPPOSITES]
    rows = [row for row, clip in enumerate(clips) if clip.label in OPPOSITES]
    queries = torch.cat([run.embed(maps[row].flip(0)[None]).cpu() for row in rows])
    found = index.search(queries, neighbours=1, query_ids=[clip.clip_id for clip in turned])
    hits: dict[str, list[bool]] = {}
    for clip, position in zip(turned, found.positions[:, 0].tolist(), strict=True):
        hits.setdefault(clip.label, []).append(clips[position].label == OPPOSITES[clip.label])
    return {label: float(np.mean(values)) for label, values in hits.items()}


def influence_of_evidence(
    run: ClipRun, evaluation: Evaluation, maps: Tensor, boxes_csv: Path
) -> dict[str, float]:
    """Mean share of the embedding change, of frames with and without visible evidence."""
    store = open_features(run)
    visible = visible_frames(store, evaluation.clips, read_boxes(boxes_csv))
    shares = solve(frame_influence, run, maps)
    seen = torch.zeros(shares.shape, dtype=torch.bool)
    seen[visible.clips, visible.frames] = True
    mixed = seen.any(dim=1) & ~seen.all(dim=1)  # clips in which the evidence comes or goes
    return {
        "evidence_visible": float(shares[mixed][seen[mixed]].mean()),
        "evidence_not_visible": float(shares[mixed][~seen[mixed]].mean()),
    }


def filtered_maps(model: RecurrentEmbedder, maps: Tensor) -> Tensor:
    """A, the map that a filter multiplies, (b, t, c, h, w)."""
    with torch.no_grad():
        return model.features(maps)
