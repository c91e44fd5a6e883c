"""clip ─► filters: where a trained embedding looked, and when (Fig. 9)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from caf_video.attention import explain_clip, frame_influence
from caf_video.data.clips import sides_of
from caf_video.data.features import ClipFeatures
from caf_video.data.manifest import Clip, read_manifest
from caf_video.data.moved import relocated
from caf_video.data.session_store import ARRAY_SUFFIX
from caf_video.data.stores import ClipStore
from caf_video.errors import InputError
from caf_video.pipeline.evaluate import ALL_OTHERS, OTHER_SESSIONS
from caf_video.pipeline.extract import clips_on
from caf_video.pipeline.identity import VideoDigests
from caf_video.pipeline.opened import (
    clips_of,
    maps_at_test,
    new_features,
    open_features,
    open_run,
)
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.queries import EmbeddedSearch, as_whom, embed_search
from caf_video.pipeline.trained_on import TrainingTimes
from caf_video.shards import WHOLE, Shard
from caf_video.training import ClipRun

Only = Literal["all", "correct", "wrong"]
Filters = Literal["per-frame", "joint"]

CLIPS_AT_ONCE = 64
FORMAT = (
    "1"  # of an explanation: another one once the same run and features are explained otherwise
)


@dataclass(frozen=True)
class ExplainedClip:
    """A clip, its nearest other clip, and where the network looked in each of its t frames.

    Attributes:
        clip: The clip; its label is "" where nobody gave one.
        frame_indices: Positions in its video, (t,).
        times_seconds: When those frames appear, (t,).
        filters: Signed, on the grid, (t, h, w): of unit norm each, or one of unit norm.
        losses, steps, settled: Of each frame's filter, (t,), or of the one, (1,).
        influence: Each frame's share of the embedding change when it is blanked, (t,).
        solver: Its name.
        nearest: The nearest other clip by the rule of the gate.
        nearest_frames: Positions of its sampled frames in its video, (t,).
        distance: To it, Euclidean.
        rule: Of the gate: OTHER_SESSIONS, where sessions allow it, else ALL_OTHERS.
        nearest_of_all: The nearest of all other clips.
        trained_on: Whether the run was trained on the clip.
        frame_shares: Each frame's share of the one filter, (t,); None where each has its own.
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
    rule: str
    nearest_of_all: Clip
    trained_on: bool
    frame_shares: np.ndarray | None = None

    @property
    def correct(self) -> bool | None:
        """The gate: whether the nearest clip, by its rule, has the same label; None without one."""
        return self.nearest.label == self.clip.label if self.clip.label else None

    @property
    def has_video(self) -> bool:
        """Whether there are frames to draw: maps that others made may come without."""
        return has_video(self.clip)

    def record(self) -> dict[str, Any]:
        """All of it but the filters, in plain values."""
        columns: dict[str, list[Any]] = {
            "frame_index": self.frame_indices.tolist(),
            "time_seconds": self.times_seconds.tolist(),
        }
        solved = {
            "loss": self.losses.tolist(),
            "steps": self.steps.tolist(),
            "settled": self.settled.tolist(),
        }
        of_clip: dict[str, Any] = {}
        if self.frame_shares is None:
            columns |= solved
        else:
            of_clip = {"filters": "joint", **{name: value[0] for name, value in solved.items()}}
            columns["share"] = self.frame_shares.tolist()
        columns["influence"] = self.influence.tolist()
        frames = zip(*columns.values(), strict=True)
        return {
            "clip_id": self.clip.clip_id,
            "video": str(self.clip.path),
            "label": self.clip.label,
            "session": self.clip.session,
            "nearest": self.nearest.clip_id,
            "nearest_label": self.nearest.label,
            "nearest_session": self.nearest.session,
            "distance": self.distance,
            "correct": self.correct,
            "gate": self.rule,
            "nearest_of_all_others": self.nearest_of_all.clip_id,
            "trained_on": self.trained_on,
            "solver": self.solver,
            **of_clip,
            "frames": [dict(zip(columns, frame, strict=True)) for frame in frames],
        }


@dataclass(frozen=True)
class Explained(Sequence[ExplainedClip]):
    """The clips that were explained, and what is to be said of the others.

    Attributes:
        clips: They.
        search: The clips of the split, and those among which neighbours were searched.
        unjudged: Clips that were asked for and have no verdict to choose them by: those without a
            label, and those that the run was trained on.
    """

    clips: list[ExplainedClip]
    search: EmbeddedSearch
    unjudged: list[Clip]

    def __getitem__(self, place: Any) -> Any:
        return self.clips[place]

    def __len__(self) -> int:
        return len(self.clips)


def explain_clips(
    run_folder: Path,
    targets: Sequence[str],
    *,
    split: str = "test",
    only: Only = "all",
    filters: Filters = "per-frame",
    features: Path | None = None,
    videos: Path | None = None,
    track: Track = quietly,
) -> Explained:
    """Where a run's network looked, in every sampled frame of the clips asked for.

    All of them are held: `explain_into` writes many to a folder and forgets them.

    Args:
        run_folder: The run.
        targets: Clip ids, or video files; none means every clip of the split.
        split: The clips among which nearest neighbours are searched; of queries those of the
            gallery.
        only: Keep the clips whose retrieval was right, or wrong.
        filters: A filter for each frame, or one for the clip, which also says when.
        features: Where the features are, if they are not where the run left them.
        videos: Where the videos are, if they are not where the manifest says.
        track: Shows how far it is.

    Raises:
        CafVideoError: The run, a clip or a video cannot be used; says which and why.
    """
    asked = ask(
        run_folder, targets, split=split, filters=filters, features=features, videos=videos,
        track=track,
    )  # fmt: skip
    chunks = asked.chunks()
    explained: list[ExplainedClip] = []
    for chunk in track(chunks, description="Solving for the filters", total=len(chunks)):
        explained += (one for one in asked.explained(chunk, only) if one is not None)
    return Explained(explained, asked.search, asked.unjudged)


@dataclass(frozen=True, eq=False)
class Asked:
    """Clips that a run is asked for, and all that explains any of them.

    Attributes:
        run, store: The network and its features.
        search: The clips of the split, and those among which neighbours are searched.
        everything: All clips that are asked for, those of other shards too.
        clips: Those that are to be explained here, n of them.
        events: Which event of which video each is, (n,).
        queries: As whom, and of which session, each asks for its neighbours, (n,).
        trained_on: Whether the run was trained on each, (n,).
        filters: A filter for each frame, or one for the clip.
        videos: Where the videos are, if they are elsewhere.
    """

    run: ClipRun
    store: ClipStore
    search: EmbeddedSearch
    everything: list[Clip]
    clips: list[Clip]
    events: list[str]
    queries: list[Clip]
    trained_on: list[bool]
    filters: Filters
    videos: Path | None
    _stored: frozenset[Clip]
    _there: Mapping[Clip, Tensor]

    def chunks(self) -> list[range]:
        """The rows of the clips, so many at once."""
        last = len(self.clips)
        return [range(i, min(i + CLIPS_AT_ONCE, last)) for i in range(0, last, CLIPS_AT_ONCE)]

    @property
    def unjudged(self) -> list[Clip]:
        """Those without a verdict to choose them by."""
        return [clip for row, clip in enumerate(self.clips) if not self._judged(row)]

    def made_of(self, row: int) -> str:
        """Digest of all that the explanation of a clip depends on: its features, run, gallery."""
        clip = self.clips[row]
        features = self.store.digest([clip.clip_id]) if clip in self._stored else self.events[row]
        return hashlib.sha256(f"{self.of_all}|{features}".encode()).hexdigest()[:32]

    @cached_property
    def of_all(self) -> str:
        """What every explanation depends on: the run, the gallery, the kind of filters."""
        with self.run.checkpoint.open("rb") as checkpoint:
            digest = hashlib.file_digest(checkpoint, "sha256")
        for side in self.search.sides:
            digest.update(repr([(one.clip_id, one.label, one.recording) for one in side.clips])
                          .encode("utf-8", "surrogateescape"))  # fmt: skip
            digest.update(side.embeddings.contiguous().numpy().tobytes())
        return f"{FORMAT}|{self.filters}|{digest.hexdigest()}"

    def explained(self, rows: Sequence[int], only: Only = "all") -> list[ExplainedClip | None]:
        """Some of the clips, row by row; None where the verdict is another than `only` wants."""
        features = self._features(rows)
        embeddings = torch.stack(
            [
                self._there[clip]
                if clip in self._there
                else self.run.embed(maps_at_test(of_clip)[None])[0].cpu()
                for clip, of_clip in zip([self.clips[row] for row in rows], features, strict=True)
            ]
        )
        queries = [self.queries[row] for row in rows]
        of_all = self.search.nearest(embeddings, queries)
        apart = self.search.sessions_allow
        nearest = self.search.nearest(embeddings, queries, other_sessions=True) if apart else of_all
        wanted = [
            place
            for place, row in enumerate(rows)
            if only == "all"
            or (
                self._judged(row)
                and (nearest.clips[place].label == self.clips[row].label) == (only == "correct")
            )
        ]
        found: list[ExplainedClip | None] = [None] * len(rows)
        if not wanted:
            return found
        batch = torch.stack([maps_at_test(features[place]) for place in wanted])
        solution = explain_clip(self.run.model, batch, filters=self.filters)
        shares = solution.frame_shares.cpu().numpy() if self.filters == "joint" else None
        influence = frame_influence(self.run.model, batch)
        for at, place in enumerate(wanted):
            frames = features[place].middle_frames()
            others = self.store.read(nearest.clips[place].clip_id).middle_frames()
            found[place] = ExplainedClip(
                clip=relocated(self.clips[rows[place]], self.videos),
                # Copies: views would hold the maps that they were read with.
                frame_indices=frames.frame_indices.copy(),
                times_seconds=frames.times_seconds.copy(),
                filters=solution.filters[at].cpu(),
                losses=np.atleast_1d(solution.losses[at].cpu().numpy()),
                steps=np.atleast_1d(solution.steps[at].cpu().numpy()),
                settled=np.atleast_1d(solution.settled[at].cpu().numpy()),
                influence=influence[at].cpu().numpy(),
                solver=solution.solver,
                nearest=relocated(nearest.clips[place], self.videos),
                nearest_frames=others.frame_indices.copy(),
                distance=float(nearest.distances[place]),
                rule=OTHER_SESSIONS if apart else ALL_OTHERS,
                nearest_of_all=of_all.clips[place],
                trained_on=self.trained_on[rows[place]],
                frame_shares=None if shares is None else shares[at],
            )
        return found

    def _judged(self, row: int) -> bool:
        return bool(self.clips[row].label) and not self.trained_on[row]

    def _features(self, rows: Sequence[int]) -> list[ClipFeatures]:
        """Of a store's clips as they are stored; those of a video file are extracted here."""
        clips = [self.clips[row] for row in rows]
        new = [clip for clip in clips if clip not in self._stored]
        made = dict(zip(new, new_features(self.run, new), strict=True))
        return [made[clip] if clip in made else self.store.read(clip.clip_id) for clip in clips]


def ask(
    run_folder: Path,
    targets: Sequence[str],
    *,
    split: str = "test",
    filters: Filters = "per-frame",
    features: Path | None = None,
    videos: Path | None = None,
    shard: Shard = WHOLE,
    track: Track = quietly,
) -> Asked:
    """Find the clips that are asked for, and embed those among which neighbours are searched.

    A clip asks as the clip of the gallery that is the same event of the same video, if there is
    one, whatever it is called; and as of the session that its video belongs to.

    Args:
        shard: Which of the clips are to be explained; the others are as of `explain_clips`.

    Raises:
        CafVideoError: As of `explain_clips`.
    """
    run = open_run(run_folder)
    store = open_features(run, features)
    listed = read_manifest(store.manifest_path)
    searched = sides_of(listed, split)[1]
    gallery = clips_of(run, store, searched).clips
    if len(gallery) < 2:
        raise InputError(f"the {searched} split has {len(gallery)} clips: neighbours need two")
    search = embed_search(run, store, split, track=track)
    known = {clip.clip_id: clip for clip in listed}
    names = targets or [clip.clip_id for clip in search.queries.clips]
    everything = [_asked_for(name, known, store) for name in dict.fromkeys(names)]
    clips = clips_on(shard, everything)
    stored = frozenset(clip for clip in clips if known.get(clip.clip_id) == clip)
    digests = VideoDigests()
    events = [
        store.event(clip.clip_id) if clip in stored else digests.event(clip) for clip in clips
    ]
    learned = run.training_clips or {}
    times = TrainingTimes(learned, listed)
    sessions = _Sessions(listed, store)
    ids = as_whom(clips, events, search.gallery, store)
    queries, trained_on = [], []
    for clip, event, name in zip(clips, events, ids, strict=True):
        session = clip.session or sessions.of(clip, event)
        queries.append(replace(clip, clip_id=name, session=session))
        learned_it = (clip in stored and clip.clip_id in learned) or times.include(clip, event)
        trained_on.append(split != "train" and learned_it)
    there = {
        clip: row
        for side in search.sides
        for clip, row in zip(side.clips, side.embeddings, strict=True)
    }
    return Asked(
        run, store, search, everything, clips, events, queries, trained_on, filters, videos,
        stored, there,
    )  # fmt: skip


def has_video(clip: Clip) -> bool:
    """Whether there are frames to draw."""
    return clip.path.suffix != ARRAY_SUFFIX


def _asked_for(target: str, known: Mapping[str, Clip], store: ClipStore) -> Clip:
    """The clip of a store, or a video file as a clip that nobody labelled."""
    if target in known:
        return known[target]
    if Path(target).is_file():
        return Clip(Path(target).stem, Path(target).resolve(), label="")
    near = get_close_matches(target, known, n=3)
    advice = f"did you mean {', '.join(near)}?" if near else f"it has {len(known)} clips"
    raise InputError(
        f"{target!r} is neither a video file nor a clip of {store.manifest_path}: {advice}"
    )


class _Sessions:
    """Which recording a video belongs to, as the first clip of it says."""

    def __init__(self, listed: Sequence[Clip], store: ClipStore) -> None:
        self._recordings = [clip.recording for clip in listed]
        self._of_path: dict[Path, int] = {}
        self._of_digest: dict[str, int] = {}
        for number, clip in enumerate(listed):
            self._of_path.setdefault(clip.path, number)
            self._of_digest.setdefault(store.event(clip.clip_id).partition("|")[0], number)
        self._of_digest.pop("", None)

    def of(self, clip: Clip, event: str) -> str:
        """That of a clip's video; "" where it is none of these."""
        first = [
            number
            for number in (
                self._of_path.get(clip.path),
                self._of_digest.get(event.partition("|")[0]),
            )
            if number is not None
        ]
        return self._recordings[min(first)] if first else ""
