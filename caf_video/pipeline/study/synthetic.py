"""A run on synthetic clips with what is known of them: boxes, the other event, neutral copies."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from caf_video.attention import path_shares
from caf_video.data.clip_boxes import read_boxes
from caf_video.data.features import FeatureStore
from caf_video.data.manifest import Clip, read_manifest, write_manifest
from caf_video.data.stores import ClipStore
from caf_video.errors import CafVideoError
from caf_video.evaluation import causal_effect
from caf_video.files import require_ours
from caf_video.models.backbones import load_backbone
from caf_video.pipeline.evaluate import Evaluation, evaluate
from caf_video.pipeline.extract import describe, extract
from caf_video.pipeline.opened import clips_of, open_features, open_run, split_maps
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.results import output_folder
from caf_video.retrieval import recall_at_k
from caf_video.training import ClipRun

CLIPS_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class KnownClips:
    """A split of synthetic clips, as a run sees it, and the truth of its sampled frames.

    Attributes:
        run: The trained network.
        evaluation: Its retrieval on the split.
        stored: Feature maps, (n, t, k, h, w), on the CPU.
        maps: A, what the filters multiply, (n, t, c, h, w).
        neutral: A of the neutral copies, of the same shape.
        boxes: Of the evidence that decides, in pixels, float64 (n, t, 4).
        visible: Whether it can be seen, bool (n, t).
        other: Frames that show the event that does not decide, bool (n, t); None: there is none.
        size: (height, width) of the frames.
        clip_set: Folder that the clips are in: runs on the same clips are paired.
    """

    run: ClipRun
    evaluation: Evaluation
    stored: Tensor
    maps: Tensor
    neutral: Tensor
    boxes: Tensor
    visible: Tensor
    other: Tensor | None
    size: tuple[int, int]
    clip_set: Path

    @property
    def clips(self) -> list[Clip]:
        """Those of the split, n of them."""
        return self.evaluation.clips

    @property
    def correct(self) -> np.ndarray:
        """Whether the nearest of the others is of the clip's class, bool (n,)."""
        return self.evaluation.result.correct

    def compared(self, embeddings: Tensor) -> Tensor:
        """Raw embeddings (n, d) as retrieval compares them."""
        return torch.nn.functional.normalize(embeddings) if self.run.normalize else embeddings

    def nearest_correct(self, embeddings: Tensor) -> Tensor:
        """Whether the untouched clip nearest to each (n, d), but its own, is of its class."""
        found = self.evaluation.search.nearest(self.compared(embeddings).cpu(), self.clips)
        pairs = zip(found.clips, self.clips, strict=True)
        return torch.tensor([nearest.label == clip.label for nearest, clip in pairs])

    @cached_property
    def effect(self) -> Tensor:
        """How far the embedding moves when a frame is that of the neutral copy, (n, t)."""
        return causal_effect(self.run.model.head, self.maps, self.neutral)

    @cached_property
    def share(self) -> Tensor:
        """What each cell adds to the embedding on the way from the neutral copy, (n, t, h, w)."""
        head = self.run.model.head
        shares = []
        for maps, neutral in zip(
            self.maps.split(CLIPS_AT_ONCE), self.neutral.split(CLIPS_AT_ONCE), strict=True
        ):
            with torch.no_grad():
                direction = head(maps) - head(neutral)
            shares.append(path_shares(head, maps, direction, baseline=neutral).cpu())
        return torch.cat(shares)

    @torch.no_grad()
    def recall_of_neutral(self) -> float:
        """R@1 of the neutral copies among themselves: chance, unless something else tells."""
        rows = self.compared(self.run.model.head(self.neutral)).cpu()
        labels = [clip.label for clip in self.clips]
        ids = [clip.clip_id for clip in self.clips]
        return recall_at_k(rows, labels, ids=ids, ks=(1,)).recall[1]


def know(
    run_folder: Path, *, split: str = "test", features: Path | None = None, track: Track = quietly
) -> KnownClips:
    """Open a run on synthetic clips, and extract the features of its neutral copies once.

    Those are kept in the feature store's folder, `neutral/SPLIT`.

    Raises:
        CafVideoError: The run cannot be opened, its clips are not synthetic or have no neutral
            copies.
    """
    run = open_run(run_folder)
    store = open_features(run, features)
    clips = clips_of(run, store, split).clips
    folder = synthetic_folder(clips)
    neutral = copies_of(clips, folder, split)  # before the work
    evaluation = evaluate(run_folder, split=split, features=features, track=track)
    clips = evaluation.clips
    truth = _sampled(store, clips, folder / "boxes.csv")
    others = folder / "others.csv"
    stored = split_maps(store, clips).cpu()
    copies = split_maps(neutral_features(run, store, neutral, split, track), clips).cpu()
    return KnownClips(
        run=run,
        evaluation=evaluation,
        stored=stored,
        maps=filtered_maps(run, stored),
        neutral=filtered_maps(run, copies),
        boxes=torch.from_numpy(truth[0]),
        visible=torch.from_numpy(truth[1]),
        other=torch.from_numpy(_sampled(store, clips, others)[1]) if others.is_file() else None,
        size=run.description.size,
        clip_set=folder,
    )


def synthetic_folder(clips: Sequence[Clip]) -> Path:
    """What `caf-video synth` wrote, found by where a clip's video is.

    Raises:
        CafVideoError: There is no truth beside it.
    """
    folder = clips[0].path.parent.parent.parent
    for name in ("boxes.csv", "neutral.csv"):
        if not (folder / name).is_file():
            raise CafVideoError(
                f"no {name} in {folder}: this study needs synthetic clips and their neutral "
                "copies, as `caf-video synth` writes them"
            )
    return folder


def copies_of(clips: Sequence[Clip], folder: Path, split: str) -> list[Clip]:
    """The neutral copies of clips of a split.

    Raises:
        CafVideoError: There are not as many.
    """
    wanted = {clip.clip_id for clip in clips}
    copies = [clip for clip in read_manifest(folder / "neutral.csv") if clip.clip_id in wanted]
    if len(copies) < len(wanted):
        raise CafVideoError(
            f"{folder / 'neutral.csv'} has {len(copies)} of the {len(wanted)} clips of {split}: "
            "there are neutral copies of val and test"
        )
    return copies


def neutral_features(
    run: ClipRun, store: ClipStore, copies: Sequence[Clip], split: str, track: Track
) -> FeatureStore:
    """Features of neutral copies, made as the run's own were."""
    where = output_folder(store.folder / "neutral") / split
    listed = where.with_suffix(".csv")
    require_ours(listed)
    write_manifest(copies, listed, ours=True)
    made_by = run.description
    backbone = load_backbone(
        made_by.backbone,
        weights=made_by.weights,
        stride=made_by.stride,
        precision=made_by.precision,
    )
    steps, candidates = made_by.timesteps, made_by.candidates
    run.require_features(describe(backbone, made_by.size, timesteps=steps, candidates=candidates))
    done = extract(
        listed,
        where,
        backbone=backbone,
        size=made_by.size,
        timesteps=steps,
        candidates=candidates,
        track=track,
    )
    if done.failed:
        raise CafVideoError(done.failed[0].reason)
    return done.store


@torch.no_grad()
def filtered_maps(run: ClipRun, stored: Tensor) -> Tensor:
    """A of feature maps (n, t, k, h, w), on the device."""
    device = next(run.model.parameters()).device
    return torch.cat([run.model.features(part.to(device)) for part in stored.split(CLIPS_AT_ONCE)])


def _sampled(store: ClipStore, clips: Sequence[Clip], table: Path) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, t, 4) and visibility (n, t) of the sampled frames."""
    truth = read_boxes(table)
    indices = [store.read(clip.clip_id).middle_frames().frame_indices for clip in clips]
    rows = list(zip(clips, indices, strict=True))
    return (
        np.stack([truth[clip.clip_id][0][frames] for clip, frames in rows]),
        np.stack([truth[clip.clip_id][1][frames] for clip, frames in rows]),
    )
