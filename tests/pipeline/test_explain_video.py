"""The overlay of a video by a network that is known to look at the left of every frame."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from caf_video.data.video.reader import VideoReader
from caf_video.errors import InputError
from caf_video.models.preprocessing import Normalization, Preprocessing
from caf_video.pipeline.explain_video import explain_video, frames_between
from caf_video.rendering import Footer, Recording, VideoWriter
from caf_video.rendering.style import INK

HEIGHT, WIDTH = 64, 128


class LooksLeft(nn.Module):
    """Cells of 16 pixels, of which the head weighs the second column of the upper half alone."""

    name, weights, label_names = "looks-left", "none", ("left",)

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

    def preprocessing(self, size: tuple[int, int]) -> Preprocessing:
        return Preprocessing(size, Normalization("bilinear", (0, 0, 0), (255, 255, 255)))


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


@pytest.mark.filterwarnings("ignore::caf_video.attention.AttentionWarning")
def test_a_part_of_a_video_is_explained_in_each_format_with_its_time_and_class(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    told: list[tuple[str, str]] = []
    under = Footer.under
    monkeypatch.setattr(
        Footer, "under", lambda self, *words: told.append(words) or under(self, *words)
    )
    done = explain_video(
        video,
        out,
        backbone=LooksLeft(),  # type: ignore[arg-type]
        fps=5.4,
        start_seconds=0.3,
        end_seconds=1.1,
        target="Left",
        formats=["webp", "gif", "mp4"],
    )
    stored = np.load(out / "drive.npz")
    assert stored["frame_indices"].tolist() == [3, 5, 7, 9]  # every second; 1.1 s is left out
    assert told == [(f"{index / 10:.2f} s", "left 1.00") for index in (3, 5, 7, 9)]
    assert done.overlay == out / "drive.webp"
    for name in ("drive.webp", "drive.gif"):
        with Image.open(out / name) as moving:
            assert moving.n_frames == 4 and moving.size[0] == WIDTH
            moving.seek(3)
            assert np.median(np.asarray(moving.convert("RGB"))[:HEIGHT, 64:]) == pytest.approx(
                40 + 5 * 9, abs=6
            )
    record = json.loads((out / "drive.json").read_text())
    assert (record["class"], record["every"], record["frames"]) == (0, 2, 4)
    assert record["overlays"] == ["drive.webp", "drive.gif", "drive.mp4"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_seconds": 2.0}, "no frame from 2 s on: it ends at 1.90 s"),
        ({"start_seconds": 1.0, "end_seconds": 1.0}, "no frame from 1 s to 1 s"),
        ({"fps": 0.0}, "0 frames a second"),
        ({"formats": ["avi"]}, "no format 'avi': mp4, gif, webp"),
        ({"target": "right"}, "no class is called 'right'"),
        ({"target": "7"}, "looks-left has 1 classes, none 7"),
    ],
)
def test_what_cannot_be_explained_leaves_nothing(
    video: Path, tmp_path: Path, options: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        explain_video(video, tmp_path / "out", backbone=LooksLeft(), **options)  # type: ignore[arg-type]
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(("fps", "wanted", "every"), [(25, 5, 5), (30, 4, 8), (25, 60, 1)])
def test_a_rate_is_the_nearest_that_leaves_out_frames_evenly(fps, wanted, every) -> None:
    assert frames_between(fps, wanted) == every


@pytest.mark.parametrize("width", [64, 480, 960, 1280])
def test_time_and_class_can_be_read_under_frames_of_any_width(width: int) -> None:
    """Letters a 64th of the width and 11 pixels at least; what changes is on the first line."""
    footer = Footer(width)
    first, second = (footer.under(time, "tabby 0.82").astype(int) for time in ("1.20 s", "8.75 s"))
    assert first.shape == (footer.height, width, 3) and footer.height % 2 == 0
    changed = np.nonzero((first != second).any(axis=(1, 2)))[0]
    assert changed.max() < footer.height * 0.6
    ink = np.nonzero((np.abs(first - INK).sum(axis=2) < 60).any(axis=1))[0]
    assert ink.max() - ink.min() >= 0.6 * max(11, width / 64)


@pytest.mark.filterwarnings("ignore::caf_video.attention.AttentionWarning")
def test_a_recording_has_each_frame_its_heat_and_its_share_at_its_time(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rerun")
    told: list[tuple[str, float]] = []
    keep = Recording._log

    def log(self: Recording, entity: str, seconds: float, what: object) -> None:
        told.append((entity, seconds))
        keep(self, entity, seconds, what)

    monkeypatch.setattr(Recording, "_log", log)
    path = tmp_path / "out.rrd"
    explain_video(video, tmp_path / "out", backbone=LooksLeft(), every=5, rerun=path)  # type: ignore[arg-type]
    assert path.stat().st_size > 0
    entities = ("frame", "frame/heat", "frame/heat/lines", "share of the class")
    for entity in entities:
        seconds = [at for name, at in told if name == f"drive.mp4/{entity}"]
        assert seconds == pytest.approx([0.0, 0.5, 1.0, 1.5])
    assert len(told) == 4 * len(entities)
