"""Hits and curves from overlaps: by loops and by hand."""

import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.localization import PROTOCOLS, localization_hits, threshold_curve


def test_a_hit_is_an_iou_of_a_half_and_no_less() -> None:
    hits = localization_hits("cam", [[0.5], [np.nextafter(0.5, 0)], [1.0], [0.0]])
    assert hits.tolist() == [1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize("name", ["maxboxacc", "maxboxacc_v2", "simple"])
def test_a_curve_is_the_share_of_images_by_loops(name: str, random: np.random.Generator) -> None:
    protocol = PROTOCOLS[name]
    overlaps = random.random((30, len(protocol.thresholds)))
    curve = threshold_curve(name, overlaps)
    best = []
    for i, level in enumerate(protocol.iou_levels):
        by_threshold = [
            sum(overlap >= level for overlap in overlaps[:, t]) / 30
            for t in range(len(protocol.thresholds))
        ]
        np.testing.assert_allclose(curve.accuracies[i], by_threshold)
        best.append(max(by_threshold))
        assert (
            curve.best_thresholds[i] == protocol.thresholds[by_threshold.index(max(by_threshold))]
        )
    assert curve.best_accuracy == pytest.approx(sum(best) / len(best))
    assert curve.thresholds.tolist() == list(protocol.thresholds)


@pytest.mark.parametrize("name", ["maxboxacc", "maxboxacc_v2"])
def test_the_mean_of_an_oracles_hits_is_its_best_accuracy(
    name: str, random: np.random.Generator
) -> None:
    overlaps = random.random((30, 255))
    hits = localization_hits(name, overlaps)
    assert hits.shape == (30,)
    assert hits.mean() == pytest.approx(threshold_curve(name, overlaps).best_accuracy)


def test_the_order_of_images_does_not_matter(random: np.random.Generator) -> None:
    overlaps, order = random.random((30, 255)), random.permutation(30)
    hits = localization_hits("maxboxacc_v2", overlaps)
    np.testing.assert_array_equal(localization_hits("maxboxacc_v2", overlaps[order]), hits[order])


def test_overlaps_of_another_shape_are_named() -> None:
    with pytest.raises(InputError, match=r"shape \(3, 19\) for simple: wanted \(images, 1\)"):
        localization_hits("simple", np.zeros((3, 19)))
    with pytest.raises(InputError, match=r"shape \(3, 1\) for simple: wanted \(images, 19\)"):
        threshold_curve("simple", np.zeros((3, 1)))
    with pytest.raises(InputError, match=r"shape \(0, 255\) for maxboxacc"):
        localization_hits("maxboxacc", np.zeros((0, 255)))
    with pytest.raises(InputError, match="those of image 1 are not finite"):
        localization_hits("cam", [[0.5], [np.nan]])
