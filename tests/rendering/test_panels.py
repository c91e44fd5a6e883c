"""Sheets of panels, and animations that repeat."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caf_video.errors import InputError
from caf_video.rendering import Panel, panel_sheet, write_animation


def test_every_panel_is_in_its_row_and_column() -> None:
    colours = [[(250, 0, 0), (0, 250, 0)], [(0, 0, 250), (250, 250, 0)]]
    rows = [[Panel(np.full((20, 40, 3), c, np.uint8)) for c in row] for row in colours]
    sheet = np.asarray(panel_sheet(["a", "b"], rows, width=80))
    for number, row in enumerate(colours):
        for column, colour in enumerate(row):
            y = 20 + 22 + number * (40 + 18 + 8) + 20  # margin, titles, rows before it, its middle
            x = 20 + column * (80 + 8) + 40
            assert tuple(sheet[y, x]) == colour


def test_heat_is_laid_over_its_own_panel_alone() -> None:
    grey = np.full((40, 40, 3), 100, np.uint8)
    heat = np.zeros((40, 40), np.float32)
    heat[:, 20:] = 1
    sheet = np.asarray(panel_sheet(["plain", "hot"], [[Panel(grey), Panel(grey, heat)]], width=40))
    assert tuple(sheet[62, 40]) == (100, 100, 100) and tuple(sheet[62, 73]) == (100, 100, 100)
    assert tuple(sheet[62, 103]) != (100, 100, 100)


def test_a_row_with_another_number_of_panels_is_refused() -> None:
    with pytest.raises(InputError, match="a sheet of 2 columns needs rows of as many panels"):
        panel_sheet(["a", "b"], [[Panel(np.zeros((4, 4, 3), np.uint8))]])


@pytest.mark.parametrize("suffix", ["webp", "gif"])
def test_an_animation_has_its_frames_in_order_and_repeats(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (32, 16), (shade, shade, shade)) for shade in (0, 120, 240)]
    path = tmp_path / f"film.{suffix}"
    write_animation(path, frames, fps=10)
    with Image.open(path) as film:
        assert film.n_frames == 3 and film.info["loop"] == 0
        shades = []
        for number in range(3):
            film.seek(number)
            shades.append(film.convert("L").getpixel((5, 5)))
            assert film.info["duration"] == 100
    assert shades == pytest.approx([0, 120, 240], abs=4)
    with pytest.raises(InputError, match="an animation is written as .webp, .gif"):
        write_animation(tmp_path / "film.png", frames, fps=10)
