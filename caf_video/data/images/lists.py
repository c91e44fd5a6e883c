"""Lists of images as text: lines of `key value`, and CSV tables of labels and boxes."""

import math
import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caf_video.data.csv_rows import csv_rows
from caf_video.data.images.image import Box
from caf_video.data.images.image_set import ImageSetError
from caf_video.data.manifest import SPLITS
from caf_video.reading import file_bytes, text_of

BOX_COLUMNS = ("x1", "y1", "x2", "y2")
TABLE_HELP = f"image,label, and if you like split and {','.join(BOX_COLUMNS)}"
# What columns are called that say where an object is, or of which split an image is, elsewhere: to
# leave one aside would be to lose it. In lower case, without what is between words.
_LIKE_CORNERS = re.compile(
    r"(min|max)[xy]|[xy](min|max|0|1|2)|b(ounding)?b(ox|oxes).*|box(es)?|bndbox"
)
_LIKE_A_BOX_TOGETHER = ({"x", "y"}, {"left", "top"})
_LIKE_A_SPLIT = frozenset({"split", "splits", "subset", "partition", "fold"})


@dataclass(frozen=True)
class TableImage:
    """An image of a CSV table: its path as written, label, split ("" if none), boxes, and line."""

    name: str
    label: str
    split: str
    boxes: tuple[Box, ...]
    line: int


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        ImageSetError: If it is missing, cannot be read, or is no text.
    """
    try:
        data = file_bytes(path)
    except FileNotFoundError as error:
        raise ImageSetError(f"no {path.name} in {path.parent}") from error
    except OSError as error:
        raise ImageSetError(f"cannot read {path}: {error.strerror}") from error
    return text_of(data, path.name, ImageSetError)


def read_keyed_lines(path: Path, *, values: int = 1) -> dict[int, tuple[int, list[str]]]:
    """Lines of a whole number and so many values after it, as CUB writes them.

    Returns:
        For each number, its line and its values. A single value may hold spaces.

    Raises:
        ImageSetError: If a line is malformed or a number is there twice; names file and lines.
    """
    found: dict[int, tuple[int, list[str]]] = {}
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        words = text.split(maxsplit=1) if values == 1 else text.split()
        if len(words) != values + 1 or not words[0].isdecimal():
            wanted = "a value" if values == 1 else f"{values} values"
            raise ImageSetError(
                f"{path.name} line {line}: {text.strip()!r} is not a number and {wanted}"
            )
        key = whole_number(words[0], f"{path.name} line {line}")
        if key in found:
            raise ImageSetError(f"{path.name} line {line}: {key} is on line {found[key][0]} too")
        found[key] = line, [word.strip() for word in words[1:]]
    if not found:
        raise ImageSetError(f"{path} is empty")
    return found


def whole_number(digits: str, place: str) -> int:
    """The number that digits are.

    Raises:
        ImageSetError: There are more of them than a number has that counts anything.
    """
    if len(digits) > 18:
        raise ImageSetError(f"{place}: a number of {len(digits)} digits")
    return int(digits)


def finite_numbers(cells: Sequence[str], place: str) -> tuple[float, ...]:
    """Numbers.

    Raises:
        ImageSetError: If one is not a finite number; names it and the place.
    """
    numbers = []
    for cell in cells:
        try:
            number = float(cell)
        except ValueError as error:
            raise ImageSetError(f"{place}: {cell!r} is not a number") from error
        if not math.isfinite(number):
            raise ImageSetError(f"{place}: {cell!r} is not a finite number")
        numbers.append(number)
    return tuple(numbers)


def read_table(path: Path) -> list[TableImage]:
    """A CSV table with the columns image, label, split? and x1, y1, x2, y2?, a row a box.

    Rows of one image need not stand together, but agree in label and split. Columns of other names
    are left alone, unless they seem to be boxes or splits under another.

    Raises:
        ImageSetError: Names the file and line, and what is wrong with it.
    """
    rows = csv_rows(read_text(path), path.name, ImageSetError)
    line, header = next(rows, (1, []))
    with_boxes = _require_columns(header, f"{path.name} line {line}")
    images: dict[str, TableImage] = {}
    for line, cells in rows:
        place = f"{path.name} line {line}"
        if len(cells) != len(header):
            raise ImageSetError(f"{place}: {len(cells)} cells, but the header has {len(header)}")
        row = _table_row(dict(zip(header, cells, strict=True)), with_boxes, line, place)
        key = posixpath.normpath(row.name.replace(os.sep, "/"))
        images[key] = _merged(images[key], row, place) if key in images else row
    if not images:
        raise ImageSetError(f"{path} lists no image")
    corners = [corner for image in images.values() for box in image.boxes for corner in box]
    if corners and all(0 <= corner <= 1 for corner in corners):
        raise ImageSetError(
            f"{path.name}: all boxes lie between 0 and 1: corners are in pixels, not in shares of "
            "the image's sides"
        )
    return list(images.values())


def table_columns(path: Path) -> list[str]:
    """The header cells of a CSV table; none if it is empty.

    Raises:
        ImageSetError: If it cannot be read.
    """
    return next(csv_rows(read_text(path), path.name, ImageSetError), (1, []))[1]


def _require_columns(header: Sequence[str], place: str) -> bool:
    """Whether the table has boxes."""
    for column in header:
        if column and header.count(column) > 1:
            raise ImageSetError(f"{place}: two columns are named {column!r}")
    for column in ("image", "label"):
        if column not in header:
            there = ",".join(header) or "nothing"
            raise ImageSetError(
                f"{place}: no column {column!r}: it has {there}, wanted {TABLE_HELP}"
            )
    _require_nothing_lost(header, place)
    missing = [column for column in BOX_COLUMNS if column not in header]
    if missing and len(missing) < len(BOX_COLUMNS):
        raise ImageSetError(f"{place}: a box needs the column {missing[0]!r}, too")
    return not missing


def _require_nothing_lost(header: Sequence[str], place: str) -> None:
    others = [column for column in header if column not in (*BOX_COLUMNS, "split")]
    plain = {column: re.sub(r"[\W_]+", "", column.casefold()) for column in others}
    together: set[str] = set()
    for pair in _LIKE_A_BOX_TOGETHER:
        if pair <= set(plain.values()):
            together |= pair
    for column, name in plain.items():
        if name in together or _LIKE_CORNERS.fullmatch(name):
            raise ImageSetError(
                f"{place}: column {column!r} seems to say where an object is: boxes are "
                f"{','.join(BOX_COLUMNS)}, corners in pixels; name them so, or leave it out"
            )
        if name in _LIKE_A_SPLIT:
            raise ImageSetError(f"{place}: column {column!r}: a split is called 'split'")


def _table_row(row: dict[str, str], with_boxes: bool, line: int, place: str) -> TableImage:
    for column in ("image", "label"):
        if not row[column]:
            raise ImageSetError(f"{place}: {column} is empty")
    split = row.get("split", "")
    if split and split not in SPLITS:
        raise ImageSetError(f"{place}: unknown split {split!r}: it is one of {', '.join(SPLITS)}")
    boxes: tuple[Box, ...] = ()
    corners = [row[column] for column in BOX_COLUMNS] if with_boxes else []
    if any(corners):
        x1, y1, x2, y2 = finite_numbers(corners, place)
        boxes = ((x1, y1, x2, y2),)
    return TableImage(row["image"], row["label"], split, boxes, line)


def _merged(image: TableImage, row: TableImage, place: str) -> TableImage:
    """An image with the box of one more of its rows."""
    earlier = f"on line {image.line}"
    for what, first, other in (
        ("label", image.label, row.label),
        ("split", image.split, row.split),
    ):
        if first != other:
            raise ImageSetError(
                f"{place}: {row.name} has {what} {other!r}, but {first!r} {earlier}: an image has "
                f"one {what}"
            )
    if not image.boxes or not row.boxes:
        raise ImageSetError(f"{place}: {row.name} is {earlier} too, and only a box may be added")
    return TableImage(image.name, image.label, image.split, (*image.boxes, *row.boxes), image.line)
