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


class Tables(HTMLParser):
    """The tables of a page, by the caption of their section: lists of rows of cells."""

    def __init__(self, html):
        super().__init__()
        self.tables, self._heading, self._cell = {}, "", None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "h2":
            self._heading, self._cell = "", "h2"
        elif tag == "table":
            self.tables[self._heading] = []
        elif tag == "tr":
            self.tables[self._heading].append([])
        elif tag in ("td", "th"):
            self.tables[self._heading][-1].append("")
            self._cell = "cell"
        elif tag == "span" and "bar" in values.get("class", "").split():
            self.tables[self._heading][-1][-1] += values["style"].removeprefix("width:")

    def handle_endtag(self, tag):
        if tag in ("td", "th", "h2"):
            self._cell = None

    def handle_data(self, data):
        if self._cell == "h2":
            self._heading += data
        elif self._cell == "cell":
            self.tables[self._heading][-1][-1] += data


def table(heading, **changes):
    tables = Tables(render_report(report(**changes))).tables
    return [[" ".join(cell.split()) for cell in row] for row in tables[heading]]


def test_the_table_of_recall_row_by_row():
    assert table("Retrieval") == [
        ["Embedding", "R@1", ""],
        ["Trained the recurrent embedding", "0.943", "94.3%"],
        ["Frozen features mean-pooled, no training", "0.421", "42.1%"],
        ["Untrained network the same network before training", "0.184", "18.4%"],
        ["Chance a random other clip", "0.095", "9.5%"],
    ]


def test_the_table_of_classes_row_by_row():
    per_class = {"brake": (0.25, 20), "stop sign": (0.95, 8), "alone": (math.nan, 1)}
    assert table("By class", per_class=per_class) == [
        ["Class", "Clips", "R@1", ""],
        ["brake", "20", "0.250", "25.0%"],
        ["stop sign", "8", "0.950", "95.0%"],
        ["alone", "1", "–", ""],
    ]


def test_the_table_of_attention_row_by_row():
    assert table("Attention against the ground truth") == [
        ["Method", "Pointing", "", "Energy", "Box area", "Frames"],
        ["L2-CAF", "0.871", "87.1%", "0.215", "0.021", "412"],
        ["another", "0.500", "50.0%", "0.250", "0.125", "7"],
        ["Uniform map", "0.061", "6.1%", "0.021", "0.021", "412"],
    ]


def test_every_method_of_the_demo_has_its_own_name():
    words = {
        "l2-caf": "L2-CAF",
        "retrieval-grad-cam": "Grad-CAM",
        "retrieval-grad-cam-abs": "Grad-CAM, absolute",
        "feature-norm": "Norm of the filtered map",
        "box-prior": "Mean of training boxes",
        "uniform": "Uniform map",
    }
    scores = {
        method: {"pointing": 0.9 - 0.1 * i, "energy": 0.2, "area": 0.1, "n": i}
        for i, method in enumerate(words)
    }
    metrics = {**METRICS, "attention": scores}
    found = table("Attention against the ground truth", metrics=metrics, methods=words)
    assert [(row[0], row[-1]) for row in found[1:]] == [
        (name, str(i)) for i, name in enumerate(words.values())
    ]


def test_the_table_of_seconds_has_bars_as_long_as_the_stages():
    assert table("Time") == [
        ["Stage", "Seconds", ""],
        ["extract", "61.7", "100.0%"],
        ["train", "14.9", "24.2%"],
    ]
    assert table("How it was run") == [["command", "caf-video demo"], ["seed", "0"]]


def test_the_headline_is_recall_and_then_mutual_information():
    page = render_report(report())
    found = re.findall(r"<dt>(.*?)</dt><dd>.*?>(.*?)</data></dd>", page)
    assert found == [
        ("R@1 on the test clips", "0.943"),
        ("Normalized mutual information", "0.903"),
    ]


def test_every_picture_of_the_gallery_has_its_own_caption_and_verdict():
    items = [
        GalleryItem(Image.new("RGB", (20 + i, 10), (40 * i, 0, 0)), f"clip {i}", correct)
        for i, correct in enumerate((False, True, False, True))
    ]
    page = render_report(report(gallery=items, curves=None))
    found = re.findall(
        r'<h2[^>]*>([^<]*)</h2>|<img src="data:image/jpeg;base64,([^"]*)" width="(\d+)".*?'
        r'<span class="verdict \w+">(.*?)</span>(.*?)</figcaption>',
        page,
        re.DOTALL,
    )
    heading, seen = "", []
    for title, data, width, verdict, caption in found:
        if title:
            heading = title
            continue
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            red = round(picture.getpixel((5, 5))[0] / 40)
        seen.append((heading, int(width) - 20, red, verdict, caption))
    assert seen == [
        ("Found right", 1, 1, "✓ right", "clip 1"),
        ("Found right", 3, 3, "✓ right", "clip 3"),
        ("Found wrong", 0, 0, "✗ wrong", "clip 0"),
        ("Found wrong", 2, 2, "✗ wrong", "clip 2"),
    ]
