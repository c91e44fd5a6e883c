"""The moments of an index as they lie on disk: a few numbers of each are held, no embedding."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caf_video.data.manifest import Clip
from caf_video.data.sealed import DamagedFileError, place_of
from caf_video.pipeline.moments import MomentIndex, MomentIndexError, Part, clip_of, read_part

_ROWS_AT_ONCE = 1 << 14  # embeddings in memory, of however large a part


@dataclass(frozen=True)
class Moment:
    """One of them, all that an index knows of it but its embedding.

    Attributes:
        clip: It; of a window the id says where it begins.
        frame_indices: Positions in the video of the frames that stand for it, int64 (t,).
        times_seconds: When those appear, float64 (t,).
    """

    clip: Clip
    frame_indices: np.ndarray
    times_seconds: np.ndarray


@dataclass(frozen=True)
class _Kept:
    """A part: its file, the position of its first moment, where in the file its embeddings begin.

    Attributes:
        rows: Those of its rows that count, ascending.
    """

    file: Path
    first: int
    offset: int
    rows: range | np.ndarray


class KeptMoments:
    """All moments of an index, in the order of `MomentIndex.read`, n of them.

    Every part is read and verified once, when this is made. After that embeddings are read again
    whenever they are compared, some thousand at a time: the system keeps files in the memory that
    nobody else wants.

    Args:
        index: The index.

    Attributes:
        video_codes: Which video each is of, from 0 on, int32 (n,).
        recording_codes: Which recording, int32 (n,), positions in
        recordings: their names.
        starts, ends: Of each, in seconds of its video, (n,); infinite where it ends with that.
        last_times: When the last of the frames that stand for each appears, (n,).
        first_clips: The first moment of each video, by its code.
        mean_output: The mean of the network's outputs, as they are before they are made of length
            1, float64 (d,).

    Raises:
        CafVideoError: There is no moment, or a part is damaged; names it.
    """

    def __init__(self, index: MomentIndex) -> None:
        self._parts: list[_Kept] = []
        self._code_of_video: dict[str, int] = {}
        self._code_of_recording: dict[str, int] = {}
        self.first_clips: list[Clip] = []
        columns: list[list[np.ndarray]] = []
        total = np.zeros(())
        count = 0
        for part in index.parts():
            if not part.new:
                continue
            offset = place_of(part.file, "embeddings").start
            everything = len(part.new) == len(part.listed)
            rows = range(len(part.new)) if everything else np.array(part.new)
            self._parts.append(_Kept(part.file, count, offset, rows))
            columns.append(self._columns(part))
            outputs = part.arrays["embeddings"] * part.arrays["norms"][:, None]
            total = total + outputs[part.new].sum(axis=0, dtype=np.float64)
            count += len(part.new)
        if not count:
            raise index.empty()
        joined = [np.concatenate(column) for column in zip(*columns, strict=True)]
        self.video_codes, self.recording_codes = (codes.astype(np.int32) for codes in joined[:2])
        self.starts, self.ends, self.last_times = joined[2:]
        self.recordings = list(self._code_of_recording)
        self.mean_output = total / count
        self._firsts = np.array([part.first for part in self._parts])
        self._latest: tuple[int, list[dict[str, Any]], dict[str, np.ndarray]] = (-1, [], {})

    def __len__(self) -> int:
        return len(self.video_codes)

    def code_of_video(self, digest: str) -> int:
        """The code of the video of a digest; -1 where none is of it."""
        return self._code_of_video.get(digest, -1)

    def __getitem__(self, position: int) -> Moment:
        """A moment. Its part is read for it, and kept until one of another part is asked for.

        Raises:
            CafVideoError: The part has changed since it was verified.
        """
        place = int(np.searchsorted(self._firsts, position, side="right")) - 1
        part = self._parts[place]
        if self._latest[0] != place:
            try:
                listed, arrays = read_part(part.file)
            except DamagedFileError as error:
                raise _changed(part.file) from error
            self._latest = place, listed, arrays
        _, listed, arrays = self._latest
        row = int(part.rows[position - part.first])
        frames, times = arrays["frame_indices"][row], arrays["times_seconds"][row]
        return Moment(clip_of(listed[row]), frames.copy(), times.copy())  # and not the whole part

    def measured(
        self, measure: Callable[[np.ndarray], np.ndarray], positions: np.ndarray | None = None
    ) -> np.ndarray:
        """What `measure` says of embeddings, a number each; they are given some at a time.

        Args:
            measure: Given float32 (m, d), returns (m,).
            positions: Of which moments, ascending; None for all.

        Raises:
            CafVideoError: A part is gone.
        """
        if positions is None:
            positions = np.arange(len(self))
        found = np.empty(len(positions))
        for begin, embeddings in self._blocks(positions):
            found[begin : begin + len(embeddings)] = measure(embeddings)
        return found

    def _blocks(self, positions: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """The embeddings at these positions in blocks, each with the place of its first."""
        edges = np.searchsorted(positions, [*self._firsts, len(self)]).tolist()
        for part, begin, stop in zip(self._parts, edges, edges[1:], strict=False):
            for first in range(begin, stop, _ROWS_AT_ONCE):
                rows = positions[first : min(first + _ROWS_AT_ONCE, stop)] - part.first
                if not isinstance(part.rows, range):
                    rows = part.rows[rows]
                yield first, self._embeddings(part, rows)

    def _embeddings(self, part: _Kept, rows: np.ndarray) -> np.ndarray:
        """Those of ascending rows of a part. It is mapped into memory for no longer than this."""
        width = len(self.mean_output)
        offset = part.offset + int(rows[0]) * width * np.float32().nbytes
        shape = (int(rows[-1] - rows[0]) + 1, width)
        try:
            mapped = np.memmap(part.file, "<f4", "r", offset, shape)
        except (OSError, ValueError) as error:
            raise _changed(part.file) from error
        return np.array(mapped[rows - rows[0]])

    def _columns(self, part: Part) -> list[np.ndarray]:
        videos, recordings, starts, ends = [], [], [], []
        for row in part.new:
            moment = part.listed[row]
            digest = moment["event"].partition("|")[0] or moment["video"]
            code = self._code_of_video.setdefault(digest, len(self._code_of_video))
            if code == len(self.first_clips):
                self.first_clips.append(clip_of(moment))
            videos.append(code)
            recording = moment["session"] or moment["video"]
            recordings.append(
                self._code_of_recording.setdefault(recording, len(self._code_of_recording))
            )
            starts.append(moment["start"])
            ends.append(np.inf if moment["end"] is None else moment["end"])
        last_times = part.arrays["times_seconds"][part.new, -1]
        return [*map(np.array, (videos, recordings, starts, ends)), last_times]


def _changed(file: Path) -> MomentIndexError:
    return MomentIndexError(f"{file} was taken away or changed meanwhile: run the command again")
