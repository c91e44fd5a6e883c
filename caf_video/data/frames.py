"""The sampled frames of clips as tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from caf_video.data.manifest import Clip
from caf_video.data.sampling import clip_frame_indices, segment_frame_indices
from caf_video.data.video.reader import VideoReader

Transform = Callable[[np.ndarray], Tensor]


@dataclass(frozen=True)
class ClipSample:
    """The frames that stand for a clip: t timesteps of k candidates each.

    Attributes:
        clip_id: Of the clip.
        images: What the transform made of the frames, (t, k, 3, h, w); resized and uint8, they
            cross processes and buses at a quarter of what they are normalised.
        frame_indices: Positions in the video, int64, (t, k).
        times_seconds: When those frames appear in the video, float64, (t, k).
    """

    clip_id: str
    images: Tensor
    frame_indices: Tensor
    times_seconds: Tensor


class ClipFrames(Dataset[ClipSample]):
    """Clips as samples of frames: several candidates a segment for training, else its middle frame.

    The video is opened inside `__getitem__`: a decoder opened before a fork hangs (maths 5).

    Args:
        clips: In the order of the samples.
        timesteps: t, the segments of a clip.
        candidates: k for clips of the train split, odd; the others have one.
        transform: From frames, uint8 RGB (n, height, width, 3), to images (n, 3, h, w).
    """

    def __init__(
        self, clips: Sequence[Clip], *, timesteps: int, candidates: int, transform: Transform
    ) -> None:
        # Here rather than in a worker process, whose errors come back with a traceback around them.
        segment_frame_indices(0, 1, timesteps=timesteps, candidates=candidates)
        self.clips = list(clips)
        self.timesteps = timesteps
        self.candidates = candidates
        self.transform = transform

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, position: int) -> ClipSample:
        """Decode one clip.

        Raises:
            VideoError: The video cannot be read.
            ManifestError: The clip does not fit its video: see `clip_frame_indices`.
        """
        clip = self.clips[position]
        with VideoReader(clip.path, fps=clip.fps) as reader:
            times = reader.times_seconds
            indices = clip_frame_indices(
                clip, reader, timesteps=self.timesteps, candidates=self.candidates
            )
            frames = reader.read(indices.ravel().tolist())
        return ClipSample(
            clip_id=clip.clip_id,
            images=self.transform(frames).unflatten(0, indices.shape),
            frame_indices=torch.from_numpy(indices),
            times_seconds=torch.from_numpy(times[indices]),
        )
