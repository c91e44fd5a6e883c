"""Which frame, by pairs counted one by one and clips whose answer is known on paper."""

import math

import pytest
import torch

from caf_video.errors import InputError
from caf_video.evaluation import heaviest_counts, single_maximum, when_auc

SIZE = (40, 80)
LEFT, RIGHT = [0.0, 0.0, 20.0, 40.0], [60.0, 0.0, 80.0, 40.0]


def test_the_auc_agrees_with_pairs_counted_one_by_one(generator: torch.Generator) -> None:
    scores = torch.randint(4, (40, 6), generator=generator).double()  # with many ties
    positive = torch.rand(40, 6, generator=generator) < 0.4
    negative = ~positive & (torch.rand(40, 6, generator=generator) < 0.7)
    found = when_auc(scores, positive, negative)
    for clip in range(40):
        won = pairs = 0.0
        for a in range(6):
            for b in range(6):
                if positive[clip, a] and negative[clip, b]:
                    pairs += 1
                    if scores[clip, a] > scores[clip, b]:
                        won += 1
                    elif scores[clip, a] == scores[clip, b]:
                        won += 0.5
        if pairs:
            assert float(found[clip]) == pytest.approx(won / pairs)
        else:
            assert math.isnan(found[clip])
    assert found.isnan().any() and not found.isnan().all()


def test_a_perfect_a_useless_and_a_wrong_score_have_one_a_half_and_zero() -> None:
    positive = torch.tensor([[True, True, False]] * 3)
    scores = torch.tensor([[5.0, 4, 1], [2, 2, 2], [0, 1, 3]])
    assert when_auc(scores, positive).tolist() == [1.0, 0.5, 0.0]
    assert heaviest_counts(scores, positive).tolist() == [1.0, pytest.approx(2 / 3), 0.0]


def test_frames_of_neither_event_do_not_count() -> None:
    scores = torch.tensor([[9.0, 2, 1, 9]])
    positive, negative = torch.zeros(2, 1, 4, dtype=torch.bool)
    positive[0, 1], negative[0, 2] = True, True
    assert when_auc(scores, positive, negative).tolist() == [1.0]


def test_scores_that_do_not_fit_or_are_not_finite_are_refused() -> None:
    seen = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(InputError, match=r"wanted \(n, t\)"):
        when_auc(torch.ones(2, 4), seen)
    with pytest.raises(InputError, match="clip 1 are not finite"):
        when_auc(torch.tensor([[1.0, 2, 3], [1, math.nan, 3]]), seen)


def test_the_single_maximum_must_choose_the_frame_as_well_as_the_place() -> None:
    heat = torch.zeros(4, 2, 4, 8)
    heat[:, 0, 1, 0] = 1.0  # frame 0 on the left
    heat[:, 1, 1, 7] = torch.tensor([0.9, 1.1, 1.0, 1.0])  # frame 1 on the right
    boxes = torch.tensor([[LEFT, LEFT]] * 4, dtype=torch.float64)
    visible = torch.tensor([[True, True], [True, True], [False, True], [False, False]])
    found = single_maximum(heat, boxes, visible, SIZE)
    # Left is hotter: a hit. Right is: none. They tie, and of the two neither is visible and left.
    assert found[:3].tolist() == [1.0, 0.0, 0.0] and math.isnan(found[3])
    visible[2, 0] = True
    assert float(single_maximum(heat, boxes, visible, SIZE)[2]) == 0.5
    boxes[1, 1] = torch.tensor(RIGHT)
    assert float(single_maximum(heat, boxes, visible, SIZE)[1]) == 1.0
    visible[1, 1] = False  # the box is there, and nothing in it to see
    assert float(single_maximum(heat, boxes, visible, SIZE)[1]) == 0.0
