"""run ─► R@K, NMI and the gate, beside what a trained embedding must beat."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caf_video.data.clips import require_evaluable, sides_of
from caf_video.data.features import ClipFeatures
from caf_video.data.manifest import Clip, read_manifest
from caf_video.data.stores import ClipStore
from caf_video.errors import InputError
from caf_video.evaluation import mean_pooled, pooled_by_frame
from caf_video.pipeline.embed import embed_split
from caf_video.pipeline.opened import (
    clips_of,
    maps_at_test,
    open_features,
    open_run,
    untrained,
)
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.queries import (
    NOBODY,
    EmbeddedSearch,
    NewQueries,
    as_whom,
    embed_search,
    new_queries,
)
from caf_video.retrieval import (
    Gallery,
    RankedPrecision,
    RetrievalResult,
    chance_recall,
    nmi_across_groups,
    normalized_mutual_information,
    ranked_precision,
    recall_at_k,
)
from caf_video.training import ClipRun

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
    """A trained embedding measured on one split; each clip queries the others, or a gallery.

    Attributes:
        search: The clips that are measured, and those they are searched in, with their embeddings.
        all_others: The figures where all other clips may be neighbours.
        other_sessions: Those where only clips of other sessions may; None where no class has clips
            of two sessions.
        own_session_share: Share of clips whose nearest other is of their own session.
        training_sha256: Digest of the clips that the run was trained on.
        new_classes: Labels of the split that training did not have.
    """

    search: EmbeddedSearch
    all_others: Figures
    other_sessions: Figures | None
    own_session_share: float
    training_sha256: str
    new_classes: list[str]

    @property
    def clips(self) -> list[Clip]:
        """Those that are measured, in the order of the results."""
        return self.search.queries.clips

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
            "split": self.search.queries.split,
            "gallery": self.search.gallery.split,
            **self.all_others.record(),
            "other_sessions": self.other_sessions.record() if self.other_sessions else None,
            "nearest_of_own_session": self.own_session_share,
            "gate": self.gate_rule,
            "new_classes": self.new_classes,
            "training": {
                "clips_sha256": self.training_sha256,
                "checked": self.search.queries.checked,
                "left_out": [
                    clip.clip_id for side in self.search.sides for clip in side.trained_on
                ],
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
        queries, gallery = self.search.queries, self.search.gallery
        nearest, away = gallery.clips[place], queries.embeddings[row] - gallery.embeddings[place]
        return {
            "nearest": nearest.clip_id,
            "nearest_label": nearest.label,
            "nearest_session": nearest.session,
            "distance": float(away.norm()),
            "correct": bool(figures.result.correct[row]),
        }


def evaluate(
    run_folder: Path,
    *,
    split: str = "test",
    queries: Path | None = None,
    features: Path | None = None,
    videos: Path | None = None,
    track: Track = quietly,
) -> Evaluation:
    """Measure a run on a split of its clips, among all others and among those of other sessions.

    The clips of the split `query` are searched in the split `gallery`.

    Args:
        run_folder: The run.
        split: Whose clips are measured: see `sides_of`.
        queries: A manifest of other clips to measure: they are searched in what the clips of
            `split` would be searched in.
        features: Where the features are, if they are not where the run left them.
        videos: Where the videos of `queries` are, if they are not where that manifest says.
        track: Shows how far it is.

    Raises:
        CafVideoError: The run, its features, the split or the queries cannot be used; says which
            and why.
    """
    if videos is not None and queries is None:
        raise InputError("videos are read of new queries alone: the features of a run suffice")
    run = open_run(run_folder)
    store = open_features(run, features)
    asked, searched = sides_of(read_manifest(store.manifest_path), split)
    new = None
    if queries is None:
        # Of these clips alone: their classes may be others than those of the training.
        measured = [clip for side in {asked, searched} for clip in clips_of(run, store, side).clips]
        require_evaluable(measured, asked, searched)
        search = embed_search(run, store, split, track=track)
    else:
        gallery = embed_split(run, store, searched, track=track)
        new = new_queries(run, store, queries, videos=videos, track=track)
        search = EmbeddedSearch(
            new.embed(run), gallery, as_whom(new.clips, new.events, gallery, store)
        )
    untrained_rows = _untrained_rows(run, store, search, new, track)
    all_others = _figures(search, untrained_rows, by_session=False)
    apart = search.sessions_allow
    sessions, theirs = search.queries.recordings, search.gallery.recordings
    nearest = all_others.result.nearest.tolist()
    same = [place >= 0 and sessions[row] == theirs[place] for row, place in enumerate(nearest)]
    return Evaluation(
        search=search,
        all_others=all_others,
        other_sessions=_figures(search, untrained_rows, by_session=True) if apart else None,
        own_session_share=sum(same) / len(same),
        training_sha256=run.training_sha256,
        new_classes=sorted({clip.label for clip in search.queries.clips} - set(run.label_names)),
    )


# Embeddings by those that nobody trained, by their names: of the queries and of the gallery.
_Untrained = dict[str, tuple[Tensor, Tensor]]


def _untrained_rows(
    run: ClipRun, store: ClipStore, search: EmbeddedSearch, new: NewQueries | None, track: Track
) -> _Untrained:
    baselines: dict[str, Embed] = {
        UNTRAINED: untrained(run).embed,
        FROZEN: mean_pooled,
        "frozen, pooled frame by frame": pooled_by_frame,
    }

    def of(features: Iterable[ClipFeatures], total: int) -> dict[str, Tensor]:
        rows: dict[str, list[Tensor]] = {name: [] for name in baselines}
        for one in track(features, description="Measuring what nobody trained", total=total):
            maps = maps_at_test(one)[None]
            for name, embed in baselines.items():
                rows[name].append(embed(maps).cpu())
        return {name: torch.cat(parts) for name, parts in rows.items()}

    def of_clips(clips: list[Clip]) -> dict[str, Tensor]:
        return of((store.read(clip.clip_id) for clip in clips), len(clips))

    gallery = of_clips(search.gallery.clips)
    if search.in_itself:
        queries = gallery
    elif new is not None:
        queries = of(new.features, len(new.features))
    else:
        queries = of_clips(search.queries.clips)
    return {name: (queries[name], gallery[name]) for name in baselines}


def _figures(search: EmbeddedSearch, untrained_rows: _Untrained, *, by_session: bool) -> Figures:
    """By the rule of all others, or of other sessions."""
    asked, searched = search.queries, search.gallery
    labels = [clip.label for clip in asked.clips]
    groups = asked.recordings if by_session else None
    # Clusters are of all clips, each once.
    alone = [row for row, name in enumerate(search.ids) if name == NOBODY]
    all_clips = [*searched.clips, *(asked.clips[row] for row in alone)]

    def nmi(rows: Tensor, gallery_rows: Tensor) -> float:
        both = torch.cat([gallery_rows, rows[alone]])
        names = [clip.label for clip in all_clips]
        if not by_session:
            return normalized_mutual_information(both, names)
        return nmi_across_groups(both, names, [clip.recording for clip in all_clips])

    def gallery_of(rows: Tensor) -> Gallery | None:
        if search.in_itself:
            return None
        return Gallery(
            rows,
            [clip.label for clip in searched.clips],
            [clip.clip_id for clip in searched.clips],
            searched.recordings if by_session else None,
        )

    def recall(rows: Tensor, gallery_rows: Tensor) -> RetrievalResult:
        gallery = gallery_of(gallery_rows)
        return recall_at_k(rows, labels, ids=search.ids, groups=groups, gallery=gallery)

    trained = (asked.embeddings, searched.embeddings)
    gallery = gallery_of(searched.embeddings)
    return Figures(
        result=recall(*trained),
        ranked=ranked_precision(
            asked.embeddings, labels, ids=search.ids, groups=groups, gallery=gallery
        ),
        nmi=nmi(*trained),
        chance=chance_recall(labels, ids=search.ids, groups=groups, gallery=gallery),
        baselines={name: recall(*both).recall for name, both in untrained_rows.items()},
        baselines_nmi={name: nmi(*both) for name, both in untrained_rows.items()},
    )
