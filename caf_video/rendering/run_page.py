"""The page of a trained run: figures, curves, a map of its embeddings, all clips to look at."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from caf_video.rendering.page import write_page
from caf_video.rendering.page_charts import Chart

MOST_CLASSES_OF_A_MATRIX = 24
MOST_CONFUSIONS = 20


@dataclass(frozen=True)
class PageClip:
    """A clip or an image of the gallery.

    Attributes:
        id, label, session: Of the clip; a label "" is not known.
        verdict: Whether its nearest other has its class; None where nothing counts.
        found: The class of its nearest other, or that a classifier answers.
        distance: To its nearest other; None where it has none.
        point: Where it is on the map, (x, y).
        films: Files of its films from the page, in the order of the page's modes.
        size: (width, height) of a frame in them.
        times_seconds: Of its frames; empty of an image.
        influence: Of each frame; empty where it is not known.
        near: Its nearest others, nearest first: (position in the gallery or -1, id, distance).
        facts: What else is known, by name.
    """

    id: str
    label: str
    session: str
    verdict: bool | None
    found: str
    distance: float | None
    point: tuple[float, float]
    films: Sequence[str]
    size: tuple[int, int]
    times_seconds: Sequence[float] = ()
    influence: Sequence[float] = ()
    near: Sequence[tuple[int, str, float]] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FigureTable:
    """Figures in rows; a cell None stays empty. The first row is that of what was trained."""

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float | None]]]


@dataclass(frozen=True)
class RunPage:
    """All that the page of a run says.

    Attributes:
        title, lead: Its heading, and a sentence under it.
        headline: Few figures, large, by name.
        tables: Of figures.
        per_class: Of each class how many counted and the share that was right.
        charts: Curves of the training.
        settings: Of the run, by name.
        data: The data card: what was trained and measured on, by name.
        plane: What the map is, in sentences.
        modes: What the films of each clip show.
        clips: The gallery.
        noun: What they are, "clips" or "images".
        total: How many there are, of which the gallery may show a part.
        verdict_rule: What "right" means, in a sentence.
    """

    title: str
    lead: str
    headline: Mapping[str, float]
    tables: Sequence[FigureTable]
    per_class: Mapping[str, tuple[int, float]]
    charts: Sequence[Chart]
    settings: Mapping[str, object]
    data: Mapping[str, object]
    plane: str
    modes: Sequence[str]
    clips: Sequence[PageClip]
    noun: str
    total: int
    verdict_rule: str


def write_run_page(path: Path, page: RunPage) -> None:
    """Write the page of a run; the films of its clips are there already.

    Raises:
        RenderingError: The file cannot be written.
    """
    judged = [clip for clip in page.clips if clip.verdict is not None and clip.label]
    pairs = Counter((clip.label, clip.found) for clip in judged)
    classes = sorted({name for pair in pairs for name in pair})
    confusions = [
        (*pair, count) for pair, count in pairs.most_common() if pair[0] != pair[1]
    ][:MOST_CONFUSIONS]  # fmt: skip
    matrix = []
    if 1 < len(classes) <= MOST_CLASSES_OF_A_MATRIX:
        sizes = Counter(clip.label for clip in judged)
        matrix = [
            (one, [(other, pairs[one, other], pairs[one, other] / max(1, sizes[one]))
                   for other in classes])
            for one in classes
        ]  # fmt: skip
    data = {
        "noun": page.noun,
        "modes": list(page.modes),
        "clips": [asdict(clip) for clip in page.clips],
    }
    write_page(
        path, "run.html", data, page=page, classes=classes, confusions=confusions, matrix=matrix
    )
