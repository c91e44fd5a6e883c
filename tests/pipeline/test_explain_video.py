"""The overlay of a video by a network that is known to look at the left of every frame."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from caf_video.data.video.reader import VideoReader
from caf_video.pipeline.explain_video import explain_video
from caf_video.rendering import VideoWriter

HEIGHT, WIDTH = 64, 128


class LooksLeft(nn.Module):
    """Cells of 16 pixels, of which the head weighs the second column of the upper half alone."""

    name, weights = "looks-left", "none"

    def __init__(self) -> None:
        super().__init__()
        weights = torch.zeros(1, 4 * 8)
        weights.view(4, 8)[:2, 1] = 1
        linear = nn.Linear(32, 1, bias=False)
        linear.weight = nn.Parameter(weights, requires_grad=False)
        self.tail = nn.Sequential(nn.Flatten(), linear)

    def require_head(self) -> None:
        """It has one."""

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        return height, width

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(images[:, :1], 16)

    def head(self, maps: torch.Tensor) -> torch.Tensor:
        return self.tail(maps)

    def preprocessing(self, size: tuple[int, int]):
        return lambda frames: torch.from_numpy(frames).float().movedim(3, 1) / 255


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Grey frames, each brighter than the one before."""
    with VideoWriter(tmp_path / "drive.mp4", fps=10) as writer:
        for frame in range(20):
            writer.write(np.full((HEIGHT, WIDTH, 3), 40 + 5 * frame, np.uint8))
    return tmp_path / "drive.mp4"


@pytest.mark.filterwarnings("ignore::caf_video.attention.AttentionWarning")
@pytest.mark.parametrize("every", [1, 6])
def test_heat_frames_and_times_are_those_of_the_frames_explained(
    video: Path, tmp_path: Path, every: int
) -> None:
    wanted = list(range(0, 20, every))
    out = tmp_path / "out"
    done = explain_video(video, out, backbone=LooksLeft(), every=every)  # type: ignore[arg-type]
    assert done.frames == len(wanted)
    stored = np.load(out / "drive.npz")
    assert stored["frame_indices"].tolist() == wanted
    np.testing.assert_allclose(stored["times_seconds"], [frame / 10 for frame in wanted])
    assert stored["losses"].shape == (len(wanted),)
    mass = stored["filters"] ** 2
    np.testing.assert_allclose(mass.sum(axis=(1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose(mass[:, :2, 1].sum(axis=1), 1, rtol=1e-2)

    with VideoReader(done.overlay) as reader:
        assert reader.info.frame_count == len(wanted)
        assert reader.info.fps == pytest.approx(10 / every)
        shown = reader.read(list(range(len(wanted))))[:, :HEIGHT].astype(int)
    for frame, picture in zip(wanted, shown, strict=True):
        # Red over blue: the heat, on grey; its cell is 16 to 32 across, and 0 to 32 down.
        rows, columns = (picture[..., 0] - picture[..., 2] > 25).nonzero()
        assert columns.mean() == pytest.approx(24, abs=4)
        assert rows.mean() == pytest.approx(16, abs=6)
        assert np.median(picture[:, WIDTH // 2 :]) == pytest.approx(40 + 5 * frame, abs=4)

    record = json.loads((out / "drive.json").read_text())
    assert record["frames"] == record["settled"] == len(wanted)
    assert record["every"] == every
    assert 0 < done.backbone_seconds < done.seconds
