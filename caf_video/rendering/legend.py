"""What the colours mean: drawing rescales a heatmap, and here the picture says so."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caf_video.rendering.boxes import draw_box
from caf_video.rendering.contours import LEVELS
from caf_video.rendering.overlay import overlay
from caf_video.rendering.style import MUTED, PAPER, Colour, font, wrap, write

LEGEND_HEIGHT = 28  # pixels; even, so that a video frame stays even under it
LINE_HEIGHT = 24  # pixels, of a line of keys

Key = tuple[Image.Image, str]  # a small picture, and what it means


def legend_text(contours: tuple[float, ...] = LEVELS, *, of: str = "frame") -> str:
    """The sentence: 'heat, 0 to each frame's own maximum; lines at 30, 50, 70 % of it'."""
    text = f"heat, 0 to each {of}'s own maximum"
    if contours:
        text += f"; lines at {', '.join(f'{100 * level:g}' for level in contours)} % of it"
    return text


def colour_bar(width: int, height: int, *, contours: tuple[float, ...] = LEVELS) -> Image.Image:
    """The colours from no heat to the maximum as `overlay` itself draws them over a grey scene."""
    grey = np.full((height, width, 3), 176, np.uint8)
    ramp = np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))
    bar = overlay(grey, ramp, contours=(), name="colour bar")
    for level in contours:  # as plain marks: at this size the lines of a picture would touch
        bar[:, round(level * (width - 1))] = 255
    return Image.fromarray(bar)


def heat_legend(width: int, *, contours: tuple[float, ...] = LEVELS) -> NDArray[np.uint8]:
    """The legend to stack under a frame of this width: RGB, uint8 (LEGEND_HEIGHT, width, 3)."""
    margin, bar_width, bar_height = 8, min(120, width // 6), 10
    canvas = Image.new("RGB", (width, LEGEND_HEIGHT), PAPER)
    canvas.paste(
        colour_bar(bar_width, bar_height, contours=contours),
        (margin, (LEGEND_HEIGHT - bar_height) // 2),
    )
    left, text = margin + bar_width + 8, legend_text(contours)
    room = width - left - margin
    size = next((s for s in (11, 10, 9) if font(s).getlength(text) <= room), 8)  # 400 wide: 8
    write(canvas, (left, 18), text, font(size), MUTED, width=room)
    return np.asarray(canvas).copy()


def legend(keys: Sequence[Key], width: int) -> Image.Image:
    """Keys with their words for the foot of a sheet, as many on a line as fit."""
    face, space = font(13), 22
    places, left, line = [], 0, 0  # of every key: its left end, its line, its words in lines
    for key, text in keys:
        indent = key.width + 8
        words = wrap(text, face, width - indent)
        needed = indent + round(max(face.getlength(part) for part in words))
        if left and left + needed > width:
            left, line = 0, line + 1
        places.append((left, line, words))
        left += needed + space
        line += len(words) - 1
    block = Image.new("RGB", (width, 6 + LINE_HEIGHT * (line + 1)), PAPER)
    for (key, _), (left, line, words) in zip(keys, places, strict=True):
        baseline = 6 + LINE_HEIGHT * line + 16
        block.paste(key, (left, baseline - 5 - key.height // 2))
        for number, part in enumerate(words):
            write(block, (left + key.width + 8, baseline + 17 * number), part, face, MUTED)
    return block


def box_key(colour: Colour, *, evidence_visible: bool = True) -> Image.Image:
    """A miniature of the box as `draw_box` draws it, on asphalt."""
    grey = np.full((16, 32, 3), 90, np.uint8)
    box = (5, 5, 27, 11)
    return Image.fromarray(draw_box(grey, box, evidence_visible=evidence_visible, colour=colour))
