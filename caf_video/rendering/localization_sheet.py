"""Images beside what each method made of them (Fig. 7): heat, ground truth green, answer blue."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caf_video.errors import InputError
from caf_video.rendering.boxes import Box, draw_box
from caf_video.rendering.legend import colour_bar, legend_text
from caf_video.rendering.overlay import check_frames, overlay
from caf_video.rendering.style import (
    INK,
    MUTED,
    PAPER,
    PREDICTION,
    RIGHT,
    TRUTH,
    WRONG,
    font,
    write,
)

MARGIN, GAP, TITLE_HEIGHT, CAPTION_HEIGHT, LEGEND_HEIGHT = 20, 8, 24, 20, 30  # pixels


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
    height = sum(block.height + GAP for block in blocks) + LEGEND_HEIGHT
    canvas = Image.new("RGB", (inner + 2 * MARGIN, height + 2 * MARGIN), PAPER)
    top = MARGIN
    for block in blocks:
        canvas.paste(block, (MARGIN, top))
        top += block.height + GAP
    canvas.paste(_legend(inner), (MARGIN, top))
    return canvas


def _line(line: SheetImage, methods: Sequence[str], width: int) -> Image.Image:
    check_frames(line.image[None], line.title)
    if len(line.answers) != len(methods):
        raise InputError(f"{line.title}: {len(methods)} methods but {len(line.answers)} answers")
    photograph = _scaled(line.image, width)
    scale = width / line.image.shape[1]
    height = photograph.shape[0]
    count = 1 + len(methods)
    total = count * (width + GAP) - GAP
    block = Image.new("RGB", (total, TITLE_HEIGHT + height + CAPTION_HEIGHT), PAPER)
    used = write(block, (0, 16), line.title, font(13, bold=True), INK, width=total)
    if line.note and used + 40 < total:
        write(block, (used + 10, 16), line.note, font(12), MUTED, width=total - used - 10)
    pictures = [photograph]
    for method, answer in zip(methods, line.answers, strict=True):
        heat = _scaled(np.maximum(answer.heatmap, 0).astype(np.float32), width)
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


def _scaled(picture: NDArray, width: int) -> NDArray:
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    if picture.shape[:2] == (height, width):
        return picture
    method = cv2.INTER_AREA if width < picture.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method))


def _legend(width: int) -> Image.Image:
    block = Image.new("RGB", (width, LEGEND_HEIGHT), PAPER)
    face, left = font(12), 0
    for key, text in (
        (colour_bar(72, 10), legend_text().replace("frame", "map")),
        (_box_key(TRUTH), "ground truth"),
        (_box_key(PREDICTION), "answer"),
    ):
        needed = key.width + 8 + round(face.getlength(text))
        if left and left + needed > width:
            break
        block.paste(key, (left, 15 - key.height // 2))
        write(block, (left + key.width + 8, 19), text, face, MUTED, width=width - left - key.width)
        left += needed + 20
    return block


def _box_key(colour: tuple[int, int, int]) -> Image.Image:
    grey = np.full((16, 28, 3), 90, np.uint8)
    return Image.fromarray(draw_box(grey, (5, 4, 23, 12), colour=colour))
