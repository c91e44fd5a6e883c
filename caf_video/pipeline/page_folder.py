"""The folder of a page: index.html, and pictures that no other page's replace."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from caf_video.attention import filters_to_heatmaps
from caf_video.data.manifest import Clip
from caf_video.data.session_store import ARRAY_SUFFIX
from caf_video.data.video.reader import VideoReader
from caf_video.errors import CafVideoError
from caf_video.files import remember_ours, require_ours, written_whole
from caf_video.pipeline.results import output_folder, write_json
from caf_video.rendering import overlay, scaled_to_width, write_film

PLAIN_GREY = 96  # under the heat of a clip without a video

FRAMES, RECORD = "frames", "frames.json"
PICTURES = (".jpg", ".png", ".webp", ".gif", ".mp4")


@dataclass(frozen=True)
class Heat:
    """Heat over the frames of a clip, (t, height, width).

    `maximum` is what it is drawn by, where frames, or two kinds of heat, share a scale; None draws
    each frame by its own.
    """

    heatmaps: np.ndarray
    maximum: float | None = None


class PageFolder:
    """A folder for a page and its pictures, which are named by number: no foreign name is one.

    The pictures lie in `frames/`, which is ours as long as `frames/frames.json` is there as we
    wrote it.

    Args:
        folder: Where.
        command: Which command fills it.

    Raises:
        CafVideoError: The folder cannot be made, or holds what is not ours.
    """

    def __init__(self, folder: Path, command: str) -> None:
        self.folder = output_folder(folder)
        self.page = folder / "index.html"
        record = folder / FRAMES / RECORD
        require_ours(self.page, record)
        # Hidden ones are what a process left, or leaves just now, that was writing.
        there = sorted((folder / FRAMES).glob("[!.]*")) if (folder / FRAMES).is_dir() else []
        if there and not record.is_file():
            raise CafVideoError(
                f"{folder / FRAMES} holds files that are not caf_video's: choose another --out"
            )
        output_folder(folder / FRAMES)
        write_json(record, {"pictures of": command})
        for old in there:
            if old.suffix in PICTURES:
                old.unlink(missing_ok=True)

    def films(
        self, number: str, frames: np.ndarray, heats: Sequence[Heat], width: int
    ) -> tuple[list[str], tuple[int, int]]:
        """Write a clip's frames under each of its heats, and bare.

        Args:
            number: What to call them.
            frames: RGB uint8 (t, height, width, 3).
            heats: Of the frames, of their size.
            width: Of a frame, in pixels.

        Returns:
            The files from the page, one for each heat and then the bare frames; and the size of a
            frame in them, (width, height).
        """
        layers: list[Sequence[np.ndarray]] = [
            [
                overlay(frame, heat, maximum=kind.maximum, name=number)
                for frame, heat in zip(frames, kind.heatmaps, strict=True)
            ]
            for kind in heats
        ]
        names = [f"{FRAMES}/{number}{letter}.jpg" for letter in "abcdefgh"[: len(layers) + 1]]
        for name, layer in zip(names, [*layers, list(frames)], strict=True):
            size = write_film(self.folder / name, layer, width)
        return names, size

    def keep(self, source: Path, number: str) -> str:
        """Copy a picture or a film; its name from the page, which is this number.

        Raises:
            CafVideoError: It cannot be read, or not be written.
        """
        name = f"{FRAMES}/{number}{source.suffix.lower()}"
        with written_whole(self.folder / name) as temporary:
            shutil.copyfile(source, temporary)
        return name

    def done(self) -> None:
        """Note that the page is ours."""
        remember_ours(self.page)


def read_small(clip: Clip, indices: np.ndarray, width: int, grid: Sequence[int]) -> np.ndarray:
    """Frames of a clip at this width, uint8 (t, height, width, 3); grey ones without a video.

    Args:
        clip: Its video is where it says.
        indices: Positions in the video, (t,).
        width: In pixels.
        grid: (h, w) of the maps, whose shape the grey ones have.
    """
    if clip.path.suffix == ARRAY_SUFFIX:
        height = round(width * grid[0] / grid[1])
        return np.full((len(indices), height, width, 3), PLAIN_GREY, np.uint8)
    with VideoReader(clip.path, fps=clip.fps) as reader:
        frames = reader.read(indices.tolist())
    return np.stack([scaled_to_width(frame, width) for frame in frames])


def heat_of(filters: Tensor, frames: np.ndarray) -> Heat:
    """The heat of filters (t, h, w), a scale for each frame, over frames (t, height, width, 3)."""
    return Heat(filters_to_heatmaps(filters, frames.shape[1:3]).numpy())
