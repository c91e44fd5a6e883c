"""clip ─► a filter per frame ─► strip, npz and JSON: where a trained embedding looked (Fig. 9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from caf_video.attention import explain_clip, filters_to_heatmaps, frame_influence
from caf_video.data.features import ClipFeatures, FeatureStore
from caf_video.data.manifest import Clip, read_manifest
from caf_video.data.video.reader import VideoReader
from caf_video.errors import InputError
from caf_video.pipeline.embed import EmbeddedSplit, embed_split
from caf_video.pipeline.opened import (
    clips_of,
    maps_at_test,
    new_features,
    open_features,
    open_run,
)
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.results import file_name, output_folder, write_json, write_npz
from caf_video.rendering import ClipCaption, NeighbourRow, clip_strip, frame_title, write_image
from caf_video.training import ClipRun

CLIPS_AT_ONCE = 64


@dataclass(frozen=True)
class ExplainedClip:
    """A clip, its nearest other clip, and where the network looked in each of its t frames.

    Attributes:
        clip: The clip; its label is "" where nobody gave one.
        frame_indices: Positions in its video, (t,).
        times_seconds: When those frames appear, (t,).
        filters: Signed, unit norm, on the grid, (t, h, w).
        losses, steps, settled: Of each frame's filter, (t,).
        influence: Each frame's share of the embedding change when it is blanked, (t,).
        solver: Its name.
        nearest: The nearest other clip.
        nearest_frames: Positions of its sampled frames in its video, (t,).
        distance: To it, Euclidean.
    """

    clip: Clip
    frame_indices: np.ndarray
    times_seconds: np.ndarray
    filters: Tensor
    losses: np.ndarray
    steps: np.ndarray
    settled: np.ndarray
    influence: np.ndarray
    solver: str
    nearest: Clip
    nearest_frames: np.ndarray
    distance: float

    @property
    def correct(self) -> bool | None:
        """The gate: whether the nearest other clip has the same label; None without a label."""
        return self.nearest.label == self.clip.label if self.clip.label else None

    def record(self) -> dict[str, Any]:
        """All of it but the filters, in plain values."""
        frames = zip(
            self.frame_indices.tolist(),
            self.times_seconds.tolist(),
            self.losses.tolist(),
            self.steps.tolist(),
            self.settled.tolist(),
            self.influence.tolist(),
            strict=True,
        )
        names = ("frame_index", "time_seconds", "loss", "steps", "settled", "influence")
        return {
            "clip_id": self.clip.clip_id,
            "video": str(self.clip.path),
            "label": self.clip.label,
            "nearest": self.nearest.clip_id,
            "nearest_label": self.nearest.label,
            "distance": self.distance,
            "correct": self.correct,
            "solver": self.solver,
            "frames": [dict(zip(names, frame, strict=True)) for frame in frames],
        }


def explain_clips(
    run_folder: Path,
    targets: Sequence[str],
    *,
    split: str = "test",
    only: Literal["all", "correct", "wrong"] = "all",
    track: Track = quietly,
) -> list[ExplainedClip]:
    """Where a run's network looked, in every sampled frame of the clips asked for.

    Args:
        run_folder: The run.
        targets: Clip ids, or video files; none means every clip of the split.
        split: The clips among which nearest neighbours are searched.
        only: Keep the clips whose retrieval was right, or wrong.

    Raises:
        CafVideoError: The run, a clip or a video cannot be used; says which and why.
    """
    run = open_run(run_folder)
    store = open_features(run)
    gallery = clips_of(run, store, split).clips
    if len(gallery) < 2:
        raise InputError(f"the {split} split has {len(gallery)} clips: neighbours need two")
    embedded = embed_split(run, store, split, track=track)
    clips, features = _chosen(run, store, gallery, targets)
    nearest = embedded.nearest(_queries(run, embedded, clips, features), clips)
    wanted = [
        i
        for i, clip in enumerate(clips)
        if only == "all" or (nearest.clips[i].label == clip.label) == (only == "correct")
    ]
    explained = []
    chunks = [wanted[i : i + CLIPS_AT_ONCE] for i in range(0, len(wanted), CLIPS_AT_ONCE)]
    for chunk in track(chunks, description="Solving for the filters", total=len(chunks)):
        batch = torch.stack([maps_at_test(features[i]) for i in chunk])
        solution = explain_clip(run.model, batch)
        influence = frame_influence(run.model, batch)
        for row, i in enumerate(chunk):
            frames = features[i].middle_frames()
            others = store.read(nearest.clips[i].clip_id).middle_frames()
            explained.append(
                ExplainedClip(
                    clip=clips[i],
                    frame_indices=frames.frame_indices,
                    times_seconds=frames.times_seconds,
                    filters=solution.filters[row].cpu(),
                    losses=solution.losses[row].cpu().numpy(),
                    steps=solution.steps[row].cpu().numpy(),
                    settled=solution.settled[row].cpu().numpy(),
                    influence=influence[row].cpu().numpy(),
                    solver=solution.solver,
                    nearest=nearest.clips[i],
                    nearest_frames=others.frame_indices,
                    distance=float(nearest.distances[i]),
                )
            )
    return explained


def draw_clip(
    explained: ExplainedClip,
    *,
    captioned: bool = True,
    boxes: np.ndarray | None = None,
    evidence_visible: np.ndarray | None = None,
) -> Any:
    """The strip of a clip: its frames under their heatmaps, its nearest neighbour's below.

    Args:
        captioned: Whether the strip says whose it is; a page around it may say so itself.
        boxes: Ground truth in pixels of the video, (t, 4).
        evidence_visible: Whether each box's evidence is visible, (t,).

    Returns:
        A PIL image.
    """
    clip, nearest = explained.clip, explained.nearest
    with VideoReader(clip.path) as reader:
        frames = reader.read(explained.frame_indices.tolist())
    with VideoReader(nearest.path) as reader:
        others = reader.read(explained.nearest_frames.tolist())
    heatmaps = filters_to_heatmaps(explained.filters, frames.shape[1:3])
    caption = ClipCaption(
        clip.clip_id, clip.label, nearest.clip_id, nearest.label, explained.correct
    )
    return clip_strip(
        frames,
        heatmaps.numpy(),
        titles=list(map(frame_title, explained.frame_indices, explained.times_seconds)),
        caption=caption if captioned else None,
        boxes=boxes,
        evidence_visible=evidence_visible,
        frame_influence=explained.influence,
        neighbour=NeighbourRow(
            others, [f"{nearest.clip_id} · frame {index}" for index in explained.nearest_frames]
        ),
    )


def write_explanations(
    explained: Sequence[ExplainedClip], out: Path, *, track: Track = quietly
) -> list[Path]:
    """Leave a strip, the raw signed filters and a record of each clip in `out`.

    `CLIP.png`, `CLIP.npz` (filters (t, h, w), frame_indices, times_seconds, losses, influence) and
    `CLIP.json`, where CLIP is the clip's id, with what file names cannot hold percent-encoded.

    Returns:
        The strips.
    """
    folder = output_folder(out)
    strips = []
    for one in track(explained, description="Drawing strips", total=len(explained)):
        name = file_name(one.clip.clip_id)
        write_npz(
            folder / f"{name}.npz",
            {
                "filters": one.filters.numpy(),
                "frame_indices": one.frame_indices,
                "times_seconds": one.times_seconds,
                "losses": one.losses,
                "influence": one.influence,
            },
        )
        strips.append(folder / f"{name}.png")
        write_image(strips[-1], draw_clip(one))
        files = {"strip": f"{name}.png", "filters": f"{name}.npz"}
        write_json(folder / f"{name}.json", {**one.record(), "files": files})
    return strips


def _chosen(
    run: ClipRun, store: FeatureStore, gallery: Sequence[Clip], targets: Sequence[str]
) -> tuple[list[Clip], list[ClipFeatures]]:
    """The clips asked for and their features; a video file's are extracted here and now."""
    known = {clip.clip_id: clip for clip in read_manifest(store.manifest_path)}
    clips, features = [], []
    for target in targets or [clip.clip_id for clip in gallery]:
        if target in known:
            clips.append(known[target])
            features.append(store.read(target))
        elif Path(target).is_file():
            clips.append(Clip(Path(target).stem, Path(target).resolve(), label=""))
            features.append(new_features(run, clips[-1]))
        else:
            near = get_close_matches(target, known, n=3)
            advice = f"did you mean {', '.join(near)}?" if near else f"it has {len(known)} clips"
            raise InputError(
                f"{target!r} is neither a video file nor a clip of {store.manifest_path}: {advice}"
            )
    return clips, features


def _queries(
    run: ClipRun,
    embedded: EmbeddedSplit,
    clips: Sequence[Clip],
    features: Sequence[ClipFeatures],
) -> Tensor:
    """The embedding of each clip, (q, d): the split's own are there already."""
    row_of = {clip: row for row, clip in enumerate(embedded.clips)}
    return torch.stack(
        [
            embedded.embeddings[row_of[clip]]
            if clip in row_of
            else run.embed(maps_at_test(of_clip)[None])[0].cpu()
            for clip, of_clip in zip(clips, features, strict=True)
        ]
    )
