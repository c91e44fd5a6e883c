"""run ─► R@K, NMI and the gate, beside what a trained embedding must beat."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caf_video.data.clips import require_evaluable
from caf_video.data.manifest import Clip
from caf_video.evaluation import mean_pooled, pooled_by_frame
from caf_video.pipeline.embed import EmbeddedSplit, embed_split
from caf_video.pipeline.opened import (
    clips_of,
    maps_at_test,
    open_features,
    open_run,
    untrained,
)
from caf_video.pipeline.progress import Track, quietly
from caf_video.retrieval import (
    RetrievalResult,
    chance_recall,
    normalized_mutual_information,
    recall_at_k,
)

Embed = Callable[[Tensor], Tensor]  # feature maps (b, t, c, h, w) to embeddings (b, d)

FROZEN = "frozen, mean-pooled"
UNTRAINED = "untrained network"


@dataclass(frozen=True)
class Evaluation:
    """A trained embedding measured on one split; each clip queries all the others.

    Attributes:
        embedded: The split, its clips and their embeddings.
        result: R@K, the nearest other clip of each, and whether it is right: the gate.
        nmi: Normalised mutual information of k-means clusters and labels.
        chance: Expected R@1 of a random other clip.
        baselines: R@K of embeddings that nobody trained, by name.
        training_sha256: Digest of the clips that the run was trained on.
        new_classes: Labels of the split that training did not have.
    """

    embedded: EmbeddedSplit
    result: RetrievalResult
    nmi: float
    chance: float
    baselines: dict[str, dict[int, float]]
    training_sha256: str
    new_classes: list[str]

    @property
    def clips(self) -> list[Clip]:
        """Those of the split, in the order of the result."""
        return self.embedded.clips

    def record(self) -> dict[str, Any]:
        """All of it but the embeddings, in plain values."""
        return {
            "split": self.embedded.split,
            **{f"recall@{k}": share for k, share in self.result.recall.items()},
            "recall@1_frozen": self.baselines[FROZEN][1],
            "recall@1_untrained": self.baselines[UNTRAINED][1],
            "chance": self.chance,
            "nmi": self.nmi,
            "baselines": {
                name: {f"recall@{k}": share for k, share in recall.items()}
                for name, recall in self.baselines.items()
            },
            "per_class": self.result.per_class,
            "excluded": self.result.excluded,
            "new_classes": self.new_classes,
            "training": {
                "clips_sha256": self.training_sha256,
                "checked": self.embedded.checked,
                "left_out": [clip.clip_id for clip in self.embedded.trained_on],
            },
            "clips": [
                {
                    "clip_id": clip.clip_id,
                    "label": clip.label,
                    "nearest": self.clips[nearest].clip_id,
                    "nearest_label": self.clips[nearest].label,
                    "correct": bool(correct),
                }
                for clip, nearest, correct in zip(
                    self.clips, self.result.nearest.tolist(), self.result.correct, strict=True
                )
            ],
        }


def evaluate(run_folder: Path, *, split: str = "test", track: Track = quietly) -> Evaluation:
    """Measure a run on a split of its clips.

    Raises:
        CafVideoError: The run, its features or the split cannot be used; says which and why.
    """
    run = open_run(run_folder)
    store = open_features(run)
    # Of these clips alone: their classes may be others than those of the training.
    require_evaluable(clips_of(run, store, split).clips, split)
    embedded = embed_split(run, store, split, track=track)
    clips = embedded.clips
    baselines: dict[str, Embed] = {
        UNTRAINED: untrained(run).embed,
        FROZEN: mean_pooled,
        "frozen, pooled frame by frame": pooled_by_frame,
    }
    rows: dict[str, list[Tensor]] = {name: [] for name in baselines}
    for clip in track(clips, description="Measuring what nobody trained", total=len(clips)):
        maps = maps_at_test(store.read(clip.clip_id))[None]
        for name, embed in baselines.items():
            rows[name].append(embed(maps).cpu())
    labels, ids = [clip.label for clip in clips], [clip.clip_id for clip in clips]
    return Evaluation(
        embedded=embedded,
        result=recall_at_k(embedded.embeddings, labels, ids=ids),
        nmi=normalized_mutual_information(embedded.embeddings, labels),
        chance=chance_recall(labels),
        training_sha256=run.training_sha256,
        new_classes=sorted(set(labels) - set(run.label_names)),
        baselines={
            name: recall_at_k(torch.cat(parts), labels, ids=ids).recall
            for name, parts in rows.items()
        },
    )
