"""Stanford CARS196 (Krause et al. 2013) as it is distributed: MATLAB files and folders of images.

Two layouts are about. The devkit has a folder and a file each for train and test, and comes without
the test classes, which are a file of their own. The older one has one file for one folder.
"""

import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from caf_video.data.images.image import Box
from caf_video.data.images.image_set import (
    ImageSet,
    ImageSetError,
    LabelledImage,
    ListedImage,
    SkippedImage,
    absolute,
    checked_image_set,
    existing_folder,
    first_existing,
)
from caf_video.data.images.lists import finite_numbers
from caf_video.processes import ProcessDied, apart
from caf_video.reading import require_file

_WITH_LABELS = "cars_test_annos_withlabels.mat"
_LAYOUT = (
    f"CARS196: devkit/, cars_train/, cars_test/ and {_WITH_LABELS}, or cars_annos.mat and car_ims/"
)

_MOST_BYTES = 2**28  # the published files have less than a thousandth
_SECONDS = 60.0  # for a process to come up, on a busy machine

# What scipy raises on files that are cut off, of another kind, or of MATLAB 7.3.
_DAMAGED = (
    OSError,
    ValueError,
    TypeError,
    IndexError,
    NotImplementedError,
    NameError,
    KeyError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RecursionError,
    MatReadError,
    zlib.error,
)


@dataclass(frozen=True)
class CarAnnotation:
    """One row of an annotation file.

    Attributes:
        name: The image as the file names it.
        label: Its class from 0 on; None where the file does not tell.
        box: As annotated; pixels are counted from 1, and the last one is within.
        test: Whether it is of the test split, where the file tells.
    """

    name: str
    label: int | None
    box: Box
    test: bool | None


def read_cars(root: str | Path, *, zero_shot: bool = False) -> ImageSet:
    """Read CARS196 from its folder, or from the one that holds `stanford_cars`.

    An image's id is its path in that folder. Without `cars_test_annos_withlabels.mat` the test
    images have no class, and are skipped.

    Args:
        zero_shot: Train on the first half of the classes and test on the others, 98 each, over the
            images of both splits; else the official split.

    Raises:
        ImageSetError: If a file is missing or malformed, or `zero_shot` lacks the test classes.
    """
    root = existing_folder(root, _LAYOUT)
    if (root / "stanford_cars").is_dir():
        root = root / "stanford_cars"
    if (root / "cars_annos.mat").is_file():
        names = read_class_names(root / "cars_annos.mat")
        rows = list(_single_file(root, len(names)))
    else:
        meta = _devkit_file(root, "cars_meta.mat")
        names = read_class_names(meta)
        rows = list(_devkit(root, len(names)))
    listed, unlabelled = [], []
    for image_id, path, row in rows:
        if row.label is None:
            unlabelled.append(SkippedImage(image_id, f"its class is in {_WITH_LABELS} only"))
            continue
        test = row.label >= len(names) // 2 if zero_shot else row.test
        split = "test" if test else "train"
        listed.append(ListedImage(LabelledImage(image_id, path, row.label, (row.box,), split)))
    if zero_shot and unlabelled:
        raise ImageSetError(
            f"zero-shot retrieval tests on half of the classes, but {len(unlabelled)} images have "
            f"none: put {_WITH_LABELS} of the data set's home page into {root}"
        )
    return checked_image_set("cars", root, names, listed, unlabelled)


def read_class_names(path: Path) -> list[str]:
    """The names of the classes, in order: `class_names` of cars_meta.mat or cars_annos.mat.

    Raises:
        ImageSetError: If the file is missing or has no such names.
    """
    return [
        str(_scalar(cell, f"{path.name}: a class name")) for cell in _cells(path, "class_names")
    ]


def read_annotations(path: Path, classes: int) -> list[CarAnnotation]:
    """The rows of an annotation file of either layout.

    Raises:
        ImageSetError: If the file is missing or malformed, or a class is not 1 to `classes`; names
            the row, counted from 1.
    """
    rows = _cells(path, "annotations")
    fields = rows.dtype.names or ()
    name_field = "fname" if "fname" in fields else "relative_im_path"
    corners = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
    for field in (name_field, *corners):
        if field not in fields:
            raise ImageSetError(f"{path}: its annotations have no field {field!r}")
    found = []
    first: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        place = f"{path.name} annotation {number}"
        values = {field: _scalar(row[field], f"{place}: {field}") for field in fields}
        name = str(values[name_field])
        if first.setdefault(name, number) != number:
            raise ImageSetError(f"{place}: {name} is annotation {first[name]} too")
        x1, y1, x2, y2 = finite_numbers([values[corner] for corner in corners], place)
        label = values.get("class")
        if label is not None and label not in range(1, classes + 1):
            raise ImageSetError(f"{place}: class {label!r} is not one of 1 to {classes}")
        test = values.get("test")
        found.append(
            CarAnnotation(
                name,
                None if label is None else int(label) - 1,
                (x1, y1, x2, y2),
                None if test is None else bool(test),
            )
        )
    return found


_Row = tuple[str, Path, CarAnnotation]


def _single_file(root: Path, classes: int) -> Iterator[_Row]:
    path = root / "cars_annos.mat"
    for number, row in enumerate(read_annotations(path, classes), start=1):
        if row.label is None or row.test is None:
            raise ImageSetError(f"{path.name} annotation {number}: no field 'class' or no 'test'")
        yield row.name, absolute(root / row.name), row


def _devkit(root: Path, classes: int) -> Iterator[_Row]:
    train = _devkit_file(root, "cars_train_annos.mat")
    test = _devkit_file(root, _WITH_LABELS, "cars_test_annos.mat")
    for path, split in ((train, "train"), (test, "test")):
        folder = root / f"cars_{split}"
        if (folder / folder.name).is_dir():  # as some archives nest them
            folder = folder / folder.name
        for row in read_annotations(path, classes):
            of_split = CarAnnotation(row.name, row.label, row.box, split == "test")
            yield f"cars_{split}/{row.name}", absolute(folder / row.name), of_split


def _devkit_file(root: Path, *names: str) -> Path:
    places = [f"{folder}{name}" for name in names for folder in ("", "devkit/")]
    return first_existing(root, places, f"{names[0]} (it should hold {_LAYOUT})")


def _cells(path: Path, variable: str) -> Any:
    """A MATLAB row, (1, n), as an array of n cells; read apart, for a damaged file may crash it."""
    require_file(path, ImageSetError, most=_MOST_BYTES)
    try:
        content = apart(_variable, str(path), variable, seconds=_SECONDS)
    except ProcessDied as error:
        raise ImageSetError(f"{path} is damaged: it crashes its reader ({error})") from error
    if content is None:
        raise ImageSetError(f"{path}: no variable {variable!r} in it")
    if not isinstance(content, np.ndarray) or content.dtype.hasobject is False:
        raise ImageSetError(f"{path}: {variable!r} is not a row of cells")
    return content.ravel()


def _variable(path: str, variable: str) -> Any:
    """A variable of a MATLAB file, None where there is none; in the process that may crash."""
    warnings.simplefilter("ignore")  # of this process alone
    try:
        return loadmat(path, variable_names=[variable]).get(variable)
    except _DAMAGED as error:
        reason = " ".join(str(error).split())
        raise ImageSetError(f"{path} is not a MATLAB file that can be read: {reason}") from error


def _scalar(cell: Any, place: str) -> Any:
    """What MATLAB wraps in arrays of one element."""
    try:
        return cell.item()
    except (AttributeError, ValueError) as error:
        raise ImageSetError(f"{place} is not one value") from error
