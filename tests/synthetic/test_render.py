"""The synthetic driving scenes: what an event may change, and what must not tell it."""

from dataclasses import replace

import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.synthetic import EVENT_CLASSES, OPPOSITES, render_clip
from caf_video.synthetic.render import SceneRenderer
from caf_video.synthetic.world.events import ActorStates, event_states, neutral_states
from caf_video.synthetic.world.scene import FRAMES, Place, draw_place
from caf_video.synthetic.world.truth import ground_truth

CELL = 32  # pixels of a feature cell at stride 32
SPILL = 10  # pixels by which a shadow or a glow may leave its box
SESSION = 7_000  # far from the sessions that are written by default


def all_places(sessions: int, variants: int) -> list[Place]:
    return [draw_place(SESSION + s, v) for s in range(sessions) for v in range(variants)]


def frames_of(place: Place, states: ActorStates, indices: tuple[int, ...]) -> np.ndarray:
    renderer = SceneRenderer(place)
    return np.stack([renderer.frame(states, index) for index in indices])


def changed(frame: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(frame.astype(int) - other.astype(int)).max(axis=-1)


def test_a_seed_always_gives_the_same_pixels_and_another_seed_others() -> None:
    clip = render_clip("stop_sign", session=SESSION, variant=3)
    again = render_clip("stop_sign", session=SESSION, variant=3)
    assert clip.frames.shape == (12, 256, 448, 3) and clip.frames.dtype == np.uint8
    assert clip.boxes.shape == (12, 4) and clip.visible.dtype == bool
    np.testing.assert_array_equal(clip.frames, again.frames)
    np.testing.assert_array_equal(clip.boxes, again.boxes)
    for other in ({"session": SESSION, "variant": 4}, {"session": SESSION + 1, "variant": 3}):
        assert (render_clip("stop_sign", **other).frames != clip.frames).mean() > 0.5


def test_the_neutral_clip_is_the_same_whatever_the_class() -> None:
    first = render_clip(EVENT_CLASSES[0], session=SESSION, evidence=False)
    assert not first.visible.any()
    for event_class in EVENT_CLASSES[1:]:
        other = render_clip(event_class, session=SESSION, evidence=False)
        np.testing.assert_array_equal(other.frames, first.frames)
        assert not other.visible.any()


@pytest.mark.parametrize("event_class", EVENT_CLASSES)
def test_an_event_changes_nothing_outside_its_box(event_class: str) -> None:
    for place in all_places(sessions=2, variants=2):
        told = event_states(event_class, place)
        indices = (1, 5, 10)
        event = frames_of(place, told, indices)
        neutral = frames_of(place, neutral_states(place), indices)
        boxes, _ = ground_truth(place, told, told.actor)
        for frame, other, box in zip(event, neutral, boxes[list(indices)], strict=True):
            difference = changed(frame, other)
            x1, y1 = np.maximum(np.floor(box[:2]).astype(int) - SPILL, 0)
            x2, y2 = np.ceil(box[2:]).astype(int) + SPILL
            difference[y1:y2, x1:x2] = 0
            assert difference.max() == 0


@pytest.mark.parametrize("event_class", EVENT_CLASSES)
def test_visible_means_that_the_change_can_be_seen_in_that_frame(event_class: str) -> None:
    for place in all_places(sessions=1, variants=3):
        told = event_states(event_class, place)
        neutral = neutral_states(place)
        boxes, visible = ground_truth(place, told, told.actor)
        for index in (0, 11):
            (frame,), (other,) = (frames_of(place, s, (index,)) for s in (told, neutral))
            x1, y1, x2, y2 = boxes[index].round().astype(int)
            inside = changed(frame, other)[y1:y2, x1:x2]
            if not visible[index]:
                assert inside.max() == 0
            elif told.signal[index] != neutral.signal[index] or told.actor != "signal":
                assert (inside > 12).mean() > 0.08


def test_evidence_is_large_enough_for_a_grid_of_32_pixel_cells() -> None:
    for place in all_places(sessions=60, variants=2):
        for event_class in EVENT_CLASSES:
            told = event_states(event_class, place)
            boxes, visible = ground_truth(place, told, told.actor)
            sides = boxes[:, 2:] - boxes[:, :2]
            assert visible.any()
            assert sides[visible].max(axis=1).min() >= 1.5 * CELL
            assert sides[visible].min(axis=1).min() >= 0.75 * CELL
            assert boxes.min() >= 0 and (boxes <= [448, 256, 448, 256]).all()


def test_evidence_is_seen_in_nearly_every_frame_that_tells() -> None:
    shown, telling = 0, 0
    for place in all_places(sessions=30, variants=1):
        for event_class in EVENT_CLASSES:
            told = event_states(event_class, place)
            shown += ground_truth(place, told, told.actor)[1].sum()
            telling += told.telling.sum()
    assert shown >= 0.98 * telling


def test_an_event_changes_exactly_one_actor() -> None:
    place = draw_place(SESSION, 0)
    neutral = neutral_states(place)
    fields = ("lead_lateral", "brake", "sign", "signal", "crosser_lateral", "joiner_lateral")
    for event_class in EVENT_CLASSES:
        told = event_states(event_class, place)
        different = [
            name for name in fields if not same(getattr(told, name), getattr(neutral, name))
        ]
        assert len(different) == 1, event_class


def same(first: object, second: object) -> bool:
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return bool(np.array_equal(first, second))
    return type(first) is type(second) and bool(first == second)


def test_a_class_played_backwards_is_its_opposite() -> None:
    assert all(OPPOSITES[OPPOSITES[name]] == name for name in OPPOSITES)
    assert set(EVENT_CLASSES) - set(OPPOSITES) == {"stop_sign", "railway_crossing"}
    place = draw_place(SESSION, 1)
    mirrored = replace(place, switch_time=FRAMES - 1 - place.switch_time)
    for name, opposite in OPPOSITES.items():
        told, back = event_states(name, place), event_states(opposite, mirrored)
        if told.actor == "signal":
            assert told.signal[::-1] == back.signal
        np.testing.assert_array_equal(told.brake[::-1], back.brake)
        np.testing.assert_array_equal(told.telling[::-1], back.telling)
        for field in ("crosser_lateral", "joiner_lateral"):
            way, way_back = getattr(told, field), getattr(back, field)
            assert (way is None) == (way_back is None)
            if way is not None:
                np.testing.assert_allclose(way[::-1], way_back, atol=1e-9)


def test_the_middle_frames_of_three_segments_show_the_order() -> None:
    for place in all_places(sessions=20, variants=1):
        for name in ("light_to_green", "light_to_red"):
            first, _, last = (event_states(name, place).signal[i] for i in (2, 6, 10))
            assert first != last
        for name in ("brake_lamps_on", "brake_lamps_off"):
            first, _, last = event_states(name, place).brake[[2, 6, 10]]
            assert first != last
        for name in ("car_leaves_left", "car_joins_from_right", "pedestrian_to_left"):
            told = event_states(name, place)
            way = told.joiner_lateral if told.crosser_lateral is None else told.crosser_lateral
            assert abs(way[10] - way[2]) > 1.2  # metres


def test_the_lead_car_keeps_its_distance_in_every_place() -> None:
    for place in all_places(sessions=60, variants=1):
        assert 9.0 <= place.lead_gap_metres.min() and place.lead_gap_metres.max() <= 12.5
        assert place.crosser.z < place.lead_gap_metres[0] - 0.5
        assert np.all(np.diff(place.position_metres) >= 0)


def test_painting_the_evidence_out_leaves_nothing_to_tell_the_class() -> None:
    """Nearest neighbours of small pictures: at chance without the evidence, well above it with."""
    rng = np.random.default_rng(0)
    neutral, crops, labels = [], [], []
    for session in range(8):
        for event_class, variant in zip(EVENT_CLASSES, rng.permutation(12), strict=True):
            place = draw_place(SESSION + 500 + session, int(variant))
            told = event_states(event_class, place)
            renderer = SceneRenderer(place)
            boxes, _ = ground_truth(place, told, told.actor)
            neutral.append(renderer.frame(neutral_states(place), 6)[::16, ::16].ravel())
            seen = [crop(renderer.frame(told, i), boxes[i]) for i in (2, 10)]
            motion = (boxes[10] - boxes[2])[[0, 2]] * 4.0
            crops.append(np.concatenate([*seen, motion]))
            labels.append(event_class)
    chance = 7 / 95  # a random other clip
    # Of 96 clips 7.1 +- 2.6 are right by chance; more than 18 once in ten thousand times.
    assert nearest_is_right(np.array(neutral, dtype=float), labels) <= 18 / 96
    assert nearest_is_right(np.array(crops, dtype=float), labels) >= 5 * chance


def crop(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = box
    columns = np.linspace(x1, x2 - 1, 12).astype(int)
    rows = np.linspace(y1, y2 - 1, 12).astype(int)
    return frame[np.ix_(rows, columns)].ravel().astype(float)


def nearest_is_right(points: np.ndarray, labels: list[str]) -> float:
    distances = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(distances, np.inf)
    return float(np.mean([labels[i] == labels[j] for i, j in enumerate(distances.argmin(axis=1))]))


def test_an_unknown_class_or_a_negative_seed_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="no event class 'u_turn'; there are stop_sign"):
        render_clip("u_turn", session=0)
    with pytest.raises(InputError, match="must not be negative"):
        render_clip("stop_sign", session=-1)
