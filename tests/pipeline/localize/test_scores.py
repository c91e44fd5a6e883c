"""Figures by loops over images: every gate, interval, difference and curve of every row."""

from dataclasses import replace

import numpy as np
import pytest

from caf_video.localization import PROTOCOLS, Estimate
from caf_video.pipeline.localize.measure import Measurements
from caf_video.pipeline.localize.scores import HEADLINES, Scores, score
from caf_video.pipeline.localize.stage import accuracy_curves
from caf_video.retrieval import normalized_mutual_information

METHODS = ("first", "grad-cam", "third")
BOTH = ("simple", "maxboxacc_v2")


def bootstrap(values: list[float]) -> Estimate:
    """Mean and percentiles of 2000 resamples, one after the other."""
    array = np.array(values, dtype=float)
    random = np.random.default_rng(0)
    means = []
    for images in random.integers(len(array), size=(2000, len(array))):
        means.append(sum(array[i] for i in images) / len(array))
    return Estimate(
        float(array.mean()), float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))
    )


def assert_same(found: Estimate, expected: Estimate) -> None:
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )


def hits_of(found: Measurements, protocol: str, method: str) -> list[float]:
    """How right each image with a box is: each IoU level at the threshold best for it."""
    overlaps = found.overlaps[protocol, method]
    if protocol == "simple":
        return [float(row[0] >= 0.5) for row in overlaps]
    hits = np.zeros(len(overlaps))
    for level in (0.3, 0.5, 0.7):
        by_threshold = [sum(row[t] >= level for row in overlaps) for t in range(255)]
        best = by_threshold.index(max(by_threshold))
        hits += [float(row[best] >= level) / 3 for row in overlaps]
    return hits.tolist()


def row_of(scores: Scores, protocol: str, method: str):
    (row,) = (r for r in scores.rows if (r.protocol, r.method) == (protocol, method))
    return row


def test_every_row_of_a_classifier_by_loops(measured: Measurements) -> None:
    scores = score(measured, BOTH, METHODS)
    assert [(row.protocol, row.method) for row in scores.rows] == [
        (protocol, method) for protocol in BOTH for method in METHODS
    ]
    assert scores.headline == "top1_loc" and not scores.retrieval
    boxed = [i for i, image in enumerate(measured.images) if image.boxes]
    for protocol in BOTH:
        gated: dict[str, dict[str, list[float]]] = {}
        for method in METHODS:
            hits = hits_of(measured, protocol, method)
            ranks = [int(measured.ranks[protocol][i]) for i in boxed]
            gated[method] = {
                "gt_known": hits,
                "top1_loc": [h if r == 0 else 0.0 for h, r in zip(hits, ranks, strict=True)],
                "top5_loc": [h if r <= 4 else 0.0 for h, r in zip(hits, ranks, strict=True)],
            }
            row = row_of(scores, protocol, method)
            assert list(row.figures) == ["gt_known", "top1_loc", "top5_loc"]
            for name, values in gated[method].items():
                assert_same(row.figures[name], bootstrap(values))
        for method in METHODS:
            delta = row_of(scores, protocol, method).delta
            if method == "grad-cam":
                assert delta is None
                continue
            pairs = zip(gated[method]["top1_loc"], gated["grad-cam"]["top1_loc"], strict=True)
            assert delta is not None
            assert_same(delta, bootstrap([one - other for one, other in pairs]))


def test_classification_counts_every_image_with_a_box_or_without(measured: Measurements) -> None:
    scores = score(measured, BOTH, METHODS)
    for protocol in BOTH:
        ranks = measured.ranks[protocol].tolist()
        assert len(ranks) == 12
        assert_same(scores.top[protocol]["top1"], bootstrap([float(r < 1) for r in ranks]))
        assert_same(scores.top[protocol]["top5"], bootstrap([float(r < 5) for r in ranks]))
        assert scores.top[protocol]["top1"] != scores.top[protocol]["top5"]


def test_the_gate_of_an_embedding_by_loops(measured: Measurements) -> None:
    random = np.random.default_rng(6)
    labels = [image.label for image in measured.images]
    embeddings = {
        protocol: (random.normal(size=(12, 3)) + 0.9 * np.eye(4)[labels][:, :3]).astype(np.float32)
        for protocol in BOTH
    }
    found = replace(measured, ranks={}, embeddings=embeddings)
    scores = score(found, BOTH, METHODS)
    assert scores.headline == "gated_loc" and not scores.top
    boxed = [i for i, image in enumerate(measured.images) if image.boxes]
    for protocol in BOTH:
        points = embeddings[protocol].astype(float)
        nearest, correct = [], []
        for i in range(12):
            others = sorted(
                (j for j in range(12) if j != i), key=lambda j: ((points[i] - points[j]) ** 2).sum()
            )
            nearest.append(others[0])
            correct.append([labels[j] == labels[i] for j in others])
        counted = [labels.count(label) > 1 for label in labels]
        near = scores.retrieval[protocol]
        assert near.nearest.tolist() == nearest
        at_1 = [float(correct[i][0]) for i in range(12) if counted[i]]
        assert_same(near.recall_at_1, bootstrap(at_1))
        for k in (1, 2, 4, 8):
            assert near.recall[k] == pytest.approx(
                np.mean([any(correct[i][:k]) for i in range(12) if counted[i]])
            )
        assert near.excluded == 1
        assert near.nmi == normalized_mutual_information(
            embeddings[protocol], [str(label) for label in labels]
        )
        assert abs(near.nmi - near.recall[1]) > 0.02  # or the two could be one
        for method in METHODS:
            hits = dict(zip(boxed, hits_of(found, protocol, method), strict=True))
            gated = [hits[i] if correct[i][0] else 0.0 for i in boxed if counted[i]]
            row = row_of(scores, protocol, method)
            assert list(row.figures) == ["gt_known", "gated_loc"]
            assert_same(row.figures["gt_known"], bootstrap(list(hits.values())))
            assert_same(row.figures["gated_loc"], bootstrap(gated))
            assert row.figures["gated_loc"].value < row.figures["gt_known"].value


def test_a_protocol_that_measured_nothing_has_no_row(measured: Measurements) -> None:
    scores = score(measured, ("cam", *BOTH), METHODS)
    assert [row.protocol for row in scores.rows] == [name for name in BOTH for _ in METHODS]


def test_protocols_that_share_embeddings_share_their_retrieval(measured: Measurements) -> None:
    shared, other = np.random.default_rng(6).normal(size=(2, 12, 3)).astype(np.float32)
    embeddings = {"simple": shared, "cam": other, "maxboxacc_v2": shared.copy()}
    found = replace(measured, ranks={}, embeddings=embeddings)
    retrieval = score(found, BOTH, METHODS).retrieval
    assert list(retrieval) == list(embeddings)
    assert retrieval["simple"] is retrieval["maxboxacc_v2"] is not retrieval["cam"]


@pytest.mark.parametrize("baseline", ["grad-cam", "retrieval-grad-cam"])
def test_differences_are_from_vanilla_grad_cam_of_either_kind(
    baseline: str, measured: Measurements
) -> None:
    names = {"first": "first", "grad-cam": baseline, "third": "third"}

    def renamed(arrays: dict) -> dict:
        return {(protocol, names[method]): v for (protocol, method), v in arrays.items()}

    found = replace(measured, overlaps=renamed(measured.overlaps), sweeps=renamed(measured.sweeps))
    rows = score(found, BOTH, list(names.values())).rows
    usual = score(measured, BOTH, METHODS).rows
    assert [row.delta for row in rows] == [row.delta for row in usual]
    assert [row.delta is None for row in rows] == [row.method == baseline for row in rows]


def test_every_row_has_the_curve_of_its_own_sweep(measured: Measurements) -> None:
    scores = score(measured, BOTH, METHODS)
    for protocol in BOTH:
        levels = PROTOCOLS[protocol].iou_levels
        swept = measured.overlaps if protocol == "maxboxacc_v2" else measured.sweeps
        for method in METHODS:
            curve = row_of(scores, protocol, method).curve
            assert curve is not None and curve.iou_levels == levels
            by_loops = [
                [np.mean([row[t] >= level for row in swept[protocol, method]]) for t in range(n)]
                for level in levels
                for n in (len(PROTOCOLS[protocol].thresholds),)
            ]
            np.testing.assert_allclose(curve.accuracies, by_loops)
    without = score(replace(measured, sweeps={}), BOTH, METHODS)
    assert row_of(without, "simple", "first").curve is None


def test_curves_are_thresholds_and_the_mean_accuracy_of_the_levels(classified: Scores) -> None:
    panels = accuracy_curves(classified)
    assert panels.keys() == {"maxboxacc_v2"}  # the other has none
    for row in classified.rows[2:]:
        assert row.curve is not None
        thresholds, accuracies = panels["maxboxacc_v2"][row.method]
        assert thresholds.tolist() == row.curve.thresholds.tolist()
        expected = [sum(row.curve.accuracies[level][t] for level in range(3)) / 3 for t in range(3)]
        assert accuracies.tolist() == pytest.approx(expected)


def test_the_difference_is_about_the_strictest_figure_there_is() -> None:
    assert HEADLINES == ("pxap", "gated_loc", "top1_loc", "gt_known")
