"""CUB-200-2011 (Wah et al. 2011) as it is distributed: five lists and a folder of images."""

from pathlib import Path

from caf_video.data.images.image import Box
from caf_video.data.images.image_set import (
    ImageSet,
    ImageSetError,
    LabelledImage,
    ListedImage,
    absolute,
    checked_image_set,
    existing_folder,
)
from caf_video.data.images.lists import finite_numbers, read_keyed_lines, whole_number

_LISTS = (
    "images.txt",
    "classes.txt",
    "image_class_labels.txt",
    "bounding_boxes.txt",
    "train_test_split.txt",
)
_LAYOUT = f"CUB-200-2011: {', '.join(_LISTS)} and images/"


def read_cub(root: str | Path, *, zero_shot: bool = False) -> ImageSet:
    """Read CUB-200-2011 from its folder, or from the one that holds `CUB_200_2011`.

    Boxes are listed as x, y, width, height and become x, y, x + width, y + height. An image's id is
    its path in `images/`.

    Args:
        zero_shot: Train on the first half of the classes and test on the others, 100 each; else the
            split of `train_test_split.txt`.

    Raises:
        ImageSetError: If a list is missing or malformed; names the file and line.
    """
    root = existing_folder(root, _LAYOUT)
    if (root / "CUB_200_2011" / "images.txt").is_file():
        root = root / "CUB_200_2011"
    for name in _LISTS:
        if not (root / name).is_file():
            raise ImageSetError(f"no {name} in {root}: it should hold {_LAYOUT}")
    paths, classes, labels, boxes, splits = (
        read_keyed_lines(root / name, values=4 if name == "bounding_boxes.txt" else 1)
        for name in _LISTS
    )
    _require_one_line_an_image(paths, {_LISTS[2]: labels, _LISTS[3]: boxes, _LISTS[4]: splits})
    places = {key: label for label, key in enumerate(sorted(classes))}
    listed = []
    for key, (_, (name,)) in paths.items():
        label = _label(labels[key], places)
        is_train = label < len(places) // 2 if zero_shot else _is_train(splits[key])
        image = LabelledImage(
            name, absolute(root / "images" / name), label, (_box(boxes[key]),),
            "train" if is_train else "test",
        )  # fmt: skip
        listed.append(ListedImage(image))
    names = [classes[key][1][0] for key in sorted(classes)]
    return checked_image_set("cub", root, names, listed)


_Lines = dict[int, tuple[int, list[str]]]


def _require_one_line_an_image(paths: _Lines, others: dict[str, _Lines]) -> None:
    first: dict[str, int] = {}
    for line, (path,) in paths.values():
        if path in first:
            raise ImageSetError(f"images.txt line {line}: {path} is on line {first[path]} too")
        first[path] = line
    for name, lines in others.items():
        for key in paths.keys() - lines.keys():
            raise ImageSetError(f"{name} has no line for image {key}, {paths[key][1][0]}")
        for key in lines.keys() - paths.keys():
            raise ImageSetError(f"{name} line {lines[key][0]}: image {key} is not in images.txt")


def _label(entry: tuple[int, list[str]], places: dict[int, int]) -> int:
    line, (value,) = entry
    place = f"image_class_labels.txt line {line}"
    if not value.isdecimal() or whole_number(value, place) not in places:
        raise ImageSetError(f"{place}: {value!r} is no class of classes.txt")
    return places[int(value)]


def _is_train(entry: tuple[int, list[str]]) -> bool:
    line, (value,) = entry
    if value not in ("0", "1"):
        raise ImageSetError(
            f"train_test_split.txt line {line}: {value!r} is neither 1, to train, nor 0, to test"
        )
    return value == "1"


def _box(entry: tuple[int, list[str]]) -> Box:
    line, cells = entry
    x, y, width, height = finite_numbers(cells, f"bounding_boxes.txt line {line}")
    return x, y, x + width, y + height
