"""video ─► overlay mp4: class-oblivious attention of a pretrained classifier, untrained by us."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from caf_video.attention import Explanation, explain, filters_to_heatmaps
from caf_video.data.video.reader import VideoReader
from caf_video.errors import InputError
from caf_video.files import require_ours
from caf_video.models.backbones import Backbone
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.pipeline.results import output_folder, result_names, write_json, write_npz
from caf_video.rendering import VideoWriter, heat_legend, overlay

FRAMES_AT_ONCE = 16

Frame = tuple[int, np.ndarray]


@dataclass(frozen=True)
class ExplainedVideo:
    """What `explain_video` left on disk, and what it took.

    Attributes:
        overlay: The mp4.
        frames: Frames explained.
        seconds: For all of it, decoding and encoding included.
        backbone_seconds: Of these, in the bare pass of the backbone.
    """

    overlay: Path
    frames: int
    seconds: float
    backbone_seconds: float


def explain_video(
    video: Path,
    out: Path,
    *,
    backbone: Backbone,
    size: tuple[int, int] | None = None,
    every: int = 1,
    track: Track = quietly,
) -> ExplainedVideo:
    """Where a pretrained classifier looks in every n-th frame of a video (Eq. 1).

    Leaves `NAME.mp4` (the overlay, as fast as life), `NAME.npz` (filters (n, h, w), signed;
    frame_indices, times_seconds, losses) and `NAME.json` in `out`, NAME being the video's; with its
    folder before it, where results of another video of that name are there.

    Args:
        video: A video file.
        out: Folder for the results.
        backbone: The frozen network.
        size: (height, width) that frames are resized to; None keeps their aspect, the shorter side
            near 256.
        every: n.

    Raises:
        CafVideoError: The video cannot be read, or the results not be written; says why.
    """
    if every < 1:
        raise InputError(f"every {every}-th frame: it must be 1 or more")
    backbone.require_head()
    started = time.perf_counter()
    folder = output_folder(out)
    name = result_names([(video.stem, video)], folder)[0]
    require_ours(*(folder / f"{name}{suffix}" for suffix in (".mp4", ".npz", ".json")))
    backbone.to(device())
    # The trunk runs below, once; what is explained starts with its feature maps.
    rest = nn.Sequential(nn.Identity(), backbone.tail)
    solutions: list[Explanation] = []
    indices: list[int] = []
    backbone_seconds = 0.0
    with VideoReader(video) as reader:
        info = reader.info
        input_size = size or backbone.size_for(info.height, info.width)
        preprocessing = backbone.preprocessing(input_size)
        frames = track(
            reader.frames(step=every),
            description=f"Explaining {video.name}",
            total=-(-info.frame_count // every),
        )
        # A legend under the picture says that drawing rescales the heat to each frame's maximum.
        legend = heat_legend(info.width)
        with VideoWriter(folder / f"{name}.mp4", fps=info.fps / every, ours=True) as writer:
            for batch in _batches(frames):
                images = preprocessing(np.stack([frame for _, frame in batch])).to(device())
                before = time.perf_counter()
                with torch.no_grad():
                    maps = backbone.features(images)
                    backbone.head(maps)
                backbone_seconds += time.perf_counter() - before
                solution = explain(rest, maps, layer="0", axes="n c h w")
                solutions.append(solution)
                indices += [index for index, _ in batch]
                heatmaps = filters_to_heatmaps(solution.filters, (info.height, info.width))
                for (_, frame), heatmap in zip(batch, heatmaps.cpu().numpy(), strict=True):
                    writer.write(np.vstack([overlay(frame, heatmap), legend]))
        times = reader.times_seconds[indices]
    record = {
        "video": str(video.resolve()),
        "backbone": backbone.name,
        "weights": backbone.weights,
        "size": input_size,
        "every": every,
        "solver": solutions[0].solver,
        "settled": int(sum(solution.settled.sum() for solution in solutions)),
        "frames": len(indices),
        "files": {"overlay": f"{name}.mp4", "filters": f"{name}.npz"},
    }
    write_npz(
        folder / f"{name}.npz",
        {
            "filters": _joined([solution.filters for solution in solutions]),
            "losses": _joined([solution.losses for solution in solutions]),
            "frame_indices": np.array(indices),
            "times_seconds": times,
        },
    )
    write_json(folder / f"{name}.json", record)
    return ExplainedVideo(
        overlay=folder / f"{name}.mp4",
        frames=len(indices),
        seconds=time.perf_counter() - started,
        backbone_seconds=backbone_seconds,
    )


def _batches(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    batch: list[Frame] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == FRAMES_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _joined(parts: list[Tensor]) -> np.ndarray:
    return torch.cat(parts).cpu().numpy()
