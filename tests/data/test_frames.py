"""Clips as tensors: the frames that the sampling names, from whatever process decodes them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from caf_video.data.frames import ClipFrames
from caf_video.data.manifest import Clip, ManifestError
from caf_video.data.video.reader import VideoError
from caf_video.errors import CafVideoError, InputError

FPS = 25


def as_images(frames: np.ndarray) -> Tensor:
    """A transform that changes nothing but the layout, (n, h, w, 3) to (n, 3, h, w)."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float()


@pytest.fixture
def clips(numbered_video: Callable[..., Path]) -> list[Clip]:
    video = numbered_video("drive.mp4", 27, fps=FPS)
    return [
        Clip("train", video, "l", split="train"),
        Clip("part", video, "l", 10 / FPS, 19 / FPS, split="train"),
        Clip("test", video, "l", split="test"),
        Clip("short", video, "l", 24 / FPS),
    ]


def test_samples_hold_the_frames_they_name(
    clips: list[Clip], read_number: Callable[[np.ndarray], int]
) -> None:
    frames = ClipFrames(clips, timesteps=3, candidates=3, transform=as_images)
    expected = {
        "train": [[1, 4, 7], [10, 13, 16], [19, 22, 25]],
        "part": [[10, 11, 12], [13, 14, 15], [16, 17, 18]],
        "test": [[4], [13], [22]],
        "short": [[24], [25], [26]],
    }
    for position, clip in enumerate(clips):
        sample = frames[position]
        indices = torch.tensor(expected[clip.clip_id])
        assert sample.clip_id == clip.clip_id
        assert sample.images.shape == (*indices.shape, 3, 48, 64)
        torch.testing.assert_close(sample.frame_indices, indices)
        torch.testing.assert_close(sample.times_seconds, indices.double() / FPS, atol=1e-3, rtol=0)
        numbers = [
            read_number(image.permute(1, 2, 0).byte().numpy())
            for image in sample.images.flatten(0, 1)
        ]
        assert numbers == indices.flatten().tolist()


def test_an_unreadable_clip_is_one_line(clips: list[Clip]) -> None:
    missing = Clip("gone", clips[0].path.with_name("gone.mp4"), "l")
    late = Clip("late", clips[0].path, "l", 99.0)
    kinds: list[tuple[Clip, type[CafVideoError], str]] = [
        (missing, VideoError, "gone.mp4"),
        (late, ManifestError, "clip 'late': start 99.0 s is after the end of drive.mp4"),
    ]
    for bad, kind, message in kinds:
        frames = ClipFrames([clips[0], bad], timesteps=3, candidates=1, transform=as_images)
        assert frames[0].clip_id == "train"
        with pytest.raises(kind) as caught:
            frames[1]
        assert message in str(caught.value) and "\n" not in str(caught.value)


def test_impossible_samplings_are_refused_before_any_decoding() -> None:
    with pytest.raises(InputError, match="4 candidate frames"):
        ClipFrames([], timesteps=3, candidates=4, transform=as_images)
