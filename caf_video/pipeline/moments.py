"""An index of moments on disk: embeddings of clips and windows, to be searched and added to.

    INDEX/index.json                 whose embeddings they are: the run, its checkpoint's digest
    INDEX/videos.json                digests of the videos, so that none is read again for one
    INDEX/parts/<digest>.safetensors some moments: embeddings (n, d) and their lengths before they
                                     were made 1, norms (n,), float32; frame_indices (n, t) int64,
                                     times_seconds (n, t) float64; as metadata `moments`, a JSON
                                     list of n objects: id, video, label, start, end, session, fps,
                                     event

A part is written whole or not at all, and named by the events in it: adding never touches what is
there, and what is interrupted goes on where it stopped. A moment is known by its event: the digest
of its video and its times. Documented in docs/reference/formats.md.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import torch

from caf_video.data.manifest import Clip
from caf_video.data.sealed import DamagedFileError, sealed, unsealed
from caf_video.errors import CafVideoError
from caf_video.files import is_ours, was_ours, written_whole
from caf_video.pipeline.identity import VideoDigests
from caf_video.pipeline.results import output_folder, read_json
from caf_video.training import ClipRun

FORMAT = 1
_AGAIN = "run the same command again, it goes on where it stopped"


class MomentIndexError(CafVideoError):
    """An index that is not there, is of another run, or cannot be read or written."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of videos and their embeddings, n of them.

    Attributes:
        clips: The moments; of a window the id says where it begins.
        events: Which event of which video each is.
        embeddings: As the run compares them, float32 (n, d).
        norms: Their lengths before they were made 1, where the run does that, else 1; (n,).
        frame_indices: Positions in the video of the frames that stand for each, int64 (n, t).
        times_seconds: When those appear, float64 (n, t).
    """

    clips: list[Clip]
    events: list[str]
    embeddings: np.ndarray
    norms: np.ndarray
    frame_indices: np.ndarray
    times_seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.clips)


@dataclass(frozen=True, eq=False)
class Part:
    """A file of an index, read and verified.

    Attributes:
        file: It.
        listed: What it says of each of its moments.
        arrays: Of `Moments`, by name.
        new: The rows of those that no part before it has.
    """

    file: Path
    listed: list[dict[str, Any]]
    arrays: dict[str, np.ndarray]
    new: list[int]


class MomentIndex:
    """The folder of an index. Made by `create` or `open`."""

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record = record
        self.digests = VideoDigests(folder / "videos.json")
        self._events: set[bytes] | None = None

    @classmethod
    def create(cls, folder: Path, run: ClipRun) -> "MomentIndex":
        """Make an index of a run, or go on with its own.

        Raises:
            CafVideoError: The folder holds the index of another run, or moments of nobody's, or
                cannot be written.
        """
        # Another process may make the index meanwhile, and writes its record first: so moments are
        # nobody's if there is none now, after they were seen.
        has_moments = any((folder / "parts").glob("*.safetensors"))
        if _record_file(folder).is_file():
            index = cls.open(folder)
            index.require(run)
            return index
        if has_moments:
            raise MomentIndexError(
                f"{folder} holds moments but no index.json that says of which run: "
                "choose another folder, or delete this one"
            )
        output_folder(folder / "parts")
        record = {
            "format": FORMAT,
            "run": str(run.checkpoint.resolve()),
            "checkpoint_sha256": checkpoint_digest(run),
            "features": dataclasses.asdict(run.description),
        }
        with written_whole(_record_file(folder), MomentIndexError, again=_AGAIN, ours=True) as part:
            part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return cls(folder, record)

    @classmethod
    def open(cls, folder: Path) -> "MomentIndex":
        """Open an index.

        Raises:
            CafVideoError: There is none, or it is of a later version.
        """
        file = _record_file(folder)
        if not file.is_file():
            raise MomentIndexError(
                f"no index at {folder} (it has no index.json): "
                f"make one with `caf-video index RUN --out {folder}`"
            )
        record = read_json(file)
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise MomentIndexError(f"{file} is not of format {FORMAT}: make the index again")
        told = all(isinstance(record.get(name), str) for name in ("run", "checkpoint_sha256"))
        if not told or (was_ours(file) and not is_ours(file)):
            raise MomentIndexError(f"{file} is not as it was written: make the index again")
        return cls(folder, record)

    def require(self, run: ClipRun) -> None:
        """Refuse another run than the one whose embeddings are here.

        Raises:
            CafVideoError: It is another, or was trained further.
        """
        if self.record["checkpoint_sha256"] != checkpoint_digest(run):
            raise MomentIndexError(
                f"{self.folder} is the index of another run, {self.record['run']} as it was, not "
                f"of {run.checkpoint}: embeddings of two networks cannot be compared; choose "
                "another --out"
            )

    def __len__(self) -> int:
        """How many moments were there when it was opened, or were added since by this process."""
        return len(self._known())

    def holds(self, event: str) -> bool:
        """Whether a moment is there; a part that is damaged is taken away, to be made again."""
        return _key(event) in self._known()

    def _known(self) -> set[bytes]:
        if self._events is None:
            self._events = set()
            for file in self._parts():
                try:
                    self._events.update(_key(moment["event"]) for moment in read_part(file)[0])
                except DamagedFileError:
                    file.unlink(missing_ok=True)  # another process may have done so
        return self._events

    def add(self, moments: Moments) -> None:
        """Keep some moments, beside what is there.

        Raises:
            CafVideoError: They cannot be written; what is there stays.
        """
        if not len(moments):
            return
        listed = [
            {
                "id": clip.clip_id,
                "video": str(clip.path),
                "label": clip.label,
                "start": clip.start_seconds,
                "end": clip.end_seconds,
                "session": clip.session,
                "fps": clip.fps,
                "event": event,
            }
            for clip, event in zip(moments.clips, moments.events, strict=True)
        ]
        arrays = {
            name: torch.from_numpy(np.ascontiguousarray(getattr(moments, name), kind))
            for name, kind in _ARRAYS.items()
        }
        name = hashlib.sha256("\n".join(moments.events).encode()).hexdigest()[:16]
        payload = sealed(arrays, {"moments": json.dumps(listed)})
        file = self.folder / "parts" / f"{name}.safetensors"
        with written_whole(file, MomentIndexError, again=_AGAIN) as part:
            part.write_bytes(payload)
        self._known().update(map(_key, moments.events))

    def read(self) -> Moments:
        """All moments.

        Raises:
            CafVideoError: There is none, or a part is damaged; names it.
        """
        clips: dict[str, Clip] = {}
        arrays: dict[str, list[np.ndarray]] = {name: [] for name in _ARRAYS}
        for part in self.parts():
            for row in part.new:
                clips[part.listed[row]["event"]] = clip_of(part.listed[row])
            for name, parts in arrays.items():
                parts.append(part.arrays[name][part.new])
        if not clips:
            raise self.empty()
        joined = {name: np.concatenate(parts) for name, parts in arrays.items()}
        return Moments(list(clips.values()), list(clips), **joined)

    def embeddings(self) -> Iterator[np.ndarray]:
        """Those of all moments, (n, d) in all and in the order of `read`, part by part.

        Raises:
            CafVideoError: A part is damaged; names it.
        """
        for part in self.parts():
            yield part.arrays["embeddings"][part.new]

    def part_names(self) -> list[str]:
        """The names of its files, each made of the events in it."""
        return [file.name for file in self._parts()]

    def parts(self) -> Iterator[Part]:
        """One after another; of those before only a digest of each moment is held.

        Raises:
            CafVideoError: A part is damaged, or its arrays are not as wide as those before it;
                names it.
        """
        seen: set[bytes] = set()
        widths: dict[str, tuple[int, ...]] = {}
        for file in self._parts():
            try:
                listed, arrays = read_part(file)
            except DamagedFileError as error:
                raise MomentIndexError(
                    f"{error}: run `caf-video index` again, it makes these moments anew"
                ) from error
            for name, array in arrays.items():
                if widths.setdefault(name, array.shape[1:]) != array.shape[1:]:
                    raise MomentIndexError(f"parts of {self.folder} differ in the shape of {name}")
            keys = [_key(moment["event"]) for moment in listed]
            yield Part(file, listed, arrays, [i for i, key in enumerate(keys) if key not in seen])
            seen.update(keys)

    def empty(self) -> MomentIndexError:
        """What to say where there is no moment."""
        return MomentIndexError(f"{self.folder} holds no moment: add some with `caf-video index`")

    def _parts(self) -> Sequence[Path]:
        return sorted((self.folder / "parts").glob("[!.]*.safetensors"))


_ARRAYS = {
    "embeddings": np.float32,
    "norms": np.float32,
    "frame_indices": np.int64,
    "times_seconds": np.float64,
}


def checkpoint_digest(run: ClipRun) -> str:
    """SHA-256 of a run's checkpoint."""
    with run.checkpoint.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record_file(folder: Path) -> Path:
    return folder / "index.json"


def read_part(file: Path) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """What a part says of its moments, and its arrays; DamagedFileError where it is not whole."""
    tensors, texts = unsealed(file)
    try:
        arrays = {name: tensors[name].numpy() for name in _ARRAYS}
        listed = json.loads(texts["moments"])
    except (KeyError, ValueError, RecursionError) as error:
        raise DamagedFileError(f"{file} is no part of an index") from error
    if not isinstance(listed, list) or not all(map(_is_moment, listed)):
        raise DamagedFileError(f"{file} does not tell its moments")
    if len({moment["event"] for moment in listed}) < len(listed):
        raise DamagedFileError(f"{file} has a moment twice")
    for name, array in arrays.items():
        if array.ndim != (1 if name == "norms" else 2) or len(array) != len(listed):
            raise DamagedFileError(f"{file} has {name} of another shape than its moments")
    return listed, arrays


# What a part says of each moment.
_FIELDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "video", "label", "session", "event"), (str,)),
    "start": (int, float),
    **dict.fromkeys(("end", "fps"), (int, float, NoneType)),
}


def _is_moment(moment: object) -> bool:
    return isinstance(moment, dict) and all(
        isinstance(moment.get(name, ...), kinds) and not isinstance(moment[name], bool)
        for name, kinds in _FIELDS.items()
    )


def _key(event: str) -> bytes:
    """An event in 16 bytes: of millions of them the names are more than all else that is held."""
    return hashlib.blake2b(event.encode("utf-8", "surrogateescape"), digest_size=16).digest()


def clip_of(moment: dict[str, Any]) -> Clip:
    """The clip of which a part says this."""
    return Clip(
        clip_id=moment["id"],
        path=Path(moment["video"]),
        label=moment["label"],
        start_seconds=moment["start"],
        end_seconds=moment["end"],
        session=moment["session"],
        fps=moment["fps"],
    )
