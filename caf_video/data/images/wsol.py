"""The lists of the WSOL benchmark (Choe et al. 2020): ILSVRC, CUB and OpenImages30k.

A folder of lists (`metadata/ILSVRC` and its like, as they are published) has a folder for each
split, with a line an image or more: image_ids.txt `path`, class_labels.txt `path,label`,
image_sizes.txt `path,width,height`, localization.txt `path,x0,y0,x1,y1`, a line a box, or
`path,mask,ignore`, a line a mask and the ignored region in the first of them. The train splits have
no image_sizes.txt and no localization.txt.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

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
from caf_video.data.images.imagenet import CLASSES
from caf_video.data.images.lists import finite_numbers, read_text
from caf_video.data.manifest import SPLITS

_IDS, _LABELS = "image_ids.txt", "class_labels.txt"
_SIZES, _LOCALIZATION = "image_sizes.txt", "localization.txt"
_LAYOUT = f"the benchmark's lists: train/, val/ or test/ with {_IDS}, {_LABELS}, {_LOCALIZATION}"

Size = tuple[int, int]  # height, width
_Lines = list[tuple[int, str, list[str]]]  # number, image id, what stands after it


def read_wsol(root: str | Path, metadata: str | Path) -> ImageSet:
    """Read the images that the benchmark lists, with their boxes or masks.

    An image's id is its path in `root`, where masks lie, too. Boxes are as listed: both corners are
    pixels within. A class is called by the folder of its images where it has one of its own (CUB,
    OpenImages), else by its number (ILSVRC: of 1000, in the order of their WordNet ids).

    Args:
        root: Folder of the images.
        metadata: Folder of the lists.

    Raises:
        ImageSetError: If a list is missing or malformed; names the file and line.
    """
    root = existing_folder(root, "the images that the lists name")
    lists = existing_folder(metadata, _LAYOUT)
    splits = [split for split in SPLITS if (lists / split / _IDS).is_file()]
    if not splits:
        raise ImageSetError(f"no split in {lists}: it should hold {_LAYOUT}")
    listed: list[ListedImage] = []
    for split in splits:
        listed += _read_split(root, lists / split, split)
    return checked_image_set("wsol", root, _label_names(listed), listed)


def _read_split(root: Path, folder: Path, split: str) -> list[ListedImage]:
    ids: dict[str, int] = {}
    for line, image_id, _ in _lines(folder / _IDS, (0,)):
        if image_id in ids:
            raise ImageSetError(
                f"{_place(folder / _IDS, line)}: {image_id} is on line {ids[image_id]} too"
            )
        ids[image_id] = line
    labels = _labels(folder / _LABELS, ids)
    sizes = _sizes(folder / _SIZES, ids)
    boxes, masks, ignored = _localization(folder / _LOCALIZATION, ids)
    return [
        ListedImage(
            LabelledImage(
                image_id,
                absolute(root / image_id),
                labels[image_id],
                tuple(boxes.get(image_id, ())),
                split,
                tuple(absolute(root / name) for name in masks.get(image_id, ())),
                absolute(root / ignored[image_id]) if image_id in ignored else None,
            ),
            annotated_size=sizes.get(image_id),
        )
        for image_id in ids
    ]


def _labels(path: Path, ids: Mapping[str, int]) -> dict[str, int]:
    labels: dict[str, int] = {}
    for line, image_id, (cell,) in _lines(path, (1,), ids):
        if not cell.isdecimal():
            raise ImageSetError(f"{_place(path, line)}: label {cell!r} is not a number from 0 on")
        if labels.setdefault(image_id, int(cell)) != int(cell):
            raise ImageSetError(
                f"{_place(path, line)}: {image_id} has label {cell}, and {labels[image_id]} before"
            )
    for image_id in ids:
        if image_id not in labels:
            raise ImageSetError(f"{path} has no label of {image_id}")
    return labels


def _sizes(path: Path, ids: Mapping[str, int]) -> dict[str, Size]:
    sizes: dict[str, Size] = {}
    if not path.is_file():
        return sizes
    for line, image_id, cells in _lines(path, (2,), ids):
        width, height = finite_numbers(cells, _place(path, line))
        sizes[image_id] = int(height), int(width)
    return sizes


def _localization(
    path: Path, ids: Mapping[str, int]
) -> tuple[dict[str, list[Box]], dict[str, list[str]], dict[str, str]]:
    """By image its boxes, its masks, and the mask of what is ignored."""
    boxes: dict[str, list[Box]] = {}
    masks: dict[str, list[str]] = {}
    ignored: dict[str, str] = {}
    if not path.is_file():
        return boxes, masks, ignored
    for line, image_id, cells in _lines(path, (4, 2), ids):
        if len(cells) == 4:
            x0, y0, x1, y1 = finite_numbers(cells, _place(path, line))
            boxes.setdefault(image_id, []).append((x0, y0, x1, y1))
            continue
        mask, ignore = cells
        if ignore and image_id in masks:
            raise ImageSetError(
                f"{_place(path, line)}: {image_id} has its ignored region on its first line only"
            )
        masks.setdefault(image_id, []).append(mask)
        if ignore:
            ignored[image_id] = ignore
    return boxes, masks, ignored


def _lines(path: Path, counts: Sequence[int], ids: Mapping[str, int] | None = None) -> _Lines:
    """Lines of an image's id and so many cells after it.

    Raises:
        ImageSetError: If a line is malformed, or names an image that is none of `ids`.
    """
    found: _Lines = []
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        image_id, *cells = text.strip().split(",")
        if len(cells) not in counts:
            wanted = " or ".join(map(str, counts))
            raise ImageSetError(
                f"{_place(path, line)}: {len(cells)} cells after the image, wanted {wanted}"
            )
        if ids is not None and image_id not in ids:
            raise ImageSetError(f"{_place(path, line)}: {image_id} is not in {_IDS}")
        found.append((line, image_id, cells))
    if not found:
        raise ImageSetError(f"{path} is empty")
    return found


def _label_names(listed: Sequence[ListedImage]) -> list[str]:
    folders: dict[int, set[str]] = {}
    for entry in listed:
        parent = PurePosixPath(entry.image.image_id).parent.name
        folders.setdefault(entry.image.label, set()).add(parent)
    of_one = {label: next(iter(names)) for label, names in folders.items() if len(names) == 1}
    if len(set(of_one.values()) - {""}) == len(folders):
        return [of_one.get(label, str(label)) for label in range(max(folders) + 1)]
    of_ilsvrc = any("ILSVRC2012" in entry.image.image_id for entry in listed)
    return [str(label) for label in range(CLASSES if of_ilsvrc else max(folders) + 1)]


def _place(path: Path, line: int) -> str:
    return f"{path.parent.name}/{path.name} line {line}"
