"""What stands under every frame of an overlay video: the time, the class, what the colours mean."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caf_video.rendering.contours import LEVELS
from caf_video.rendering.legend import colour_bar, legend_text
from caf_video.rendering.style import INK, MUTED, PAPER, font, write


class Footer:
    """Two lines under frames of one width: words of each frame, and the legend, drawn once.

    The letters grow with the frame, a 64th of its width and 11 pixels at least: they are read in
    the whole picture, whatever its size.

    Args:
        width: Of the frames, pixels.
        contours: The levels that are drawn.
    """

    def __init__(self, width: int, *, contours: tuple[float, ...] = LEVELS) -> None:
        self._size = max(11, round(width / 64))
        self._margin = self._size // 2
        line = round(1.7 * self._size)
        self._first, self._second = line, 2 * line
        self.height = 2 * ((self._second + self._size) // 2)  # even, for yuv420p
        self._blank = Image.new("RGB", (width, self.height), PAPER)
        bar = colour_bar(min(6 * self._size, width // 6), self._size * 3 // 4, contours=contours)
        self._blank.paste(bar, (self._margin, self._second - bar.height))
        left, text = 2 * self._margin + bar.width, legend_text(contours)
        room = width - left - self._margin
        sizes = range(round(0.85 * self._size), 7, -1)
        size = next((s for s in sizes if font(s).getlength(text) <= room), 8)
        write(self._blank, (left, self._second), text, font(size), MUTED, width=room)

    def under(self, time: str, words: str) -> NDArray[np.uint8]:
        """RGB, uint8 (height, width, 3): the time at the left, the words after it."""
        picture = self._blank.copy()
        place = (self._margin, self._first)
        used = write(picture, place, time, font(self._size), INK)
        left = self._margin + max(used, 5 * self._size) + self._size  # words that do not jump
        room = picture.width - left - self._margin
        face = font(self._size, bold=True)
        if room > 3 * self._size:
            write(picture, (left, self._first), words, face, INK, width=room)
        return np.asarray(picture)
