"""The validation images of ILSVRC 2012 (Russakovsky et al. 2015) with their boxes."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

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
)
from caf_video.data.images.lists import (
    BOX_COLUMNS,
    finite_numbers,
    read_table,
    read_text,
    table_columns,
    whole_number,
)
from caf_video.reading import file_bytes

CLASSES = 1000

# Where archives and their usual unpackings put things, below the root.
_IMAGE_FOLDERS = (
    "val", "images", "ILSVRC2012_img_val", "Data/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/val", "",
)  # fmt: skip
_BOX_FOLDERS = (
    "Annotations/CLS-LOC/val", "ILSVRC/Annotations/CLS-LOC/val", "ILSVRC2012_bbox_val_v3/val",
    "ILSVRC2012_bbox_val", "bbox/val", "annotations", "xml", "val", "",
)  # fmt: skip
_CLASS_LISTS = (
    "LOC_synset_mapping.txt", "synset_words.txt", "synsets.txt", "imagenet_class_index.json",
)  # fmt: skip
_WNID = re.compile(r"n[0-9]{8}")
_IMAGE = re.compile(r"(ILSVRC2012_val_[0-9]{8})\.jpe?g", re.IGNORECASE)
_BOXES = re.compile(r"(ILSVRC2012_val_[0-9]{8})\.xml")
_LAYOUT = (
    "ILSVRC2012_val_XXXXXXXX.JPEG, in one folder or in class folders, and boxes as official .xml "
    "files or as boxes.csv (image,label,x1,y1,x2,y2; labels 0 to 999)"
)


@dataclass(frozen=True)
class BoxFile:
    """What an official annotation says: class, boxes, and (height, width) of the picture."""

    wnid: str
    boxes: tuple[Box, ...]
    size: tuple[int, int]


def read_imagenet(root: str | Path) -> ImageSet:
    """Read the validation images and their boxes; all are of the split "test".

    Boxes and labels come from `boxes.csv` (or the only table of the root with its columns), else
    from the XML files. A label is the place of the class's WordNet id among all 1000 sorted, as
    torchvision and others count: XML files need a list of them, which 1000 class folders are, or
    one of LOC_synset_mapping.txt, synset_words.txt, synsets.txt and imagenet_class_index.json in
    the root. The label names are those ids, or the numbers where only numbers are known.

    An image without boxes, and boxes without an image, are skipped. Boxes in XML files are of the
    picture as it is stored, and are turned with it. From a warm disk, 50 000 take about 7 seconds.

    Raises:
        ImageSetError: If images, boxes or the classes are missing, or a file is malformed.
    """
    root = existing_folder(root, _LAYOUT)
    images = _images_below(root)
    table = _table_of(root)
    classes = _class_list(root, images)
    names = classes or [str(label) for label in range(CLASSES)]
    if table is not None:
        return checked_image_set("imagenet", root, names, *_from_table(table, images, classes))
    box_files = _named_files(root, _BOX_FOLDERS, _BOXES)
    if not box_files:
        raise ImageSetError(
            f"no boxes in {root}: no boxes.csv, and no ILSVRC2012_val_XXXXXXXX.xml in "
            f"{_listed_folders(_BOX_FOLDERS)}"
        )
    if classes is None:
        raise ImageSetError(
            f"the number of a class is its place among all {CLASSES}, and {root} has no list of "
            f"them: put LOC_synset_mapping.txt there, or {', '.join(_CLASS_LISTS[1:])}"
        )
    return checked_image_set("imagenet", root, names, *_from_xml(images, box_files, classes))


def read_box_file(path: Path) -> BoxFile:
    """Read an official annotation: size, and for each object its name (a WordNet id) and bndbox.

    Raises:
        ImageSetError: If it is not such a file, or its objects are of two classes.
    """
    try:
        tree: Element = ElementTree.fromstring(file_bytes(path), forbid_dtd=True)
    except DefusedXmlException as error:
        raise ImageSetError(f"{path}: it defines entities or a document type: not read") from error
    except (ParseError, LookupError, ValueError) as error:  # or an encoding that there is not
        raise ImageSetError(f"{path} is not XML: {error}") from error
    except OSError as error:
        raise ImageSetError(f"cannot read {path}: {error.strerror}") from error

    def text(parent: Element, name: str) -> str:
        found = (parent.findtext(name) or "").strip()
        if not found:
            raise ImageSetError(f"{path}: no <{name}> in <{parent.tag}>")
        return found

    sides = [text(tree, "size/height"), text(tree, "size/width")]
    height, width = (int(side) for side in finite_numbers(sides, path.name))
    wnids, boxes = [], []
    for entry in tree.findall("object"):
        wnids.append(text(entry, "name"))
        corners = [text(entry, f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax")]
        x1, y1, x2, y2 = finite_numbers(corners, path.name)
        boxes.append((x1, y1, x2, y2))
    if not boxes:
        raise ImageSetError(f"{path}: no <object> in it")
    for wnid in wnids:
        if wnid != wnids[0]:
            raise ImageSetError(f"{path}: two labels, {wnids[0]} and {wnid}: an image has one")
    return BoxFile(wnids[0], tuple(boxes), (height, width))


@dataclass(frozen=True)
class _Found:
    """A file and the class folder that holds it, if one does."""

    path: Path
    wnid: str | None


_Listed = tuple[list[ListedImage], list[SkippedImage]]


def _from_table(table: Path, images: Mapping[str, _Found], classes: list[str] | None) -> _Listed:
    listed: list[ListedImage] = []
    skipped: list[SkippedImage] = []
    for row in read_table(table):
        place = f"{table.name} line {row.line}"
        if not row.label.isdecimal() or whole_number(row.label, place) >= CLASSES:
            raise ImageSetError(
                f"{place}: label {row.label!r} is not the number of a class, 0 to {CLASSES - 1}"
            )
        label = int(row.label)
        image_id = Path(row.name).stem
        found = images.get(image_id)
        if found is None:
            skipped.append(SkippedImage(image_id, f"no image {row.name} ({place})"))
            continue
        if classes is not None and found.wnid not in (None, classes[label]):
            raise ImageSetError(
                f"{place}: {row.name} has label {label}, {classes[label]}, but is in class folder "
                f"{found.wnid}"
            )
        if not row.boxes:
            skipped.append(SkippedImage(image_id, f"no box ({place})"))
            continue
        listed.append(ListedImage(LabelledImage(image_id, found.path, label, row.boxes, "test")))
    return listed, skipped


def _from_xml(
    images: Mapping[str, _Found], box_files: Mapping[str, _Found], classes: Sequence[str]
) -> _Listed:
    labels = {wnid: label for label, wnid in enumerate(classes)}
    listed: list[ListedImage] = []
    skipped: list[SkippedImage] = []
    for image_id in sorted(images.keys() | box_files.keys()):
        image, annotation = images.get(image_id), box_files.get(image_id)
        if image is None:
            skipped.append(SkippedImage(image_id, "its .xml is there, but no image"))
            continue
        if annotation is None:
            skipped.append(SkippedImage(image_id, "no .xml with its boxes"))
            continue
        found = read_box_file(annotation.path)
        if found.wnid not in labels:
            raise ImageSetError(f"{annotation.path}: {found.wnid} is none of the {CLASSES} classes")
        if image.wnid not in (None, found.wnid):
            raise ImageSetError(
                f"{annotation.path}: class {found.wnid}, but the image is in class folder "
                f"{image.wnid}"
            )
        label = labels[found.wnid]
        entry = LabelledImage(image_id, image.path, label, found.boxes, "test")
        listed.append(ListedImage(entry, annotated_size=found.size))
    return listed, skipped


def _images_below(root: Path) -> dict[str, _Found]:
    images = _named_files(root, _IMAGE_FOLDERS, _IMAGE)
    if not images:
        raise ImageSetError(
            f"no ILSVRC2012_val_XXXXXXXX.JPEG in {root}: looked in "
            f"{_listed_folders(_IMAGE_FOLDERS)}, and in class folders there"
        )
    return images


def _named_files(root: Path, folders: Sequence[str], name: re.Pattern[str]) -> dict[str, _Found]:
    """Files of such a name in the first folder that has any, or in its class folders, by id."""
    for folder in folders:
        found: dict[str, _Found] = {}
        for path, wnid in _files(root / folder):
            match = name.fullmatch(path.name)
            if match is None:
                continue
            if match[1] in found:
                raise ImageSetError(f"{path.name} is there twice: {found[match[1]].path}, {path}")
            found[match[1]] = _Found(path, wnid)
        if found:
            return found
    return {}


def _files(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Files of a folder and of its class folders; none if it is not there."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if _WNID.fullmatch(entry.name) and entry.is_dir():
                for name in os.listdir(entry.path):
                    yield absolute(os.path.join(entry.path, name)), entry.name
            else:
                yield absolute(entry.path), None


def _table_of(root: Path) -> Path | None:
    if (root / "boxes.csv").is_file():
        return root / "boxes.csv"
    wanted = {"image", "label", *BOX_COLUMNS}
    tables = [path for path in sorted(root.glob("*.csv")) if wanted <= set(table_columns(path))]
    if len(tables) > 1:
        raise ImageSetError(
            f"two tables of boxes in {root}, {tables[0].name} and {tables[1].name}: name the one "
            "to read boxes.csv"
        )
    return tables[0] if tables else None


def _class_list(root: Path, images: Mapping[str, _Found]) -> list[str] | None:
    """All 1000 WordNet ids, sorted; None if nothing tells them."""
    for name in _CLASS_LISTS:
        if (root / name).is_file():
            return _read_class_list(root / name)
    folders = sorted({image.wnid for image in images.values() if image.wnid is not None})
    return folders if len(folders) == CLASSES else None


def _read_class_list(path: Path) -> list[str]:
    text = read_text(path)
    if path.suffix == ".json":
        try:
            found = [str(wnid) for wnid, _ in json.loads(text).values()]
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ImageSetError(
                f'{path} is not a list of classes: wanted {{"0": ["n01440764", "tench"], …}}'
            ) from error
    else:
        found = [line.split()[0] for line in text.split("\n") if line.strip()]
    for wnid in found:
        if not _WNID.fullmatch(wnid):
            raise ImageSetError(f"{path}: {wnid!r} is not a WordNet id such as n01440764")
    if len(set(found)) != CLASSES:
        raise ImageSetError(f"{path}: {len(set(found))} classes, not {CLASSES}")
    return sorted(found)


def _listed_folders(folders: Sequence[str]) -> str:
    return ", ".join(f"{folder}/" if folder else "the folder itself" for folder in folders)
