"""Mosaics of clips: cut by hand, summed over frames, asked for the one clip that is unlike."""

import numpy as np
import pytest
import torch

from caf_video.attention import METHODS
from caf_video.data.video.reader import VideoReader
from caf_video.models.preprocessing import Normalization, Preprocessing
from caf_video.pipeline.opened import SplitClips, open_run
from caf_video.pipeline.study import clip_mosaics as stage
from caf_video.pipeline.study.clip_mosaics import heat_of_clip_mosaics, why_no_clip_mosaics
from caf_video.pipeline.study.mosaics import Mosaic, draw_mosaics, in_quarter
from caf_video.pipeline.study.queries import METHODS_OF_PAIRS

CLIPS = ("left_a", "left_b", "right_a", "stop_c")
DARKEST = 0  # the place of left_a, whose frames are all darker than those of right_a and stop_c


class Dark:
    """A backbone: the first channel is how dark a cell is, as far as it is dark, else the second.

    Cells are of 32 pixels: (n, 2, height / 32, width / 32).
    """

    def preprocessing(self, size):
        return Preprocessing(size, Normalization("bilinear", (0, 0, 0), (1, 1, 1)))  # as they are

    def features(self, images):
        grey = torch.nn.functional.avg_pool2d(images.mean(dim=1, keepdim=True), 32)
        return torch.cat([(60 - grey).clamp(min=0), (grey - 60).clamp(min=0)], dim=1)


@pytest.fixture
def run(known_run, monkeypatch):
    """The known run, whose split has four clips of four labels."""
    clips = [known_run.clip(name) for name in CLIPS]
    labelled = [stage_clip(clip, f"label {number}") for number, clip in enumerate(clips)]
    monkeypatch.setattr(stage, "clips_of", lambda *_: SplitClips(labelled, [], checked=True))
    monkeypatch.setattr(stage, "run_backbone", lambda run, name: Dark())
    return open_run(known_run.folder)


def stage_clip(clip, label):
    return type(clip)(**{**vars(clip), "label": label})


def frames_of(known_run, name):
    with VideoReader(known_run.clip(name).path) as reader:
        return np.asarray(reader.read(list(known_run.frames)))


def test_the_query_is_a_crop_of_its_quarter_in_every_frame_and_not_mirrored() -> None:
    ramp = np.arange(100, dtype=np.uint8)
    clips = [
        np.stack([np.tile((ramp + 10 * t + 40 * n)[None, :, None], (50, 1, 3)) for t in range(2)])
        for n in range(4)
    ]
    for mosaic in draw_mosaics("abcd", lambda n: clips[n], 8, (50, 100), (50, 100), mirrored=False):
        assert mosaic.picture.shape == (2, 100, 200, 3) and mosaic.query.shape == (2, 50, 100, 3)
        row, column = divmod(mosaic.quarter, 2)
        part = mosaic.picture[:, 50 * row : 50 * row + 50, 100 * column : 100 * column + 100]
        shown = clips[mosaic.places[mosaic.quarter]]
        np.testing.assert_array_equal(part, shown)
        # Brighter to the right, as its source, in every frame of it; 0.8 of the source's width.
        rises = mosaic.query[:, 25, -1, 0].astype(int) - mosaic.query[:, 25, 0, 0]
        assert (abs(rises - 79) <= 1).all()
        np.testing.assert_array_equal(mosaic.query[1].astype(int) - mosaic.query[0], 10)


def test_heat_is_summed_over_frames_and_its_maximum_is_of_all() -> None:
    heat = torch.zeros(1, 2, 2, 4)
    heat[0, 0, 0, 0], heat[0, 1, 0, 1], heat[0, 1, 1, 3] = 3.0, 2.0, 4.0
    share, points = in_quarter(heat, torch.tensor([0]))
    assert share.tolist() == [pytest.approx(5 / 9)] and points.tolist() == [False]
    _, points = in_quarter(heat, torch.tensor([3]))
    assert points.tolist() == [True]


def test_a_clip_unlike_the_rest_is_found_and_every_figure_is_that_of_the_method(
    run, known_run
) -> None:
    center = torch.tensor([0.3, -0.2])
    found = None
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stage, "mean_training_embedding", lambda run: center)
        found = heat_of_clip_mosaics(run, count=9, shown=9)
    assert list(found.energy) == list(METHODS_OF_PAIRS) and len(found.shown) == 9
    backbone = Dark()
    dark = 0
    for row, (mosaic, heats) in enumerate(found.shown):
        assert mosaic.picture.shape == mosaic.query.shape == (3, *known_run.size, 3)
        height, width = (side // 2 for side in known_run.size)
        shown = frames_of(known_run, CLIPS[mosaic.places[0]])  # of one grey each
        np.testing.assert_array_equal(mosaic.picture[:, :height, :width], shown[:, ::2, ::2])
        reference = run.model(maps_by_hand(backbone, mosaic.query))
        for name in METHODS_OF_PAIRS:
            heat = METHODS[name].heat_of_frames(
                run.model, maps_by_hand(backbone, mosaic.picture),
                reference=reference.detach(), center=center,
            ).clamp(min=0)  # fmt: skip
            np.testing.assert_allclose(heats[name], heat[0].detach().numpy(), atol=1e-4)
            share, _ = in_quarter(heat.detach(), torch.tensor([mosaic.quarter]))
            assert float(share) == pytest.approx(found.energy[name][row], abs=1e-4)
        if is_darkest(mosaic):
            dark += 1
            assert found.energy["l2-caf-like"][row] > 0.5
    assert 0 < dark < 9


class Ramps:
    """Readers of clips that are brighter to the right."""

    def __init__(self, path, *, fps) -> None: ...

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None: ...

    def read(self, frame_indices):
        ramp = np.arange(128, dtype=np.uint8)[None, None, :, None]
        return np.broadcast_to(ramp, (len(frame_indices), 64, 128, 3)).copy()


def test_the_query_of_a_clip_is_not_mirrored(run, monkeypatch) -> None:
    monkeypatch.setattr(stage, "VideoReader", Ramps)
    found = heat_of_clip_mosaics(run, count=3, shown=3)
    for mosaic, _ in found.shown:
        assert (np.diff(mosaic.query[0, 30, :, 0].astype(int)) >= 0).all()
        assert mosaic.query[0, 30, -1, 0] > mosaic.query[0, 30, 0, 0] + 90


def is_darkest(mosaic: Mosaic) -> bool:
    return mosaic.places[mosaic.quarter] == DARKEST


def maps_by_hand(backbone, frames):
    images = torch.from_numpy(np.ascontiguousarray(frames)).float().permute(0, 3, 1, 2)
    return backbone.features(images).half().float()[None]


def test_what_cannot_be_mosaicked_says_why(run, known_run, monkeypatch) -> None:
    assert why_no_clip_mosaics(run, "test") == ""
    clips = [known_run.clip(name) for name in CLIPS[:3]]
    monkeypatch.setattr(stage, "clips_of", lambda *_: SplitClips(clips, [], checked=True))
    assert "there are 2" in why_no_clip_mosaics(run, "test")
    monkeypatch.setattr(run.model, "grid", (2, 7))
    assert "2 x 7 has no quarters" in why_no_clip_mosaics(run, "test")
