"""The page of a search: a query beside each match, what makes them alike, and what does not."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from caf_video.rendering.page import write_page
from caf_video.rendering.page_charts import Chart


@dataclass(frozen=True)
class PageFilm:
    """The films of a clip on a page.

    Attributes:
        id: What to call the clip.
        films: Files from the page, in the order of its modes.
        size: (width, height) of a frame in them.
        times_seconds: Of its frames.
        influence: Of each frame.
    """

    id: str
    films: Sequence[str]
    size: tuple[int, int]
    times_seconds: Sequence[float]
    influence: Sequence[float]


@dataclass(frozen=True)
class PageMatch:
    """A match: what is known of it by name, both films, and its clip ("": none was cut)."""

    title: str
    facts: Mapping[str, str]
    query: PageFilm
    found: PageFilm
    clip: str = ""


@dataclass(frozen=True)
class SearchPage:
    """All that the page of a search says; `modes` are what films show, by name, and in words."""

    title: str
    lead: str
    facts: Mapping[str, str]
    notes: Sequence[str]
    modes: Mapping[str, str]
    matches: Sequence[PageMatch]
    timelines: Sequence[Chart] = ()


def write_search_page(path: Path, page: SearchPage) -> None:
    """Write the page of a search; its films are there already.

    Raises:
        RenderingError: The file cannot be written.
    """
    data = {
        "modes": list(page.modes),
        "matches": [
            {"query": asdict(match.query), "found": asdict(match.found)} for match in page.matches
        ],
    }
    write_page(path, "search.html", data, page=page)
