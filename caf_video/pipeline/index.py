"""run and videos ─► an index of moments: of a split, of listed clips, of whole drives."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from caf_video.data.class_folders import is_video
from caf_video.data.manifest import Clip, read_clips
from caf_video.data.stores import ClipStore
from caf_video.data.video.reader import probe_video
from caf_video.errors import CafVideoError, InputError
from caf_video.pipeline.extract import clips_on
from caf_video.pipeline.moments import MomentIndex, Moments
from caf_video.pipeline.opened import clips_of, open_features, open_run, run_backbone
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.windows import embed_clips_of_video, embedded, first_half, windows_of
from caf_video.shards import WHOLE, Shard, items_of
from caf_video.training import ClipRun

CLIPS_IN_A_PART = 512  # of a split: written and forgotten


@dataclass(frozen=True)
class Windows:
    """How a drive becomes moments: windows of so many seconds, a step apart."""

    seconds: float = 4.0
    step_seconds: float = 1.0


@dataclass(frozen=True)
class Indexed:
    """What `index_moments` did.

    Attributes:
        added: Moments that are new in the index.
        held: Those that were there, and were not made again.
        failed: Videos that gave none, and why.
        total: Moments that the index has now.
    """

    added: int
    held: int
    failed: list[tuple[Path, str]]
    total: int


def index_moments(
    run_folder: Path,
    out: Path,
    sources: Sequence[Path] = (),
    *,
    split: str = "test",
    drives: bool = False,
    windows: Windows | None = None,
    features: Path | None = None,
    fps: float | None = None,
    shard: Shard = WHOLE,
    track: Track = quietly,
) -> Indexed:
    """Embed clips or windows of drives and keep them in an index, beside what it has.

    Of several shards each adds what its own recordings hold.

    Args:
        run_folder: The run.
        out: Folder of the index, new or this run's.
        sources: Videos, which are drives; and lists of clips as `read_clips` takes them. None
            means a split of the run's own clips, from its features.
        split: Which, without sources.
        drives: Take the whole videos of lists and folders, window by window, rather than clips.
        windows: Of drives.
        features: Where the run's features are, if they were moved.
        fps: Frames a second, of videos that do not say.
        shard: Which of the videos, or of the clips of a split.
        track: Shows how far it is.

    Raises:
        CafVideoError: The run, a list or the index cannot be used. A video that cannot be read is
            passed over.
    """
    windows = windows or Windows()
    run = open_run(run_folder)
    groups = _groups(sources, drives, fps)  # a mistake in a list is told before anything is made
    index = MomentIndex.create(out, run)
    if not sources:
        store = open_features(run, features)
        clips = clips_on(shard, clips_of(run, store, split).clips)
        added, held = _add_clips(index, run, store, clips, split, track)
        return Indexed(added, held, [], len(index))
    groups = items_of(groups, shard, together=_recording, cost=_cost)
    if not groups:
        return Indexed(0, 0, [], len(index))
    backbone = run_backbone(run, groups[0][0][0].path.name)
    added = held = 0
    failed = []
    try:
        for clips, whole in groups:
            path = clips[0].path
            try:
                if whole:
                    clips = _windows(clips[0], windows)
                events = [index.digests.event(clip) for clip in clips]
                # A list may name an event twice, by two labels: it is one moment.
                unique: dict[str, Clip] = {}
                for event, clip in zip(events, clips, strict=True):
                    unique.setdefault(event, clip)
                new = [event for event in unique if not index.holds(event)]
                held += len(unique) - len(new)
                if not new:
                    continue
                moments = embed_clips_of_video(
                    run, backbone, [unique[event] for event in new], new, track=track
                )
            except CafVideoError as error:
                failed.append((path, str(error)))
                continue
            index.add(moments)
            added += len(new)
    finally:
        index.digests.keep()
    if not added + held and failed:
        raise CafVideoError(failed[0][1])
    return Indexed(added, held, failed, len(index))


def _add_clips(
    index: MomentIndex,
    run: ClipRun,
    store: ClipStore,
    clips: Sequence[Clip],
    split: str,
    track: Track,
) -> tuple[int, int]:
    new: dict[str, Clip] = {}
    held = set()
    for clip in clips:
        event = store.event(clip.clip_id) or f"|clip {clip.clip_id}"
        if index.holds(event):
            held.add(event)
        else:
            new.setdefault(event, clip)
    left = list(new.items())
    pieces = [left[i : i + CLIPS_IN_A_PART] for i in range(0, len(left), CLIPS_IN_A_PART)]
    for piece in track(pieces, description=f"Embedding the {split} split", total=len(pieces)):
        embeddings, norms, frames = [], [], []
        for _, clip in piece:
            one = store.read(clip.clip_id).middle_frames()
            found, norm = embedded(run, first_half(run, one.feature_maps[None]))
            embeddings.append(found)
            norms.append(norm)
            # Copies: views would keep the maps that they were read with.
            frames.append((one.frame_indices.copy(), one.times_seconds.copy()))
        index.add(
            Moments(
                [clip for _, clip in piece],
                [event for event, _ in piece],
                torch.cat(embeddings).numpy(),
                torch.cat(norms).numpy(),
                np.stack([indices for indices, _ in frames]),
                np.stack([times for _, times in frames]),
            )
        )
    return len(new), len(held)


def _recording(group: tuple[list[Clip], bool]) -> str:
    return group[0][0].recording


def _cost(group: tuple[list[Clip], bool]) -> float:
    """Of clips their number; of a whole video, whose length only opening it would tell, bytes."""
    clips, whole = group
    if not whole:
        return float(len(clips))
    path = clips[0].path
    return float(path.stat().st_size) if path.is_file() else 1.0


def _groups(
    sources: Sequence[Path], drives: bool, fps: float | None
) -> list[tuple[list[Clip], bool]]:
    """The clips of each video, and whether they are the whole of it, to be cut in windows."""
    groups: list[tuple[list[Clip], bool]] = []
    for source in sources:
        if not source.exists():
            raise InputError(f"no video and no list of clips at {source}")
        if is_video(source):
            groups.append(([_drive(source, fps=fps)], True))
        elif drives and source.is_dir():
            videos = sorted(path for path in source.rglob("*") if is_video(path))
            if not videos:
                raise InputError(f"{source} holds no video")
            groups += [([_drive(video, fps=fps)], True) for video in videos]
        else:
            clips = sorted(read_clips(source, fps=fps), key=lambda clip: str(clip.path))
            for path, of_video in groupby(clips, key=lambda clip: clip.path):
                its = list(of_video)
                whole = _drive(path, session=its[0].session, fps=its[0].fps)
                groups.append(([whole], True) if drives else (its, False))
    return groups


def _drive(path: Path, *, session: str = "", fps: float | None = None) -> Clip:
    return Clip(path.stem, path.resolve(), label="", session=session, fps=fps)


def _windows(drive: Clip, windows: Windows) -> list[Clip]:
    info = probe_video(drive.path, fps=drive.fps)
    return windows_of(
        drive, info.duration_seconds, window=windows.seconds, step=windows.step_seconds
    )
