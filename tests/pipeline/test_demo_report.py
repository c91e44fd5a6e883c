"""What the demo's page shows of a run that is known on paper."""

import numpy as np
import pytest

from caf_video.attention.methods import METHODS
from caf_video.pipeline.demo import clips_to_show, demo_report
from caf_video.pipeline.evaluate import evaluate
from caf_video.pipeline.explain import explain_clips
from caf_video.pipeline.explain_files import draw_clip


@pytest.fixture(scope="module")
def evaluation(known_run):
    return evaluate(known_run.folder)


@pytest.fixture(scope="module")
def report(known_run, evaluation):
    (known_run.folder / "metrics.csv").write_text("step,loss\n0,0.5\n1,0.25\n")
    explained = explain_clips(known_run.folder, ["left_a", "left_b"])
    metrics = {"seed": 0, "backbone": "known", "recall@1": 5 / 7}
    joint = explain_clips(known_run.folder, ["left_a", "left_b"], filters="joint")
    return [*zip(explained, joint, strict=True)], demo_report(
        metrics, evaluation, explained, joint, known_run.boxes_csv, known_run.folder
    )


def test_one_right_clip_of_every_class_is_shown_and_the_wrong_ones(evaluation) -> None:
    assert clips_to_show(evaluation) == ["left_a", "right_a", "stop_a", "left_b", "stop_c"]


def test_classes_are_listed_with_their_recall_and_their_clips(report) -> None:
    _, page = report
    assert page.per_class == {
        "pedestrian_to_left": (0.5, 2),
        "pedestrian_to_right": (1.0, 2),
        "stop_sign": (pytest.approx(2 / 3), 3),
    }


def test_the_strips_of_both_kinds_of_filters_show_the_boxes_of_their_frames(
    report,
) -> None:
    """The box of frame i begins at x = i; evidence is visible from frame 4 on."""
    explained, page = report
    boxes = np.array([[1, 0, 21, 64], [4, 0, 24, 64], [7, 0, 27, 64]], float)
    visible = np.array([False, True, True])
    for (one, joint), item in zip(explained, page.gallery, strict=True):
        upper = draw_clip(one, captioned=False, boxes=boxes, evidence_visible=visible)
        lower = draw_clip(
            joint, captioned=False, with_neighbour=False, boxes=boxes, evidence_visible=visible
        )
        assert lower.height < upper.height and lower.width == upper.width
        picture = np.asarray(item.picture)
        assert picture.shape[:2] == (upper.height + lower.height, upper.width)
        assert np.array_equal(picture[: upper.height], np.asarray(upper))
        assert np.array_equal(picture[upper.height :], np.asarray(lower))


def test_a_clip_stands_among_the_right_or_the_wrong_with_its_neighbour(report) -> None:
    _, page = report
    right, wrong = page.gallery
    assert right.correct and not wrong.correct
    assert right.caption == ("pedestrian_to_left (left_a); nearest: pedestrian_to_left (left_b)")
    assert wrong.caption == "pedestrian_to_left (left_b); nearest: stop_sign (stop_c)"


def test_the_page_calls_methods_as_the_register_does(report) -> None:
    _, page = report
    assert page.methods["l2-caf"] == METHODS["l2-caf"].title == "L2-CAF"
    assert set(page.methods) == METHODS.keys() | {"box-prior"}
