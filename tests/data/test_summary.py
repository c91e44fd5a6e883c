"""What a list of clips holds, against counts by hand."""

from pathlib import Path

import pytest

from caf_video.data.clip import Clip
from caf_video.data.summary import (
    LabelCount,
    features_bytes,
    label_counts,
    length_seconds,
    sampled_frames,
    splits_in,
)

CLIPS = [
    Clip("a", Path("/x.mp4"), "left", 1.0, 3.5, "s1", "train"),
    Clip("b", Path("/x.mp4"), "left", 4.0, None, "s1", "train"),
    Clip("c", Path("/y.mp4"), "left", 0.0, None, "s2", "test"),
    Clip("d", Path("/z.mp4"), "right", 0.0, 9.0, "", "val"),
]


def test_clips_are_counted_by_label_split_and_recording() -> None:
    assert label_counts(CLIPS) == [
        LabelCount("left", (2, 0, 1), 2),
        LabelCount("right", (0, 1, 0), 1),
    ]


def test_lengths_are_known_where_the_end_is() -> None:
    assert [length_seconds(clip) for clip in CLIPS] == [2.5, None, None, 9.0]
    assert [length_seconds(clip, 8.0) for clip in CLIPS] == [2.5, 4.0, 8.0, 8.0]


def test_features_take_two_bytes_a_value() -> None:
    frames = sampled_frames(CLIPS, timesteps=3, candidates=5)
    assert frames == 2 * 3 * 5 + 2 * 3
    assert features_bytes(frames, 1280, (8, 14)) == 36 * 1280 * 8 * 14 * 2


def test_the_default_of_the_check_is_what_the_default_backbone_makes() -> None:
    pytest.importorskip("torch")
    from caf_video.cli.prepare import DEFAULT_CHANNELS, DEFAULT_GRID
    from caf_video.models.backbones import load_backbone

    backbone = load_backbone("efficientnet_lite0", weights="none")
    assert (backbone.channels, backbone.grid((256, 448))) == (DEFAULT_CHANNELS, DEFAULT_GRID)


def test_queries_and_gallery_are_counted_where_there_are_any() -> None:
    clips = [*CLIPS, Clip("e", Path("/w.mp4"), "left", split="gallery")]
    assert splits_in(CLIPS) == ["train", "val", "test"]
    assert splits_in(clips) == ["train", "val", "test", "gallery"]
    assert label_counts(clips)[0] == LabelCount("left", (2, 0, 1, 1), 3)
