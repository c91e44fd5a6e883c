"""The clips of a project: how they are split by recording, and whether a split can be used."""

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from caf_video.data.manifest import (
    SPLITS,
    Clip,
    ManifestError,
    require_one_split_per_recording,
)
from caf_video.errors import InputError

# Clips of a class that a split needs: training draws a positive pair, the others measure.
_SMALLEST_CLASS = {"train": 2, "val": 1, "test": 1}
_DRAWS = 20  # tries at giving every split every class
_MANY_RECORDINGS = 2000  # from here on the first try is as good as any


def assign_splits(
    clips: Sequence[Clip],
    *,
    seed: int,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
) -> list[Clip]:
    """Give a split to every clip without one, whole recordings at a time.

    A clip joins the split that its recording already has. The other recordings are dealt out, those
    of the rarest classes first, to the split that most lacks their classes (training is served
    first, and lacks a class until it has two clips of it), else to the one furthest below its
    fraction. So a class is in every split where it has recordings enough. The answer depends on
    the clips and the seed, not on the clips' order.

    Args:
        seed: Of the order in which recordings of equally rare classes are dealt out.
        fractions: Of the clips, for train, val and test. They add up to 1; a split of 0 stays as
            it is.

    Raises:
        ManifestError: A recording is in two splits already.
        InputError: The fractions are not three numbers from 0 on that add up to 1.
    """
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.shape != (len(SPLITS),) or not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise InputError(f"split fractions {tuple(fractions)} are not three that add up to 1")
    require_one_split_per_recording(clips, [f"clip {clip.clip_id!r}" for clip in clips])
    recordings = sorted({clip.recording for clip in clips})
    labels = sorted({clip.label for clip in clips})
    row = {recording: position for position, recording in enumerate(recordings)}
    column = {label: position for position, label in enumerate(labels)}
    counts = np.zeros((len(recordings), len(labels)), dtype=np.int64)
    given = np.full(len(recordings), -1)
    for clip in clips:
        counts[row[clip.recording], column[clip.label]] += 1
        if clip.split:
            given[row[clip.recording]] = SPLITS.index(clip.split)
    chosen = given
    if (given < 0).any():
        chosen = _best_deal(counts, given, shares, np.random.default_rng(seed))
    return [replace(clip, split=SPLITS[chosen[row[clip.recording]]]) for clip in clips]


def _best_deal(
    counts: np.ndarray, given: np.ndarray, shares: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Deal until no split lacks a class, or else keep the best of several deals."""
    best, smallest_cost = given, (np.inf, np.inf)
    for _ in range(_DRAWS if len(counts) < _MANY_RECORDINGS else 1):
        chosen = _deal(counts, given, shares, random)
        totals = np.stack([counts[chosen == split].sum(axis=0) for split in range(len(SPLITS))])
        unevenness = np.abs(totals - shares[:, None] * counts.sum(axis=0)).sum()
        cost = ((_lacking(totals) & (shares > 0)[:, None]).sum(), unevenness)
        if cost < smallest_cost:
            best, smallest_cost = chosen, cost
        if cost[0] == 0:
            break
    return best


def _deal(
    counts: np.ndarray, given: np.ndarray, shares: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """One split for each recording; counts of clips are (recordings, classes)."""
    chosen = given.copy()
    totals = np.stack([counts[chosen == split].sum(axis=0) for split in range(len(SPLITS))])
    clips_of_class = counts.sum(axis=0)
    wanted = shares[:, None] * clips_of_class  # (splits, classes)
    free = np.flatnonzero(given < 0)
    recordings_of_class = np.maximum((counts[free] > 0).sum(axis=0), 1)
    rarest = np.where(counts[free] > 0, recordings_of_class, len(counts) + 1).min(axis=1)
    order = random.permutation(len(free))
    for recording in free[order[np.argsort(rarest[order], kind="stable")]]:
        own = counts[recording] > 0
        lack = (_lacking(totals)[:, own] / recordings_of_class[own]).sum(axis=1)
        below = ((wanted - totals)[:, own] / clips_of_class[own]).sum(axis=1)
        # Of equal lacks the split furthest below its fraction, which is training to begin with.
        split = np.lexsort((-below.round(9), -lack.round(9), shares == 0))[0]
        chosen[recording] = split
        totals[split] += counts[recording]
    return chosen


def _lacking(totals: np.ndarray) -> np.ndarray:
    """Which (split, class) has fewer clips than it needs."""
    needed = np.array([_SMALLEST_CLASS[split] for split in SPLITS])
    return totals < needed[:, None]


def require_trainable(clips: Sequence[Clip]) -> None:
    """Refuse clips that a ranking loss cannot train on, or a validation R@1 cannot be measured on.

    Raises:
        ManifestError: Names the split that is empty, the class with one training clip, the single
            class, or the validation clip whose label no training clip has.
    """
    train = _clips_in(clips, "train")
    classes = Counter(clip.label for clip in train)
    if len(classes) < 2:
        raise ManifestError(
            f"the train split holds one class, {train[0].label!r}: a ranking loss needs two"
        )
    for clip in train:
        if classes[clip.label] == 1:
            raise ManifestError(
                f"class {clip.label!r} has one clip in the train split, {clip.clip_id!r}: "
                "it needs two, or must be removed"
            )
    require_evaluable(clips, "val")


def require_evaluable(clips: Sequence[Clip], split: str = "test") -> None:
    """Refuse a split on which R@1 cannot be measured.

    A class with one clip is no obstacle: it is left out and counted.

    Raises:
        ManifestError: Names the split if it is empty or no class has two clips in it, and the clip
            whose label no training clip has.
    """
    chosen = _clips_in(clips, split)
    known = sorted({clip.label for clip in clips if clip.split == "train"})
    for clip in chosen:
        if known and clip.label not in known:
            close = difflib.get_close_matches(clip.label, known, n=1)
            meant = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
            raise ManifestError(
                f"clip {clip.clip_id!r}: the train split has no label {clip.label!r}: {meant}"
            )
    if max(Counter(clip.label for clip in chosen).values()) < 2:
        raise ManifestError(
            f"no class has two clips in the {split} split: nothing there has a right neighbour"
        )


def _clips_in(clips: Sequence[Clip], split: str) -> list[Clip]:
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}: it is one of {', '.join(SPLITS)}")
    chosen = [clip for clip in clips if clip.split == split]
    if not chosen:
        counted = Counter(clip.split or "none" for clip in clips)
        others = ", ".join(f"{name} {count}" for name, count in counted.items()) or "no clips"
        raise ManifestError(f"no clip is in the {split} split (there are: {others})")
    return chosen
