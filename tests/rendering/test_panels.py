"""Sheets of panels, and animations that repeat."""

import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.rendering import Panel, panel_sheet


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
