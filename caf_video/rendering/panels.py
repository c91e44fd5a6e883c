"""Rows of small pictures under common column titles: methods side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caf_video.errors import InputError
from caf_video.rendering.overlay import check_frames, overlay
from caf_video.rendering.scale import scaled_to_width
from caf_video.rendering.style import INK, MUTED, PAPER, font, write

MARGIN, GAP, TITLE_HEIGHT, CAPTION_HEIGHT = 20, 8, 22, 18  # pixels


@dataclass(frozen=True)
class Panel:
    """A picture with a line under it.

    Attributes:
        image: RGB, uint8 (height, width, 3).
        heatmap: Laid over it, (height, width), >= 0; None shows the picture alone.
        caption: Under it.
    """

    image: NDArray[np.uint8]
    heatmap: NDArray[np.floating] | None = None
    caption: str = ""


def panel_sheet(
    columns: Sequence[str], rows: Sequence[Sequence[Panel]], *, note: str = "", width: int = 180
) -> Image.Image:
    """Panels in rows and titled columns. Every heatmap is divided by its own maximum.

    Args:
        columns: Titles.
        rows: As many panels each.
        note: Under all of it.
        width: Of a panel, in pixels.

    Raises:
        InputError: If there is no panel, or a row has more or fewer than there are columns.
    """
    if not rows or any(len(row) != len(columns) for row in rows):
        raise InputError(f"a sheet of {len(columns)} columns needs rows of as many panels")
    heights = [max(_height(panel, width) for panel in row) for row in rows]
    total = 2 * MARGIN + TITLE_HEIGHT + sum(heights) + len(rows) * (CAPTION_HEIGHT + GAP)
    across = 2 * MARGIN + len(columns) * (width + GAP) - GAP
    canvas = Image.new("RGB", (across, total + (CAPTION_HEIGHT if note else 0)), PAPER)
    lefts = [MARGIN + number * (width + GAP) for number in range(len(columns))]
    for left, title in zip(lefts, columns, strict=True):
        write(canvas, (left, MARGIN + 12), title, font(12, bold=True), INK, width=width)
    top = MARGIN + TITLE_HEIGHT
    for row, height in zip(rows, heights, strict=True):
        for left, panel in zip(lefts, row, strict=True):
            canvas.paste(Image.fromarray(_drawn(panel, width)), (left, top))
            place = left, top + _height(panel, width) + 13
            write(canvas, place, panel.caption, font(10), MUTED, width=width)
        top += height + CAPTION_HEIGHT + GAP
    if note:
        write(canvas, (MARGIN, top + 12), note, font(10), MUTED, width=across - 2 * MARGIN)
    return canvas


def _height(panel: Panel, width: int) -> int:
    height, own_width = panel.image.shape[:2]
    return max(1, round(height * width / own_width))


def _drawn(panel: Panel, width: int) -> NDArray[np.uint8]:
    check_frames(panel.image[None], "panel")
    image = np.ascontiguousarray(scaled_to_width(panel.image, width))
    if panel.heatmap is None:
        return image
    return overlay(image, scaled_to_width(panel.heatmap, width), name="panel")
