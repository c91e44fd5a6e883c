"""Any folder of images with a CSV table of their labels, splits and boxes."""

import re
from pathlib import Path

from caf_video.data.images.image_set import (
    ImageSet,
    ImageSetError,
    LabelledImage,
    ListedImage,
    absolute,
    checked_image_set,
    existing_folder,
)
from caf_video.data.images.lists import TABLE_HELP, TableImage, read_table

_TABLE = "images.csv"


def read_folder(root: str | Path, *, zero_shot: bool = False) -> ImageSet:
    """Read `images.csv`, or the only CSV of a folder; `read_table` says what it holds.

    Paths are relative to the folder, and are the images' ids. Without splits all images are test
    images. Label names are sorted, by their numbers where all are whole numbers.

    Args:
        zero_shot: Require that no class of the train split is in another split.

    Raises:
        ImageSetError: Names the file and line, and what is wrong with it.
    """
    root = existing_folder(root, f"images and a CSV table ({TABLE_HELP})")
    path = _table_of(root)
    table = read_table(path)
    if zero_shot:
        _require_disjoint_classes(table, path)
    names = _sorted_labels({row.label for row in table})
    labels = {name: label for label, name in enumerate(names)}
    listed = [
        ListedImage(
            LabelledImage(
                row.name, absolute(root / row.name), labels[row.label], row.boxes,
                row.split or "test",
            )
        )
        for row in table
    ]  # fmt: skip
    return checked_image_set("folder", root, names, listed)


def _table_of(root: Path) -> Path:
    if (root / _TABLE).is_file():
        return root / _TABLE
    tables = sorted(path for path in root.glob("*.csv") if path.is_file())
    if len(tables) != 1:
        found = f"it has {len(tables)}: {tables[0].name}, …" if tables else "it has none"
        raise ImageSetError(
            f"no {_TABLE} in {root}, nor a single other CSV table ({TABLE_HELP}): {found}"
        )
    return tables[0]


def _sorted_labels(labels: set[str]) -> list[str]:
    whole = all(re.fullmatch(r"[+-]?[0-9]{1,18}", label) for label in labels)
    return sorted(labels, key=lambda label: (int(label) if whole else 0, label))


def _require_disjoint_classes(table: list[TableImage], path: Path) -> None:
    lines: dict[str, int] = {}
    for row in table:
        if row.split == "train":
            lines.setdefault(row.label, row.line)
    if not lines:
        raise ImageSetError(f"{path} has no image in split 'train': zero-shot retrieval needs some")
    for row in table:
        if row.split != "train" and row.label in lines:
            raise ImageSetError(
                f"{path.name} line {row.line}: class {row.label!r} is in split "
                f"{row.split or 'test'!r}, but in 'train' on line {lines[row.label]}: zero-shot "
                "retrieval tests on classes that were not trained on"
            )
