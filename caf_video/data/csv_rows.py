"""The rows of a CSV file that people write: blank lines between them, spaces around cells."""

import csv
import io
from collections.abc import Iterator

from caf_video.errors import CafVideoError


def csv_rows(
    text: str, name: str, error: type[CafVideoError], *, separator: str = ","
) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, their cells stripped, each with the line that it begins on.

    Args:
        text: The file's.
        name: Of the file, for the message.
        error: Raised where the text is not CSV; names file and line.
        separator: Of cells.
    """
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    line = 1
    try:
        for cells in rows:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield line, stripped
            line = rows.line_num + 1
    except csv.Error as problem:
        raise error(f"{name} line {line}: not CSV: {problem}") from problem
