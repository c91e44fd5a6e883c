"""A table of results: Markdown for people, plain values for programs and for pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caf_video.escapes import markdown


class Best(str):
    """A cell that stands out from its column; no mark in the text says so, which may be foreign."""


@dataclass(frozen=True)
class Table:
    """A table with a title and sentences under it, in words and figures that are ready to read.

    Attributes:
        title: Of it.
        columns: Their names.
        rows: Their cells, text; a `Best` one stands out.
        notes: Sentences; what is between `backticks` is a command.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """As GitHub reads it."""
        lines = [
            f"## {markdown(self.title)}",
            "",
            f"| {' | '.join(map(markdown, self.columns))} |",
            f"|{'---|' * len(self.columns)}",
            *(f"| {' | '.join(map(_cell, row))} |" for row in self.rows),
            "",
            *(f"* {note}" for note in self.notes),
        ]
        return "\n".join(lines) + "\n"

    def plain(self) -> dict[str, Any]:
        """As JSON has it; `best` is where the cells are that stand out, [row, column]."""
        return {
            "title": self.title,
            "columns": list(self.columns),
            "rows": [[str(cell) for cell in row] for row in self.rows],
            "best": [
                [place, column]
                for place, row in enumerate(self.rows)
                for column, cell in enumerate(row)
                if isinstance(cell, Best)
            ],
            "notes": list(self.notes),
        }


def _cell(cell: str) -> str:
    return f"**{markdown(cell)}**" if isinstance(cell, Best) else markdown(cell)
