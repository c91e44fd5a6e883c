"""The page of explained clips: all of them, by verdict, with nothing from outside the folder."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from caf_video.errors import CafVideoError, InputError
from caf_video.pipeline.explain import explain_clips
from caf_video.pipeline.explain_files import write_explanations
from caf_video.pipeline.explain_page import write_explained_page
from caf_video.rendering import StripOnPage, StripPage, write_strip_page


class Reader(HTMLParser):
    """Tags with their attributes, and the headings' and captions' text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        self.text += data

    def all(self, tag: str, attribute: str) -> list[str]:
        found = [attributes.get(attribute) for name, attributes in self.tags if name == tag]
        return [value for value in found if value]


HOSTILE = 'a <script>alert("1")</script> & 50% #2?'


def test_every_clip_is_on_the_page_by_its_verdict(known_run, tmp_path) -> None:
    explained = explain_clips(known_run.folder, ["left_a", "stop_c", "right_a"])
    first = replace(explained[0], clip=replace(explained[0].clip, clip_id=HOSTILE))
    clips = [first, *explained[1:]]
    strips = write_explanations(clips, tmp_path)
    page = write_explained_page(strips, title="Where <b>mine</b> looked")
    read = Reader(page)
    sources = [unquote(source) for source in read.all("img", "src")]
    assert sources == [strips[0].name, strips[2].name, strips[1].name]  # right ones, then wrong
    sizes = [Image.open(tmp_path / source) for source in sources]
    assert read.all("img", "width") == [str(picture.width) for picture in sizes]
    for picture in sizes:
        picture.close()
    assert "Found right (2)" in read.text and "Found wrong (1)" in read.text
    assert HOSTILE in read.text and "Where <b>mine</b> looked" in read.text
    assert not read.all("script", "src") and "script" not in [tag for tag, _ in read.tags]
    for address in read.all("a", "href") + read.all("img", "src"):
        assert address.startswith("#") or (tmp_path / unquote(address)).is_file()
    page.write_text("mine")
    with pytest.raises(CafVideoError, match="not as caf_video wrote it"):
        write_explained_page(strips, title="")


def test_a_page_needs_strips_beside_it(tmp_path) -> None:
    with pytest.raises(InputError, match="no strips"):
        write_strip_page(tmp_path / "index.html", StripPage("", "", []))
    (tmp_path / "elsewhere").mkdir()
    strip = tmp_path / "elsewhere" / "a.png"
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(strip)
    with pytest.raises(InputError, match="does not lie beside"):
        write_strip_page(tmp_path / "index.html", StripPage("", "", [StripOnPage(strip, "a")]))
