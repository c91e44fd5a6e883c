"""One hand for all pictures: the colours, the typeface, and text that fits its place."""

from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from caf_video.escapes import visible

Colour = tuple[int, int, int]

PAPER: Colour = (255, 255, 255)
INK: Colour = (28, 30, 34)
MUTED: Colour = (104, 110, 120)
FAINT: Colour = (226, 229, 234)
RIGHT: Colour = (22, 128, 72)
WRONG: Colour = (190, 48, 48)
ACCENT: Colour = (64, 92, 196)
TRUTH: Colour = (48, 232, 120)  # ground-truth boxes; seen on asphalt and on sky

PREDICTION: Colour = (70, 130, 255)  # boxes that a method answers

ELLIPSIS = "…"


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib carries it: the same letters on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def fit(text: str, face: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, on one line, or as much of it as fits `width` pixels followed by an ellipsis."""
    text = visible(" ".join(text.split()))
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + ELLIPSIS) > width:
        text = text[:-1]
    return text.rstrip() + ELLIPSIS


def wrap(text: str, face: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """The text in lines of whole words that fit `width` pixels; a longer word is cut."""
    lines: list[str] = []
    for word in text.split():
        if lines and face.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(fit(word, face, width))
    return lines


def write_heading(
    canvas: Image.Image,
    baseline: int,
    heading: str,
    note: str,
    *,
    sizes: tuple[int, int],
    gap: int = 10,
) -> None:
    """Write a bold heading from the left edge, and a quiet note after it where there is room."""
    used = write(canvas, (0, baseline), heading, font(sizes[0], bold=True), INK, width=canvas.width)
    if note and used + 40 < canvas.width:
        place, room = (used + gap, baseline), canvas.width - used - gap
        write(canvas, place, note, font(sizes[1]), MUTED, width=room)


def write(
    canvas: Image.Image,
    position: tuple[float, float],
    text: str,
    face: ImageFont.FreeTypeFont,
    colour: Colour,
    *,
    width: float = float("inf"),
    anchor: str = "ls",
) -> float:
    """Write one line, `position` by default the left end of its baseline; returns its length."""
    text = fit(text, face, width)
    ImageDraw.Draw(canvas).text(position, text, font=face, fill=colour, anchor=anchor)
    return face.getlength(text)
