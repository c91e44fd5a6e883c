"""Pixel average precision: the published tests' numbers, and the definition by thresholds."""

import numpy as np
import pytest
from numpy.typing import NDArray

from caf_video.errors import InputError
from caf_video.localization import (
    joined_masks,
    localization_hits,
    localize,
    measure,
    pixel_average_precision,
    pixel_counts,
    pixel_estimates,
)

SIDE = 224
THOUSAND = np.arange(0, 1, 0.001)
# Pixels of object and of background in the masks that the published tests read.
PUBLISHED = [(43031, 7145), (833, 49342), (347, 13909)]


def mask_of(objects: int, background: int) -> NDArray[np.uint8]:
    """A view's mask with so many pixels of each kind; the rest is ignored."""
    kinds = np.full(SIDE * SIDE, 255, np.uint8)
    kinds[:objects] = 1
    kinds[objects : objects + background] = 0
    return np.random.default_rng(0).permutation(kinds).reshape(SIDE, SIDE)


def by_thresholds(scores: list[NDArray], masks: list[NDArray]) -> float:
    """Precision and recall of all pixels at once, at each threshold from the highest down."""
    score = np.concatenate([one.ravel() for one in scores])
    kind = np.concatenate([one.ravel() for one in masks])
    precise, recalled, area = 0.0, 0.0, 0.0
    for threshold in [1.0, *THOUSAND[::-1]]:
        chosen = score >= threshold
        hits = (chosen & (kind == 1)).sum()
        misses = (chosen & (kind == 0)).sum()
        if hits + misses == 0:
            continue
        precise, recall = hits / (hits + misses), hits / (kind == 1).sum()
        area += precise * (recall - recalled)
        recalled = recall
    return area


@pytest.mark.parametrize(("objects", "background"), PUBLISHED)
@pytest.mark.parametrize("ignored_score", [0.0, 1.0])
def test_a_perfect_map_has_one_whatever_it_says_of_ignored_pixels(
    objects: int, background: int, ignored_score: float
) -> None:
    mask = mask_of(objects, background)
    scores = np.where(mask == 255, ignored_score, mask).astype(float)
    assert pixel_average_precision(pixel_counts(scores, mask)) == 1.0


@pytest.mark.parametrize(("objects", "background"), PUBLISHED)
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_map_has_the_share_of_the_object(
    objects: int, background: int, value: float
) -> None:
    counts = pixel_counts(np.full((SIDE, SIDE), value), mask_of(objects, background))
    assert pixel_average_precision(counts) == pytest.approx(objects / (objects + background))


def test_masks_without_an_object_are_refused_as_published() -> None:
    with pytest.raises(InputError, match="no pixel of an object"):
        pixel_average_precision(pixel_counts(np.eye(9), np.zeros((9, 9), np.uint8)))


def test_it_is_the_area_under_precision_by_recall_of_all_pixels(heatmaps, random) -> None:
    scores, masks, counts = [], [], np.zeros(2002)
    for heatmap in heatmaps[::10]:
        if heatmap.min() == heatmap.max():
            continue
        mask = random.choice(np.array([0, 1, 255], np.uint8), size=heatmap.shape)
        moved = heatmap.astype(np.float64) - heatmap.min()
        scores.append(moved / moved.max())
        masks.append(mask)
        counts += pixel_counts(heatmap, mask)
    assert pixel_average_precision(counts) == pytest.approx(by_thresholds(scores, masks), abs=1e-12)


def test_a_map_upside_down_finds_the_object_with_everything_else() -> None:
    mask = mask_of(20_000, 30_000)
    good, bad = (
        pixel_average_precision(pixel_counts(scores.astype(float), mask))
        for scores in (mask == 1, mask != 1)
    )
    assert good == 1.0 and bad == pytest.approx(20_000 / 50_000)  # it ranks objects last: all of it


def test_an_object_covers_what_is_ignored_and_masks_are_joined() -> None:
    one, other = np.zeros((4, 4)), np.zeros((4, 4))
    one[0, 0], other[3, 3] = 255, 255
    ignored = np.zeros((4, 4))
    ignored[0] = 255
    joined = joined_masks([one, other], ignored, (4, 4))
    assert joined.tolist() == [[1, 255, 255, 255], [0] * 4, [0] * 4, [0, 0, 0, 1]]
    twice = joined_masks([one], None, (8, 8))  # the nearest pixel, of objects all in the corner
    assert twice[:2, :2].tolist() == [[1, 1], [1, 1]] and twice.sum() == 4
    with pytest.raises(InputError, match="no mask"):
        joined_masks([], None, (4, 4))


def test_intervals_are_those_of_resampled_images_and_differences_are_paired(random) -> None:
    mask = mask_of(10_000, 40_000)
    sharp = np.stack(
        [pixel_counts((mask == 1) + 0.4 * random.random(mask.shape), mask) for _ in range(6)]
    )
    noise = np.stack([pixel_counts(random.random(mask.shape), mask) for _ in range(6)])
    (first, second, again), (none, below, same) = pixel_estimates([sharp, noise, sharp])
    assert first.value == pixel_average_precision(sharp.sum(axis=0)) and none is None
    assert second.low <= second.value <= second.high
    assert below is not None and same is not None
    assert below.value == pytest.approx(second.value - first.value)
    assert below.high < 0 and (same.low, same.high) == (0.0, 0.0) and again == first


def test_it_has_no_boxes_and_no_hits() -> None:
    with pytest.raises(InputError, match="pxap ranks pixels and has no boxes"):
        localize("pxap", np.eye(3))
    with pytest.raises(InputError, match="no image is a hit"):
        localization_hits("pxap", np.ones((2, 2002)))
    with pytest.raises(InputError, match=r"mask of shape \(2, 2\) for a heatmap of shape \(3, 3\)"):
        measure(np.eye(3), np.zeros((2, 2)), ["pxap"])
