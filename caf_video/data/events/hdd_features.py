"""HDD's feature release: labels and maps of steps, an array a session, left where they are."""

import tokenize
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caf_video.data.events.events import EventError
from caf_video.data.events.hdd import EventRule, kept_runs
from caf_video.data.events.hdd_labels import BACKGROUND, Layer, numbered
from caf_video.data.events.hdd_sessions import session_of
from caf_video.data.events.hdd_steps import Run, runs_of
from caf_video.reading import require_file

# What numpy raises on files that are cut off, of another kind, or say that they are endless.
_NO_ARRAY = (
    *(ValueError, EOFError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError),
    tokenize.TokenError,
)
_FOLDERS = ("", "20200710_labels")  # that the labels are in


def open_array(file: Path) -> np.ndarray:
    """An array of a `.npy` file, left on disk: what is used of it is read.

    Raises:
        EventError: It cannot be read, is no array, or holds objects, which only a pickle could.
    """
    require_file(file, EventError)
    try:
        return np.lib.format.open_memmap(file, mode="r")
    except OSError as error:
        raise EventError(f"cannot read {file}: {error.strerror or error}") from error
    except _NO_ARRAY as error:
        raise EventError(
            f"{file} is not an array of numbers (a pickle, an archive, or damaged): "
            "it is not opened"
        ) from error


@dataclass(frozen=True)
class SessionMaps:
    """The maps of every session of a release.

    Attributes:
        files: By session; each is (L, c, h, w), or (L, h, w, c).
        steps: L of each.
        channels: c.
        grid: Cells, (h, w).
        channels_last: Whether it is (L, h, w, c).
    """

    files: dict[str, Path]
    steps: dict[str, int]
    channels: int
    grid: tuple[int, int]
    channels_last: bool


def session_arrays(folder: Path) -> dict[str, Path]:
    """The `.npy` file of each session in a folder.

    Raises:
        EventError: There is no such folder, none in it, or two of a session.
    """
    if not folder.is_dir():
        raise EventError(f"no folder at {folder}")
    files: dict[str, Path] = {}
    for path in sorted(folder.glob("*.npy")):
        session = session_of(path.stem)
        if not session:
            raise EventError(f"{path}: its name has no date and time of a session")
        if files.setdefault(session, path) != path:
            raise EventError(f"session {session} has two arrays, {files[session]} and {path}")
    if not files:
        raise EventError(f"{folder} holds no array of a session (.npy)")
    return files


def open_maps(folder: Path, channels: str | None) -> SessionMaps:
    """The shapes of the maps in a folder; nothing of the maps themselves is read.

    Args:
        folder: Of arrays.
        channels: first or last, where the shape does not tell; None where it does.

    Raises:
        EventError: An array is of another shape than the first, or the shape does not tell.
    """
    files = session_arrays(folder)
    steps: dict[str, int] = {}
    shape: tuple[int, ...] = ()
    for session, file in files.items():
        array = open_array(file)
        if array.ndim != 4 or array.dtype not in (np.float16, np.float32):
            raise EventError(
                f"{file}: {array.dtype} of shape {array.shape}: wanted float16 or float32, "
                "(steps, channels, h, w) or (steps, h, w, channels)"
            )
        shape = shape or array.shape[1:]
        if array.shape[1:] != shape:
            raise EventError(f"{file}: shape {array.shape[1:]} a step, the others have {shape}")
        steps[session] = len(array)
    last = _channels_last(shape, channels, folder)
    height, width = shape[:2] if last else shape[1:]
    return SessionMaps(files, steps, shape[-1] if last else shape[0], (height, width), last)


def _channels_last(shape: tuple[int, ...], channels: str | None, folder: Path) -> bool:
    """The axis that differs from two equal ones is the channels."""
    if channels is not None:
        if channels not in ("first", "last"):
            raise EventError(f"--channels {channels}: it is first or last")
        return channels == "last"
    one, two, three = shape
    if one != two == three:
        return False
    if one == two != three:
        return True
    raise EventError(
        f"{folder}: the shape {shape} of a step does not tell which axis is the channels: say "
        "--channels first or --channels last"
    )


def find_targets(root: Path, layer: Layer) -> dict[str, Path]:
    """The labels of steps of each session, by layer.

    Raises:
        EventError: The release has none of the layer, or they are not there.
    """
    if not layer.targets:
        raise EventError(f"the feature release has no labels of the layer {layer.name}")
    places = [root / folder / layer.targets for folder in _FOLDERS]
    for place in places:
        if place.is_dir():
            return session_arrays(place)
    raise EventError(f"no folder of labels at {' or '.join(map(str, places))}")


def target_runs(file: Path, steps: int, rule: EventRule) -> tuple[list[Run], Counter[str]]:
    """The events of a session's labels of steps, and how many were dropped, by reason.

    Args:
        file: Integers, (L,).
        steps: That the session has maps of; labels may go a few steps on.
        rule: Which runs are events.

    Raises:
        EventError: It is of another kind, holds an unknown number, or has far more steps.
    """
    target = open_array(file)
    names = numbered(rule.layer)
    if target.ndim != 1 or not np.issubdtype(target.dtype, np.integer):
        raise EventError(
            f"{file}: {target.dtype} of shape {target.shape}: wanted integers, (steps,)"
        )
    if abs(len(target) - steps) > 3:
        raise EventError(f"{file}: labels of {len(target)} steps, but maps of {steps}")
    if len(target) and not (0 <= target.min() and target.max() < len(names)):
        wrong = target[(target < 0) | (target >= len(names))][0]
        known = f"those of the layer {rule.layer.name} are 0 to {len(names) - 1}"
        raise EventError(f"{file}: label {wrong}: {known}")
    every = [names[number] for number in target[:steps]]
    dropped = Counter(
        f"{run.label}, not among the classes"
        for run in runs_of(every)
        if run.label != BACKGROUND and not rule.classes.hold(run.label)
    )
    held = [name if rule.classes.hold(name) else BACKGROUND for name in every]
    runs, short = kept_runs(held, rule)
    return runs, dropped + short
