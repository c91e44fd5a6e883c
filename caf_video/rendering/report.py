"""The HTML report of a run: one file that opens anywhere, without a network and for years."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from PIL import Image

from caf_video.errors import InputError
from caf_video.files import written_whole
from caf_video.rendering.image_file import RenderingError

_WIDEST = 1600  # pixels; a wider picture is shrunk, so that a report of fifty strips still loads
_JPEG_QUALITY = 86

# In the order of the report: what each figure of metrics.json is called, and what it is.
_RECALL = {
    "recall@1": ("Trained", "the recurrent embedding"),
    "recall@1_frozen": ("Frozen features", "mean-pooled, no training"),
    "recall@1_untrained": ("Untrained network", "the same network before training"),
    "chance": ("Chance", "a random other clip"),
}


@dataclass(frozen=True)
class GalleryItem:
    """One explained clip: its strip, a line of words, whether its nearest neighbour was right."""

    picture: Image.Image
    caption: str
    correct: bool


@dataclass(frozen=True)
class Report:
    """All that a report says.

    `metrics` is what metrics.json holds: 'recall@1' is required; 'recall@1_frozen',
    'recall@1_untrained', 'chance', 'nmi', 'attention' (for each method 'pointing', 'energy',
    'area', 'n') and 'seconds' (for each stage) are shown where they are there. `methods` says what
    people call a method of 'attention'; one that it lacks goes by its name.
    """

    title: str
    summary: str
    metrics: Mapping[str, Any]
    methods: Mapping[str, str] = field(default_factory=dict)
    per_class: Mapping[str, tuple[float, int]] = field(default_factory=dict)  # R@1, queries
    curves: Image.Image | None = None
    gallery: Sequence[GalleryItem] = ()
    run: Mapping[str, object] = field(default_factory=dict)  # command, seed, versions, date


def render_report(report: Report) -> str:
    """Render a report as one HTML document with its pictures inside.

    Figures are rounded for reading; each one's exact value stands beside it in a <data> element.

    Raises:
        InputError: If 'recall@1' is missing, or an attention method lacks one of its figures.
    """
    metrics = report.metrics
    if "recall@1" not in metrics:
        raise InputError(f"{report.title}: a report needs the metric recall@1")
    attention = metrics.get("attention", {})
    for method, scores in attention.items():
        lacking = [name for name in ("pointing", "energy", "area", "n") if name not in scores]
        if lacking:
            raise InputError(f"{report.title}: attention of {method} lacks {', '.join(lacking)}")
    seconds = metrics.get("seconds", {})
    return _template().render(
        report=report,
        recall=[(*words, metrics[key]) for key, words in _RECALL.items() if key in metrics],
        nmi=metrics.get("nmi"),
        attention=[
            (report.methods.get(method, method), scores)
            for method, scores in sorted(
                attention.items(), key=lambda item: item[1]["pointing"], reverse=True
            )
        ],
        seconds=seconds,
        longest=max(seconds.values(), default=0) or 1,
        galleries=[
            (heading, [item for item in report.gallery if bool(item.correct) is correct])
            for heading, correct in (("Found right", True), ("Found wrong", False))
        ],
    )


def write_report(path: Path | str, report: Report, *, ours: bool = False) -> None:
    """Render a report and write it, whole or not at all.

    Args:
        path: Of the file.
        report: What it says.
        ours: As `written_whole` takes it.

    Raises:
        InputError: See `render_report`.
        RenderingError: If the file cannot be written.
    """
    html = render_report(report).encode("utf-8", "xmlcharrefreplace")
    with written_whole(Path(path), RenderingError, ours=ours) as temporary:
        temporary.write_bytes(html)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["photograph"] = lambda picture: _data_uri(picture, "JPEG")
    environment.filters["drawing"] = lambda picture: _data_uri(picture, "PNG")
    environment.filters["shown_size"] = _shown_size
    return environment.get_template("report.html")


def _shown_size(picture: Image.Image) -> tuple[int, int]:
    """(width, height) as embedded."""
    width = min(picture.width, _WIDEST)
    return width, max(1, round(picture.height * width / picture.width))


def _data_uri(picture: Image.Image, kind: str) -> str:
    size = _shown_size(picture)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if kind == "JPEG":  # full colour resolution: the captions are coloured text
        picture.convert("RGB").save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    else:
        picture.save(buffer, kind, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
