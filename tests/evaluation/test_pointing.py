"""The pointing game and the energy in the box: by loops, and for perfect and useless heatmaps."""

import math

import pytest
import torch
from torch import Tensor

from caf_video.errors import InputError
from caf_video.evaluation import box_area_share, box_prior, energy_in_box, pointing_game

HEIGHT, WIDTH = 40, 60
BOXES = torch.tensor([[10.0, 5.0, 22.0, 17.0], [40.0, 30.0, 60.0, 40.0]])


def pointing_by_loops(heatmap: Tensor, box: list[float], tolerance: float) -> float:
    x1, y1, x2, y2 = box
    maximum = max(max(row) for row in heatmap.tolist())
    hits = []
    for i, row in enumerate(heatmap.tolist()):
        for j, value in enumerate(row):
            if value == maximum:
                x, y = j + 0.5, i + 0.5
                distance = math.hypot(max(x1 - x, x - x2, 0), max(y1 - y, y - y2, 0))
                hits.append(distance <= tolerance)
    return sum(hits) / len(hits)


def energy_by_loops(heatmap: Tensor, box: list[float]) -> float:
    x1, y1, x2, y2 = box
    inside = total = 0.0
    for i, row in enumerate(heatmap.tolist()):
        for j, value in enumerate(row):
            covered = max(0, min(x2, j + 1) - max(x1, j)) * max(0, min(y2, i + 1) - max(y1, i))
            inside += value * covered
            total += value
    return inside / total


def masks(boxes: Tensor) -> Tensor:
    result = torch.zeros(len(boxes), HEIGHT, WIDTH)
    for mask, (x1, y1, x2, y2) in zip(result, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    return result


@pytest.mark.parametrize("tolerance", [0.0, 3.0, 15.0])
def test_both_metrics_agree_with_loops(tolerance: float, generator: torch.Generator) -> None:
    for _ in range(20):
        heatmaps = torch.randint(0, 40, (2, HEIGHT, WIDTH), generator=generator).double()
        corners = torch.rand(2, 2, 2, generator=generator) * torch.tensor([70.0, 50.0]) - 5
        boxes = torch.cat([corners.amin(1).clamp(max=30), corners.amax(1) + 6], dim=1)
        hits = pointing_game(heatmaps, boxes, tolerance)
        energy = energy_in_box(heatmaps, boxes)
        for i in range(2):
            box = boxes[i].tolist()
            assert hits[i] == pytest.approx(pointing_by_loops(heatmaps[i], box, tolerance))
            assert energy[i] == pytest.approx(energy_by_loops(heatmaps[i], box))


def test_a_perfect_heatmap_scores_one() -> None:
    assert pointing_game(masks(BOXES), BOXES).tolist() == [1.0, 1.0]
    assert pointing_game(masks(BOXES), BOXES, tolerance_pixels=0).tolist() == [1.0, 1.0]
    assert energy_in_box(masks(BOXES), BOXES).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("value", [0.0, 1.0, 1 / math.sqrt(HEIGHT * WIDTH)])
def test_a_useless_heatmap_scores_the_area(value: float) -> None:
    constant = torch.full((2, HEIGHT, WIDTH), value)
    area = box_area_share(BOXES, (HEIGHT, WIDTH))
    torch.testing.assert_close(energy_in_box(constant, BOXES), area)
    torch.testing.assert_close(pointing_game(constant, BOXES, tolerance_pixels=0), area)
    grown = torch.tensor([pointing_by_loops(constant[i], BOXES[i].tolist(), 15) for i in range(2)])
    torch.testing.assert_close(pointing_game(constant, BOXES), grown.double())


def test_a_flat_map_that_was_resized_is_still_flat() -> None:
    coarse = torch.full((2, 1, 3, 7), 1 / math.sqrt(21))
    fine = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bilinear")[:, 0]
    constant = torch.ones(2, HEIGHT, WIDTH)
    torch.testing.assert_close(pointing_game(fine, BOXES), pointing_game(constant, BOXES))


def test_the_maximum_may_lie_fifteen_pixels_outside_and_no_further() -> None:
    """The box ends at x = 22, y = 17; the centre of pixel j is j + 0.5."""
    for row, column, hit in (
        (10, 36, 1.0),  # 14.5 to the right
        (10, 37, 0.0),  # 15.5 to the right
        (31, 15, 1.0),  # 14.5 below
        (32, 15, 0.0),
        (27, 32, 1.0),  # 10.5 and 10.5, at 14.85
        (28, 32, 0.0),  # at 15.57: the grown box has round corners
    ):
        heatmap = torch.zeros(1, HEIGHT, WIDTH)
        heatmap[0, row, column] = 1
        assert pointing_game(heatmap, BOXES[:1]).item() == hit


def test_a_value_just_below_the_maximum_is_no_maximum() -> None:
    heatmap = torch.zeros(1, HEIGHT, WIDTH)
    heatmap[0, 10, 15] = 1 - 1e-4
    heatmap[0, 35, 55] = 1
    assert pointing_game(heatmap, BOXES[:1]).item() == 0.0


def test_of_two_equal_maxima_the_share_that_hits_counts() -> None:
    heatmap = torch.zeros(1, HEIGHT, WIDTH)
    heatmap[0, 10, 15] = heatmap[0, 35, 55] = 3
    assert pointing_game(heatmap, BOXES[:1]).item() == 0.5
    assert energy_in_box(heatmap, BOXES[:1]).item() == 0.5


def test_signs_and_scale_do_not_move_the_maximum(generator: torch.Generator) -> None:
    heatmaps = torch.rand(2, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)
    hits = pointing_game(heatmaps, BOXES)
    torch.testing.assert_close(pointing_game(heatmaps - 2, BOXES), hits)
    for scale in (1e-200, 1e200):
        torch.testing.assert_close(pointing_game(heatmaps * scale, BOXES), hits)
        torch.testing.assert_close(
            energy_in_box(heatmaps * scale, BOXES), energy_in_box(heatmaps, BOXES)
        )


def test_a_box_over_the_edge_counts_what_is_in_the_image() -> None:
    boxes = torch.tensor([[-10.0, -10.0, 6.0, 4.0], [0.0, 0.0, 1e9, 1e9]])
    expected = torch.tensor([6 * 4 / (HEIGHT * WIDTH), 1.0]).double()
    torch.testing.assert_close(box_area_share(boxes, (HEIGHT, WIDTH)), expected)


def test_the_prior_is_the_mean_of_the_boxes() -> None:
    torch.testing.assert_close(box_prior(BOXES, (HEIGHT, WIDTH)), masks(BOXES).double().mean(0))
    half = box_prior(torch.tensor([[0.5, 0.0, 1.0, 1.0]]), (1, 2))
    assert half.tolist() == [[0.5, 0.0]]


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (5, 5, 9, 5), (5, 9, 9, 5)])
def test_a_box_of_no_width_or_no_height_is_empty(box) -> None:
    with pytest.raises(InputError, match="is empty"):
        box_prior(torch.tensor([box]), (HEIGHT, WIDTH))


@pytest.mark.parametrize("side", [0, 1])
def test_a_box_that_only_touches_the_image_is_outside_and_one_of_a_pixel_is_not(side) -> None:
    for low, high in ((-9, 0), ((WIDTH, HEIGHT)[side], 99)):
        box = torch.tensor([[5.0, 5.0, 9.0, 9.0]])
        box[0, side], box[0, side + 2] = low, high
        with pytest.raises(InputError, match="is outside the image"):
            box_area_share(box, (HEIGHT, WIDTH))
        box[0, side + 2 if high == 0 else side] += 1 if high == 0 else -1
        assert box_area_share(box, (HEIGHT, WIDTH)).item() == pytest.approx(4 / (HEIGHT * WIDTH))


def test_no_heatmaps_have_no_hits() -> None:
    none = torch.zeros(0, HEIGHT, WIDTH)
    assert pointing_game(none, torch.zeros(0, 4)).shape == (0,)
    assert energy_in_box(none, torch.zeros(0, 4)).shape == (0,)


def test_wrong_input_is_named() -> None:
    maps = torch.ones(2, HEIGHT, WIDTH)
    broken = maps.clone()
    broken[1, 3, 3] = torch.nan
    for metric in (pointing_game, energy_in_box):
        with pytest.raises(InputError, match="heatmap 1 is not finite"):
            metric(broken, BOXES)
        with pytest.raises(InputError, match="2 boxes for 1 heatmaps"):
            metric(maps[:1], BOXES)
        with pytest.raises(InputError, match=r"heatmaps of shape \(40, 60\)"):
            metric(maps[0], BOXES)
        with pytest.raises(InputError, match=r"box 0 \(17, 5, 10, 22\) is empty"):
            metric(maps[:1], torch.tensor([[17.0, 5.0, 10.0, 22.0]]))
        with pytest.raises(InputError, match=r"box 0 \(nan, .*is empty"):
            metric(maps[:1], torch.tensor([[torch.nan, 5.0, 10.0, 22.0]]))
        with pytest.raises(InputError, match="outside the image, 40 high and 60 wide"):
            metric(maps[:1], torch.tensor([[60.0, 5.0, 70.0, 22.0]]))
    for shape in ((0, WIDTH), (HEIGHT, 0)):
        with pytest.raises(InputError, match=r"heatmaps of shape .*: wanted \(n, height, width\)"):
            pointing_game(torch.ones(2, *shape), BOXES)
    for boxes in (BOXES[0], BOXES[:, :3], torch.cat([BOXES, BOXES], dim=1)):
        with pytest.raises(InputError, match=r"boxes of shape \("):
            box_area_share(boxes, (HEIGHT, WIDTH))
    with pytest.raises(InputError, match="heatmap 1 has negative values"):
        energy_in_box(maps - torch.tensor([0.0, 1.001])[:, None, None], BOXES)
    with pytest.raises(InputError, match="tolerance of -1"):
        pointing_game(maps, BOXES, -1)
    with pytest.raises(InputError, match="a prior of boxes needs a box"):
        box_prior(torch.zeros(0, 4), (HEIGHT, WIDTH))
