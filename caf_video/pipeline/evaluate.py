"""run ─► R@K, NMI and the gate, beside what a trained embedding must beat."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from caf_video.data.clips import require_evaluable
from caf_video.data.manifest import Clip, read_manifest
from caf_video.pipeline.opened import maps_at_test, open_features, open_run, untrained
from caf_video.pipeline.progress import Track, quietly
from caf_video.retrieval.metrics import (
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
        split: Its name.
        clips: Its clips, n of them.
        embeddings: Theirs, (n, d), as retrieval compares them.
        result: R@K, the nearest other clip of each, and whether it is right: the gate.
        nmi: Normalised mutual information of k-means clusters and labels.
        chance: Expected R@1 of a random other clip.
        baselines: R@K of embeddings that nobody trained, by name.
    """

    split: str
    clips: list[Clip]
    embeddings: Tensor
    result: RetrievalResult
    nmi: float
    chance: float
    baselines: dict[str, dict[int, float]]

    def record(self) -> dict[str, Any]:
        """All of it but the embeddings, in plain values."""
        return {
            "split": self.split,
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
    clips = read_manifest(store.manifest_path)
    require_evaluable(clips, split)
    clips = [clip for clip in clips if clip.split == split]
    embeds: dict[str, Embed] = {
        "trained": run.embed,
        UNTRAINED: untrained(run).embed,
        FROZEN: lambda maps: normalize(maps.mean(dim=(1, 3, 4))),
        "frozen, pooled frame by frame": lambda maps: normalize(maps.mean(dim=(3, 4)).flatten(1)),
    }
    rows: dict[str, list[Tensor]] = {name: [] for name in embeds}
    for clip in track(clips, description=f"Embedding the {split} split", total=len(clips)):
        maps = maps_at_test(store.read(clip.clip_id))[None]
        for name, embed in embeds.items():
            rows[name].append(embed(maps).cpu())
    labels, ids = [clip.label for clip in clips], [clip.clip_id for clip in clips]
    embeddings = {name: torch.cat(parts) for name, parts in rows.items()}
    results = {name: recall_at_k(parts, labels, ids=ids) for name, parts in embeddings.items()}
    trained = results.pop("trained")
    return Evaluation(
        split=split,
        clips=clips,
        embeddings=embeddings["trained"],
        result=trained,
        nmi=normalized_mutual_information(embeddings["trained"], labels),
        chance=chance_recall(labels),
        baselines={name: result.recall for name, result in results.items()},
    )
