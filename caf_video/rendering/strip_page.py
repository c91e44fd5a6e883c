"""Explained clips on one page that opens by double-click: Fig. 9's rows, right ones and wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from caf_video.errors import InputError
from caf_video.files import written_whole
from caf_video.rendering.image_file import RenderingError
from caf_video.rendering.report import templates


@dataclass(frozen=True)
class StripOnPage:
    """A strip that lies beside the page.

    Attributes:
        file: The picture; the record lies beside it, as JSON of the same name.
        caption: What is said of it, as text.
        correct: Whether what was retrieved was right; None where nobody judged it.
    """

    file: Path
    caption: str
    correct: bool | None = None

    @property
    def address(self) -> str:
        """Of the picture, from the page: names hold what addresses do not."""
        return quote(self.file.name)

    @property
    def record_address(self) -> str:
        return quote(self.file.with_suffix(".json").name)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), so that the page does not jump while pictures come."""
        with Image.open(self.file) as picture:
            return picture.size


@dataclass(frozen=True)
class StripPage:
    """A title, a sentence, and the strips in their order."""

    title: str
    summary: str
    strips: Sequence[StripOnPage]


def write_strip_page(path: Path | str, page: StripPage) -> None:
    """Write the page beside its pictures, whole or not at all; it asks nothing of a network.

    Raises:
        InputError: If there is no strip, or one lies in another folder.
        RenderingError: If the file cannot be written.
    """
    path = Path(path)
    if not page.strips:
        raise InputError(f"{path}: no strips for a page")
    for strip in page.strips:
        if strip.file.parent != path.parent:
            raise InputError(f"{strip.file} does not lie beside {path}")
    headings = ((True, "Found right"), (False, "Found wrong"), (None, "Not judged"))
    html = (
        templates()
        .get_template("strips.html")
        .render(
            page=page,
            sections=[
                (heading, [strip for strip in page.strips if strip.correct is verdict])
                for verdict, heading in headings
            ],
        )
    )
    with written_whole(path, RenderingError, ours=True) as temporary:
        temporary.write_bytes(html.encode("utf-8", "xmlcharrefreplace"))
