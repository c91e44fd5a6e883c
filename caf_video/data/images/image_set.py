"""A set of labelled images: what the readers of every layout make, and the checks they share."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from caf_video.data.images.image import Box, ImageError, ImageHeader, read_header
from caf_video.errors import CafVideoError

# Annotations count pixels from 0 or from 1, and end on the last pixel or after it: a box may reach
# so far beyond its image, and is then kept as annotated.
BOX_TOLERANCE_PIXELS = 1.0


class ImageSetError(CafVideoError):
    """A set of images that cannot be used as it is; names the file and line, or what is missing."""


@dataclass(frozen=True)
class LabelledImage:
    """An image, its class and its boxes.

    Attributes:
        image_id: Its name, unique in its set.
        path: Of the file, absolute.
        label: Position of its class in `ImageSet.label_names`.
        boxes: (x1, y1, x2, y2) each, in pixels of the upright image, as annotated.
        split: "train", "val" or "test".
        masks: Files of the masks of its objects, absolute; not 0 where an object is.
        ignored: File of the mask of what is neither object nor background; None where nothing is.
    """

    image_id: str
    path: Path
    label: int
    boxes: tuple[Box, ...] = ()
    split: str = ""
    masks: tuple[Path, ...] = ()
    ignored: Path | None = None


@dataclass(frozen=True)
class SkippedImage:
    """An image that its set lists and that cannot be used, and why, in one line."""

    image_id: str
    reason: str


@dataclass(frozen=True)
class ListedImage:
    """An image as a reader found it listed, not yet looked at.

    Attributes:
        image: What it will be in its set.
        annotated_size: (height, width) of the picture the boxes were drawn on, where that is told.
    """

    image: LabelledImage
    annotated_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class ImageSet:
    """Labelled images, in the order of their list.

    Attributes:
        name: "imagenet", "cub", "cars", "folder" or "wsol".
        root: Where it was read from, absolute.
        label_names: The classes, each once.
        images: Those that can be used. Their headers were read; their pixels were not.
        skipped: Those that are listed and cannot be used.
    """

    name: str
    root: Path
    label_names: tuple[str, ...]
    images: tuple[LabelledImage, ...]
    skipped: tuple[SkippedImage, ...]

    def split(self, name: str) -> tuple[LabelledImage, ...]:
        """The images of a split.

        Raises:
            ImageSetError: If there is none; says which splits there are.
        """
        found = tuple(image for image in self.images if image.split == name)
        if not found:
            counts = Counter(image.split for image in self.images)
            there = ", ".join(f"{count} in {split!r}" for split, count in counts.items())
            skipped = f"; {_summary(self.skipped)}" if self.skipped else ""
            raise ImageSetError(
                f"{self.name} in {self.root} has no image in split {name!r}: {there}{skipped}"
            )
        return found

    def labels_without_images(self, split: str | None = None) -> tuple[str, ...]:
        """Names of the classes that no image has, in a split or in the whole set.

        A part of a data set may well have such classes; who trains on it should look.
        """
        used = {image.label for image in self.images if split in (None, image.split)}
        return tuple(name for label, name in enumerate(self.label_names) if label not in used)


def checked_image_set(
    name: str,
    root: Path,
    label_names: Sequence[str],
    listed: Iterable[ListedImage],
    skipped: Iterable[SkippedImage] = (),
) -> ImageSet:
    """A set of the listed images whose file can be opened and holds its boxes; skips the others.

    Reads the headers only, about 60 microseconds an image from a warm disk.

    Args:
        skipped: Those that the reader has found unusable itself.

    Raises:
        ImageSetError: If no image is left; names the first reason.
    """
    images: list[LabelledImage] = []
    unusable: list[SkippedImage] = []
    for entry in listed:
        try:
            images.append(_fitted(entry))
        except _Unusable as reason:
            unusable.append(SkippedImage(entry.image.image_id, str(reason)))
    unusable += skipped
    if not images:
        what = _summary(unusable) if unusable else "it lists none"
        raise ImageSetError(f"{name} in {root} has no image that can be used: {what}")
    return ImageSet(name, root, tuple(label_names), tuple(images), tuple(unusable))


class _Unusable(Exception):
    """Why an image is skipped."""


def _fitted(entry: ListedImage) -> LabelledImage:
    """The image with its boxes in upright pixels."""
    try:
        header = read_header(entry.image.path)
    except ImageError as error:
        raise _Unusable(str(error)) from error
    image = entry.image
    if entry.annotated_size is not None:
        image = replace(image, boxes=_upright_boxes(image.boxes, header, entry.annotated_size))
    height, width = header.upright_size
    for box in image.boxes:
        x1, y1, x2, y2 = box
        if x2 <= x1 or y2 <= y1:
            raise _Unusable(f"its box {_numbers(box)} is empty")
        beyond = max(-x1, -y1, x2 - width, y2 - height)
        if beyond > BOX_TOLERANCE_PIXELS:
            raise _Unusable(
                f"its box {_numbers(box)} reaches {beyond:g} pixels beyond the image, "
                f"{height} high and {width} wide"
            )
    return image


def _upright_boxes(
    boxes: tuple[Box, ...], header: ImageHeader, annotated_size: tuple[int, int]
) -> tuple[Box, ...]:
    if annotated_size == (header.height, header.width):
        return tuple(header.turned(box) for box in boxes)
    if annotated_size == header.upright_size:
        return boxes
    (height, width), (own_height, own_width) = annotated_size, header.upright_size
    raise _Unusable(
        f"its boxes are of an image {height} high and {width} wide, but it is {own_height} high "
        f"and {own_width} wide"
    )


def _summary(skipped: Sequence[SkippedImage]) -> str:
    first = skipped[0]
    return f"{len(skipped)} skipped, the first of them {first.image_id}: {first.reason}"


def _numbers(box: Box) -> str:
    return f"({', '.join(f'{number:g}' for number in box)})"


def absolute(path: str | Path) -> Path:
    """A path made absolute; links keep their own names."""
    return Path(os.path.abspath(path))


def existing_folder(root: str | Path, what: str) -> Path:
    """The root of a set, absolute.

    Raises:
        ImageSetError: If it is not a folder.
    """
    folder = absolute(root)
    if not folder.is_dir():
        raise ImageSetError(f"no folder at {folder}: it should hold {what}")
    return folder


def first_existing(root: Path, names: Sequence[str], what: str) -> Path:
    """The first of these files or folders below the root.

    Raises:
        ImageSetError: If there is none; says where it was looked for.
    """
    for name in names:
        if (root / name).exists():
            return root / name
    raise ImageSetError(f"no {what} in {root}: looked for {', '.join(names)}")
