"""A contact sheet: a few frames of each of many clips, side by side, to be seen at one glance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caf_video.errors import InputError
from caf_video.rendering.boxes import Box, draw_box
from caf_video.rendering.overlay import check_frames
from caf_video.rendering.scale import scaled_to_width
from caf_video.rendering.style import PAPER, write_heading

MARGIN, FRAME_GAP, COLUMN_GAP, ROW_GAP, TITLE_HEIGHT = 20, 4, 28, 16, 24  # pixels


@dataclass(frozen=True)
class SheetRow:
    """One clip: a title, a word beside it, and its frames from first to last."""

    title: str
    frames: NDArray[np.uint8]  # (t, height, width, 3) RGB
    note: str = ""
    boxes: Sequence[Box] | NDArray[np.floating] | None = None  # ground truth, one a frame
    evidence_visible: Sequence[bool] | NDArray[np.bool_] | None = None


def contact_sheet(
    rows: Sequence[SheetRow], *, columns: int = 2, frame_width: int = 220
) -> Image.Image:
    """Lay out clips row by row, `columns` of them beside each other, filled from left to right.

    Args:
        rows: The clips; all frames are drawn `frame_width` pixels wide at their own aspect.
        columns: Clips beside each other.
        frame_width: Pixels.

    Raises:
        InputError: If there are no rows, or a row's frames and boxes do not match; names the row.
    """
    if not rows:
        raise InputError("no clips for a contact sheet")
    cells = [_cell(row, frame_width) for row in rows]
    columns = min(columns, len(cells))
    width = max(cell.width for cell in cells)
    lines = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in line) for line in lines]
    canvas = Image.new(
        "RGB",
        (
            2 * MARGIN + columns * width + (columns - 1) * COLUMN_GAP,
            2 * MARGIN + sum(heights) + (len(lines) - 1) * ROW_GAP,
        ),
        PAPER,
    )
    top = MARGIN
    for line, height in zip(lines, heights, strict=True):
        for column, cell in enumerate(line):
            canvas.paste(cell, (MARGIN + column * (width + COLUMN_GAP), top))
        top += height + ROW_GAP
    return canvas


def _cell(row: SheetRow, frame_width: int) -> Image.Image:
    """The title over the clip's frames."""
    check_frames(row.frames, row.title)
    for what, values in (("boxes", row.boxes), ("evidence flags", row.evidence_visible)):
        if values is not None and len(values) != len(row.frames):
            raise InputError(f"{row.title}: {len(row.frames)} frames but {len(values)} {what}")
    count, height, width, _ = row.frames.shape
    frame_height = max(1, round(height * frame_width / width))
    cell_width = count * (frame_width + FRAME_GAP) - FRAME_GAP
    cell = Image.new("RGB", (cell_width, TITLE_HEIGHT + frame_height), PAPER)
    write_heading(cell, 15, row.title, row.note, sizes=(14, 12))
    for position, frame in enumerate(row.frames):
        picture = scaled_to_width(frame, frame_width)
        if row.boxes is not None:
            box = np.asarray(row.boxes[position], np.float64) * (frame_width / width)
            visible = row.evidence_visible is None or bool(row.evidence_visible[position])
            picture = draw_box(picture, box, evidence_visible=visible)
        left = position * (frame_width + FRAME_GAP)
        cell.paste(Image.fromarray(picture), (left, TITLE_HEIGHT))
    return cell
