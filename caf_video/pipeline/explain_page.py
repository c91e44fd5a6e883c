"""explained clips ─► one page of their strips: `index.html` beside the pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from caf_video.files import require_ours
from caf_video.pipeline.results import read_json
from caf_video.rendering import StripOnPage, StripPage, write_strip_page


def write_explained_page(strips: Sequence[Path], *, title: str) -> Path:
    """Leave `index.html` beside strips, which says of each what its record says.

    Args:
        strips: Pictures in one folder, each with its record beside it.
        title: Of the page.

    Raises:
        CafVideoError: A file is there that is not ours, or cannot be written; or a record cannot be
            read.
    """
    page = strips[0].parent / "index.html"
    require_ours(page)
    entries = []
    for strip in strips:
        record = read_json(strip.with_suffix(".json"))
        entries.append(StripOnPage(strip, _caption(record), record["correct"]))
    summary = (
        f"{len(strips)} clips. Each strip: the sampled frames under their heat, and below them the "
        "nearest other clip's."
    )
    write_strip_page(page, StripPage(title, summary, entries))
    return page


def _caption(record: Mapping[str, Any]) -> str:
    label = record["label"] or "no label"
    return (
        f"{record['clip_id']} ({label}): nearest {record['nearest']} ({record['nearest_label']}), "
        f"distance {record['distance']:.3f}" + (", trained on" if record["trained_on"] else "")
    )
