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
    RankedPrecision,
    RetrievalResult,
    chance_recall,
    nmi_across_groups,
    normalized_mutual_information,
    ranked_precision,
    recall_at_k,
)

Embed = Callable[[Tensor], Tensor]  # feature maps (b, t, c, h, w) to embeddings (b, d)

FROZEN = "frozen, mean-pooled"
UNTRAINED = "untrained network"

# Who may be a neighbour of a clip.
ALL_OTHERS, OTHER_SESSIONS = "all_others", "other_sessions"


@dataclass(frozen=True)
class Figures:
    """An embedding measured by one rule of who may be a neighbour. All figures are fractions.

    Attributes:
        result: R@K, the nearest other clip of each, and whether it is right.
        ranked: mAP@R and R-precision.
        nmi: Normalised mutual information of k-means clusters and labels.
        chance: Expected R@1 of a random other clip.
        baselines: R@K of embeddings that nobody trained, by name.
        baselines_nmi: Their NMI.
    """

    result: RetrievalResult
    ranked: RankedPrecision
    nmi: float
    chance: float
    baselines: dict[str, dict[int, float]]
    baselines_nmi: dict[str, float]

    def record(self) -> dict[str, Any]:
        """All of it but the neighbours, in plain values."""
        return {
            **{f"recall@{k}": share for k, share in self.result.recall.items()},
            "recall@1_frozen": self.baselines[FROZEN][1],
            "recall@1_untrained": self.baselines[UNTRAINED][1],
            "chance": self.chance,
            "nmi": self.nmi,
            "map@r": self.ranked.map_at_r,
            "r_precision": self.ranked.r_precision,
            "baselines": {
                name: {
                    **{f"recall@{k}": share for k, share in recall.items()},
                    "nmi": self.baselines_nmi[name],
                }
                for name, recall in self.baselines.items()
            },
            "per_class": self.result.per_class,
            "excluded": self.result.excluded,
        }


@dataclass(frozen=True)
class Evaluation:
    """A trained embedding measured on one split; each clip queries the others.

    Attributes:
        embedded: The split, its clips and their embeddings.
        all_others: The figures where all other clips may be neighbours.
        other_sessions: Those where only clips of other sessions may; None where no class has clips
            of two sessions.
        own_session_share: Share of clips whose nearest other is of their own session.
        training_sha256: Digest of the clips that the run was trained on.
        new_classes: Labels of the split that training did not have.
    """

    embedded: EmbeddedSplit
    all_others: Figures
    other_sessions: Figures | None
    own_session_share: float
    training_sha256: str
    new_classes: list[str]

    @property
    def clips(self) -> list[Clip]:
        """Those of the split, in the order of the results."""
        return self.embedded.clips

    @property
    def result(self) -> RetrievalResult:
        """The retrieval among all others."""
        return self.all_others.result

    @property
    def gate(self) -> RetrievalResult:
        """Whose `correct` says which clips count as right: of other sessions, where there is it.

        That two moments of one drive look alike is no merit.
        """
        return (self.other_sessions or self.all_others).result

    @property
    def gate_rule(self) -> str:
        """The name of the rule of the gate."""
        return OTHER_SESSIONS if self.other_sessions else ALL_OTHERS

    def record(self) -> dict[str, Any]:
        """All of it but the embeddings, in plain values."""
        return {
            "split": self.embedded.split,
            **self.all_others.record(),
            "other_sessions": self.other_sessions.record() if self.other_sessions else None,
            "nearest_of_own_session": self.own_session_share,
            "gate": self.gate_rule,
            "new_classes": self.new_classes,
            "training": {
                "clips_sha256": self.training_sha256,
                "checked": self.embedded.checked,
                "left_out": [clip.clip_id for clip in self.embedded.trained_on],
            },
            "clips": [self._clip_record(row) for row in range(len(self.clips))],
        }

    def _clip_record(self, row: int) -> dict[str, Any]:
        clip = self.clips[row]
        return {
            "clip_id": clip.clip_id,
            "label": clip.label,
            "session": clip.session,
            **self.neighbour(row, self.all_others),
            "other_sessions": self.neighbour(row, self.other_sessions),
            "gate": bool(self.gate.correct[row]),
        }

    def neighbour(self, row: int, figures: Figures | None) -> dict[str, Any]:
        """The nearest clip of a clip by one of the rules, in plain values; {} where there is none.

        Args:
            row: Of the clip.
            figures: `all_others` or `other_sessions`.
        """
        if figures is None or figures.result.nearest[row] < 0:
            return {}
        place = int(figures.result.nearest[row])
        nearest, rows = self.clips[place], self.embedded.embeddings.double()
        return {
            "nearest": nearest.clip_id,
            "nearest_label": nearest.label,
            "nearest_session": nearest.session,
            "distance": float((rows[row] - rows[place]).norm()),
            "correct": bool(figures.result.correct[row]),
        }


def evaluate(
    run_folder: Path,
    *,
    split: str = "test",
    features: Path | None = None,
    track: Track = quietly,
) -> Evaluation:
    """Measure a run on a split of its clips, among all others and among those of other sessions.

    Args:
        run_folder: The run.
        split: train, val or test.
        features: Where the features are, if they are not where the run left them.
        track: Shows how far it is.

    Raises:
        CafVideoError: The run, its features or the split cannot be used; says which and why.
    """
    run = open_run(run_folder)
    store = open_features(run, features)
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
    untrained_rows = {name: torch.cat(parts) for name, parts in rows.items()}
    all_others = _figures(embedded, untrained_rows, None)
    sessions = embedded.recordings
    same = [
        sessions[row] == sessions[nearest]
        for row, nearest in enumerate(all_others.result.nearest.tolist())
    ]
    return Evaluation(
        embedded=embedded,
        all_others=all_others,
        other_sessions=(
            _figures(embedded, untrained_rows, sessions) if embedded.sessions_allow else None
        ),
        own_session_share=sum(same) / len(same),
        training_sha256=run.training_sha256,
        new_classes=sorted({clip.label for clip in clips} - set(run.label_names)),
    )


def _figures(
    embedded: EmbeddedSplit, baselines: dict[str, Tensor], sessions: list[str] | None
) -> Figures:
    """By the rule of all others, or of other sessions, where these are given."""
    labels = [clip.label for clip in embedded.clips]
    ids = [clip.clip_id for clip in embedded.clips]

    def nmi(rows: Tensor) -> float:
        if sessions is None:
            return normalized_mutual_information(rows, labels)
        return nmi_across_groups(rows, labels, sessions)

    return Figures(
        result=recall_at_k(embedded.embeddings, labels, ids=ids, groups=sessions),
        ranked=ranked_precision(embedded.embeddings, labels, ids=ids, groups=sessions),
        nmi=nmi(embedded.embeddings),
        chance=chance_recall(labels, groups=sessions),
        baselines={
            name: recall_at_k(rows, labels, ids=ids, groups=sessions).recall
            for name, rows in baselines.items()
        },
        baselines_nmi={name: nmi(rows) for name, rows in baselines.items()},
    )
