"""feature store and manifest ─► how many clips are there, missing and failed, by name alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caf_video.data.features import FeatureStore
from caf_video.data.manifest import Clip, read_clips, read_manifest
from caf_video.data.stores import open_store
from caf_video.file_names import file_name
from caf_video.pipeline.extract import with_kept_splits

NO_SPLIT = "none yet"  # of clips that no extraction has dealt


@dataclass(frozen=True)
class SplitStatus:
    """Of the clips of a split how many have features, have none yet, and cannot have any."""

    split: str
    there: int
    missing: int
    failed: int

    @property
    def clips(self) -> int:
        return self.there + self.missing + self.failed


@dataclass(frozen=True)
class StoreStatus:
    """What a store has of a list of clips.

    Attributes:
        source: The list.
        splits: By split, in the order of the list.
        reasons: Some of the clips that failed, and why.
        left_out: Clips that failed and are not in the list: the store's own leaves them out.
    """

    source: Path
    splits: list[SplitStatus]
    reasons: list[tuple[str, str]]
    left_out: int

    @property
    def complete(self) -> bool:
        """Whether every clip of the list has features, and none was left out of it."""
        return not self.left_out and all(one.there == one.clips for one in self.splits)


def store_status(
    folder: Path, source: Path | None = None, *, fps: float | None = None, shown: int = 5
) -> StoreStatus:
    """What a store has of a list of clips. No clip's file is opened: `extract` looks into them.

    Args:
        folder: The store.
        source: A list as `extract` takes it; None is the store's own manifest, without what failed.
        fps: As of `extract`.
        shown: How many reasons to give.

    Raises:
        CafVideoError: There is no such store or list.
    """
    store = open_store(folder)
    has_manifest = store.manifest_path.is_file()
    dealt = read_manifest(store.manifest_path) if source is None or has_manifest else []
    clips = dealt if source is None else with_kept_splits(read_clips(source, fps=fps), dealt)
    names = [file_name(clip.clip_id) for clip in clips]
    if isinstance(store, FeatureStore):
        there, failed = store.stored(), store.failed()
    else:  # windows into arrays, which are all there or cannot be opened
        there = {name for clip, name in zip(clips, names, strict=True) if store.event(clip.clip_id)}
        failed = set()
    states: Counter[tuple[str, str]] = Counter()
    refused: list[Clip] = []
    for clip, name in zip(clips, names, strict=True):
        state = "failed" if name in failed else "there" if name in there else "missing"
        states[clip.split or NO_SPLIT, state] += 1
        if state == "failed":
            refused.append(clip)
    splits = [
        SplitStatus(split, *(states[split, state] for state in ("there", "missing", "failed")))
        for split in dict.fromkeys(clip.split or NO_SPLIT for clip in clips)
    ]
    left_out = len(failed - set(names)) if source is None else 0
    return StoreStatus(
        source or store.manifest_path, splits, _reasons(store, refused[:shown]), left_out
    )


def _reasons(store: object, clips: Sequence[Clip]) -> list[tuple[str, str]]:
    if not isinstance(store, FeatureStore):
        return []
    return [(clip.clip_id, store.failure(clip.clip_id)) for clip in clips]
