"""Feature maps that somebody else made, read in place: a clip is a window into a session's array.

    FOLDER/sessions.json    what the maps are, the arrays of the sessions, the window of each clip
    FOLDER/manifest.csv     the clips

An array holds a map a step, so many steps a second, and stays where it is: it is mapped into
memory, and only the steps that stand for a clip are read.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from caf_video.data.events.events import EventError
from caf_video.data.events.hdd_features import open_array
from caf_video.data.features import (
    LARGEST,
    Choose,
    ClipFeatures,
    FeatureStoreError,
    StoreDescription,
)
from caf_video.data.sampling import segment_frame_indices
from caf_video.files import is_ours, was_ours, written_whole
from caf_video.reading import require_file

ARRAY_SUFFIX = ".npy"  # of the path of a clip whose session has no video

_AGAIN = "import again into another folder"


@dataclass(frozen=True)
class Window:
    """The steps of a clip, [first, stop), in the array of a session.

    Attributes:
        session: Whose array.
        first, stop: Steps of it.
        candidates: k, steps a segment that may stand for it.
    """

    session: str
    first: int
    stop: int
    candidates: int


class SessionStore:
    """Clips that are windows into arrays of sessions. Made by `create` or `open`.

    Args:
        folder: Of the store.
        description: Of the maps.
        steps_a_second: Of the arrays.
        channels_last: Whether an array is (L, h, w, c) rather than (L, c, h, w).
        arrays: The `.npy` file of each session.
        windows: Of each clip, by id.
        videos: Frames a second and frames of the video of each session that has one.
    """

    def __init__(
        self,
        folder: Path,
        description: StoreDescription,
        *,
        steps_a_second: float,
        channels_last: bool,
        arrays: Mapping[str, Path],
        windows: Mapping[str, Window],
        videos: Mapping[str, tuple[float, int]],
    ) -> None:
        self.folder = folder
        self.description = description
        self.manifest_path = folder / "manifest.csv"
        self._steps_a_second = steps_a_second
        self._channels_last = channels_last
        self._files = arrays
        self._windows = windows
        self._videos = videos
        self._opened: dict[str, np.ndarray] = {}

    def save(self) -> None:
        """Write what the store is.

        Raises:
            FeatureStoreError: It cannot be written.
        """
        record = {
            "description": dataclasses.asdict(self.description),
            "steps_a_second": self._steps_a_second,
            "channels_last": self._channels_last,
            "arrays": {
                session: _relative(file, self.folder) for session, file in self._files.items()
            },
            "videos": {session: list(video) for session, video in self._videos.items()},
            "windows": {
                clip_id: list(dataclasses.astuple(window))
                for clip_id, window in self._windows.items()
            },
        }
        file = sessions_file(self.folder)
        with written_whole(file, FeatureStoreError, again=_AGAIN, ours=True) as part:
            part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open an existing store.

        Raises:
            FeatureStoreError: Its description cannot be read.
        """
        folder = Path(folder)
        file = sessions_file(folder)
        require_file(file, FeatureStoreError)
        try:
            record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            store = cls(
                folder,
                StoreDescription.of_plain(record["description"]),
                steps_a_second=float(record["steps_a_second"]),
                channels_last=bool(record["channels_last"]),
                arrays={name: folder / path for name, path in record["arrays"].items()},
                windows={name: _window(window) for name, window in record["windows"].items()},
                videos={
                    name: (float(fps), int(frames))
                    for name, (fps, frames) in record["videos"].items()
                },
            )
        except (
            *(OSError, ValueError, TypeError, KeyError, AttributeError),
            *(OverflowError, RecursionError),
        ) as error:
            raise FeatureStoreError(
                f"{file} does not describe windows into arrays of sessions: {_AGAIN}"
            ) from error
        if was_ours(file) and not is_ours(file):
            raise FeatureStoreError(f"{file} is not as it was written: {_AGAIN}")
        return store

    def read(self, clip_id: str) -> ClipFeatures:
        """The features of a clip, feature maps (t, k, c, h, w) in float16.

        Its frame indices are those of the session's video, or steps where it has none.

        Raises:
            FeatureStoreError: The clip is not there, or its array is missing, of another shape or
                not finite; names the file.
        """
        window = self._window(clip_id)
        steps = self._steps(window)
        maps = self._maps(clip_id, window, steps.ravel())
        times = steps / self._steps_a_second
        frames = steps
        if window.session in self._videos:
            fps, count = self._videos[window.session]
            # The arrays may go on for a step or two after the video.
            frames = np.minimum(np.rint(times * fps).astype(np.int64), count - 1)
        return ClipFeatures(
            clip_id,
            maps.unflatten(0, steps.shape),
            torch.from_numpy(frames),
            torch.from_numpy(times),
        )

    def read_maps(self, clip_id: str, choose: Choose) -> Tensor:
        """Of each timestep one candidate's feature map, (t, c, h, w) in float16; no other is read.

        Args:
            clip_id: Of the clip.
            choose: Of t and the number of candidates, which candidate of each timestep, (t,).

        Raises:
            FeatureStoreError: As of `read`.
        """
        window = self._window(clip_id)
        steps = self._steps(window)
        return self._maps(clip_id, window, steps[np.arange(len(steps)), choose(*steps.shape)])

    def _steps(self, window: Window) -> np.ndarray:
        """The steps that may stand for a clip, (t, k)."""
        return segment_frame_indices(
            window.first,
            window.stop,
            timesteps=self.description.timesteps,
            candidates=window.candidates,
        )

    def _maps(self, clip_id: str, window: Window, steps: np.ndarray) -> Tensor:
        """The maps of some steps (n,) of a clip's session, (n, c, h, w)."""
        array = self._array(window.session)
        if window.stop > len(array):
            raise FeatureStoreError(
                f"{self._files[window.session]} has {len(array)} steps, but clip {clip_id!r} ends "
                f"at step {window.stop}: {_AGAIN}"
            )
        chosen = np.asarray(array[steps])
        with np.errstate(over="ignore"):
            halves = chosen.astype(np.float16)
        if not np.isfinite(halves).all():
            where = steps[~np.isfinite(halves).all(axis=(1, 2, 3))][0]
            raise FeatureStoreError(
                f"{self._files[window.session]}, step {where}: values that are not finite, or more "
                "than float16 holds (65504)"
            )
        maps = torch.from_numpy(halves)
        return maps.movedim(3, 1) if self._channels_last else maps

    def event(self, clip_id: str) -> str:
        """Which steps of which session a clip is; "" where there is no such clip."""
        window = self._windows.get(clip_id)
        return "" if window is None else f"{window.session}|{window.first}|{window.stop}"

    def digest(self, clip_ids: Sequence[str]) -> str:
        """Digest of the windows of some clips and of size and date of their sessions' arrays.

        Raises:
            FeatureStoreError: A clip or an array is not there.
        """
        digest = hashlib.sha256(f"{self.description}|{self._channels_last}".encode())
        for clip_id in clip_ids:
            digest.update(f"{clip_id}|{self._window(clip_id)}\n".encode())
        for session in sorted({self._window(clip_id).session for clip_id in clip_ids}):
            try:
                stat = self._files[session].stat()
            except (OSError, KeyError) as error:
                raise self._unreadable(session) from error
            digest.update(f"{session}|{stat.st_size}|{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def _window(self, clip_id: str) -> Window:
        if clip_id not in self._windows:
            raise FeatureStoreError(f"{sessions_file(self.folder)} has no clip {clip_id!r}")
        return self._windows[clip_id]

    def _array(self, session: str) -> np.ndarray:
        """The array of a session, mapped once."""
        if session not in self._opened:
            try:
                array = open_array(self._files[session])  # never a pickle
            except (KeyError, EventError) as error:
                raise self._unreadable(session) from error
            wanted = self.description
            shape: tuple[int, ...] = (wanted.channels, *wanted.grid)
            if self._channels_last:
                shape = (*wanted.grid, wanted.channels)
            if array.shape[1:] != shape:
                raise FeatureStoreError(
                    f"{self._files[session]}: a step is no longer of shape {shape}: {_AGAIN}"
                )
            self._opened[session] = array
        return self._opened[session]

    def _unreadable(self, session: str) -> FeatureStoreError:
        file = self._files.get(session)
        return FeatureStoreError(
            f"the array of session {session} cannot be read ({file}): put it back, or {_AGAIN}"
        )


def _window(fields: list[Any]) -> Window:
    session, first, stop, candidates = fields
    numbers = (first, stop, candidates)
    if not isinstance(session, str) or any(type(number) is not int for number in numbers):
        raise ValueError(f"{fields} is no window")
    if not 0 <= first < stop or not 0 < candidates < LARGEST:
        raise ValueError(f"{fields} is no window")
    return Window(session, first, stop, candidates)


def _relative(file: Path, folder: Path) -> str:
    """As a manifest names a video: a project may be moved with all that is in it."""
    try:
        return Path(os.path.relpath(file, folder.absolute())).as_posix()
    except ValueError:  # another drive
        return file.as_posix()


def sessions_file(folder: Path) -> Path:
    """What says that a folder is such a store."""
    return folder / "sessions.json"
