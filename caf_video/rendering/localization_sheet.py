"""Images beside what each method made of them (Fig. 7): heat, ground truth green, answer blue."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caf_video.errors import InputError
from caf_video.rendering.boxes import Box, draw_box
from caf_video.rendering.legend import box_key, colour_bar, legend, legend_text
from caf_video.rendering.overlay import check_frames, overlay
from caf_video.rendering.scale import scaled_to_width
from caf_video.rendering.style import (
    INK,
    PAPER,
    PREDICTION,
    RIGHT,
    TRUTH,
    WRONG,
    font,
    write,
    write_heading,
)

MARGIN, GAP, TITLE_HEIGHT, CAPTION_HEIGHT = 20, 8, 24, 20  # pixels


@dataclass(frozen=True)
class Answer:
    """What one method made of an image.

    Attributes:
        heatmap: Of any sign, (height, width) of the image; what is negative is drawn as no heat.
        boxes: Its answer, in pixels of the image, x2 and y2 outside; there may be none.
        iou: The best overlap with a ground-truth box.
        right: Whether that is enough.
    """

    heatmap: NDArray[np.floating]
    boxes: Sequence[Box] | NDArray[np.floating]
    iou: float
    right: bool


@dataclass(frozen=True)
class SheetImage:
    """A line of the sheet.

    Attributes:
        title, note: What stands above it.
        image: RGB, uint8 (height, width, 3).
        boxes: Ground truth, in pixels.
        answers: One a method.
    """

    title: str
    note: str
    image: NDArray[np.uint8]
    boxes: Sequence[Box] | NDArray[np.floating]
    answers: Sequence[Answer]


def localization_sheet(
    lines: Sequence[SheetImage], methods: Sequence[str], *, width: int = 220
) -> Image.Image:
    """Draw images line by line, a column for each method.

    Args:
        lines: The images; each is drawn `width` pixels wide at its own aspect.
        methods: What the columns are called.
        width: Pixels.

    Raises:
        InputError: If there are no lines, or one has not an answer for each method.
    """
    if not lines:
        raise InputError("no images for a sheet of localisation")
    blocks = [_line(line, methods, width) for line in lines]
    inner = max(block.width for block in blocks)
    keys = legend(
        [
            (colour_bar(72, 10), legend_text(of="map")),
            (box_key(TRUTH), "ground truth"),
            (box_key(PREDICTION), "answer"),
        ],
        inner,
    )
    height = sum(block.height + GAP for block in blocks) + keys.height
    canvas = Image.new("RGB", (inner + 2 * MARGIN, height + 2 * MARGIN), PAPER)
    top = MARGIN
    for block in blocks:
        canvas.paste(block, (MARGIN, top))
        top += block.height + GAP
    canvas.paste(keys, (MARGIN, top))
    return canvas


def _line(line: SheetImage, methods: Sequence[str], width: int) -> Image.Image:
    check_frames(line.image[None], line.title)
    if len(line.answers) != len(methods):
        raise InputError(f"{line.title}: {len(methods)} methods but {len(line.answers)} answers")
    photograph = scaled_to_width(line.image, width)
    scale = width / line.image.shape[1]
    height = photograph.shape[0]
    count = 1 + len(methods)
    total = count * (width + GAP) - GAP
    block = Image.new("RGB", (total, TITLE_HEIGHT + height + CAPTION_HEIGHT), PAPER)
    write_heading(block, 16, line.title, line.note, sizes=(13, 12))
    pictures = [photograph]
    for method, answer in zip(methods, line.answers, strict=True):
        heat = scaled_to_width(np.maximum(answer.heatmap, 0).astype(np.float32), width)
        pictures.append(overlay(photograph, heat, name=f"{line.title}, {method}"))
    for column, picture in enumerate(pictures):
        for box in line.boxes:
            picture = draw_box(picture, np.asarray(box, np.float64) * scale, colour=TRUTH)
        left = column * (width + GAP)
        if column:
            answer = line.answers[column - 1]
            for box in answer.boxes:
                picture = draw_box(picture, np.asarray(box, np.float64) * scale, colour=PREDICTION)
            _caption(block, (left, TITLE_HEIGHT + height + 14), methods[column - 1], answer, width)
        block.paste(Image.fromarray(picture), (left, TITLE_HEIGHT))
    return block


def _caption(
    block: Image.Image, place: tuple[int, int], method: str, answer: Answer, width: int
) -> None:
    verdict = f"{'✓' if answer.right else '✗'} IoU {answer.iou:.2f}"
    face = font(11, bold=True)
    colour = RIGHT if answer.right else WRONG
    write(block, (place[0] + width, place[1]), verdict, face, colour, anchor="rs")
    write(block, place, method, font(11), INK, width=width - face.getlength(verdict) - 6)
