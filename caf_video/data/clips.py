"""The clips of a project: how they are split by recording, and whether a split can be used."""

import difflib
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from caf_video.data.clip import ALL_SPLITS, GALLERY, QUERY
from caf_video.data.manifest import (
    SPLITS,
    Clip,
    ManifestError,
    require_one_split_per_recording,
)
from caf_video.errors import InputError

FRACTIONS = (0.7, 0.15, 0.15)  # of the recordings, for train, val and test


def assign_splits(
    clips: Sequence[Clip],
    *,
    seed: int,
    fractions: tuple[float, float, float] = FRACTIONS,
) -> list[Clip]:
    """Give a split to every clip without one, whole recordings at a time.

    A clip joins the split that its recording already has. Any other recording draws its split by
    itself: by a digest of its name and the seed. So it has the same split whatever else is in the
    list, and clips that are added never move the old ones, which would put what was trained on into
    the test. The fractions are kept on average: of a few recordings a split may get none, which
    `splits_without_clips` tells.

    Args:
        seed: Another one, other splits.
        fractions: Of the recordings, for train, val and test. They add up to 1; a split of 0 stays
            as it is.

    Raises:
        ManifestError: A recording is in two splits already, or both of queries and gallery, so that
            it does not say which of them a clip of it joins.
        InputError: The fractions are not three numbers from 0 on that add up to 1.
    """
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.shape != (len(SPLITS),) or not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise InputError(f"split fractions {tuple(fractions)} are not three that add up to 1")
    require_one_split_per_recording(clips, [f"clip {clip.clip_id!r}" for clip in clips])
    split_of = {clip.recording: clip.split for clip in clips if clip.split}
    in_both = {clip.recording for clip in clips if clip.split == QUERY}
    in_both &= {clip.recording for clip in clips if clip.split == GALLERY}
    for clip in clips:
        if clip.recording not in split_of:
            split_of[clip.recording] = _drawn_split(_name_of_recording(clip), seed, shares)
        if not clip.split and clip.recording in in_both:
            raise ManifestError(
                f"clip {clip.clip_id!r} has no split, and its recording is of {QUERY} and "
                f"{GALLERY}: name its split"
            )
    return [replace(clip, split=clip.split or split_of[clip.recording]) for clip in clips]


def _name_of_recording(clip: Clip) -> str:
    """Of a video without a session its path from its list, which moves with it."""
    return f"session {clip.session}" if clip.session else f"video {clip.listed_path or clip.path}"


def _drawn_split(name: str, seed: int, shares: np.ndarray) -> str:
    digest = hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogateescape")).digest()
    draw = int.from_bytes(digest[:6], "big") / 2**48  # in [0, 1)
    split = int(np.searchsorted(np.cumsum(shares), draw, side="right"))
    return SPLITS[min(split, int(np.flatnonzero(shares)[-1]))]  # shares may add up to 1 - 1e-7


def splits_without_clips(clips: Sequence[Clip]) -> str:
    """One line on the splits that no clip is in, and the mend; "" where there is none.

    Args:
        clips: Each with its split.
    """
    used = {"test" if clip.split == QUERY else clip.split for clip in clips}
    empty = [split for split in SPLITS if split not in used]
    if (QUERY in {clip.split for clip in clips}) != (GALLERY in {clip.split for clip in clips}):
        empty.append(GALLERY if "test" in used else QUERY)
    if not empty:
        return ""
    recordings = len({clip.recording for clip in clips})
    return (
        f"no clip is in the {' or '.join(empty)} split, of {recordings} "
        f"recording{'' if recordings == 1 else 's'}: {_MEND}"
    )


_MEND = "name splits in a column 'split', add recordings, or deal anew into a new store (--seed)"


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


def sides_of(clips: Sequence[Clip], split: str) -> tuple[str, str]:
    """The split whose clips are measured, and the one in which their neighbours are searched.

    Queries are searched in the gallery; the clips of another split among one another. Clips that
    have queries and no test split are tested by these.

    Raises:
        InputError: The gallery is asked for, in which is searched; or there is no such split.
    """
    if split == "test" and {clip.split for clip in clips} & {split, QUERY} == {QUERY}:
        split = QUERY
    if split == GALLERY:
        raise InputError(f"split {GALLERY}: it is searched, not measured; {QUERY} asks it")
    if split not in ALL_SPLITS:
        raise InputError(f"unknown split {split!r}: it is one of {', '.join(ALL_SPLITS)}")
    return (QUERY, GALLERY) if split == QUERY else (split, split)


def require_evaluable(
    clips: Sequence[Clip], split: str = "test", gallery: str | None = None
) -> None:
    """Refuse a split on which R@1 cannot be measured.

    A class with one clip is no obstacle: it is left out and counted.

    Args:
        clips: Each with its split.
        split: Whose clips are measured.
        gallery: The split in which they are searched; None: the same.

    Raises:
        ManifestError: Names the split if it is empty or no class has two clips in it, or one there
            and one in the gallery, and the clip whose label no training clip has.
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
    if gallery is not None and gallery != split:
        if not {clip.label for clip in chosen} & {clip.label for clip in _clips_in(clips, gallery)}:
            raise ManifestError(
                f"no class of the {split} split is in the {gallery} split: nothing there has a "
                "right neighbour"
            )
    elif max(Counter(clip.label for clip in chosen).values()) < 2:
        raise ManifestError(
            f"no class has two clips in the {split} split: nothing there has a right neighbour"
        )


def _clips_in(clips: Sequence[Clip], split: str) -> list[Clip]:
    if split not in ALL_SPLITS:
        raise InputError(f"unknown split {split!r}: it is one of {', '.join(ALL_SPLITS)}")
    chosen = [clip for clip in clips if clip.split == split]
    if not chosen:
        counted = Counter(clip.split or "none" for clip in clips)
        others = ", ".join(f"{name} {count}" for name, count in counted.items()) or "no clips"
        raise ManifestError(f"no clip is in the {split} split (there are: {others}): {_MEND}")
    return chosen
