import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.rendering import SheetRow, contact_sheet
from caf_video.rendering.contact_sheet import (
    COLUMN_GAP,
    FRAME_GAP,
    MARGIN,
    ROW_GAP,
    TITLE_HEIGHT,
)
from caf_video.rendering.style import MUTED, TRUTH


def clip(count=3, size=(30, 40), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def test_every_frame_stands_at_its_place():
    clips = [clip(seed=seed) for seed in range(3)]
    rows = [SheetRow(f"class {seed}", frames, "a note") for seed, frames in enumerate(clips)]
    sheet = np.asarray(contact_sheet(rows, columns=2, frame_width=40))
    clip_width = 3 * 40 + 2 * FRAME_GAP
    for number, frames in enumerate(clips):
        row, column = divmod(number, 2)
        for position, frame in enumerate(frames):
            left = MARGIN + column * (clip_width + COLUMN_GAP) + position * (40 + FRAME_GAP)
            top = MARGIN + row * (TITLE_HEIGHT + 30 + ROW_GAP) + TITLE_HEIGHT
            assert np.array_equal(sheet[top : top + 30, left : left + 40], frame)
    assert sheet.shape[1] == 2 * MARGIN + 2 * clip_width + COLUMN_GAP


def test_every_clip_has_its_own_title_and_note_above_it(places_of):
    rows = [SheetRow(f"title {n}", clip(seed=n), f"note {n}") for n in range(3)]
    sheet = contact_sheet(rows, columns=2, frame_width=80)
    clip_width = 3 * 80 + 2 * FRAME_GAP
    for number in range(3):
        row, column = divmod(number, 2)
        left = MARGIN + column * (clip_width + COLUMN_GAP)
        baseline = MARGIN + row * (TITLE_HEIGHT + 60 + ROW_GAP) + 15
        assert places_of(sheet, f"title {number}", 14, bold=True) == [(left, baseline)]
        ((place, height),) = places_of(sheet, f"note {number}", 12, colour=MUTED)
        assert left < place < left + clip_width and height == baseline


def test_clips_of_different_size_and_length_share_a_sheet():
    rows = [SheetRow("wide", clip(4, (20, 60))), SheetRow("short", clip(1, (40, 30)))]
    sheet = contact_sheet(rows, columns=2, frame_width=30)
    assert sheet.height == 2 * MARGIN + TITLE_HEIGHT + 40


def test_a_box_is_drawn_at_the_scale_of_the_sheet():
    row = SheetRow("stop", np.full((1, 30, 40, 3), 77, np.uint8), boxes=[(10, 10, 20, 20)])
    sheet = np.asarray(contact_sheet([row], frame_width=80))
    frame = sheet[MARGIN + TITLE_HEIGHT :, MARGIN:]
    assert (frame[18:20, 20:40] == TRUTH).all()
    assert (frame[20:40, 20:40] == 77).all()


def test_no_clips_are_an_error():
    with pytest.raises(InputError, match="no clips"):
        contact_sheet([])


def test_boxes_of_another_count_are_an_error_that_names_the_row():
    with pytest.raises(InputError, match="stop sign: 3 frames but 1 boxes"):
        contact_sheet([SheetRow("stop sign", clip(), boxes=[(0, 0, 1, 1)])])
