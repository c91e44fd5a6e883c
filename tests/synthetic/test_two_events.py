"""Clips of two events: what decides cannot be read from a frame, nor from when it comes."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from caf_video.synthetic import TWO_EVENT_CLASSES
from caf_video.synthetic.clips import TWO_EVENTS, driving_clips
from caf_video.synthetic.render import SceneRenderer
from caf_video.synthetic.world.scene import FRAMES, Place, draw_place
from caf_video.synthetic.world.truth import ground_truth
from caf_video.synthetic.world.two_events import (
    deciding_is_first,
    pairs_of_session,
    two_event_states,
    two_neutral_states,
)

SESSION = 7_000
STEPS = np.arange(1, FRAMES, 2)  # the middle frames of six segments
SIX = {
    "stop_sign": "standing",
    "railway_crossing": "standing",
    "red_light": "standing",
    "green_light": "standing",
    "pedestrian": "moving",
    "brake_lamps": "moving",
    "van_ahead": "moving",
    "van_beside": "moving",
}


def steps_of(deciding: str, other: str, place: Place) -> tuple[list[int], list[int]]:
    """In which of six steps each of the two shows."""
    told, others = two_event_states(deciding, other, place)
    return tuple(np.flatnonzero(states.telling[STEPS]).tolist() for states in (told, others))


def test_within_a_family_the_later_event_decides_and_across_families_the_earlier() -> None:
    assert set(TWO_EVENT_CLASSES) == set(SIX)
    places = [draw_place(SESSION + number, 0) for number in range(6)]
    for deciding in SIX:
        for other in set(SIX) - {deciding}:
            for place in places:
                decides, does_not = steps_of(deciding, other, place)
                assert len(decides) == len(does_not) == 2
                later = min(decides) > max(does_not)
                earlier = max(decides) < min(does_not)
                assert later if SIX[deciding] == SIX[other] else earlier


def test_in_twelve_sessions_every_pair_is_won_as_often_by_either_kind_and_order() -> None:
    won = Counter(pair for number in range(12) for pair in pairs_of_session(number))
    for one, other in combinations(TWO_EVENT_CLASSES, 2):
        expected = 4 if SIX[one] == SIX[other] else 3
        assert won[one, other] == won[other, one] == expected
    for number in range(12):
        pairs = list(pairs_of_session(number))
        assert set(Counter(deciding for deciding, _ in pairs).values()) == {2}
        assert set(Counter(other for _, other in pairs).values()) == {2}
        first = Counter(deciding for deciding, other in pairs if deciding_is_first(deciding, other))
        assert first == dict.fromkeys(TWO_EVENT_CLASSES, 1)  # and once as the later one


def test_what_one_event_alone_says_is_right_half_the_time() -> None:
    """The first event's kind, or the last one's, is the answer in half of the clips, no more."""
    jobs = list(driving_clips(12, 0, 0, 0, TWO_EVENTS))
    for first in (True, False):
        answers: dict[str, Counter[str]] = {}
        for job in jobs:
            early = deciding_is_first(job.event_class, job.other)
            shown = job.event_class if early == first else job.other
            answers.setdefault(shown, Counter())[job.event_class] += 1
        right = sum(counts.most_common(1)[0][1] for counts in answers.values())
        assert right == len(jobs) / 2


def test_when_an_event_shows_says_nothing_of_which_one_decides() -> None:
    """The steps of a clip are drawn before its classes: order alone is at chance."""
    for number in range(8):
        place = draw_place(SESSION + number, number)
        shown = {
            frozenset(map(tuple, steps_of(deciding, other, place)))
            for deciding, other in pairs_of_session(number)
        }
        assert len(shown) == 1
    starts = {
        tuple(sorted(map(tuple, steps_of("stop_sign", "pedestrian", draw_place(SESSION, v)))))
        for v in range(24)
    }
    assert len(starts) == 4  # the early one begins at step 0 or 1, the late one at 3 or 4


def test_both_events_are_painted_where_their_boxes_are_and_only_while_they_show() -> None:
    for number, (deciding, other) in enumerate(list(pairs_of_session(0))[::3]):
        place = draw_place(SESSION + number, 1)
        renderer, neutral = SceneRenderer(place), two_neutral_states(place)
        told = two_event_states(deciding, other, place)
        truths = [ground_truth(place, states, states.actor) for states in told]
        for frame in (1, 5, 7, 11):
            difference = np.abs(
                renderer.frame(told[0], frame).astype(int)
                - renderer.frame(neutral, frame).astype(int)
            ).max(axis=-1)
            for boxes, visible in truths:
                x1, y1, x2, y2 = boxes[frame].round().astype(int)
                if visible[frame]:
                    assert (difference[y1:y2, x1:x2] > 12).mean() > 0.08
                    difference[max(y1 - 10, 0) : y2 + 10, max(x1 - 10, 0) : x2 + 10] = 0
            assert difference.max() == 0
        assert not (truths[0][1] & truths[1][1]).any()


@pytest.mark.parametrize("kind", TWO_EVENT_CLASSES)
def test_an_event_can_be_seen_whenever_it_shows_and_is_large_enough(kind: str) -> None:
    other = TWO_EVENT_CLASSES[(TWO_EVENT_CLASSES.index(kind) + 3) % 8]
    shown = 0
    for number in range(30):
        place = draw_place(SESSION + number, number % 7)
        told, _ = two_event_states(kind, other, place)
        boxes, visible = ground_truth(place, told, told.actor)
        shown += int(visible[told.telling].sum())
        assert not visible[~told.telling].any()
        sides = (boxes[:, 2:] - boxes[:, :2])[visible]
        assert sides.max(axis=1).min() >= 48 and sides.min(axis=1).min() >= 24
    assert shown >= 0.97 * 30 * 4
