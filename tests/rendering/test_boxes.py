import numpy as np
import pytest

from caf_video.rendering import draw_box
from caf_video.rendering.style import TRUTH


def green(picture):
    return (picture == TRUTH).all(axis=2)


def test_a_box_is_a_closed_green_line_around_its_inside(photograph):
    picture = draw_box(photograph, (20, 10, 50, 40))
    assert np.array_equal(picture[10:40, 20:50], photograph[10:40, 20:50])
    ring = green(picture)
    assert ring[8:10, 18:52].all() and ring[40:42, 18:52].all()
    assert ring[8:42, 18:20].all() and ring[8:42, 50:52].all()
    assert ring.sum() == 34 * 34 - 30 * 30


def test_a_box_whose_evidence_is_not_visible_is_dashed(photograph):
    solid = green(draw_box(photograph, (20, 10, 50, 40)))
    dashed = green(draw_box(photograph, (20, 10, 50, 40), evidence_visible=False))
    assert not (dashed & ~solid).any()
    for side in ((8, slice(18, 52)), (41, slice(18, 52)), (slice(8, 42), 18), (slice(8, 42), 51)):
        assert 0.3 < dashed[side].mean() < 0.8


def test_a_box_that_reaches_the_border_stays_in_the_picture(photograph):
    ring = green(draw_box(photograph, (0, 0, 80, 60)))
    assert ring[0].all() and ring[-1].all() and ring[:, 0].all() and ring[:, -1].all()
    assert green(draw_box(photograph, (-30, -30, 200, 200)))[[0, -1]].all()


@pytest.mark.parametrize("box", [(np.nan,) * 4, (5, 5, 5, 5), (9, 5, 3, 20), (0, 0, 0, 0)])
def test_an_empty_box_draws_nothing(photograph, box):
    assert np.array_equal(draw_box(photograph, box), photograph)


def test_a_box_outside_the_picture_draws_nothing_inside(photograph):
    assert not green(draw_box(photograph, (200, 200, 240, 240))).any()
