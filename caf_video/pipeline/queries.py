"""queries ─► gallery: whose neighbours are searched, and among which clips.

The clips of a split are searched among one another, each without itself. The split `query` is
searched in the split `gallery`; clips of another manifest in a split of the run. A query that is
an event of the gallery, whatever it is called, does not find itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from caf_video.data.clips import sides_of
from caf_video.data.features import ClipFeatures
from caf_video.data.manifest import Clip, read_clips, read_manifest
from caf_video.data.moved import relocated
from caf_video.data.stores import ClipStore
from caf_video.errors import InputError
from caf_video.pipeline.embed import EmbeddedSplit, embed_split
from caf_video.pipeline.identity import VideoDigests
from caf_video.pipeline.opened import maps_at_test, new_features
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.trained_on import TrainingTimes
from caf_video.retrieval import EmbeddingIndex
from caf_video.training import ClipRun

NOBODY = "\0"  # what no clip is called


@dataclass(frozen=True, eq=False)
class NearestClips:
    """The clip of a gallery that is nearest to each query, never the query itself.

    Attributes:
        clips: One for each query.
        distances: To it, Euclidean, float64, (q,).
    """

    clips: list[Clip]
    distances: np.ndarray


@dataclass(frozen=True, eq=False)
class EmbeddedSearch:
    """Clips whose neighbours are searched, and those among which they are.

    Attributes:
        queries: The first.
        gallery: The others; of a split that is searched in itself the same.
        ids: As whom each query asks: the id of the clip of the gallery that is the same event;
            NOBODY where there is none.
    """

    queries: EmbeddedSplit
    gallery: EmbeddedSplit
    ids: list[str]

    @property
    def in_itself(self) -> bool:
        """Whether the queries are searched among one another."""
        return self.queries is self.gallery

    @property
    def sides(self) -> list[EmbeddedSplit]:
        """The queries and, where it is another, the gallery."""
        return [self.queries] if self.in_itself else [self.queries, self.gallery]

    @cached_property
    def index(self) -> EmbeddingIndex:
        """To search in the gallery, by clip id and recording."""
        ids = [clip.clip_id for clip in self.gallery.clips]
        return EmbeddingIndex(self.gallery.embeddings, ids, groups=self.gallery.recordings)

    @property
    def sessions_allow(self) -> bool:
        """Whether a class has a query, and a clip of another session in the gallery to find.

        And whether the gallery has two sessions, so that every query finds something.
        """
        if len(set(self.gallery.recordings)) < 2:
            return False
        recordings: dict[str, set[str]] = {}
        for clip in self.gallery.clips:
            recordings.setdefault(clip.label, set()).add(clip.recording)
        return any(
            recordings.get(clip.label, set()) - {clip.recording} for clip in self.queries.clips
        )

    def nearest(
        self, queries: Tensor, clips: Sequence[Clip], *, other_sessions: bool = False
    ) -> NearestClips:
        """The clip nearest to each query (q, d), which is the embedding of one of `clips`.

        Args:
            other_sessions: Search among the clips of other sessions than the query's alone; there
                must be two.
        """
        found = self.index.search(
            queries,
            neighbours=1,
            query_ids=[clip.clip_id for clip in clips],
            query_groups=[clip.recording for clip in clips] if other_sessions else None,
        )
        nearest = [self.gallery.clips[position] for position in found.positions[:, 0]]
        return NearestClips(nearest, found.distances[:, 0])


def embed_search(
    run: ClipRun, store: ClipStore, split: str, *, track: Track = quietly
) -> EmbeddedSearch:
    """The embeddings of a split and of what it is searched in.

    Args:
        run: The trained network.
        store: Features of the kind it was trained on.
        split: Whose clips are the queries; see `sides_of`.

    Raises:
        CafVideoError: A side has no clip, or none that the run was not trained on; or a clip's
            features cannot be read.
    """
    asked, searched = sides_of(read_manifest(store.manifest_path), split)
    queries = embed_split(run, store, asked, track=track)
    if asked == searched:
        return EmbeddedSearch(queries, queries, [clip.clip_id for clip in queries.clips])
    gallery = embed_split(run, store, searched, track=track)
    events = [store.event(clip.clip_id) for clip in queries.clips]
    return EmbeddedSearch(queries, gallery, as_whom(queries.clips, events, gallery, store))


@dataclass(frozen=True, eq=False)
class NewQueries:
    """Clips of another manifest, to be searched in a split of a run.

    Attributes:
        source: The manifest.
        clips: Those that the run was not trained on, in the order of the features.
        events: Which event of which video each is.
        trained_on: Those that are left out.
        checked: Whether the run remembers what it was trained on.
        features: At test, of each.
    """

    source: Path
    clips: list[Clip]
    events: list[str]
    trained_on: list[Clip]
    checked: bool
    features: list[ClipFeatures]

    def embed(self, run: ClipRun) -> EmbeddedSplit:
        """As the network embeds them."""
        rows = [run.embed(maps_at_test(features)[None]).cpu() for features in self.features]
        return EmbeddedSplit(
            self.source.name, self.clips, torch.cat(rows), self.trained_on, self.checked
        )


def new_queries(
    run: ClipRun,
    store: ClipStore,
    manifest: Path,
    *,
    videos: Path | None = None,
    track: Track = quietly,
) -> NewQueries:
    """Read clips of another manifest, all of them, and extract what the run was trained on.

    A clip without a session is of the session that its video belongs to in the run's own manifest,
    if it is one of its videos.

    Args:
        run: The trained network.
        store: The features of the run.
        manifest: A list of clips, as `read_clips` takes it; its splits mean nothing here.
        videos: Where the videos are, if they are not where the manifest says.

    Raises:
        CafVideoError: A clip cannot be read, or all of them were trained on.
    """
    listed = read_manifest(store.manifest_path)
    event_of = {clip.clip_id: store.event(clip.clip_id) for clip in listed}
    learned = None if run.training_clips is None else TrainingTimes(run.training_clips, listed)
    digests = VideoDigests()
    clips, events, trained_on = [], [], []
    for clip in read_clips(manifest):
        clip = relocated(clip, videos)
        event = digests.event(clip)
        if learned is not None and learned.include(clip, event):
            trained_on.append(clip)
            continue
        same = [one for one in listed if same_video(one, event_of[one.clip_id], clip, event)]
        session = clip.session or (same[0].recording if same else "")
        clips.append(replace(clip, session=session, split=""))
        events.append(event)
    if not clips:
        raise InputError(f"{run.checkpoint} was trained on all {len(trained_on)} of {manifest}")
    made = track(new_features(run, clips), description="Extracting queries", total=len(clips))
    return NewQueries(manifest, clips, events, trained_on, learned is not None, list(made))


def as_whom(
    clips: Sequence[Clip], events: Sequence[str], gallery: EmbeddedSplit, store: ClipStore
) -> list[str]:
    """The id of the clip of a gallery that each clip is, whatever it is called; NOBODY for none.

    Args:
        clips: The clips.
        events: Which event of which video each is; "" where that is not known.
    """
    by_event: dict[str, str] = {}
    by_times: dict[tuple[Path, float, float | None], str] = {}
    for one in gallery.clips:
        by_event.setdefault(store.event(one.clip_id), one.clip_id)
        by_times.setdefault((one.path, one.start_seconds, one.end_seconds), one.clip_id)
    by_event.pop("", None)
    own = set(gallery.clips)
    return [
        clip.clip_id
        if clip in own
        else by_event.get(event)
        or by_times.get((clip.path, clip.start_seconds, clip.end_seconds), NOBODY)
        for clip, event in zip(clips, events, strict=True)
    ]


def same_video(one: Clip, event: str, other: Clip, other_event: str) -> bool:
    """Whether two clips are of one video."""
    digest = event.partition("|")[0]
    return one.path == other.path or bool(digest and digest == other_event.partition("|")[0])
