"""A folder of numbered pictures as a video: nuScenes, DoTA and KITTI come so.

The frames stand in the order of the last number of their names. When they are shown the folder
does not say: see `VideoIndex.has_clock`.
"""

import re
from collections import Counter
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from caf_video.data.video.files import VideoError, failure_words
from caf_video.data.video.index import Orientation, VideoIndex

PICTURE_SUFFIXES = frozenset(".bmp .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split())
NUMBERED = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL)  # what precedes the last number, it, the rest
GUESSED_FPS = 25.0  # FFmpeg's own, for raw streams
CACHED_FOLDERS = 32
_FAILURES = (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError)


def is_picture(path: Path) -> bool:
    """Whether a file's name is that of a picture, and not hidden."""
    return path.suffix.lower() in PICTURE_SUFFIXES and path.name[0] != "." and path.is_file()


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder, hidden ones left out, by name; without those of its sub-folders.

    Raises:
        VideoError: The folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if is_picture(path))
    except OSError as error:
        raise VideoError(f"{folder} can't be read: {failure_words(error)}") from None


def index_frames_folder(folder: Path) -> VideoIndex:
    """The frames of a folder; of an unchanged one, read once in a process.

    Every picture's header is read, for its size.

    Raises:
        VideoError: There is no picture; one has no number; two have the same; their names are of
            several kinds; numbers are missing between them; or sizes differ.
    """
    return _index_frames_folder(folder, folder.stat().st_mtime_ns)


class FramesFolderReader:
    """Reads frames by index."""

    name = "pictures"

    def __init__(self, index: VideoIndex) -> None:
        self._shape = (index.height, index.width, 3)
        self._files = _in_order(index.path)

    def frame(self, frame_index: int) -> NDArray[np.uint8]:
        """Frame `frame_index`, upright, RGB uint8 (height, width, 3)."""
        frame = _read(self._files[frame_index])
        if frame.shape != self._shape:
            raise VideoError(f"{self._files[frame_index]} has changed while it was read")
        return frame

    def close(self) -> None:
        """Nothing stays open."""


@lru_cache(maxsize=CACHED_FOLDERS)
def _index_frames_folder(folder: Path, _changed_ns: int) -> VideoIndex:
    files = _in_order(folder)
    sizes: dict[tuple[int, int], Path] = {}
    for file in files:
        sizes.setdefault(_stored_size(file), file)
    if len(sizes) > 1:
        (one, first), (other, second) = list(sizes.items())[:2]
        raise VideoError(
            f"{folder} holds pictures of several sizes: {first.name} is {one[0]}x{one[1]}, "
            f"{second.name} {other[0]}x{other[1]}"
        )
    height, width = _read(files[0]).shape[:2]
    count = len(files)
    return VideoIndex(
        path=folder,
        container="folder",
        codec=files[0].suffix.lower().lstrip("."),
        pixel_format="rgb24",
        height=height,
        width=width,
        orientation=Orientation(),
        times_seconds=np.arange(count, dtype=np.float64) / GUESSED_FPS,
        duration_seconds=count / GUESSED_FPS,
        packets=None,
        frame_packet=np.zeros(count, dtype=np.int64),
        damaged=np.zeros(count, dtype=bool),
        starts_clean=True,
        video_streams=1,
        has_clock=False,
    )


def _in_order(folder: Path) -> list[Path]:
    """The pictures by their numbers, which must leave none out."""
    files = picture_files(folder)
    if not files:
        raise VideoError(f"{folder} is a folder without pictures, not a video file")
    by_number: dict[int, Path] = {}
    kinds: dict[tuple[str, str], Path] = {}
    for file in files:
        match = NUMBERED.fullmatch(file.stem)
        if match is None:
            raise VideoError(f"{folder}: {file.name} has no number: it is not one of its frames")
        kinds.setdefault((match[1], match[3]), file)
        same = by_number.setdefault(int(match[2]), file)
        if len(kinds) > 1:
            first, second, *_ = kinds.values()
            raise VideoError(
                f"{folder} holds frames of two kinds of names ({first.name}, {second.name}): "
                "give each its folder"
            )
        if same is not file:
            raise VideoError(f"{folder}: {same.name} and {file.name} are both frame {match[2]}")
    numbers = sorted(by_number)
    _require_no_gap(folder, [by_number[number] for number in numbers], numbers)
    return [by_number[number] for number in numbers]


def _require_no_gap(folder: Path, files: list[Path], numbers: list[int]) -> None:
    """Refuse a missing frame, which would shift the times of all that follow.

    Numbers count if more than half of them are equally far apart. Times, as nuScenes has them,
    hardly ever are: there no gap can be told.
    """
    steps = Counter(b - a for a, b in zip(numbers, numbers[1:], strict=False))
    if not steps:
        return
    step, often = steps.most_common(1)[0]
    if 2 * often <= len(numbers) - 1 or len(steps) == 1:
        return
    gaps = [i for i in range(1, len(numbers)) if numbers[i] - numbers[i - 1] != step]
    before, after = files[gaps[0] - 1].name, files[gaps[0]].name
    more = f" (and {len(gaps) - 1} gaps more)" if len(gaps) > 1 else ""
    raise VideoError(
        f"{folder}: frames are missing between {before} and {after}{more}: "
        "number the frames without gaps"
    )


def _stored_size(file: Path) -> tuple[int, int]:
    """(height, width), from the header."""
    try:
        with Image.open(file) as picture:
            return picture.height, picture.width
    except _FAILURES as error:
        raise VideoError(f"{file} can't be read as a picture: {_words(error)}") from None


def _read(file: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as picture:
            if picture.mode.startswith(("I", "F")):
                raise VideoError(f"{file} has more than 8 bits a colour: save it with 8")
            upright = ImageOps.exif_transpose(picture)
            return np.asarray(upright.convert("RGB"), dtype=np.uint8)
    except _FAILURES as error:
        raise VideoError(f"{file} can't be read as a picture: {_words(error)}") from None


def _words(error: BaseException) -> str:
    # Pillow repeats the path, which the message names already.
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is none"
    return failure_words(error)
