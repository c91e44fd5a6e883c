"""Query mosaics of clips: four clips side by side in every frame, asked for one of them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caf_video.attention import METHODS
from caf_video.data.session_store import ARRAY_SUFFIX
from caf_video.data.video.reader import VideoReader
from caf_video.models.backbones import Backbone
from caf_video.pipeline.extract import feature_maps
from caf_video.pipeline.opened import clips_of, open_features, run_backbone
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.pipeline.study.clip_rows import mean_training_embedding
from caf_video.pipeline.study.mosaics import (
    LOOKING,
    Mosaic,
    MosaicHeat,
    draw_mosaics,
    in_batches,
    mosaic_heat,
    why_no_mosaics,
)
from caf_video.pipeline.study.queries import METHODS_OF_PAIRS
from caf_video.training import ClipRun

AT_ONCE = 8  # clips


def why_no_clip_mosaics(run: ClipRun, split: str) -> str:
    """What keeps the clips of a run's split from being mosaicked; "" where nothing does.

    Raises:
        CafVideoError: The run's features or the split cannot be used.
    """
    height, width = run.model.grid
    if height % 2 or width % 2:
        return f"the network's grid of {height} x {width} has no quarters"
    clips = clips_of(run, open_features(run), split).clips
    if any(clip.path.suffix == ARRAY_SUFFIX for clip in clips):
        return "the run's maps were made elsewhere: there is no video to make them of"
    return why_no_mosaics([clip.label for clip in clips])


def heat_of_clip_mosaics(
    run: ClipRun,
    *,
    split: str = "test",
    count: int = 200,
    seed: int = 0,
    shown: int = 3,
    track: Track = quietly,
) -> MosaicHeat:
    """Explain mosaics of clips by the methods of pairs, as `heat_of_mosaics` does of photographs.

    A recurrent network knows one grid: the mosaic has the size of a clip, a quarter half of it. The
    clips' frames are those that are read at test, step by step. The query is not mirrored:
    left and right may tell classes of clips apart. The centre of `l2-caf-like-mean` is the mean
    embedding of training.

    Args:
        run: One of which `why_no_clip_mosaics` has nothing to say.
        split: Whose clips.
        count: How many mosaics.
        seed: Of the draw.
        shown: How many to keep for a picture.
        track: Shows how far it is.

    Raises:
        CafVideoError: The clips have fewer than four labels, a video cannot be read, or the
            run's features or backbone cannot be used.
    """
    store = open_features(run)
    clips = clips_of(run, store, split).clips
    backbone = run_backbone(run, clips[0].path.name)
    center = mean_training_embedding(run)
    height, width = run.description.size

    def read(place: int) -> NDArray[np.uint8]:
        clip = clips[place]
        indices = store.read(clip.clip_id).middle_frames().frame_indices
        with VideoReader(clip.path, fps=clip.fps) as reader:
            return np.asarray(reader.read(indices.tolist()))

    labels = [clip.label for clip in clips]
    quarter = (height // 2, width // 2)
    drawn = draw_mosaics(labels, read, count, quarter, (height, width), mirrored=False, seed=seed)
    parts: dict[str, list[Tensor]] = {name: [] for name in METHODS_OF_PAIRS}
    quarters: list[int] = []
    first: list[Mosaic] = []
    for batch in in_batches(track(drawn, description=LOOKING, total=count), AT_ONCE):
        quarters += [mosaic.quarter for mosaic in batch]
        first += batch[: shown - len(first)]
        queries, maps = (
            _maps(backbone, frames, (height, width))
            for frames in ([m.query for m in batch], [m.picture for m in batch])
        )
        with torch.no_grad():
            reference = run.model(queries)
        for name, found in parts.items():
            heat = METHODS[name].heat_of_frames(run.model, maps, reference=reference, center=center)
            found.append(heat.clamp(min=0).float().cpu())
    return mosaic_heat(
        {name: torch.cat(found) for name, found in parts.items()},
        quarters,
        first,
        "four clips of distinct labels, frame by frame; the query is a crop",
    )


def _maps(backbone: Backbone, clips: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> Tensor:
    """Maps (b, t, c, h, w) of frames, rounded as a feature store keeps them, on the device."""
    preprocessing = backbone.preprocessing(size)
    images = torch.cat([preprocessing.resize(frames) for frames in clips])
    maps = feature_maps(backbone, preprocessing, images).to(torch.float16).float()
    return maps.unflatten(0, (len(clips), -1)).to(device())
