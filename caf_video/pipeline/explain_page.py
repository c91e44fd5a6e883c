"""explained clips ─► one page of their strips: `index.html` beside the pictures."""

from collections.abc import Sequence
from pathlib import Path

from caf_video.files import require_ours
from caf_video.pipeline.explain import ExplainedClip
from caf_video.rendering import StripOnPage, StripPage, write_strip_page


def write_explained_page(
    explained: Sequence[ExplainedClip], strips: Sequence[Path], *, title: str
) -> Path:
    """Leave `index.html` beside the strips that `write_explanations` left.

    Args:
        explained: The clips.
        strips: Their pictures, in one folder.
        title: Of the page.

    Raises:
        CafVideoError: A file is there that is not ours, or cannot be written.
    """
    page = strips[0].parent / "index.html"
    require_ours(page)
    entries = [
        StripOnPage(strip, _caption(one), one.correct)
        for one, strip in zip(explained, strips, strict=True)
    ]
    summary = (
        f"{len(strips)} clips. Each strip: the sampled frames under their heat, and below them the "
        "nearest other clip's."
    )
    write_strip_page(page, StripPage(title, summary, entries))
    return page


def _caption(one: ExplainedClip) -> str:
    label = one.clip.label or "no label"
    return (
        f"{one.clip.clip_id} ({label}): nearest {one.nearest.clip_id} ({one.nearest.label}), "
        f"distance {one.distance:.3f}" + (", trained on" if one.trained_on else "")
    )
