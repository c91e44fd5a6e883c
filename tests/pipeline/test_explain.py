"""Explained clips, their records and their strips, for a run that is known on paper."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from caf_video.cli import main
from caf_video.pipeline.explain import draw_clip, explain_clips, write_explanations
from caf_video.rendering.strip import CAPTION_HEIGHT, GAP, MARGIN, TITLE_HEIGHT


@pytest.fixture(scope="module")
def explained(known_run):
    return {one.clip.clip_id: one for one in explain_clips(known_run.folder, [])}


def column(strip: Image.Image, number: int, *, row: int = 0, captioned: bool) -> np.ndarray:
    """The picture of one timestep in a strip, as it is drawn: (height, width, 3)."""
    pixels = np.asarray(strip.convert("RGB")).astype(int)
    width = (strip.width - 2 * MARGIN - 2 * GAP) // 3
    height = width // 2
    left = MARGIN + number * (width + GAP)
    top = MARGIN + TITLE_HEIGHT + CAPTION_HEIGHT * captioned
    return pixels[top : top + height, left : left + width]


def warmth(picture: np.ndarray) -> np.ndarray:
    """Where a grey picture has become coloured: red over blue, (height, width)."""
    return (picture[..., 0] - picture[..., 2]).clip(min=0)


def sides(picture: np.ndarray) -> tuple[int, int]:
    """How many pixels of the left and of the right half are coloured."""
    coloured = warmth(picture) > 8
    half = coloured.shape[1] // 2
    return int(coloured[:, :half].sum()), int(coloured[:, half:].sum())


def test_a_record_holds_the_neighbour_its_distance_and_whether_it_is_right(
    known_run, explained
) -> None:
    labels = {clip.clip_id: clip.label for clip in known_run.clips}
    assert list(explained) == list(known_run.nearest)
    for clip_id, one in explained.items():
        record = one.record()
        nearest = known_run.nearest[clip_id]
        assert record["nearest"] == nearest
        assert record["label"] == labels[clip_id] and record["nearest_label"] == labels[nearest]
        assert record["correct"] is (clip_id in known_run.right)
        on_paper = math.dist(known_run.embedding(clip_id), known_run.embedding(nearest))
        assert record["distance"] == pytest.approx(on_paper, rel=2e-2)


def test_a_record_holds_each_sampled_frame_and_when_it_appears(known_run) -> None:
    for target in ("right_a", "train_right_a"):  # of training the middle candidates
        (one,) = explain_clips(known_run.folder, [target])
        frames = one.record()["frames"]
        assert [frame["frame_index"] for frame in frames] == [1, 4, 7]
        assert [frame["time_seconds"] for frame in frames] == pytest.approx([0.1, 0.4, 0.7])
        assert one.nearest_frames.tolist() == [1, 4, 7]


def test_influence_is_that_of_each_frame_in_its_order(known_run, explained) -> None:
    """The same in every frame: the last counts 4, the middle 2, the first 1 of 7, nearly."""
    for clip_id in ("stop_a", "right_b"):
        shares = [frame["influence"] for frame in explained[clip_id].record()["frames"]]
        assert shares == pytest.approx([1 / 7, 2 / 7, 4 / 7], rel=5e-2)


def test_filters_lie_on_the_left_where_these_clips_hold_all_they_hold(explained) -> None:
    for one in explained.values():
        mass = one.filters.square().sum(dim=1)  # over rows, (t, w)
        torch.testing.assert_close(one.filters.square().sum(dim=(1, 2)), torch.ones(3))
        assert (mass[:, 0] > 0.95).all()


def test_only_right_and_only_wrong_are_the_clips_on_paper(known_run) -> None:
    wrong = explain_clips(known_run.folder, [], only="wrong")
    right = explain_clips(known_run.folder, [], only="correct")
    assert {one.clip.clip_id for one in wrong} == {"left_b", "stop_c"}
    assert {one.clip.clip_id for one in right} == known_run.right


def test_a_strip_has_its_heat_on_the_left_where_the_filter_is(explained) -> None:
    strip = draw_clip(explained["left_a"], captioned=False)
    for timestep in range(3):
        left, right = sides(column(strip, timestep, captioned=False))
        assert left > 500 and right == 0


def test_each_frame_of_a_strip_has_its_own_filter(explained) -> None:
    one_hot = torch.zeros(3, 2, 4)
    one_hot[0, 0, 0] = one_hot[1, 1, 3] = -1.0  # signed: heat is its absolute value
    strip = draw_clip(replace(explained["left_a"], filters=one_hot), captioned=False)
    for timestep, (on_left, above) in enumerate([(True, True), (False, False)]):
        heat = warmth(column(strip, timestep, captioned=False))
        rows, columns = (heat > 8).nonzero()
        height, width = heat.shape
        assert bool(columns.mean() < width / 2) is on_left
        assert bool(rows.mean() < height / 2) is above
    assert not warmth(column(strip, 2, captioned=False)).any()


def test_a_strip_shows_the_sampled_frames_of_the_clip_and_of_its_neighbour(
    known_run, explained
) -> None:
    cold = replace(explained["left_b"], filters=torch.zeros(3, 2, 4))
    strip = draw_clip(cold, captioned=False)
    pixels = np.asarray(strip.convert("RGB")).astype(int)
    first = column(strip, 0, captioned=False)
    for timestep, frame in enumerate(known_run.frames):
        shown = np.median(column(strip, timestep, captioned=False))
        assert shown == pytest.approx(known_run.shade("left_b", frame), abs=4)
        # The neighbour's frame stands in the same column further down.
        left = MARGIN + timestep * (first.shape[1] + GAP) + first.shape[1] // 2
        shades = pixels[MARGIN + TITLE_HEIGHT + first.shape[0] + 2 :, left, 0]
        wanted = known_run.shade("stop_c", frame)
        assert (abs(shades - wanted) <= 4).sum() > first.shape[0] // 2


def test_written_filters_are_those_found_and_the_strip_is_drawn_from_them(
    explained, tmp_path
) -> None:
    one = explained["right_b"]
    (strip,) = write_explanations([one], tmp_path)
    stored = np.load(tmp_path / "right_b.npz")
    assert np.array_equal(stored["filters"], one.filters.numpy())
    assert stored["frame_indices"].tolist() == [1, 4, 7]
    assert stored["times_seconds"].tolist() == pytest.approx([0.1, 0.4, 0.7])
    assert np.array_equal(stored["influence"], one.influence)
    assert np.array_equal(stored["losses"], one.losses)
    record = json.loads((tmp_path / "right_b.json").read_text())
    assert record["files"] == {"strip": "right_b.png", "filters": "right_b.npz"}
    assert record["frames"] == one.record()["frames"]
    with Image.open(strip) as picture:
        for timestep in range(3):
            left, right = sides(column(picture, timestep, captioned=True))
            assert left > 500 and right == 0


def test_one_filter_for_a_clip_says_which_frame_in_record_file_and_strip(
    known_run, tmp_path
) -> None:
    (one,) = explain_clips(known_run.folder, ["right_b"], filters="joint")
    shares = one.filters.square().sum(dim=(1, 2)).numpy()
    assert shares.sum() == pytest.approx(1) and one.losses.shape == (1,)
    assert shares[2] == max(shares)  # the last frame counts most in these embeddings
    record = one.record()
    assert record["filters"] == "joint" and record["loss"] == pytest.approx(one.losses[0])
    assert record["settled"] is True and record["steps"] == one.steps[0]
    assert [frame["share"] for frame in record["frames"]] == pytest.approx(shares)
    assert set(record["frames"][0]) == {"frame_index", "time_seconds", "share", "influence"}

    (strip,) = write_explanations([one], tmp_path)
    stored = np.load(tmp_path / "right_b.npz")
    assert stored["frame_shares"] == pytest.approx(shares)
    assert np.array_equal(stored["filters"], one.filters.numpy())

    one_hot = torch.zeros(3, 2, 4)
    one_hot[0, :, 0], one_hot[1, :, 0], one_hot[2, :, 3] = 0.7, 0.05, -0.7
    drawn = draw_clip(replace(one, filters=one_hot), captioned=False)
    lit = [sides(column(drawn, timestep, captioned=False)) for timestep in range(3)]
    assert lit[0][0] > 500 and lit[1] == (0, 0) == lit[2]  # of the clip's maximum; positive only


def test_the_command_takes_the_kind_of_filters(known_run, tmp_path, monkeypatch) -> None:
    def caf_video(*arguments: object) -> None:
        monkeypatch.setattr("sys.argv", ["caf-video", *map(str, arguments)])
        main()

    ours = ("--model", known_run.folder, "--out", tmp_path)
    with pytest.raises(SystemExit) as done:
        caf_video("explain", "right_b", *ours, "--filters", "joint")
    assert not done.value.code
    assert json.loads((tmp_path / "right_b.json").read_text())["filters"] == "joint"
    with pytest.raises(SystemExit) as refused:
        caf_video("explain", "x.mp4", "--backbone", "resnet18", "--filters", "joint")
    assert refused.value.code == 2
