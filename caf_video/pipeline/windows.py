"""video ─► windows ─► embeddings: every frame is decoded and goes through the backbone once."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from caf_video.data.features import unstorable
from caf_video.data.manifest import Clip
from caf_video.data.sampling import clip_frame_indices
from caf_video.data.video.reader import VideoReader
from caf_video.errors import CafVideoError, InputError
from caf_video.metric_learning import unit_norm
from caf_video.models.backbones import Backbone
from caf_video.pipeline.extract import feature_maps
from caf_video.pipeline.moments import Moments
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.training import ClipRun

FRAMES_AT_ONCE = 32  # through the backbone
READ_AT_ONCE = 8  # frames of 4K are 25 MB each
CLIPS_AT_ONCE = 256  # through the embedder

_REMAINDER = 1e-3  # seconds at a video's end that are not worth a window


def windows_of(drive: Clip, duration_seconds: float, *, window: float, step: float) -> list[Clip]:
    """A drive as windows of one length, a step apart; the last one ends with the video.

    A video that is shorter is one window.

    Args:
        drive: The whole video.
        duration_seconds: Of the video.
        window: Seconds that a window has.
        step: Seconds from one to the next.

    Raises:
        InputError: A length is not above 0.
    """
    if not (window > 0 and step > 0 and math.isfinite(window) and math.isfinite(step)):
        raise InputError(f"windows of {window} s every {step} s: both must be above 0")
    last = max(duration_seconds - window, 0.0)
    starts = [number * step for number in range(math.floor(last / step + 1e-9) + 1)]
    if last - starts[-1] > _REMAINDER:
        starts.append(last)
    return [
        replace(
            drive,
            clip_id=f"{drive.clip_id}@{round(start, 3):g}",
            start_seconds=round(start, 6),
            end_seconds=round(min(start + window, duration_seconds), 6),
        )
        for start in starts
    ]


def maps_of_clip(run: ClipRun, backbone: Backbone, clip: Clip, frame_indices: np.ndarray) -> Tensor:
    """The maps of some frames of a clip's video, (t, c, h, w), as a feature store has them.

    Raises:
        VideoError: The video cannot be read.
    """
    with VideoReader(clip.path, fps=clip.fps) as reader:
        preprocessing = backbone.preprocessing(run.description.size)
        images = preprocessing.resize(reader.read(frame_indices.tolist()))
    return feature_maps(backbone, preprocessing, images).to(torch.float16).float()


@torch.no_grad()
def first_half(run: ClipRun, maps: Tensor) -> Tensor:
    """A, what the network's head takes, of maps (b, t, c, h, w) of the backbone; on the device."""
    return run.model.features(maps.float().to(device()))


@torch.no_grad()
def embedded(run: ClipRun, filtered: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings of A (b, t, c, h, w) as the run compares them, (b, d), and their norms (b,).

    The norm is that before they were made of length 1, where the run does that; else 1.
    """
    outputs = run.model.head(filtered).float().cpu()
    if not run.normalize:
        return outputs, torch.ones(len(outputs))
    return unit_norm(outputs), outputs.norm(dim=1)


def embed_clips_of_video(
    run: ClipRun,
    backbone: Backbone,
    clips: Sequence[Clip],
    events: Sequence[str],
    *,
    track: Track = quietly,
) -> Moments:
    """The embeddings of clips of one video, which may overlap.

    The frames that stand for a clip are those that extraction takes; one that stands for several
    is read once. Maps are rounded to half precision, as a feature store keeps them: a window has
    the embedding that a clip of its times has.

    Args:
        run: The trained network.
        backbone: Whose maps it was trained on.
        clips: Of one video.
        events: Which event of the video each is.

    Raises:
        CafVideoError: The video cannot be read, a clip does not fit it, or a map is not finite.
    """
    path, wanted = clips[0].path, run.description
    with VideoReader(path, fps=clips[0].fps) as reader:
        taken = [
            clip_frame_indices(clip, reader, timesteps=wanted.timesteps, candidates=1)[:, 0]
            for clip in clips
        ]
        indices = np.stack(taken)  # (n, t)
        frames = np.unique(indices)
        embeddings = torch.empty(len(clips), run.model.projection.out_features)
        norms = torch.empty(len(clips))
        held: dict[int, Tensor] = {}
        pending = np.arange(len(clips))
        preprocessing = backbone.preprocessing(wanted.size)
        chunks = [frames[i : i + FRAMES_AT_ONCE] for i in range(0, len(frames), FRAMES_AT_ONCE)]
        for chunk in track(chunks, description=f"Embedding {path.name}", total=len(chunks)):
            images = torch.cat(
                [
                    preprocessing.resize(reader.read(chunk[i : i + READ_AT_ONCE].tolist()))
                    for i in range(0, len(chunk), READ_AT_ONCE)
                ]
            )
            maps = feature_maps(backbone, preprocessing, images)
            reason = unstorable(maps)
            if reason:
                raise CafVideoError(f"{path.name}: its feature maps {reason}")
            maps = maps.to(torch.float16)
            # The network's own first half is of single frames: it too is done once.
            held.update(zip(chunk.tolist(), first_half(run, maps[:, None])[:, 0], strict=True))
            ready = pending[indices[pending].max(axis=1) <= chunk[-1]]
            for first in range(0, len(ready), CLIPS_AT_ONCE):
                rows = ready[first : first + CLIPS_AT_ONCE]
                stacked = torch.stack([held[frame] for frame in indices[rows].ravel().tolist()])
                embeddings[rows], norms[rows] = embedded(run, stacked.unflatten(0, (len(rows), -1)))
            pending = np.setdiff1d(pending, ready, assume_unique=True)
            needed = indices[pending].min() if len(pending) else len(reader.times_seconds)
            held = {frame: one for frame, one in held.items() if frame >= needed}
        times = reader.times_seconds[indices]
    return Moments(list(clips), list(events), embeddings.numpy(), norms.numpy(), indices, times)
