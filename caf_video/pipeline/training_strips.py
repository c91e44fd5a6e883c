"""validation clips ─► strips while a training goes on: where its network looks by now."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from caf_video.data.manifest import Clip
from caf_video.data.stores import open_store
from caf_video.pipeline.opened import maps_at_test
from caf_video.pipeline.page_folder import PLAIN_GREY, read_small
from caf_video.pipeline.pictures import explain_clip
from caf_video.pipeline.results import output_folder, result_names
from caf_video.rendering import frame_title, write_image

MOST_CLIPS = 3  # each of another class
_WIDTH = 240  # pixels of a frame


class TrainingStrips:
    """Draws the same few clips again and again, into `strips/` of the run's folder.

    `strips/0004-NAME.jpg` is clip NAME after four epochs. Frames of a clip whose video is not there
    are grey.

    Args:
        features: The feature store.
        clips: The clips of validation: the first of every class is drawn, MOST_CLIPS at most.
        model: The network that is trained.
        run_folder: Of the training.
    """

    def __init__(
        self, features: str, clips: list[Clip], model: nn.Module, run_folder: Path
    ) -> None:
        firsts = {clip.label: clip for clip in reversed(clips)}
        self._clips = [firsts[label] for label in sorted(firsts)][:MOST_CLIPS]
        self._store = open_store(features)
        self._model = model
        self._folder = run_folder / "strips"

    def __call__(self, epochs: int) -> Mapping[str, Any]:
        """The strips after so many epochs by name, written, too."""
        folder = output_folder(self._folder)
        drawn = {}
        names = result_names([(clip.clip_id, clip.path) for clip in self._clips], folder)
        for clip, name in zip(self._clips, names, strict=True):
            features = self._store.read(clip.clip_id)
            middle = features.middle_frames()
            found = explain_clip(self._model, maps_at_test(features)[None])  # type: ignore[arg-type]
            frames = _frames(clip, middle.frame_indices, found.heatmaps.shape[-2:])
            titles = list(map(frame_title, middle.frame_indices, middle.times_seconds))
            strip = found.strip(frames, titles=titles, column_width=_WIDTH)
            write_image(folder / f"{epochs:04}-{name}.jpg", strip, ours=True)
            drawn[f"strips/{name}"] = strip
        return drawn


def _frames(clip: Clip, indices: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    if clip.path.exists():
        return read_small(clip, indices, _WIDTH, grid)
    height = round(_WIDTH * grid[0] / grid[1])
    return np.full((len(indices), height, _WIDTH, 3), PLAIN_GREY, np.uint8)
