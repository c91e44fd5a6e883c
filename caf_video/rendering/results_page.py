"""The page of results that are no run: the tables and pictures of studies, what searches found."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from caf_video.rendering.page import write_page

_NUMBER = re.compile(r"[-+−]?\d+(\.\d+)?(e[-+]?\d+)?(?![\w:.-])")
_NOTHING = ("", "–")


@dataclass(frozen=True)
class ResultTable:
    """A table in words: `best` are the cells that stand out, (row, column).

    In `notes`, sentences, what is between `backticks` is shown as a command.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    best: Collection[tuple[int, int]] = ()

    def is_figures(self, column: int) -> bool:
        """Whether its cells begin with numbers, but for those that say nothing."""
        cells = [row[column] for row in self.rows if row[column] not in _NOTHING]
        return bool(cells) and all(_NUMBER.match(cell) for cell in cells)


@dataclass(frozen=True)
class ResultPicture:
    """A picture: its file from the page, its size in pixels, (width, height), and its name."""

    file: str
    size: tuple[int, int]
    name: str


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Attributes:
        name: Of the study.
        source: The file that it is read from.
        tables, pictures: Of it.
        notes: What is missing, a sentence each.
        film: The file of its film from the page; "" where there is none.
    """

    name: str
    source: str
    tables: Sequence[ResultTable]
    pictures: Sequence[ResultPicture] = ()
    notes: Sequence[str] = ()
    film: str = ""


@dataclass(frozen=True)
class SearchResult:
    """What a search found: what is known of the query, its matches, and its page ("": none)."""

    title: str
    facts: Mapping[str, str]
    matches: ResultTable
    notes: Sequence[str] = ()
    page: str = ""


@dataclass(frozen=True)
class ResultsPage:
    """All that the page says; `notes` are of files that could not be used."""

    title: str
    lead: str
    studies: Sequence[StudyResult]
    searches: Sequence[SearchResult]
    notes: Sequence[str] = ()


def write_results_page(path: Path, page: ResultsPage) -> None:
    """Write the page; its pictures are there already.

    Raises:
        RenderingError: The file cannot be written.
    """
    write_page(path, "results.html", {}, page=page)
