import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.rendering import ClipCaption, NeighbourRow, clip_strip, frame_title
from caf_video.rendering.strip import CAPTION_HEIGHT, GAP, MARGIN, TITLE_HEIGHT
from caf_video.rendering.style import ACCENT, MUTED, PAPER, RIGHT, TRUTH, WRONG


def clip(count=3, size=(60, 80), seed=0):
    return np.random.default_rng(seed).integers(40, 200, (count, *size, 3), dtype=np.uint8)


def titles(count=3):
    return [frame_title(4 * position, float(position)) for position in range(count)]


def column(strip, position, *, width=80, height=60, captioned=False):
    left = MARGIN + position * (width + GAP)
    top = MARGIN + TITLE_HEIGHT + CAPTION_HEIGHT * captioned
    return np.asarray(strip)[top : top + height, left : left + width]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_strip_has_a_column_for_each_timestep(count):
    frames = clip(count)
    strip = clip_strip(frames, np.zeros((count, 60, 80)), titles=titles(count), column_width=80)
    for position in range(count):
        assert np.array_equal(column(strip, position), frames[position])
    assert strip.width == 2 * MARGIN + count * 80 + (count - 1) * GAP


def test_a_caption_moves_the_row_down():
    frames = clip()
    strip = clip_strip(
        frames,
        np.zeros((3, 60, 80)),
        titles=titles(),
        caption=ClipCaption("clip_7", "stop sign"),
        column_width=80,
    )
    assert np.array_equal(column(strip, 2, captioned=True), frames[2])


def test_each_frame_is_drawn_under_its_own_heatmap():
    frames = np.full((3, 60, 80, 3), 90, np.uint8)
    heat = np.zeros((3, 60, 80))
    heat[1, 20:40, 30:50] = 1
    strip = clip_strip(frames, heat, titles=titles(), column_width=80)
    assert np.array_equal(column(strip, 0), frames[0])
    assert not np.array_equal(column(strip, 1)[25:35, 35:45], frames[1, 25:35, 35:45])
    assert np.array_equal(column(strip, 1)[:, :20], frames[1, :, :20])


def test_frames_are_scaled_to_the_column_and_keep_their_aspect():
    frames = np.full((2, 45, 80, 3), 77, np.uint8)
    strip = clip_strip(frames, np.zeros((2, 45, 80)), titles=titles(2), column_width=160)
    drawn = column(strip, 1, width=160, height=91)
    assert (drawn[:90] == 77).all()
    assert (drawn[90] == PAPER).all()


def test_boxes_are_drawn_at_the_scale_of_the_column():
    frames = np.full((2, 60, 80, 3), 77, np.uint8)
    boxes = np.array([[20, 10, 40, 30], [np.nan] * 4])
    strip = clip_strip(
        frames, np.zeros((2, 60, 80)), titles=titles(2), boxes=boxes, column_width=160
    )
    first = column(strip, 0, width=160, height=120)
    assert (first[18:20, 40:80] == TRUTH).all()
    assert (first[20:60, 40:80] == 77).all()
    assert (column(strip, 1, width=160, height=120) == 77).all()


def test_the_bar_under_a_frame_is_as_long_as_its_share():
    influence = [0.5, 0.0, 1.0]
    strip = np.asarray(
        clip_strip(
            clip(),
            np.zeros((3, 60, 80)),
            titles=titles(),
            frame_influence=influence,
            column_width=80,
        )
    )
    bar = strip[MARGIN + TITLE_HEIGHT + 60 + 10]
    for position, share in enumerate(influence):
        left = MARGIN + position * (80 + GAP)
        assert (bar[left : left + 80] == ACCENT).all(axis=1).sum() == round(32 * share)


def test_with_shares_of_one_filter_all_frames_have_the_clips_scale():
    frames = np.full((3, 60, 80, 3), 90, np.uint8)
    heat = np.zeros((3, 60, 80))
    heat[0, 20:40, 30:50], heat[1, 20:40, 30:50] = 1.0, 0.1
    shares = [0.75, 0.25, 0.0]
    strip = clip_strip(frames, heat, titles=titles(), frame_shares=shares, column_width=80)
    middle = np.s_[25:35, 35:45]
    assert not np.array_equal(column(strip, 0)[middle], frames[0][middle])
    assert np.array_equal(column(strip, 1)[middle], frames[1][middle])  # a tenth: below what shows
    alone = clip_strip(frames, heat, titles=titles(), column_width=80)
    assert np.array_equal(column(alone, 0)[middle], column(strip, 0)[middle])
    assert np.array_equal(column(alone, 1)[middle], column(alone, 0)[middle])
    bar = np.asarray(strip)[MARGIN + TITLE_HEIGHT + 60 + 10]
    for position, share in enumerate(shares):
        left = MARGIN + position * (80 + GAP)
        assert (bar[left : left + 80] == ACCENT).all(axis=1).sum() == round(32 * share)


def test_the_legend_says_whose_maximum_it_is_and_what_the_bars_are(places_of):
    options = {"titles": titles(), "column_width": 448}
    frames, heat = clip(size=(256, 448)), np.ones((3, 256, 448))
    with_shares = clip_strip(frames, heat, frame_shares=[0.2, 0.3, 0.5], **options)
    with_influence = clip_strip(frames, heat, frame_influence=[0.2, 0.3, 0.5], **options)
    for strip, scale, bars in (
        (with_shares, "each clip's own maximum", "frame's share of the clip's one filter"),
        (
            with_influence,
            "each frame's own maximum",
            "frame's share of the embedding change when blanked",
        ),
    ):
        text = f"heat, 0 to {scale}; lines at 30, 50, 70 % of it"
        assert places_of(strip, text, 13, colour=MUTED)
        assert places_of(strip, bars, 13, colour=MUTED)


def test_shares_and_influences_exclude_each_other():
    shares = [0.2, 0.3, 0.5]
    with pytest.raises(InputError, match="a strip draws one of them"):
        clip_strip(
            clip(), np.zeros((3, 60, 80)), titles=titles(), frame_shares=shares,
            frame_influence=shares,
        )  # fmt: skip


def test_the_verdict_is_written_in_its_colour():
    def strip(correct):
        caption = ClipCaption("clip_7", "stop", "clip_9", "stop", correct)
        picture = clip_strip(
            clip(), np.zeros((3, 60, 80)), titles=titles(), caption=caption, column_width=160
        )
        return np.asarray(picture)[: MARGIN + CAPTION_HEIGHT]

    def has(colour, pixels):
        return (pixels == colour).all(axis=2).any()

    assert has(RIGHT, strip(True)) and not has(WRONG, strip(True))
    assert has(WRONG, strip(False)) and not has(RIGHT, strip(False))
    assert not has(WRONG, strip(None)) and not has(RIGHT, strip(None))


def test_the_nearest_neighbour_is_a_second_row_of_plain_frames():
    other = clip(2, seed=1)
    strip = clip_strip(
        clip(),
        np.zeros((3, 60, 80)),
        titles=titles(),
        neighbour=NeighbourRow(other, titles(2)),
        column_width=80,
    )
    top = MARGIN + TITLE_HEIGHT + 60 + GAP + TITLE_HEIGHT
    for position in range(2):
        left = MARGIN + position * (80 + GAP)
        assert np.array_equal(np.asarray(strip)[top : top + 60, left : left + 80], other[position])


def test_text_too_long_for_its_place_stays_inside_the_picture():
    strip = clip_strip(
        clip(1),
        np.zeros((1, 60, 80)),
        titles=["a title " * 50],
        caption=ClipCaption("x" * 500, "y" * 500, "z" * 500, "two\nlines\udcff", True),
        column_width=80,
    )
    pixels = np.asarray(strip)
    assert (pixels[: MARGIN + CAPTION_HEIGHT, -MARGIN:] == PAPER).all()


def test_a_bad_heatmap_is_an_error_that_names_clip_and_frame():
    heat = np.zeros((3, 60, 80))
    heat[1, 0, 0] = np.nan
    with pytest.raises(InputError, match=r"clip_7, frame 4 · 1\.00 s: .* not finite"):
        clip_strip(clip(), heat, titles=titles(), caption=ClipCaption("clip_7", "stop"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"titles": ["one"]},
        {"boxes": np.zeros((2, 4))},
        {"evidence_visible": [True]},
        {"frame_influence": [0.1]},
        {"frame_influence": [0.1, np.nan, 0.2]},
        {"frame_shares": [0.1]},
        {"frame_shares": [0.1, np.nan, 0.2]},
        {"neighbour": NeighbourRow(clip(2), ["one"])},
    ],
)
def test_lists_of_another_length_are_errors(wrong):
    with pytest.raises(InputError, match="clip"):
        clip_strip(clip(), np.zeros((3, 60, 80)), **{"titles": titles(), **wrong})


def test_heatmaps_of_another_count_are_an_error():
    with pytest.raises(InputError, match="3 frames but 2 heatmaps"):
        clip_strip(clip(), np.zeros((2, 60, 80)), titles=titles())
