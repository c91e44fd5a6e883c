import base64
import io
import math
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from caf_video.errors import InputError
from caf_video.rendering import GalleryItem, RenderingError, Report, render_report, write_report

METRICS = {
    "recall@1": 0.9434321,
    "recall@1_frozen": 0.4211234,
    "recall@1_untrained": 0.1837654,
    "chance": 0.0951234,
    "nmi": 0.9027777,
    "attention": {
        "l2-caf": {"pointing": 0.8712345, "energy": 0.2145678, "area": 0.0214567, "n": 412},
        "uniform": {"pointing": 0.0613579, "energy": 0.0212468, "area": 0.0214567, "n": 412},
        "another": {"pointing": 0.5, "energy": 0.25, "area": 0.125, "n": 7},
    },
    "seconds": {"extract": 61.71, "train": 14.92},
    "seed": 0,
}
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Reads a page, holds open elements against closing ones, gathers text and attributes."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data + " "

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def report(**changes):
    picture = Image.new("RGB", (60, 30), (10, 120, 200))
    fields = {
        "title": "A run",
        "summary": "What it did.",
        "metrics": METRICS,
        "methods": {"l2-caf": "L2-CAF", "uniform": "Uniform map"},
        "per_class": {"stop sign": (0.95, 20), "alone": (math.nan, 1)},
        "curves": picture,
        "gallery": [
            GalleryItem(picture, "clip_7, stop sign", True),
            GalleryItem(picture, "clip_8, light to red", False),
        ],
        "run": {"command": "caf-video demo", "seed": 0},
    }
    return Report(**{**fields, **changes})


def figures(values):
    for value in values.values():
        if isinstance(value, dict):
            yield from figures(value)
        else:
            yield value


def test_every_figure_appears_rounded_for_reading_and_exact_for_machines():
    page = Page(render_report(report()))
    exact = {float(attributes["value"]) for attributes in page.all("data")}
    shown = set(page.text.split())
    for value in figures({**METRICS, "seconds": {}}):
        if isinstance(value, float):
            assert value in exact
            assert f"{value:.3f}" in shown
        elif value:
            assert str(value) in shown
    for value in METRICS["seconds"].values():
        assert value in exact and f"{value:.1f}" in shown
    for words in ("stop sign", "caf-video demo", "clip_7, stop sign", "What it did."):
        assert words in page.text


def test_the_page_is_whole_and_needs_nothing_from_outside():
    html = render_report(report())
    page = Page(html)
    assert "//" not in re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", html)
    assert not page.all("script") and not page.all("link")
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))


def test_every_picture_can_be_decoded_and_has_words_in_its_stead():
    images = Page(render_report(report())).all("img")
    assert len(images) == 3
    for image in images:
        data = base64.b64decode(image["src"].partition("base64,")[2])
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.size == (60, 30) == (int(image["width"]), int(image["height"]))
        assert len(image["alt"]) > 20


def test_a_picture_too_wide_for_any_screen_is_shrunk():
    page = Page(render_report(report(curves=Image.new("RGB", (6400, 400)), gallery=())))
    (image,) = page.all("img")
    assert (image["width"], image["height"]) == ("1600", "100")


def test_tables_name_their_rows_and_columns():
    page = Page(render_report(report()))
    assert {header["scope"] for header in page.all("th")} == {"row", "col"}
    assert page.all("html") == [{"lang": "en"}]
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    references = [a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a]
    names = [a["id"] for _, a in page.elements if "id" in a]
    assert set(references) <= set(names) and len(names) == len(set(names))


def test_methods_are_ranked_by_pointing():
    text = Page(render_report(report())).text
    assert text.index("L2-CAF") < text.index("another") < text.index("Uniform map")


def test_a_class_without_an_answer_shows_a_dash():
    assert "–" in Page(render_report(report())).text


def test_hostile_text_is_text():
    hostile = "</title><script>alert('1')</script>\"onload=\"x"
    page = Page(
        render_report(
            report(
                title=hostile,
                summary=hostile,
                per_class={hostile: (0.5, 3)},
                gallery=[GalleryItem(Image.new("RGB", (4, 4)), hostile, False)],
                run={hostile: hostile},
                metrics={"recall@1": 0.5, "seconds": {hostile: 1.0}},
            )
        )
    )
    assert not page.all("script")
    assert not any("onload" in attributes for _, attributes in page.elements)
    assert page.text.count(hostile) == 8  # title twice, run twice, the others once


def test_only_recall_is_needed():
    text = Page(render_report(Report("A run", "", {"recall@1": 0.5}))).text
    for absent in ("Attention", "Training", "Time", "Found", "By class", "nformation"):
        assert absent not in text


def test_a_report_without_recall_is_an_error():
    with pytest.raises(InputError, match="A run: .* recall@1"):
        render_report(report(metrics={"nmi": 0.5}))


def test_a_method_that_lacks_a_figure_is_an_error_that_names_it():
    metrics = {"recall@1": 0.5, "attention": {"l2-caf": {"pointing": 0.5, "area": 0.1}}}
    with pytest.raises(InputError, match="l2-caf lacks energy, n"):
        render_report(report(metrics=metrics))


def test_a_report_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "runs" / "report.html"
    write_report(path, report(summary="a name that is no UTF-8: \udcff"))
    whole = path.read_bytes()
    assert whole.decode("utf-8").rstrip().endswith("</html>")

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RenderingError, match="No space left"):
        write_report(path, report())
    assert path.read_bytes() == whole
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]
