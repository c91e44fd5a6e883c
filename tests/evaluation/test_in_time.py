"""Figures of attention in time, by loops and for clips whose answer is known on paper."""

import numpy as np
import pytest
import torch
from torch import Tensor

from caf_video.errors import InputError
from caf_video.evaluation import (
    VisibleFrames,
    influence_of_evidence,
    mean_pooled,
    opposite_found,
    played_backwards,
    pooled_by_frame,
    score_in_time,
    visible_frames,
)

SIZE = (40, 80)
LEFT, RIGHT = [0.0, 0.0, 20.0, 40.0], [60.0, 0.0, 80.0, 40.0]


def boxes_of(*boxes: list[float]) -> Tensor:
    return torch.tensor(boxes, dtype=torch.float64)


def one_cell(column: int, *, row: int = 1, grid: tuple[int, int] = (4, 8)) -> Tensor:
    heat = torch.zeros(grid)
    heat[row, column] = 1.0
    return heat


def score(heat: Tensor, visible: VisibleFrames, **changes):
    settings = {"correct": np.ones(len(heat), bool), "training_boxes": boxes_of(LEFT), "size": SIZE}
    return score_in_time({"m": heat}, visible, **{**settings, **changes})


def test_of_a_clip_of_which_one_frame_is_visible_that_frame_counts_with_its_own_box() -> None:
    boxes = np.arange(24.0).reshape(6, 4)
    visible = np.array([False, False, False, True, False, False])
    found = visible_frames([np.array([1, 3, 5])], [(boxes, visible)])
    assert found.clips.tolist() == [0]
    assert found.timesteps.tolist() == [1]  # of the three sampled frames the second, frame 3
    assert found.boxes.tolist() == [[12.0, 13.0, 14.0, 15.0]]
    assert found.mask(1, 3).tolist() == [[False, True, False]]


def test_visible_frames_agree_with_loops() -> None:
    random = np.random.default_rng(0)
    indices = [random.integers(9, size=4) for _ in range(5)]
    truths = [(random.random((9, 4)), random.random(9) < 0.5) for _ in range(5)]
    found = visible_frames(indices, truths)
    wanted = [
        (clip, timestep, truths[clip][0][indices[clip][timestep]].tolist())
        for clip in range(5)
        for timestep in range(4)
        if truths[clip][1][indices[clip][timestep]]
    ]
    assert 0 < len(wanted) < 20
    parts = zip(found.clips.tolist(), found.timesteps.tolist(), found.boxes.tolist(), strict=True)
    assert list(parts) == wanted


def test_clips_without_visible_evidence_are_an_error() -> None:
    with pytest.raises(InputError, match="no visible evidence .* of 1 clips"):
        visible_frames([np.array([0, 1])], [(np.zeros((2, 4)), np.zeros(2, bool))])


def test_a_maximum_left_of_the_centre_hits_a_box_on_the_left_and_none_on_the_right() -> None:
    visible = VisibleFrames(torch.tensor([0, 1]), torch.tensor([0, 0]), boxes_of(LEFT, RIGHT))
    scores = score(torch.stack([one_cell(0), one_cell(0)])[:, None], visible)
    assert scores["m"]["pointing"] == 0.5
    assert scores["m"]["n"] == 2
    only_left = VisibleFrames(torch.tensor([0]), torch.tensor([0]), boxes_of(LEFT))
    scores = score(one_cell(0)[None, None], only_left)["m"]
    assert scores["pointing"] == 1.0
    assert scores["energy"] > 0.9
    assert scores["area"] == 0.25


def test_the_area_is_the_mean_of_the_boxes() -> None:
    wide = [0.0, 0.0, 80.0, 20.0]  # a half of the frame, and LEFT is a quarter
    visible = VisibleFrames(torch.arange(3), torch.zeros(3).long(), boxes_of(LEFT, wide, wide))
    scores = score(torch.stack([one_cell(0)] * 3)[:, None], visible)
    for name in ("m", "box-prior", "uniform"):
        assert scores[name]["area"] == pytest.approx((0.25 + 0.5 + 0.5) / 3)


def test_what_is_not_about_the_same_clips_is_refused() -> None:
    truth = (np.zeros((2, 4)), np.ones(2, bool))
    with pytest.raises(ValueError, match=r"zip\(\) argument 2"):
        visible_frames([np.array([0])], [truth, truth])
    with pytest.raises(ValueError, match=r"zip\(\) argument 2"):
        opposite_found(["on", "on"], ["on"], {"on": "off"})


def test_frames_are_the_same_only_as_objects() -> None:
    """Their tensors have no truth of their own."""
    one, other = (visible_frames([np.array([0, 1])], [(np.ones((2, 4)), np.ones(2, bool))])
                  for _ in range(2))  # fmt: skip
    assert one != other


def test_a_maximum_above_the_centre_hits_a_box_above() -> None:
    above = VisibleFrames(torch.tensor([0]), torch.tensor([0]), boxes_of([0.0, 0.0, 80.0, 10.0]))
    assert score(one_cell(4, row=0)[None, None], above)["m"]["pointing"] == 1.0
    assert score(one_cell(4, row=3)[None, None], above)["m"]["pointing"] == 0.0


def test_each_frame_is_scored_by_its_own_heat() -> None:
    """Of two clips of two frames only clip 1, frame 0 looks left, where its box is."""
    heat = torch.stack([one_cell(7)] * 4).view(2, 2, 4, 8).clone()
    heat[1, 0] = one_cell(0)
    for clip, timestep, hit in ((0, 0, 0.0), (0, 1, 0.0), (1, 0, 1.0), (1, 1, 0.0)):
        frame = VisibleFrames(torch.tensor([clip]), torch.tensor([timestep]), boxes_of(LEFT))
        assert score(heat, frame)["m"]["pointing"] == hit


def test_pointing_correct_is_of_the_clips_whose_retrieval_was_right() -> None:
    heat = torch.stack([one_cell(0), one_cell(7), one_cell(7)])[:, None]
    visible = VisibleFrames(torch.arange(3), torch.zeros(3).long(), boxes_of(LEFT, LEFT, LEFT))
    for correct, wanted in (
        ([True, False, False], 1.0),
        ([False, True, True], 0.0),
        ([True, True, False], 0.5),
        ([False, False, False], None),
    ):
        assert score(heat, visible, correct=np.array(correct))["m"]["pointing_correct"] == wanted


def test_the_priors_are_of_the_training_boxes_and_of_nothing() -> None:
    visible = VisibleFrames(torch.tensor([0]), torch.tensor([0]), boxes_of(LEFT))
    heat = one_cell(0)[None, None]
    for boxes, pointing, energy in (
        (boxes_of(LEFT), 1.0, 1.0),
        (boxes_of(RIGHT), 0.0, 0.0),
        (boxes_of(LEFT, RIGHT, RIGHT, RIGHT), 0.0, 0.25),
    ):
        prior = score(heat, visible, training_boxes=boxes)["box-prior"]
        assert (prior["pointing"], prior["energy"]) == (pointing, pytest.approx(energy))
    uniform = score(heat, visible)["uniform"]
    assert uniform["energy"] == uniform["area"] == 0.25
    assert uniform["pointing"] == pytest.approx(35 / 80)  # 15 pixels beside the box are hits


def test_played_backwards_the_last_frame_is_first_and_no_clip_changes_place() -> None:
    maps = torch.arange(2 * 3 * 2.0).view(2, 3, 2, 1, 1)
    turned = played_backwards(maps)
    for clip in range(2):
        for timestep in range(3):
            assert torch.equal(turned[clip, timestep], maps[clip, 2 - timestep])


def test_the_opposite_is_found_where_the_nearest_is_of_the_opposite_class() -> None:
    opposites = {"on": "off", "off": "on"}
    labels = ["on", "on", "off", "stop", "on", "off"]
    nearest = ["off", "on", "on", "stop", "stop", "on"]
    found = opposite_found(labels, nearest, opposites)
    assert found == {"on": pytest.approx(1 / 3), "off": 1.0}


def test_influence_is_of_clips_in_which_evidence_comes_or_goes() -> None:
    shares = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.9, 0.1, 0.0], [0.3, 0.3, 0.4]])
    # Clip 0 is visible in frame 0 alone, clip 1 in frames 1 and 2, clip 2 always, clip 3 never.
    clips, timesteps = [0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 1, 2]
    visible = VisibleFrames(torch.tensor(clips), torch.tensor(timesteps), torch.zeros(6, 4))
    assert influence_of_evidence(shares, visible) == {
        "evidence_visible": pytest.approx((0.5 + 0.2 + 0.7) / 3),
        "evidence_not_visible": pytest.approx((0.3 + 0.2 + 0.1) / 3),
    }
    always = VisibleFrames(torch.tensor([0]), torch.tensor([0]), torch.zeros(1, 4))
    with pytest.raises(InputError, match="none of 1 clips"):
        influence_of_evidence(torch.ones(1, 1), always)


def test_the_frozen_baselines_agree_with_loops(generator: torch.Generator) -> None:
    maps = torch.rand(2, 3, 4, 2, 5, generator=generator) - 0.3
    for clip in range(2):
        frames = [
            [maps[clip, t, c].double().flatten().numpy().mean() for c in range(4)] for t in range(3)
        ]
        in_a_row = np.concatenate(frames)
        mean = np.mean(frames, axis=0)
        wanted = mean / np.sqrt(sum(value**2 for value in mean))
        np.testing.assert_allclose(mean_pooled(maps)[clip], wanted, rtol=1e-5)
        wanted = in_a_row / np.sqrt(sum(value**2 for value in in_a_row))
        np.testing.assert_allclose(pooled_by_frame(maps)[clip], wanted, rtol=1e-5)
