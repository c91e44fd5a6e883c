"""The page of results in a real browser, from the disk: sorted, read by keyboard, followed."""

from pathlib import Path

import pytest
from PIL import Image

from caf_video.rendering import (
    ResultPicture,
    ResultsPage,
    ResultTable,
    SearchResult,
    StudyResult,
    write_results_page,
)

pytestmark = pytest.mark.browser

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"alert(1)\"> & 'so'"
ROWS = [
    ["first", "0.9 [0.8, 1.0]", "b"],
    [HOSTILE, "−2.5", "–"],
    ["third", "–", "a"],
    ["200-fourth", "10 of 12", "c"],
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    (folder / "frames").mkdir()
    Image.new("RGB", (2000, 900), (90, 120, 160)).save(folder / "frames" / "000-00.png")
    (folder / "searches").mkdir()
    (folder / "searches" / "of.html").write_text("<title>the search</title><h1>Found</h1>")
    wide = ResultTable(
        "Wide", ["", *(f"a column {n}" for n in range(12))],
        [[HOSTILE, *["0.123 [0.456, 0.789]"] * 12]],
    )  # fmt: skip
    table = ResultTable(f"Table {HOSTILE}", ["", "figure ↓", "word"], ROWS,
                        [f"Run `caf-video study`; {HOSTILE}"], {(0, 1)})  # fmt: skip
    study = StudyResult(f"study {HOSTILE}", HOSTILE, [table, wide],
                        [ResultPicture("frames/000-00.png", (2000, 900), HOSTILE)])  # fmt: skip
    search = SearchResult(f"What resembles {HOSTILE}", {"video": HOSTILE},
                          ResultTable("Matches", ["rank"], [["1"]]),
                          page="searches/of.html")  # fmt: skip
    page = ResultsPage(f"Results {HOSTILE}", "Made up.", [study], [search], [HOSTILE])
    write_results_page(folder / "index.html", page)
    return folder / "index.html"


def column(page, place: int) -> list[str]:
    return page.evaluate(
        "[...document.querySelector('table.sortable').tBodies[0].rows]"
        f".map(row => row.cells[{place}].textContent)"
    )


def test_a_column_is_sorted_up_then_down_then_as_it_was(results, open_page) -> None:
    page = open_page(results).page
    button = page.locator("table.sortable").first.locator("thead button")
    listed = column(page, 1)
    button.nth(1).click()
    assert column(page, 1) == ["−2.5", "0.9 [0.8, 1.0]", "10 of 12", "–"]
    button.nth(1).click()
    assert column(page, 1) == ["10 of 12", "0.9 [0.8, 1.0]", "−2.5", "–"]
    assert page.locator("th[aria-sort=descending]").count() == 1
    button.nth(2).click()
    assert column(page, 2) == ["a", "b", "c", "–"]
    assert page.locator("th[aria-sort]").count() == 1
    button.nth(2).click()
    button.nth(2).click()
    assert column(page, 1) == listed and page.locator("th[aria-sort]").count() == 0
    button.nth(0).click()
    assert column(page, 0) == [HOSTILE, "200-fourth", "first", "third"]


def test_the_keyboard_alone_sorts_and_scrolls(results, open_page) -> None:
    page = open_page(results).page
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "figure ↓":
            break
    page.keyboard.press("Enter")
    assert column(page, 1)[0] == "−2.5"
    wide = page.locator(".scroll").nth(1)
    wide.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(400)
    assert wide.evaluate("element => element.scrollLeft") > 0


def test_names_that_are_markup_stay_text_and_links_lead_somewhere(results, open_page) -> None:
    page = open_page(results).page
    assert page.title() == f"Results {HOSTILE}" == page.inner_text("h1")
    assert page.evaluate("document.querySelectorAll('img[onerror]').length") == 0
    assert page.locator("tbody b").all_inner_texts() == ["0.9 [0.8, 1.0]"]
    assert page.locator("code").all_inner_texts() == ["caf-video study"]
    assert page.get_attribute(".picture img", "alt") == HOSTILE
    page.click("text=Query and matches side by side")
    assert page.inner_text("h1") == "Found"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_is_wider_than_the_window_and_words_can_be_read(
    results, open_page, contrasts, width, scheme
) -> None:
    page = open_page(results, width=width, scheme=scheme).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.locator(".scroll").nth(1)
    wide.evaluate("element => { element.scrollLeft = 300 }")
    head, row = wide.locator("thead th").first, wide.locator("tbody th").first
    left = wide.bounding_box()["x"]
    assert head.bounding_box()["x"] == row.bounding_box()["x"] == left  # what it is stays in sight
    assert row.bounding_box()["width"] < 0.6 * wide.bounding_box()["width"]
    picture = page.locator(".picture img")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box["width"] <= width and abs(box["width"] / box["height"] - 2000 / 900) < 0.05
    found = page.evaluate(contrasts)
    assert len(found) > 20
    assert min(ratio for ratio, _ in found) >= 4.5, min(found)
