"""Geometry: boxes moved as the published evaluators move them."""

import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.localization import PROTOCOLS, Geometry


def test_the_whole_image_changes_nothing() -> None:
    geometry = PROTOCOLS["cam"].geometry
    assert geometry.size((375, 500)) == (375, 500)
    boxes = [[0.25, 1.5, 499.75, 375.0]]
    np.testing.assert_array_equal(geometry.boxes(boxes, (375, 500)), boxes)


def test_the_numbers_of_the_published_evaluators_own_tests() -> None:
    """wsolevaluation, evaluation_test.py; it gives sizes as (width, height)."""
    np.testing.assert_array_equal(
        Geometry("", resized=(10, 35)).boxes([[1, 2, 4, 3]], (20, 10)), [[3, 1, 14, 1]]
    )
    np.testing.assert_array_equal(
        Geometry("", resized=(3, 3)).boxes([[1, 2, 1, 2]], (3, 3)), [[1, 2, 1, 2]]
    )


def test_corners_are_scaled_moved_and_cut_by_loops(random: np.random.Generator) -> None:
    square, crop = PROTOCOLS["maxboxacc"].geometry, PROTOCOLS["adl"].geometry
    for _ in range(50):
        height, width = (int(side) for side in random.integers(20, 900, size=2))
        x1, x2 = sorted(random.integers(0, width + 1, size=2).tolist())
        y1, y2 = sorted(random.integers(0, height + 1, size=2).tolist())
        scaled = [
            int(float(corner) * 224.0 / side)
            for corner, side in zip((x1, y1, x2, y2), (width, height) * 2, strict=True)
        ]
        assert square.boxes([[x1, y1, x2, y2]], (height, width)).tolist() == [scaled]
        moved = [
            int(corner * (256 * 1.0 / side) - 16)
            for corner, side in zip((x1, y1, x2, y2), (width, height) * 2, strict=True)
        ]
        assert crop.boxes([[x1, y1, x2, y2]], (height, width)).tolist() == [moved]


def test_the_crop_moves_boxes_by_sixteen_and_cuts_none() -> None:
    geometry = PROTOCOLS["adl"].geometry
    assert geometry.size((375, 500)) == (224, 224)
    assert geometry.offset((375, 500)) == (16, 16)
    assert geometry.boxes([[0, 0, 512, 128]], (128, 512)).tolist() == [[-16, -16, 240, 240]]
    assert geometry.boxes([[0, 0, 20, 20]], (512, 512)).tolist() == [[-16, -16, -6, -6]]


def test_cutting_to_whole_pixels_goes_towards_zero() -> None:
    assert PROTOCOLS["adl"].geometry.boxes([[31, 31, 33, 33]], (512, 512)).tolist() == [
        [0, 0, 0, 0]
    ]


def test_wrong_input_is_named() -> None:
    geometry = PROTOCOLS["maxboxacc"].geometry
    with pytest.raises(InputError, match=r"image of size \(0, 5\): wanted a positive"):
        geometry.boxes([[0, 0, 1, 1]], (0, 5))
    with pytest.raises(InputError, match=r"boxes of shape \(4,\)"):
        geometry.boxes([0, 0, 1, 1], (5, 5))
