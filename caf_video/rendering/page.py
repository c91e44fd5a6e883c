"""Pages that open by double-click: one HTML file with its style, script and data inside.

A page from a disk may fetch nothing, so its data are a block of JSON in it. Only its pictures are
files of their own, in the folder, and are loaded as they come into view. What is foreign (names of
clips, classes, files) is text everywhere: the templates escape it, the script sets it as text, and
the page's policy lets no other script run and nothing be loaded from elsewhere.
"""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from caf_video.files import written_whole
from caf_video.rendering.image_file import RenderingError

_TEMPLATES = Path(__file__).parent / "templates" / "pages"


def render_page(template: str, data: Any, **shown: Any) -> str:
    """Render a page of templates/pages.

    Args:
        template: Its name.
        data: What its script reads, plain values; NaN is an error of the caller.
        shown: What the template shows.
    """
    script = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template(template)
        .render(
            style=(_TEMPLATES / "page.css").read_text(encoding="utf-8"),
            script=script,
            script_hash=_hash(script),
            data=json_block(data),
            **shown,
        )
    )


def write_page(path: Path, template: str, data: Any, **shown: Any) -> None:
    """Render a page and write it, whole or not at all.

    Raises:
        RenderingError: The file cannot be written.
    """
    html = render_page(template, data, **shown).encode("utf-8", "xmlcharrefreplace")
    with written_whole(path, RenderingError) as temporary:
        temporary.write_bytes(html)


def json_block(data: Any) -> str:
    """JSON that may stand in a <script> element: nothing in it can end that."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    return environment


def _figure(value: float | None, places: int = 3) -> str:
    return "–" if value is None or value != value else f"{value:.{places}f}"
