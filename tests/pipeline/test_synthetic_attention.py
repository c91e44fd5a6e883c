"""Attention of a known run against boxes that are known: on the left, in training on the right."""

import numpy as np
import pytest
import torch

from caf_video.pipeline.evaluate import evaluate
from caf_video.pipeline.opened import open_run, split_maps
from caf_video.pipeline.synthetic_attention import (
    evidence_influence,
    heat_of_frames,
    opposites_found,
    score_attention,
)


@pytest.fixture(scope="module")
def measured(known_run):
    """The run, its evaluation on test, and the maps of that."""
    evaluation = evaluate(known_run.folder)
    return open_run(known_run.folder), evaluation, split_maps(known_run.store, evaluation.clips)


def scores(known_run, measured, heat):
    run, evaluation, maps = measured
    return score_attention(run, evaluation, maps, heat, known_run.boxes_csv, known_run.size)


def test_every_method_points_to_the_left_where_the_evidence_is(known_run, measured) -> None:
    run, _, maps = measured
    found = scores(known_run, measured, heat_of_frames("l2-caf", run, maps))
    assert list(found) == [
        "l2-caf",
        "retrieval-grad-cam",
        "retrieval-grad-cam-abs",
        "feature-norm",
        "box-prior",
        "uniform",
    ]
    for name in ("l2-caf", "feature-norm"):
        assert found[name]["pointing"] == found[name]["pointing_correct"] == 1.0, name
        assert found[name]["energy"] > 2 * found[name]["area"], name
    for of_method in found.values():
        assert of_method["n"] == 14  # of seven clips the second and third frame
        assert of_method["area"] == pytest.approx(20 / 128)


def test_the_box_prior_is_of_the_training_split_whose_boxes_lie_on_the_right(
    known_run, measured
) -> None:
    prior = scores(known_run, measured, torch.ones(7, 3, 2, 4))["box-prior"]
    assert prior["pointing"] == prior["energy"] == 0.0


def test_pointing_correct_leaves_out_the_clips_that_were_wrong(known_run, measured) -> None:
    """Only the two clips on paper whose retrieval was wrong look to the left, at the evidence."""
    heat = torch.zeros(7, 3, 2, 4)
    heat[:, :, :, 3] = 1.0
    for row, clip_id in enumerate(known_run.nearest):
        if clip_id not in known_run.right:
            heat[row] = heat[row].flip(-1)
    found = scores(known_run, measured, heat)["l2-caf"]
    assert found["pointing"] == pytest.approx(2 / 7)
    assert found["pointing_correct"] == 0.0


def test_heat_is_never_negative_and_in_the_order_of_clips(measured) -> None:
    run, _, maps = measured
    for name in ("l2-caf", "retrieval-grad-cam", "retrieval-grad-cam-abs", "feature-norm"):
        heat = heat_of_frames(name, run, maps)
        assert heat.shape == (7, 3, 2, 4) and (heat >= 0).all()
        for row in (0, 5):
            alone = heat_of_frames(name, run, maps[row : row + 1])
            torch.testing.assert_close(heat[row], alone[0], rtol=1e-3, atol=1e-4)


def test_played_backwards_three_of_four_clips_find_the_opposite_on_paper(
    known_run, measured
) -> None:
    labels = {clip.clip_id: clip.label for clip in known_run.clips}
    found = {}
    for clip_id in ("left_a", "left_b", "right_a", "right_b"):
        query = np.array(known_run.embedding(clip_id, backwards=True))
        others = [other for other in known_run.nearest if other != clip_id]
        distances = [((query - known_run.embedding(other)) ** 2).sum() for other in others]
        found[clip_id] = labels[others[int(np.argmin(distances))]] != labels[clip_id]
    assert list(found.values()) == [True, True, True, False]
    assert opposites_found(*measured) == {"pedestrian_to_left": 1.0, "pedestrian_to_right": 0.5}


def test_frames_with_evidence_have_the_influence_of_the_second_and_third(
    known_run, measured
) -> None:
    run, evaluation, maps = measured
    found = evidence_influence(run, evaluation, maps, known_run.boxes_csv)
    shares = []
    for row in range(7):
        whole = run.embed(maps[row : row + 1])
        moved = []
        for timestep in range(3):
            blanked = maps[row : row + 1].clone()
            blanked[:, timestep] = 0  # this network's A is the map itself
            moved.append(float((run.embed(blanked) - whole).norm()))
        shares.append(np.array(moved) / sum(moved))
    shares = np.array(shares)
    assert found["evidence_visible"] == pytest.approx(shares[:, 1:].mean(), rel=1e-4)
    assert found["evidence_not_visible"] == pytest.approx(shares[:, 0].mean(), rel=1e-4)
