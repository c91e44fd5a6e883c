"""The page of a run in a real browser, from the disk, with two thousand clips.

Every window also says nothing on the console and asks for nothing outside of its folder: see
`Window.close`.
"""

from pathlib import Path

import numpy as np
import pytest

from caf_video.rendering import (
    FigureTable,
    PageClip,
    RunPage,
    line_chart,
    write_film,
    write_run_page,
)

pytestmark = pytest.mark.browser

CLIPS = 2000
HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"alert(1)\"> & 'so'"
CLASSES = ("left", "right", HOSTILE, "stop")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of two thousand clips, some of them of a class with a hostile name."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "frames").mkdir()
    random = np.random.default_rng(0)
    for number in range(8):
        frames = random.integers(0, 255, (3, 9, 16, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
        for letter in "ab":
            write_film(folder / "frames" / f"{number}{letter}.jpg", frames, 128)
    clips = []
    for place in range(CLIPS):
        label = CLASSES[place % 4]
        right = place % 10 != 3
        near = [((place + step) % CLIPS, f"clip {(place + step) % CLIPS}", step / 4)
                for step in (4, 8)]  # fmt: skip
        clips.append(
            PageClip(
                id=f"clip {place}" if place != 5 else HOSTILE,
                label=label,
                session=f"drive {place // 50}",
                verdict=right if place != 7 else None,
                found=label if right else "stop",
                distance=float((place * 7919) % CLIPS) / CLIPS,
                point=(float(place % 50), float(place // 50)),
                films=[f"frames/{place % 8}a.jpg", f"frames/{place % 8}b.jpg"],
                size=(128, 72),
                times_seconds=[0.5, 1.5, 2.5],
                influence=[0.2, 0.3, 0.5],
                near=near,
                facts={"video": HOSTILE},
            )
        )
    steps = list(range(50))
    page = RunPage(
        title=f"Run {HOSTILE}",
        lead="Made up.",
        headline={"R@1": 0.9, "NMI": 0.5},
        tables=[FigureTable("Among all", HOSTILE, ["R@1", "NMI"], [("trained", [0.9, 0.5]),
                                                                     ("chance", [0.25, None])])],
        per_class={name: (500, 0.9) for name in CLASSES},
        charts=[line_chart("loss", {"loss": (steps, [1 / (1 + step) for step in steps])})],
        settings={HOSTILE: HOSTILE},
        data={"train split": "1 clip"},
        plane="Made up.",
        modes=["attention", "frames alone"],
        clips=clips,
        noun="clips",
        total=3000,
        verdict_rule="A clip is right if its nearest clip has its class.",
    )  # fmt: skip
    write_run_page(folder / "index.html", page)
    return folder / "index.html"


def cards(window) -> list[int]:
    """The clips that the gallery lists, in its order."""
    return window.page.evaluate(
        "[...document.querySelectorAll('#cards .card')].map(card => Number(card.dataset.place))"
    )


def wait(window, condition: str) -> None:
    """Until it is so, ten seconds at most; the page's policy forbids playwright's own waiting."""
    for _ in range(200):
        if window.page.evaluate(condition):
            return
        window.page.wait_for_timeout(50)
    raise AssertionError(f"never: {condition}")


def distance(place: int) -> float:
    return (place * 7919) % CLIPS / CLIPS


def test_filters_leave_what_they_say(many, open_page) -> None:
    window = open_page(many)
    page = window.page
    assert cards(window) == list(range(CLIPS))
    page.select_option("[name=label]", label="left")
    assert cards(window) == [place for place in range(CLIPS) if place % 4 == 0]
    page.select_option("[name=session]", label="drive 1")
    assert cards(window) == [place for place in range(50, 100) if place % 4 == 0]
    page.click("button[type=reset]")
    wait(window, f"document.querySelectorAll('#cards .card').length == {CLIPS}")
    page.select_option("[name=verdict]", "wrong")
    assert cards(window) == [place for place in range(CLIPS) if place % 10 == 3]
    assert page.inner_text("#count") == f"200 of {CLIPS} clips"
    page.select_option("[name=verdict]", "none")
    assert cards(window) == [7]
    page.select_option("[name=verdict]", "")
    page.fill("[name=text]", "CLIP 199")
    assert cards(window) == [199, *range(1990, 2000)]


def test_the_order_is_that_of_the_distances(many, open_page) -> None:
    window = open_page(many)
    window.page.select_option("[name=order]", "nearest")
    assert cards(window) == sorted(range(CLIPS), key=distance)
    window.page.select_option("[name=order]", "farthest")
    assert cards(window) == sorted(range(CLIPS), key=distance, reverse=True)
    window.page.select_option("[name=order]", "listed")
    assert cards(window) == list(range(CLIPS))


def test_a_confusion_leads_to_its_clips(many, open_page) -> None:
    window = open_page(many)
    window.page.click("main button[data-label=right][data-found=stop] >> nth=0")
    wait(window, f"document.querySelectorAll('#cards .card').length < {CLIPS}")
    assert cards(window) == [place for place in range(CLIPS) if place % 20 == 13]


def test_the_slider_moves_the_film_and_play_moves_the_slider(many, open_page) -> None:
    window = open_page(many)
    page = window.page
    card = page.locator("#cards .card").first
    card.scroll_into_view_if_needed()
    slider, image = card.locator("input[type=range]"), card.locator("img")
    assert slider.get_attribute("max") == "2"
    slider.fill("2")
    assert "translateX(-66.66" in image.get_attribute("style")
    assert card.locator("output").inner_text() == "2.50 s · 50 %"
    card.locator(".play button").click()
    wait(window, "document.querySelector('#cards input[type=range]').value == '0'")
    card.locator(".play button").click()
    page.select_option("[name=mode]", label="frames alone")
    assert image.get_attribute("src") == "frames/0b.jpg"


def test_a_click_on_the_map_opens_the_clip_with_its_neighbours(many, open_page) -> None:
    page = open_page(many).page
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map circle[data-place='57']").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.locator("dialog").is_visible()
    assert page.inner_text("#clip-title") == "right"
    assert "clip 57" in page.inner_text("#clip-body")
    near = page.locator(".near p")
    assert ["clip 61" in near.nth(0).inner_text(), "clip 65" in near.nth(1).inner_text()] == [
        True,
        True,
    ]
    page.locator(".near button").first.click()
    assert "clip 61" in page.inner_text("#clip-body")


def test_the_keyboard_alone_is_enough(many, open_page) -> None:
    page = open_page(many).page

    def focused(script: str):
        return page.evaluate(f"(() => {{ const at = document.activeElement; return {script} }})()")

    for _ in range(60):
        page.keyboard.press("Tab")
        if focused("at.id") == "map":
            break
    assert focused("at.id") == "map"
    page.keyboard.press("ArrowRight")
    assert "clip 0" in page.inner_text("#told")
    page.keyboard.press("ArrowRight")
    assert "clip 1" in page.inner_text("#told")
    page.keyboard.press("ArrowUp")
    assert "clip 51" in page.inner_text("#told")
    page.keyboard.press("Enter")
    assert page.locator("dialog").is_visible() and "clip 51" in page.inner_text("#clip-body")
    page.keyboard.press("ArrowRight")
    assert "clip 52" in page.inner_text("#clip-body")
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible() and focused("at.id") == "map"
    for _ in range(60):
        page.keyboard.press("Tab")
        if focused("at.type") == "range":
            break
    page.keyboard.press("End")
    assert focused("at.value") == "2"
    for _ in range(3):  # to the film of the second card
        page.keyboard.press("Tab")
        if focused("at.className") == "film":
            break
    page.keyboard.press("Enter")
    assert "clip 1" in page.inner_text("#clip-body")


def test_names_that_are_markup_stay_text(many, open_page) -> None:
    page = open_page(many).page
    assert HOSTILE in page.title() and "taken" != page.title()
    assert HOSTILE in page.inner_text("h1")
    page.select_option("[name=label]", label=HOSTILE)
    page.locator("#gallery").scroll_into_view_if_needed()
    page.locator("#cards .card h3").first.scroll_into_view_if_needed()
    assert page.inner_text("#cards .card >> nth=0 >> h3") == HOSTILE
    page.click("#cards .film >> nth=0")
    assert page.inner_text("#clip-title") == HOSTILE
    assert HOSTILE in page.inner_text("#clip-body")
    assert page.evaluate("document.querySelectorAll('img[onerror]').length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_is_wider_than_the_window_and_words_can_be_read(
    many, open_page, contrasts, width, scheme
) -> None:
    page = open_page(many, width=width, scheme=scheme).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#gallery").scroll_into_view_if_needed()
    page.wait_for_selector("#cards img")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("#cards .film >> nth=0")
    assert page.evaluate("document.querySelector('dialog').scrollWidth") <= width
    found = page.evaluate(contrasts)
    assert len(found) > 20
    assert min(ratio for ratio, _ in found) >= 4.5, min(found)


def test_two_thousand_clips_load_only_what_is_near_and_are_all_reached(many, open_page) -> None:
    window = open_page(many)
    page = window.page
    pictures = [url for url in window.asked if url.endswith(".jpg")]
    assert len(set(pictures)) == 0  # the gallery is far below
    filled = "document.querySelectorAll('#cards .card .film').length"
    assert page.evaluate(filled) < 60
    # Two thousand pixels at a time to the end of the gallery; the longest frame on the way.
    longest = page.evaluate("""async () => {
      let longest = 0, before = performance.now();
      const frame = () => new Promise((done) => requestAnimationFrame(done));
      const end = () => document.documentElement.scrollHeight - innerHeight;
      for (let y = 0; y < end() && y < 400000; y += 2000) {
        scrollTo(0, y); await frame();
        longest = Math.max(longest, performance.now() - before); before = performance.now();
      }
      return longest;
    }""")
    assert longest < 5000  # a page that stalls for seconds is broken, whatever the machine
    wait(window, f"{filled} > 400")
    last = page.locator(f"#cards .card[data-place='{CLIPS - 1}']")
    last.scroll_into_view_if_needed()
    last.locator("img").wait_for()
    assert CLASSES[(CLIPS - 1) % 4] in last.inner_text()
