import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.rendering import heat_legend, overlay
from caf_video.rendering.overlay import LEVELS


def test_no_heat_leaves_the_photograph_untouched(photograph):
    assert np.array_equal(overlay(photograph, np.zeros((60, 80))), photograph)


def test_cold_regions_show_the_photograph_untouched(photograph, ramp):
    cold = overlay(photograph, ramp)[:, :8]
    assert np.array_equal(cold, photograph[:, :8])


def test_opacity_grows_with_heat(ramp):
    black, white = np.zeros((60, 80, 3), np.uint8), np.full((60, 80, 3), 255, np.uint8)
    seen_through = overlay(white, ramp, contours=()).astype(int) - overlay(black, ramp, contours=())
    assert (np.diff(seen_through[30, :, 0]) <= 1).all()  # one grey level of rounding
    assert seen_through[30, 0, 0] == 255
    assert 50 < seen_through[30, -1, 0] < 90  # what is under the maximum can still be made out


def test_a_constant_heatmap_is_an_even_tint_without_lines():
    grey = np.full((60, 80, 3), 120, np.uint8)
    picture = overlay(grey, np.full((60, 80), 1 / np.sqrt(4800)))
    assert (picture == picture[0, 0]).all()
    assert not np.array_equal(picture, grey)


@pytest.mark.parametrize("level", LEVELS)
def test_a_contour_passes_where_the_level_is(ramp, level):
    grey = np.full((60, 80, 3), 60, np.uint8)
    drawn = overlay(grey, ramp, contours=(level,)).astype(int)
    plain = overlay(grey, ramp, contours=())
    brighter = (drawn - plain)[30].sum(axis=1)
    assert abs(int(brighter.argmax()) - level * 79) <= 0.5


def test_contours_are_antialiased_white_with_a_dark_edge_on_any_scene(ramp):
    level = (40 / 79,)  # exactly column 40
    for shade in (5, 250):
        scene = np.full((60, 80, 3), shade, np.uint8)
        row = overlay(scene, ramp, contours=level)[30, 36:45].astype(int)
        plain = overlay(scene, ramp, contours=())[30, 36:45].astype(int)
        assert row[4].min() > 230  # the line itself is white
        assert len(np.unique(row[:5, 0] - plain[:5, 0])) >= 4  # and reached in steps, not at once
        assert (row - plain)[[2, 6]].max() < 0  # between edges darker than the scene


def test_a_plateau_at_a_level_is_not_painted_over():
    heat = np.full((60, 80), 0.5)
    heat[:5, :5] = 1.0
    grey = np.full((60, 80, 3), 90, np.uint8)
    far = (slice(20, None), slice(20, None))
    assert np.array_equal(overlay(grey, heat)[far], overlay(grey, heat, contours=())[far])


def test_the_scale_of_the_heat_does_not_matter(photograph, ramp):
    expected = overlay(photograph, ramp)
    for scale in (1e-30, 1e30):
        assert np.array_equal(overlay(photograph, ramp * scale), expected)


def test_pictures_that_share_a_maximum_share_a_scale(photograph, ramp):
    low = overlay(photograph, ramp / 2, contours=(), maximum=ramp.max())
    high = overlay(photograph, np.minimum(ramp, ramp.max() / 2), contours=(), maximum=ramp.max())
    same = ramp / 2 == np.minimum(ramp, ramp.max() / 2)
    assert np.array_equal(low[same], high[same])
    half = overlay(photograph, np.full_like(ramp, ramp.max() / 2), maximum=ramp.max())
    whole = overlay(photograph, np.full_like(ramp, ramp.max()))
    assert abs(half.astype(int) - photograph).sum() < abs(whole.astype(int) - photograph).sum()
    with pytest.raises(InputError, match="is above the maximum"):
        overlay(photograph, ramp, maximum=ramp.max() / 2)
    assert np.array_equal(overlay(photograph, 0 * ramp, maximum=0.0), photograph)


def test_the_arguments_are_left_as_they_were(photograph, ramp):
    image, heat = photograph.copy(), ramp.copy()
    for heatmap in (ramp, np.zeros_like(ramp)):
        overlay(photograph, heatmap)[:] = 0
    assert np.array_equal(photograph, image)
    assert np.array_equal(ramp, heat)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_heat_that_is_not_finite_is_an_error_that_names_the_sample(photograph, ramp, value):
    ramp[3, 4] = value
    with pytest.raises(InputError, match="clip_7, frame 2: .* not finite"):
        overlay(photograph, ramp, name="clip_7, frame 2")


def test_negative_heat_is_an_error(photograph, ramp):
    with pytest.raises(InputError, match=r"clip_7: the heatmap is negative"):
        overlay(photograph, ramp - 1, name="clip_7")


def test_a_heatmap_of_another_size_is_an_error(photograph):
    with pytest.raises(InputError, match=r"clip_7: heatmap \(8, 14\) .* \(60, 80\)"):
        overlay(photograph, np.ones((8, 14)), name="clip_7")


def test_an_image_that_is_not_uint8_rgb_is_an_error(photograph, ramp):
    for image in (photograph / 255, photograph[..., 0], photograph.transpose(2, 0, 1)):
        with pytest.raises(InputError, match="uint8"):
            overlay(image, ramp)


def test_the_legend_is_as_wide_as_its_frame():
    for width in (64, 480, 1280):
        assert heat_legend(width).shape == (28, width, 3)
