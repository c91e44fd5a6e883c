"""Pictures in rows, each under its heat, with a line or two below (Fig. 1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caf_video.errors import InputError
from caf_video.rendering.contours import LEVELS
from caf_video.rendering.legend import Key, colour_bar, legend, legend_text
from caf_video.rendering.overlay import check_frames, overlay
from caf_video.rendering.scale import heat_over, scaled_to_width
from caf_video.rendering.style import INK, MUTED, PAPER, font, write, write_heading

# Pixels. A cell's picture begins below the row's heading, where it has one.
MARGIN, GAP, HEADING_HEIGHT, LINE_HEIGHT = 20, 10, 26, 18


@dataclass(frozen=True)
class LookCell:
    """A picture and what stands below it.

    Attributes:
        picture: RGB, uint8 (height, width, 3).
        heat: Laid over it, nowhere negative, (height, width) of any size; None leaves it plain.
        contours: Lines of the heat, shares of its maximum.
        title, note: A line each.
    """

    picture: NDArray[np.uint8]
    heat: NDArray[np.floating] | None = None
    contours: Sequence[float] = LEVELS
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class LookRow:
    """Pictures side by side, and what stands above them."""

    cells: Sequence[LookCell]
    title: str = ""
    note: str = ""


def look_sheet(
    rows: Sequence[LookRow],
    *,
    contours: Sequence[float] = LEVELS,
    remarks: Sequence[str] = (),
    width: int = 256,
) -> Image.Image:
    """Draw rows of pictures, and a legend of the heat below.

    Args:
        rows: One or more.
        contours: The levels that were drawn, for the legend.
        remarks: What else is to be said of the pictures, in the legend.
        width: Pixels, of every picture; its height keeps its aspect.

    Raises:
        InputError: If there is no picture, or one is not uint8 RGB; names it.
    """
    if not any(row.cells for row in rows):
        raise InputError("no pictures for a sheet")
    blocks = [_row(row, width) for row in rows if row.cells]
    inner = max(block.width for block in blocks)
    keys: list[Key] = [(colour_bar(72, 10, contours=tuple(contours)), _words(contours))]
    keys += [(Image.new("RGB", (1, 10), PAPER), remark) for remark in remarks]
    blocks.append(legend(keys, inner))
    height = sum(block.height for block in blocks) + GAP * (len(blocks) - 1)
    canvas = Image.new("RGB", (inner + 2 * MARGIN, height + 2 * MARGIN), PAPER)
    top = MARGIN
    for block in blocks:
        canvas.paste(block, (MARGIN, top))
        top += block.height + GAP
    return canvas


def _words(contours: Sequence[float]) -> str:
    return legend_text(tuple(float(f"{level:.3g}") for level in contours), of="picture")


def _row(row: LookRow, width: int) -> Image.Image:
    pictures = []
    for cell in row.cells:
        check_frames(cell.picture[None], cell.title or row.title or "a picture of the sheet")
        pictures.append(_drawn(cell, width, cell.title or row.title))
    above = HEADING_HEIGHT if row.title or row.note else 0
    lines = sum(any(getattr(cell, line) for cell in row.cells) for line in ("title", "note"))
    tallest = max(picture.shape[0] for picture in pictures)
    total = len(pictures) * (width + GAP) - GAP
    block = Image.new("RGB", (total, above + tallest + lines * LINE_HEIGHT), PAPER)
    if above:
        write_heading(block, 17, row.title, row.note, sizes=(15, 13))
    for number, (cell, picture) in enumerate(zip(row.cells, pictures, strict=True)):
        left, baseline = number * (width + GAP), above + tallest + 14
        block.paste(Image.fromarray(picture), (left, above))
        write(block, (left, baseline), cell.title, font(13, bold=True), INK, width=width)
        below = (left, baseline + LINE_HEIGHT - 1)
        write(block, below, cell.note, font(12), MUTED, width=width)
    return block


def _drawn(cell: LookCell, width: int, name: str) -> NDArray[np.uint8]:
    """Scaled first, so that lines are as wide in every picture."""
    picture: NDArray[np.uint8] = scaled_to_width(cell.picture, width)
    if cell.heat is None:
        return picture
    heat = heat_over(cell.heat, picture.shape[:2])
    return overlay(picture, heat, contours=tuple(cell.contours), name=name)
