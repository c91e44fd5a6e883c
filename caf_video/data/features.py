"""The feature store: frozen feature maps of clips on disk, one safetensors file a clip.

    FOLDER/store.json                      what made the features: a StoreDescription
    FOLDER/manifest.csv                    the clips, written by the extraction
    FOLDER/clips/3f/<clip id>.safetensors  feature_maps, frame_indices, times_seconds
    FOLDER/failed/3f/<clip id>.json        why a clip has no features

The folders 00 to ff are named by a digest of the id (`store_files`).

Every file is written under a temporary name and renamed, so it is whole or it is not there: an
extraction that stops, for whatever reason, goes on where it stopped. Every clip has a checksum,
which is checked whenever it is read (see `sealed`): one that is damaged is refused, and extracted
again by the same command. So several processes may write to one store, also the same clip. Files
that earlier versions, which had no checksums, left in `clips` itself are not looked at.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from caf_video.data.sealed import DamagedFileError, Place, place_of, sealed, unsealed
from caf_video.data.store_files import fanned_out, names_in
from caf_video.errors import CafVideoError
from caf_video.files import is_ours, was_ours, written_whole
from caf_video.reading import require_file

LARGEST = 1 << 20  # of any number that describes a map: beyond are numbers that nobody meant


Choose = Callable[[int, int], np.ndarray]
"""Of a clip's timesteps t and candidates k, which candidate of each timestep is taken, int (t,)."""


class FeatureStoreError(CafVideoError):
    """A feature store that cannot be written or read, or holds features of another kind."""


@dataclass(frozen=True)
class StoreDescription:
    """What made the features of a store. Two descriptions agree if all but `weights` is equal.

    Attributes:
        backbone: Its name.
        weights: Where its weights came from; informative, for the same values may lie in two files.
        weights_sha256: Digest of the values of the weights.
        stride: Pixels a cell.
        size: Of the network's input, (height, width).
        channels: Of a feature map.
        grid: Cells of a feature map, (h, w).
        timesteps: t, segments of a clip.
        candidates: k, stored frames a segment of a training clip; other clips have one.
        precision: What the backbone computed in.
        normalization: What frames were resized by, mean and deviation; empty if the name of the
            backbone tells. So is
        revision: what else tells the backbone's definition from another: a commit, a digest.
    """

    backbone: str
    weights: str
    weights_sha256: str
    stride: int
    size: tuple[int, int]
    channels: int
    grid: tuple[int, int]
    timesteps: int
    candidates: int
    precision: str = "float32"
    normalization: str = ""
    revision: str = ""

    @classmethod
    def of_plain(cls, fields: Any) -> Self:
        """The description that `dataclasses.asdict` made these values of, whatever wrote them.

        Raises:
            ValueError: They are no description: a field is unknown, missing, or out of range.
        """
        fields = dict(fields)
        for name in ("size", "grid"):
            height, width = fields[name]
            fields[name] = (height, width)
        try:
            description = cls(**fields)
        except TypeError as error:
            raise ValueError(str(error)) from error
        # Of maps that were made elsewhere the stride and the size are not known, and 0.
        known = (fields["channels"], fields["timesteps"], fields["candidates"], *fields["grid"])
        for number in (*known, fields["stride"], *fields["size"]):
            if type(number) is not int or not (number in known) <= number < LARGEST:
                raise ValueError(f"{number!r} is no size or number of anything")
        for field in dataclasses.fields(cls):
            if field.type is str and not isinstance(getattr(description, field.name), str):
                raise ValueError(f"{field.name} is no text")
        return description

    def differences(self, other: "StoreDescription") -> list[str]:
        """The names of the fields in which two descriptions do not agree."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "weights"]
        return [name for name in names if getattr(self, name) != getattr(other, name)]


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """The features of one clip: t timesteps of k candidate frames (1 unless it is for training).

    Attributes:
        clip_id: Of the clip.
        feature_maps: (t, k, c, h, w); float16 when read, any float type to write.
        frame_indices: Positions in the video, int64, (t, k).
        times_seconds: When those frames appear in the video, float64, (t, k).
    """

    clip_id: str
    feature_maps: Tensor
    frame_indices: Tensor
    times_seconds: Tensor

    def middle_frames(self) -> "MiddleFrames":
        """The frames used at test: of each timestep's candidates the middle one."""
        middle = self.feature_maps.shape[1] // 2
        return MiddleFrames(
            self.feature_maps[:, middle],
            self.frame_indices[:, middle].numpy(),
            self.times_seconds[:, middle].numpy(),
        )


@dataclass(frozen=True, eq=False)
class MiddleFrames:
    """One frame a timestep: its feature map, where it is and when it appears.

    Attributes:
        feature_maps: (t, c, h, w), of the type of those it was taken from.
        frame_indices: Positions in the video, int64, (t,).
        times_seconds: float64, (t,).
    """

    feature_maps: Tensor
    frame_indices: np.ndarray
    times_seconds: np.ndarray


def unstorable(feature_maps: Tensor) -> str:
    """Why maps cannot be stored in half precision, to follow "its features"; "" where they can."""
    # The least and the largest, for they take a thirtieth of the time of `isfinite` (`aminmax`
    # copies maps that lie channels last), and are NaN where anything is. 65 520 is halfway to what
    # would be the next number, and becomes infinite.
    least, largest = feature_maps.amin().item(), feature_maps.amax().item()
    if -65520 < least and largest < 65520:
        return ""
    if math.isfinite(least) and math.isfinite(largest):
        return f"reach {max(-least, largest):.3g}, more than float16 holds (65504)"
    return "are not finite (NaN or infinity)"


class FeatureStore:
    """A folder of clip features that all come from one backbone. Made by `create` or `open`."""

    def __init__(self, folder: Path, description: StoreDescription) -> None:
        self.folder = folder
        self.description = description
        self.manifest_path = folder / "manifest.csv"
        # Size and date of the files that were verified, and where their maps lie.
        self._verified: dict[str, tuple[int, int, Place]] = {}

    @classmethod
    def create(cls, folder: str | Path, description: StoreDescription) -> Self:
        """Make a store, or go on with one of the same description.

        Several processes may do so at once.

        Raises:
            FeatureStoreError: If the folder is a file, cannot be written, or holds other features.
        """
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise FeatureStoreError(f"{folder} is a file, not a folder: choose another folder")
        # Another process may make the store meanwhile. It writes the description first: so what
        # lies there without one is nobody's if there is none now, after it was seen.
        manifest = folder / "manifest.csv"
        has_manifest = manifest.exists()
        has_clips = next(_clips_folder(folder).glob("**/*.safetensors"), None) is not None
        file = _description_file(folder)
        if not file.exists():
            if has_manifest:
                raise FeatureStoreError(
                    f"{manifest} is there already, and is no feature store's: choose another folder"
                )
            if has_clips:
                raise FeatureStoreError(
                    f"{folder} holds features but no store.json that says of what: "
                    "choose another folder, or delete this one"
                )
            text = json.dumps(dataclasses.asdict(description), indent=2) + "\n"
            with written_whole(file, FeatureStoreError, again=_AGAIN, ours=True) as part:
                part.write_bytes(text.encode())
        store = cls.open(folder)  # of two that were written at once the last one stays
        store.require(description)
        return store

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open an existing store.

        Raises:
            FeatureStoreError: If there is none, or its description cannot be read.
        """
        folder = Path(folder)
        file = _description_file(folder)
        if not file.is_file():
            raise FeatureStoreError(
                f"no feature store at {folder} (it has no store.json): "
                f"make one with `caf-video extract MANIFEST --out {folder}`"
            )
        require_file(file, FeatureStoreError)
        try:
            description = StoreDescription.of_plain(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise FeatureStoreError(
                f"{file} is not a description of a feature store: {_ANEW}"
            ) from error
        if was_ours(file) and not is_ours(file):
            raise FeatureStoreError(f"{file} is not as it was written: {_ANEW}")
        return cls(folder, description)

    def require(self, description: StoreDescription) -> None:
        """Raise FeatureStoreError, naming the fields, unless the store holds such features."""
        fields = self.description.differences(description)
        if fields:
            told = "; ".join(
                f"{name} is {_short(getattr(self.description, name))}, "
                f"not {_short(getattr(description, name))}"
                for name in fields
            )
            raise FeatureStoreError(
                f"{self.folder} holds other features: {told}. "
                "Choose another folder, or extract into this one after deleting it"
            )

    def write(self, features: ClipFeatures, clip_key: str, *, event: str = "") -> None:
        """Store a clip, replacing what was stored under its id.

        Args:
            features: Of one clip.
            clip_key: What the features were made of (video, start, end, …): `holds` compares it.
            event: Which event of which video this is, whatever the clip's name; "" if not known.

        Raises:
            FeatureStoreError: If the features have the wrong shape, are not finite or too large for
                float16, or cannot be written (a full disk). What was stored stays as it is.
        """
        clip = f"clip {features.clip_id!r}"
        maps = features.feature_maps
        self._require_shapes(clip, features)
        reason = unstorable(maps)
        if reason:
            raise FeatureStoreError(f"features of {clip} {reason}")
        payload = sealed(
            {
                "feature_maps": maps.to(torch.float16).contiguous(),
                "frame_indices": features.frame_indices.to(torch.int64).contiguous(),
                "times_seconds": features.times_seconds.to(torch.float64).contiguous(),
            },
            {"clip_id": features.clip_id, "clip_key": clip_key, "event": event},
        )
        file = self._file(features.clip_id)
        with written_whole(file, FeatureStoreError, again=_AGAIN) as part:
            part.write_bytes(payload)

    def note_failure(self, clip_id: str, reason: str) -> None:
        """Note why a clip has no features.

        Raises:
            FeatureStoreError: It cannot be written.
        """
        text = json.dumps({"clip_id": clip_id, "reason": reason}, indent=1)  # any name, as ASCII
        with written_whole(self._failure(clip_id), FeatureStoreError, again=_AGAIN) as part:
            part.write_text(f"{text}\n", encoding="utf-8")

    def forget_failure(self, clip_id: str) -> None:
        """The clip has its features now."""
        self._failure(clip_id).unlink(missing_ok=True)

    def failure(self, clip_id: str) -> str:
        """Why a clip has no features; "" where nobody noted it."""
        try:
            noted = json.loads(self._failure(clip_id).read_text(encoding="utf-8"))
            return str(noted["reason"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return ""

    def failed(self) -> set[str]:
        """The `file_name` of every clip that has no features, of which nothing is read."""
        return names_in(self.folder / "failed", ".json")

    def stored(self) -> set[str]:
        """The `file_name` of every clip that has features, of which nothing is read."""
        return names_in(_clips_folder(self.folder), ".safetensors")

    def holds(self, clip_id: str, clip_key: str) -> bool:
        """Whether the clip is stored as it was written, and was made of what `clip_key` says.

        Raises:
            FeatureStoreError: Its file may not be read, or is none.
        """
        file = self._file(clip_id)
        if not file.exists():
            return False
        require_file(file, FeatureStoreError)
        try:
            _, metadata = unsealed(file)
        except DamagedFileError:
            return False
        return metadata.get("clip_id") == clip_id and metadata.get("clip_key") == clip_key

    def event(self, clip_id: str) -> str:
        """Which event of which video a stored clip is; "" where it is not known or not stored.

        The maps, which are many bytes, are not read for it.
        """
        file = self._file(clip_id)
        try:
            if not file.is_file():
                return ""
            with safe_open(file, framework="pt") as stored:
                return (stored.metadata() or {}).get("event", "")
        except (OSError, SafetensorError):
            return ""

    def read(self, clip_id: str) -> ClipFeatures:
        """The features of a clip, feature maps (t, k, c, h, w) in float16.

        Raises:
            FeatureStoreError: If they are missing, damaged, another clip's or of another shape;
                names the file.
        """
        file = self._file(clip_id)
        if not file.exists():
            raise self._missing(clip_id)
        require_file(file, FeatureStoreError)
        try:
            # What has its checksum is what `write` wrote, and so finite. To ask that again here
            # takes three times as long as all the rest.
            tensors, metadata = unsealed(file)
            features = ClipFeatures(
                clip_id,
                tensors["feature_maps"],
                tensors["frame_indices"],
                tensors["times_seconds"],
            )
        except (DamagedFileError, KeyError) as error:
            raise FeatureStoreError(
                f"{file} is damaged, or was stored by a version that had no checksums: {_REPAIR}"
            ) from error
        if metadata.get("clip_id") != clip_id:
            raise FeatureStoreError(
                f"{file} holds another clip, {metadata.get('clip_id')!r}: {_REPAIR}"
            )
        self._require_shapes(str(file), features)
        return features

    def read_maps(self, clip_id: str, choose: Choose) -> Tensor:
        """Of each timestep one candidate's feature map, (t, c, h, w) in float16.

        The checksum is of the whole file: it is verified when a file is read first, and again when
        its size or date have changed. After that only the maps that are chosen are read.

        Args:
            clip_id: Of the clip.
            choose: Of t and the number of candidates, which candidate of each timestep, (t,).

        Raises:
            FeatureStoreError: As of `read`.
        """
        file = self._file(clip_id)
        try:
            stat = file.stat()
        except OSError as error:
            raise self._missing(clip_id) from error
        size, date, place = self._verified.get(clip_id, (0, 0, None))
        if place is None or (size, date) != (stat.st_size, stat.st_mtime_ns):
            maps = self.read(clip_id).feature_maps
            place = place_of(file, "feature_maps")
            self._verified[clip_id] = (stat.st_size, stat.st_mtime_ns, place)
            return maps[torch.arange(len(maps)), torch.as_tensor(choose(*maps.shape[:2]))]
        timesteps, candidates, *shape = place.shape
        chosen = np.empty((timesteps, *shape), np.float16)
        try:
            with file.open("rb", buffering=0) as opened:  # six times as fast as safetensors' slices
                for timestep, candidate in enumerate(choose(timesteps, candidates)):
                    one = chosen[timestep]
                    row = timestep * candidates + int(candidate)
                    opened.seek(place.start + row * one.nbytes)
                    if opened.readinto(one) != one.nbytes:
                        raise OSError("it ended too early")
        except OSError as error:
            raise FeatureStoreError(f"{file} cannot be read: {_REPAIR}") from error
        return torch.from_numpy(chosen)

    def digest(self, clip_ids: Sequence[str]) -> str:
        """Digest of what is stored of some clips: another one as soon as a clip is written anew.

        Nothing is read: it is made of the description, and of the size and date of each file.

        Raises:
            FeatureStoreError: A clip's features are missing.
        """
        digest = hashlib.sha256(repr(self.description).encode())
        for clip_id in clip_ids:
            try:
                stat = self._file(clip_id).stat()
            except OSError as error:
                raise self._missing(clip_id) from error
            digest.update(f"{clip_id}|{stat.st_size}|{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def _missing(self, clip_id: str) -> FeatureStoreError:
        return FeatureStoreError(
            f"no features of clip {clip_id!r} in {self.folder} (no file "
            f"{self._file(clip_id).name}): run `caf-video extract` again, it adds what is missing"
        )

    def _file(self, clip_id: str) -> Path:
        return fanned_out(_clips_folder(self.folder), clip_id, ".safetensors")

    def _failure(self, clip_id: str) -> Path:
        return fanned_out(self.folder / "failed", clip_id, ".json")

    def _require_shapes(self, what: str, features: ClipFeatures) -> None:
        wanted = self.description
        maps, times = tuple(features.feature_maps.shape), tuple(features.times_seconds.shape)
        frames = tuple(features.frame_indices.shape)
        shapes = [
            (wanted.timesteps, candidates, wanted.channels, *wanted.grid)
            for candidates in sorted({1, wanted.candidates})
        ]
        if maps not in shapes:
            raise FeatureStoreError(
                f"{what}: feature maps of shape {maps}, the store holds "
                f"{' or '.join(map(str, shapes))} (timesteps, candidates, channels, h, w)"
            )
        if frames != maps[:2] or times != maps[:2]:
            raise FeatureStoreError(
                f"{what}: frame indices {frames} and times {times} do not belong to "
                f"feature maps {maps}: all begin with (timesteps, candidates)"
            )


_ANEW = "extract the features again, into another folder"
_AGAIN = "run the same command again, it goes on where it stopped"
_REPAIR = "run `caf-video extract` again, it makes the clip anew"


def _description_file(folder: Path) -> Path:
    return folder / "store.json"


def _clips_folder(folder: Path) -> Path:
    return folder / "clips"


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text  # a digest
