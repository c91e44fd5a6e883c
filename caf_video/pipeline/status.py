"""feature store, index or explained clips ─► how much is there, and whether that is all."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caf_video.data.features import FeatureStore
from caf_video.data.manifest import Clip, read_clips, read_manifest
from caf_video.data.session_store import sessions_file
from caf_video.data.stores import open_store
from caf_video.errors import InputError
from caf_video.file_names import file_name
from caf_video.pipeline.explain_files import ENDS
from caf_video.pipeline.extract import with_kept_splits
from caf_video.pipeline.moments import MomentIndex
from caf_video.pipeline.results import read_json
from caf_video.pipeline.searchable import Searchable, how_searched

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


@dataclass(frozen=True)
class IndexStatus:
    """What an index has.

    Attributes:
        moments, videos: How many there are.
        searched: How it is searched, and how good its lists are.
        fits: Whether the lists are of the moments that there are.
    """

    moments: int
    videos: int
    searched: Searchable
    fits: bool

    @property
    def complete(self) -> bool:
        """Whether it can be searched."""
        return self.moments > 0 and self.fits


@dataclass(frozen=True)
class ExplainedStatus:
    """What a folder has that `explain --model` fills.

    Attributes:
        clips: How many are explained.
        complete: Whether the page was written after all of them: that ends a pass.
    """

    clips: int
    complete: bool


Status = StoreStatus | IndexStatus | ExplainedStatus


def status_of(folder: Path, source: Path | None = None, *, fps: float | None = None) -> Status:
    """What a folder has, of whichever kind it is.

    Args:
        folder: A feature store, an index, or what `explain` fills.
        source, fps: Of a store: see `store_status`.

    Raises:
        CafVideoError: It is none of them, it cannot be read, or a list is given of another kind.
    """
    is_store = (folder / "store.json").is_file() or sessions_file(folder).is_file()
    if is_store:
        return store_status(folder, source, fps=fps)
    found: Status | None = None
    if (folder / "index.json").is_file():
        found = index_status(folder)
    elif folder.is_dir():
        found = _explained_status(folder)
    if found is None:
        raise InputError(
            f"{folder} is neither a feature store nor an index, and holds no explained clip: "
            "name the --out of `extract`, `index` or `explain --model`"
        )
    if source is not None:
        raise InputError(f"{folder} is no feature store: leave {source} out")
    return found


def index_status(folder: Path) -> IndexStatus:
    """What an index has. Its parts are read, and verified.

    Raises:
        CafVideoError: There is none, or a part is damaged; names it.
    """
    index = MomentIndex.open(folder)
    moments, videos = 0, set()
    for part in index.parts():
        moments += len(part.new)
        for moment in part.listed:
            videos.add(moment["event"].partition("|")[0] or moment["video"])
    searched, fits = how_searched(index)
    return IndexStatus(moments, len(videos), searched, fits)


def _explained_status(folder: Path) -> ExplainedStatus | None:
    """Of strips, filters and records by the names of their files; None where there is none."""
    dates: dict[str, dict[str, int]] = {end: {} for end in ENDS}
    for entry in os.scandir(folder):
        name = Path(entry.name)
        if name.suffix in dates and not entry.name.startswith("."):
            dates[name.suffix][name.stem] = entry.stat().st_mtime_ns
    records = dates[".json"]
    explained = set.intersection(*map(set, dates.values()))
    if not explained:
        return None
    told = read_json(folder / f"{min(explained)}.json")
    if not isinstance(told, dict) or "made_of" not in told:  # of another command, or of somebody's
        return None
    page = folder / "index.html"
    newest = max(records[name] for name in explained)
    return ExplainedStatus(len(explained), page.is_file() and page.stat().st_mtime_ns >= newest)


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
