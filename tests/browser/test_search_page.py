"""The page of a search in a real browser, from the disk."""

from pathlib import Path

import numpy as np
import pytest

from caf_video.rendering import (
    PageFilm,
    PageMatch,
    SearchPage,
    line_chart,
    write_film,
    write_search_page,
)

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="alert(1)">'
MODES = {"attention": "where it looked", "alike": "what they share"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    (folder / "frames").mkdir()
    matches = []
    for place in range(3):
        films = []
        for side in "qm":
            names = [f"frames/{place}{side}{letter}.jpg" for letter in "ab"]
            for name in names:
                frames = np.full((3, 72, 128, 3), 60 * place + 40, np.uint8)
                write_film(folder / name, frames, 128)
            films.append(PageFilm(HOSTILE, names, (128, 72), [0.5, 1, 1.5], [0.2, 0.3, 0.5]))
        matches.append(PageMatch(HOSTILE, {"distance": str(place)}, *films, clip="clips/001.mp4"))
    chart = line_chart(HOSTILE, {"d": ([0, 1, 2], [0.1, 0.9, 0.2])}, unit="s", spans=[(0.5, 1.5)])
    page = SearchPage(HOSTILE, "Three.", {"video": HOSTILE}, [HOSTILE], MODES, matches, [chart])
    write_search_page(folder / "index.html", page)
    return folder / "index.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_query_and_match_stand_side_by_side_and_move_together(
    found, open_page, width, scheme
) -> None:
    page = open_page(found, width=width, scheme=scheme).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.title() == HOSTILE and page.inner_text("h1") == HOSTILE
    pair = page.locator(".pair").nth(1)
    pair.scroll_into_view_if_needed()
    pair.locator("input").first.focus()
    page.keyboard.press("End")
    assert [film.input_value() for film in pair.locator("input").all()] == ["2", "2"]
    styles = [image.get_attribute("style") for image in pair.locator("img").all()]
    assert all("translateX(-66.66" in style for style in styles)
    assert page.locator(".pair").nth(0).locator("input").first.input_value() == "0"
    page.select_option("#mode", label="alike")
    assert pair.locator("img").nth(1).get_attribute("src") == "frames/1mb.jpg"
    one, other = (pair.locator("figure").nth(side).bounding_box() for side in (0, 1))
    assert (one["y"] == other["y"]) == (width > 700)
    assert page.evaluate("document.querySelectorAll('img[onerror]').length") == 0
