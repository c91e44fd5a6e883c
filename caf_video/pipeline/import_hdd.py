"""the Honda driving dataset ─► manifest of its events, or a store of windows into its features."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from caf_video.data.events.events import milliseconds
from caf_video.data.events.hdd import EventRule, annotated_runs
from caf_video.data.events.hdd_features import find_targets, open_maps, target_runs
from caf_video.data.events.hdd_sessions import (
    annotation_files,
    find_split,
    read_split,
    session_videos,
    with_validation,
)
from caf_video.data.events.hdd_steps import STEPS_A_SECOND, Run
from caf_video.data.features import StoreDescription
from caf_video.data.manifest import Clip
from caf_video.data.session_store import SessionStore, Window
from caf_video.data.video.reader import VideoReader
from caf_video.pipeline.import_events import Imported, require_new, write_imported
from caf_video.pipeline.progress import Track, quietly

VALIDATION_SESSIONS = 10  # of the 100 to train on. Ours


@dataclass(frozen=True)
class HddSplit:
    """How sessions are split.

    Attributes:
        file: The published lists; None finds them in the release.
        validation: How many sessions of training are for validation.
    """

    file: Path | None = None
    validation: int = VALIDATION_SESSIONS

    def of(self, root: Path, sessions: Iterable[str]) -> Mapping[str, str]:
        """The split of every session, train, val or test.

        Raises:
            EventError: There are no lists, or too few sessions.
        """
        published = read_split(self.file or find_split(root))
        return with_validation(published, sorted(sessions), self.validation)


def import_hdd(
    root: Path,
    out: Path,
    rule: EventRule,
    *,
    annotations: Path | None = None,
    split: HddSplit | None = None,
    track: Track = quietly,
) -> Imported:
    """Write the manifest of the events of HDD's annotations.

    Args:
        root: Of the release: sessions with their videos.
        out: The manifest; what is there already is never replaced.
        rule: What is an event.
        annotations: A folder of `.eaf` files; None finds them in the release.
        split: How sessions are split; None is as published.

    Raises:
        CafVideoError: Annotations, videos or split cannot be read, or no event is left.
    """
    require_new(out)
    files = annotation_files(annotations or root)
    videos = session_videos(root)
    splits = (split or HddSplit()).of(root, files.keys() & videos.keys())
    imported = Imported([], Counter(), Counter())
    for session, file in track(files.items(), description="Reading annotations", total=len(files)):
        if session not in splits:
            imported.skipped[_UNLISTED] += 1
            continue
        runs, dropped = annotated_runs(file, rule)
        imported.skipped.update(dropped)
        if session not in videos:
            imported.missing[session] += len(runs)
            continue
        imported.clips.extend(_clips(runs, session, videos[session], splits[session]))
    write_imported(imported, out, source=annotations or root, videos=root)
    return imported


def import_hdd_features(
    root: Path,
    features: Path,
    out: Path,
    rule: EventRule,
    *,
    videos: Path | None = None,
    channels: str | None = None,
    timesteps: int = 3,
    candidates: int = 3,
    split: HddSplit | None = None,
    track: Track = quietly,
) -> Imported:
    """Make a store of windows into the maps of HDD's feature release, which stay where they are.

    Args:
        root: Of the release: its folders of labels.
        features: Its folder of maps, an array a session.
        out: Folder of the store; what is there already is never replaced.
        rule: What is an event.
        videos: A release with the videos, for strips of frames; None: strips show heat alone.
        channels: first or last, where the shape of the maps does not tell.
        timesteps: Steps that stand for a clip.
        candidates: Steps a segment that training may choose from, odd; other splits have one.
        split: How sessions are split; None is as published.

    Raises:
        CafVideoError: Labels, maps or split cannot be read, or no event is left.
    """
    require_new(out)
    targets = find_targets(root, rule.layer)
    maps = open_maps(features, channels)
    there = {} if videos is None else session_videos(videos)
    splits = (split or HddSplit()).of(root, targets.keys() & maps.files.keys())
    imported = Imported([], Counter(), Counter())
    windows: dict[str, Window] = {}
    lengths: dict[str, tuple[float, int]] = {}
    sessions = sorted(targets)
    for session in track(sessions, description="Reading labels", total=len(sessions)):
        if session not in splits:
            imported.skipped[_UNLISTED] += 1
            continue
        if session not in maps.files:
            imported.skipped["a session without maps"] += 1
            continue
        runs, dropped = target_runs(targets[session], maps.steps[session], rule)
        imported.skipped.update(dropped)
        path = there.get(session, maps.files[session])
        if session in there:
            with VideoReader(path) as reader:
                lengths[session] = (reader.info.fps, reader.info.frame_count)
        clips = _clips(runs, session, path, splits[session])
        many = candidates if splits[session] == "train" else 1
        for clip, run in zip(clips, runs, strict=True):
            windows[clip.clip_id] = Window(session, run.first, run.stop, many)
        imported.clips.extend(clips)
    description = StoreDescription(
        backbone=features.name,
        weights="made elsewhere",
        weights_sha256="",  # nobody here knows; so with stride and size
        stride=0,
        size=(0, 0),
        channels=maps.channels,
        grid=maps.grid,
        timesteps=timesteps,
        candidates=candidates,
    )
    store = SessionStore(
        out,
        description,
        steps_a_second=STEPS_A_SECOND,
        channels_last=maps.channels_last,
        arrays={session: file.absolute() for session, file in maps.files.items()},
        windows=windows,
        videos=lengths,
    )
    write_imported(imported, store.manifest_path, source=root, videos=features)
    store.save()
    return imported


_UNLISTED = "of a session in neither list of the split"


def _clips(runs: Iterable[Run], session: str, path: Path, split: str) -> list[Clip]:
    return [
        Clip(
            clip_id=f"{session}-{run.first:05d}",
            path=path.absolute(),
            label=run.label,
            start_seconds=milliseconds(run.start_seconds),
            end_seconds=milliseconds(run.end_seconds),
            session=session,
            split=split,
        )
        for run in runs
    ]
