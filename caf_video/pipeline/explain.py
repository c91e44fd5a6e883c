"""clip ─► filters ─► strip, npz and JSON: where a trained embedding looked, and when (Fig. 9)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from caf_video.attention import (
    explain_clip,
    filters_to_heatmaps,
    frame_influence,
    resize_maps,
)
from caf_video.data.features import ClipFeatures
from caf_video.data.manifest import Clip, read_manifest
from caf_video.data.session_store import ARRAY_SUFFIX
from caf_video.data.stores import ClipStore
from caf_video.data.video.reader import VideoReader
from caf_video.errors import InputError
from caf_video.files import require_ours
from caf_video.pipeline.embed import EmbeddedSplit, embed_split
from caf_video.pipeline.evaluate import ALL_OTHERS, OTHER_SESSIONS
from caf_video.pipeline.identity import VideoDigests
from caf_video.pipeline.opened import (
    clips_of,
    maps_at_test,
    new_features,
    open_features,
    open_run,
    relocated,
)
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.results import (
    output_folder,
    result_names,
    write_json,
    write_npz,
    write_picture,
)
from caf_video.rendering import ClipCaption, NeighbourRow, clip_strip, frame_title
from caf_video.training import ClipRun

CLIPS_AT_ONCE = 64

_PLAIN_GREY = 96  # under the heat of a clip without a video,
_PLAIN_CELL = 32  # whose cells are as many pixels large
TRAINED_ON = "trained on"  # instead of a split
NOBODY = "\0"  # what no clip is called


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
        return _has_video(self.clip)

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
        gallery: The clips among which neighbours were searched.
        unjudged: Clips that were asked for and have no verdict to choose them by: those without a
            label, and those that the run was trained on.
    """

    clips: list[ExplainedClip]
    gallery: EmbeddedSplit
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
    only: Literal["all", "correct", "wrong"] = "all",
    filters: Literal["per-frame", "joint"] = "per-frame",
    features: Path | None = None,
    videos: Path | None = None,
    track: Track = quietly,
) -> Explained:
    """Where a run's network looked, in every sampled frame of the clips asked for.

    Args:
        run_folder: The run.
        targets: Clip ids, or video files; none means every clip of the split.
        split: The clips among which nearest neighbours are searched.
        only: Keep the clips whose retrieval was right, or wrong.
        filters: A filter for each frame, or one for the clip, which also says when.
        features: Where the features are, if they are not where the run left them.
        videos: Where the videos are, if they are not where the manifest says.
        track: Shows how far it is.

    Raises:
        CafVideoError: The run, a clip or a video cannot be used; says which and why.
    """
    run = open_run(run_folder)
    store = open_features(run, features)
    gallery = clips_of(run, store, split).clips
    if len(gallery) < 2:
        raise InputError(f"the {split} split has {len(gallery)} clips: neighbours need two")
    embedded = embed_split(run, store, split, track=track)
    clips, maps, queries = _chosen(run, store, embedded, targets)
    embeddings = _queries(run, embedded, clips, maps)
    of_all = embedded.nearest(embeddings, queries)
    apart = embedded.sessions_allow
    nearest = embedded.nearest(embeddings, queries, other_sessions=True) if apart else of_all
    trained_on = [split != "train" and query.split == TRAINED_ON for query in queries]
    judged = [bool(clip.label) and not trained_on[i] for i, clip in enumerate(clips)]
    wanted = [
        i
        for i, clip in enumerate(clips)
        if only == "all"
        or (judged[i] and (nearest.clips[i].label == clip.label) == (only == "correct"))
    ]
    unjudged = [clip for clip, verdict in zip(clips, judged, strict=True) if not verdict]
    explained = []
    chunks = [wanted[i : i + CLIPS_AT_ONCE] for i in range(0, len(wanted), CLIPS_AT_ONCE)]
    for chunk in track(chunks, description="Solving for the filters", total=len(chunks)):
        batch = torch.stack([maps_at_test(maps[i]) for i in chunk])
        solution = explain_clip(run.model, batch, filters=filters)
        shares = solution.frame_shares.cpu().numpy() if filters == "joint" else None
        influence = frame_influence(run.model, batch)
        for row, i in enumerate(chunk):
            frames = maps[i].middle_frames()
            others = store.read(nearest.clips[i].clip_id).middle_frames()
            explained.append(
                ExplainedClip(
                    clip=relocated(clips[i], videos),
                    frame_indices=frames.frame_indices,
                    times_seconds=frames.times_seconds,
                    filters=solution.filters[row].cpu(),
                    losses=np.atleast_1d(solution.losses[row].cpu().numpy()),
                    steps=np.atleast_1d(solution.steps[row].cpu().numpy()),
                    settled=np.atleast_1d(solution.settled[row].cpu().numpy()),
                    influence=influence[row].cpu().numpy(),
                    solver=solution.solver,
                    nearest=relocated(nearest.clips[i], videos),
                    nearest_frames=others.frame_indices,
                    distance=float(nearest.distances[i]),
                    rule=OTHER_SESSIONS if apart else ALL_OTHERS,
                    nearest_of_all=of_all.clips[i],
                    trained_on=trained_on[i],
                    frame_shares=None if shares is None else shares[row],
                )
            )
    return Explained(explained, embedded, unjudged)


def draw_clip(
    explained: ExplainedClip,
    *,
    captioned: bool = True,
    with_neighbour: bool = True,
    boxes: np.ndarray | None = None,
    evidence_visible: np.ndarray | None = None,
) -> Any:
    """The strip of a clip: its frames under their heatmaps, its nearest neighbour's below.

    Where there is no video the heat is drawn alone, over grey.

    Args:
        captioned: Whether the strip says whose it is; a page around it may say so itself.
        with_neighbour: Whether the nearest clip's frames stand below.
        boxes: Ground truth in pixels of the video, (t, 4).
        evidence_visible: Whether each box's evidence is visible, (t,).

    Returns:
        A PIL image.
    """
    clip, nearest = explained.clip, explained.nearest
    titles = list(map(frame_title, explained.frame_indices, explained.times_seconds))
    neighbour = None
    if explained.has_video:
        with VideoReader(clip.path, fps=clip.fps) as reader:
            frames = reader.read(explained.frame_indices.tolist())
    else:
        height, width = (_PLAIN_CELL * cells for cells in explained.filters.shape[1:])
        frames = np.full((len(titles), height, width, 3), _PLAIN_GREY, np.uint8)
        titles = [f"{seconds:.2f} s" for seconds in explained.times_seconds]
    if with_neighbour and _has_video(nearest):
        with VideoReader(nearest.path, fps=nearest.fps) as reader:
            others = reader.read(explained.nearest_frames.tolist())
        neighbour = NeighbourRow(
            others, [f"{nearest.clip_id} · frame {index}" for index in explained.nearest_frames]
        )
    shares, size = explained.frame_shares, frames.shape[1:3]
    heatmaps = (
        filters_to_heatmaps(explained.filters, size)
        if shares is None
        else resize_maps(explained.filters.clamp(min=0), size)
    )
    caption = ClipCaption(
        clip.clip_id,
        clip.label,
        nearest.clip_id,
        nearest.label,
        explained.correct,
        neighbour_session=nearest.session,
        distance=explained.distance,
    )
    return clip_strip(
        frames,
        heatmaps.numpy(),
        titles=titles,
        caption=caption if captioned else None,
        boxes=boxes,
        evidence_visible=evidence_visible,
        frame_influence=explained.influence if shares is None else None,
        frame_shares=shares,
        neighbour=neighbour,
    )


def write_explanations(
    explained: Sequence[ExplainedClip], out: Path, *, track: Track = quietly
) -> list[Path]:
    """Leave a strip, the raw signed filters and a record of each clip in `out`.

    `CLIP.png`, `CLIP.npz` (filters (t, h, w), frame_indices, times_seconds, losses, influence; of
    one filter also frame_shares) and `CLIP.json`, where CLIP is the clip's id, with what file names
    cannot hold percent-encoded; of two that are called alike, the second with its folder before it.

    Returns:
        The strips.

    Raises:
        CafVideoError: A file is there that is not ours, or cannot be written.
    """
    folder = output_folder(out)
    names = result_names([(one.clip.clip_id, one.clip.path) for one in explained], folder)
    require_ours(*(folder / f"{name}{end}" for name in names for end in (".npz", ".png", ".json")))
    strips = []
    drawn = list(zip(explained, names, strict=True))
    for one, name in track(drawn, description="Drawing strips", total=len(drawn)):
        write_npz(
            folder / f"{name}.npz",
            {
                "filters": one.filters.numpy(),
                "frame_indices": one.frame_indices,
                "times_seconds": one.times_seconds,
                "losses": one.losses,
                "influence": one.influence,
                **({} if one.frame_shares is None else {"frame_shares": one.frame_shares}),
            },
        )
        strips.append(folder / f"{name}.png")
        write_picture(strips[-1], draw_clip(one))
        files = {"strip": f"{name}.png", "filters": f"{name}.npz"}
        write_json(folder / f"{name}.json", {**one.record(), "files": files})
    return strips


def _has_video(clip: Clip) -> bool:
    return clip.path.suffix != ARRAY_SUFFIX


def _chosen(
    run: ClipRun, store: ClipStore, embedded: EmbeddedSplit, targets: Sequence[str]
) -> tuple[list[Clip], list[ClipFeatures], list[Clip]]:
    """The clips asked for, their features, and as whom each of them asks for its neighbours.

    A video file's features are extracted here and now. A clip asks as the clip of the gallery that
    is the same event of the same video, if there is one, whatever it is called; and as of the
    session that its video belongs to.
    """
    listed = read_manifest(store.manifest_path)
    known = {clip.clip_id: clip for clip in listed}
    digests = VideoDigests()
    clips, features, events = [], [], []
    for target in dict.fromkeys(targets or [clip.clip_id for clip in embedded.clips]):
        if target in known:
            clips.append(known[target])
            features.append(store.read(target))
            events.append(store.event(target))
        elif Path(target).is_file():
            clips.append(Clip(Path(target).stem, Path(target).resolve(), label=""))
            features.append(new_features(run, clips[-1]))
            events.append(digests.event(clips[-1]))
        else:
            near = get_close_matches(target, known, n=3)
            advice = f"did you mean {', '.join(near)}?" if near else f"it has {len(known)} clips"
            raise InputError(
                f"{target!r} is neither a video file nor a clip of {store.manifest_path}: {advice}"
            )
    event_of = {clip.clip_id: store.event(clip.clip_id) for clip in listed}
    learned = run.training_clips or {}
    learned_events = set(learned.values()) - {""}
    queries = []
    for clip, event in zip(clips, events, strict=True):
        listed_clip = clip.clip_id in known and known[clip.clip_id] == clip
        same = [one for one in embedded.clips if _same(one, event_of[one.clip_id], clip, event)]
        video = [one for one in listed if _same_video(one, event_of[one.clip_id], clip, event)]
        trained_on = (listed_clip and clip.clip_id in learned) or event in learned_events
        queries.append(
            replace(
                clip,
                clip_id=clip.clip_id if clip in same else same[0].clip_id if same else NOBODY,
                session=clip.session or (video[0].recording if video else ""),
                split=TRAINED_ON if trained_on else clip.split,
            )
        )
    return clips, features, queries


def _same(one: Clip, event: str, other: Clip, other_event: str) -> bool:
    """Whether two clips are one event of one video."""
    if event and event == other_event:
        return True
    times = (one.start_seconds, one.end_seconds) == (other.start_seconds, other.end_seconds)
    return times and one.path == other.path


def _same_video(one: Clip, event: str, other: Clip, other_event: str) -> bool:
    """Whether two clips are of one video."""
    digest = event.partition("|")[0]
    return one.path == other.path or bool(digest and digest == other_event.partition("|")[0])


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
