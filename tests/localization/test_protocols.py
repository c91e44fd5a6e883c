"""The protocols as a table, and what they have in common."""

import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.localization import (
    OF_BOXES,
    PROTOCOLS,
    box_iou,
    enlarge,
    localization_hits,
    localize,
    measure,
    measure_all,
    require_protocol,
    sweep,
    threshold_curve,
)

FIXED = [name for name in OF_BOXES if not PROTOCOLS[name].oracle]


def test_the_table_of_protocols() -> None:
    facts = {
        name: (protocol.geometry.name, protocol.convention, protocol.oracle, protocol.iou_levels)
        for name, protocol in PROTOCOLS.items()
    }
    assert facts == {
        "cam": ("whole image", "inclusive", False, (0.5,)),
        "adl": ("centre 224 x 224 of 256 x 256", "inclusive", False, (0.5,)),
        "maxboxacc": ("224 x 224", "inclusive", True, (0.5,)),
        "maxboxacc_v2": ("224 x 224", "inclusive", True, (0.3, 0.5, 0.7)),
        "simple": ("whole image", "exact", False, (0.5,)),
        "pxap": ("224 x 224", "", False, (0.5,)),
    }
    assert list(PROTOCOLS) == ["cam", "adl", "maxboxacc", "maxboxacc_v2", "simple", "pxap"]
    assert list(OF_BOXES) == list(PROTOCOLS)[:-1]


def test_protocols_measure_the_box_that_they_localize_with_the_nearest_truth(
    heatmaps, random: np.random.Generator
) -> None:
    for heatmap in heatmaps[::5]:
        corners = random.integers(0, 40, size=(3, 2, 2))
        truth = np.concatenate([corners.min(axis=1), corners.max(axis=1) + 1], axis=1)
        overlaps = measure(heatmap, truth)
        assert list(overlaps) == list(OF_BOXES)
        for name in FIXED:
            convention = PROTOCOLS[name].convention
            ious = [
                box_iou(localize(name, heatmap), [box], convention=convention).max(initial=0)
                for box in truth
            ]
            assert overlaps[name].tolist() == [max(ious)]


@pytest.mark.parametrize("name", ["simple", "maxboxacc", "maxboxacc_v2"])
def test_a_sweep_is_the_boxes_at_each_threshold(name: str, heatmaps) -> None:
    protocol = PROTOCOLS[name]
    truth = [[3, 4, 20, 18]]
    for heatmap in heatmaps[::25]:
        expected = [
            box_iou(
                localize(name, heatmap, threshold=threshold), truth, convention=protocol.convention
            ).max(initial=0)
            for threshold in protocol.thresholds
        ]
        np.testing.assert_array_equal(sweep(name, heatmap, truth), expected)


def test_a_map_that_is_left_as_found(heatmaps) -> None:
    for heatmap in heatmaps[::25]:
        before = heatmap.copy()
        measure(heatmap, [[0, 0, 5, 5]])
        sweep("simple", heatmap, [[0, 0, 5, 5]])
        np.testing.assert_array_equal(heatmap, before)


def test_memory_order_and_read_only_maps_change_nothing(heatmaps) -> None:
    for heatmap in heatmaps[::25]:
        other = np.asfortranarray(heatmap)
        other.setflags(write=False)
        one, two = measure(heatmap, [[0, 0, 9, 9]]), measure(other, [[0, 0, 9, 9]])
        for name in OF_BOXES:
            np.testing.assert_array_equal(one[name], two[name])


def test_no_box_is_a_miss() -> None:
    overlaps = measure(np.full((9, 9), -1.0), [[0, 0, 9, 9]], ["cam", "simple"])
    assert {name: found.tolist() for name, found in overlaps.items()} == {
        "cam": [0.0],
        "simple": [0.0],
    }


def test_the_curve_of_simple_has_its_own_threshold_in_it(heatmaps) -> None:
    truth = [[3, 4, 20, 18]]
    overlaps = np.stack([sweep("simple", heatmap, truth) for heatmap in heatmaps[:40]])
    curve = threshold_curve("simple", overlaps)
    at = curve.thresholds.tolist().index(0.2)
    answers = np.stack([measure(heatmap, truth, ["simple"])["simple"] for heatmap in heatmaps[:40]])
    assert curve.accuracies[0, at] == localization_hits("simple", answers).mean()


def test_what_has_no_threshold_has_no_curve() -> None:
    heatmap = np.eye(4)
    for name in ("cam", "adl"):
        with pytest.raises(InputError, match=f"{name} has no threshold to set: leave it out"):
            localize(name, heatmap, threshold=0.5)
        with pytest.raises(InputError, match=f"{name} has no threshold to set, and so no curve"):
            sweep(name, heatmap, [[0, 0, 1, 1]])
        with pytest.raises(InputError, match=f"{name} has no threshold to set, and so no curve"):
            threshold_curve(name, [[0.5]])


def test_an_unknown_protocol_is_named_with_those_there_are() -> None:
    message = "unknown protocol 'loc': it is one of cam, adl, maxboxacc, maxboxacc_v2, simple, pxap"
    for call in (
        lambda: require_protocol("loc"),
        lambda: localize("loc", np.eye(3)),
        lambda: measure(np.eye(3), [[0, 0, 1, 1]], ["loc"]),
        lambda: localization_hits("loc", [[1.0]]),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_many_heatmaps_of_an_image_are_measured_as_each_alone(random: np.random.Generator) -> None:
    grids = random.random((3, 5, 6)).astype(np.float32)
    size, shown = (30, 40), (20, 24)
    truth = {name: [[4, 5, 30.5, 25.5]] for name in OF_BOXES}
    truth["pxap"] = np.eye(30, 40, dtype=np.uint8)
    truth["simple"] = [[1, 1, 9, 9]]  # its view is another
    measured, swept = measure_all(grids, size, shown, truth, sweeps=["simple"])
    for grid, found, curve in zip(grids, measured, swept, strict=True):
        assert list(found) == list(PROTOCOLS)
        for name in PROTOCOLS:
            heatmap = enlarge(name, grid, size, shown)
            np.testing.assert_array_equal(found[name], measure(heatmap, truth[name], [name])[name])
        assert curve.keys() == {"simple"}
        heatmap = enlarge("simple", grid, size, shown)
        np.testing.assert_array_equal(curve["simple"], sweep("simple", heatmap, truth["simple"]))
