"""run and boxes ─► attention in figures: how it fares on clips whose evidence is known in time."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caf_video.attention import METHODS, ClipModel, frame_influence
from caf_video.data.clip_boxes import read_boxes
from caf_video.data.manifest import Clip, read_manifest
from caf_video.data.stores import ClipStore
from caf_video.evaluation import (
    VisibleFrames,
    influence_of_evidence,
    opposite_found,
    played_backwards,
    score_in_time,
    visible_frames,
)
from caf_video.pipeline.evaluate import Evaluation
from caf_video.pipeline.opened import open_features
from caf_video.synthetic import OPPOSITES
from caf_video.training import ClipRun

CLIPS_AT_ONCE = 64
RIVALS = ("retrieval-grad-cam", "retrieval-grad-cam-abs", "feature-norm")

Truth = Mapping[str, tuple[np.ndarray, np.ndarray]]  # clip id: boxes (frames, 4), visible (frames,)


def heat_of_frames(method: str, run: ClipRun, maps: Tensor) -> Tensor:
    """A method's heat of every frame of every clip, on the grid and the CPU, (n, t, h, w).

    Args:
        method: Its name.
        run: The trained network.
        maps: Of the clips, (n, t, c, h, w).
    """
    return _in_parts(METHODS[method].heat_of_frames, run, maps)


def score_attention(
    run: ClipRun,
    evaluation: Evaluation,
    maps: Tensor,
    heat: Tensor,
    boxes_csv: Path,
    size: tuple[int, int],
) -> dict[str, dict[str, Any]]:
    """Scores of L2-CAF, its rivals and both priors on the split, see `score_in_time`.

    Args:
        run: The trained network.
        evaluation: The split to score on; all of its clips count, right or wrong.
        maps: Its feature maps, (n, t, c, h, w).
        heat: What `heat_of_frames` found by l2-caf, (n, t, h, w).
        boxes_csv: Ground truth of all clips.
        size: (height, width) of the video's frames.
    """
    store = open_features(run)
    truth = read_boxes(boxes_csv)
    train = [clip for clip in read_manifest(store.manifest_path) if clip.split == "train"]
    rivals = {name: heat_of_frames(name, run, maps) for name in RIVALS}
    return score_in_time(
        {"l2-caf": heat, **rivals},
        frames_with_evidence(store, evaluation.clips, truth),
        correct=evaluation.result.correct,
        training_boxes=frames_with_evidence(store, train, truth).boxes,
        size=size,
    )


def frames_with_evidence(store: ClipStore, clips: Sequence[Clip], truth: Truth) -> VisibleFrames:
    """The middle frames of the clips in which the evidence is visible, with its boxes."""
    return visible_frames(
        [store.read(clip.clip_id).middle_frames().frame_indices for clip in clips],
        [truth[clip.clip_id] for clip in clips],
    )


def opposites_found(run: ClipRun, evaluation: Evaluation, maps: Tensor) -> dict[str, float]:
    """How often a clip played backwards finds the opposite class, by class that has an opposite."""
    rows = [row for row, clip in enumerate(evaluation.clips) if clip.label in OPPOSITES]
    clips = [evaluation.clips[row] for row in rows]
    turned = played_backwards(maps[rows])
    queries = torch.cat([run.embed(of_clip[None]).cpu() for of_clip in turned])
    found = evaluation.search.nearest(queries, clips)
    return opposite_found(
        [clip.label for clip in clips], [clip.label for clip in found.clips], OPPOSITES
    )


def evidence_influence(
    run: ClipRun, evaluation: Evaluation, maps: Tensor, boxes_csv: Path
) -> dict[str, float]:
    """Mean share of the embedding change, of frames with and without visible evidence."""
    visible = frames_with_evidence(open_features(run), evaluation.clips, read_boxes(boxes_csv))
    return influence_of_evidence(_in_parts(frame_influence, run, maps), visible)


def _in_parts(
    function: Callable[[ClipModel, Tensor], Tensor], run: ClipRun, maps: Tensor
) -> Tensor:
    return torch.cat([function(run.model, part).cpu() for part in maps.split(CLIPS_AT_ONCE)])
