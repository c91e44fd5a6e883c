"""The one door to every layout."""

from collections.abc import Callable
from pathlib import Path

from caf_video.data.images.cars import read_cars
from caf_video.data.images.cub import read_cub
from caf_video.data.images.folder import read_folder
from caf_video.data.images.image_set import ImageSet
from caf_video.data.images.imagenet import read_imagenet
from caf_video.data.images.wsol import read_wsol
from caf_video.errors import InputError

PROTOCOLS = ("classification", "zero_shot")

_WITH_SPLITS: dict[str, Callable[..., ImageSet]] = {
    "cub": read_cub,
    "cars": read_cars,
    "folder": read_folder,
}
IMAGE_SETS = ("imagenet", *_WITH_SPLITS, "wsol")


def read_image_set(
    dataset: str,
    root: str | Path,
    *,
    protocol: str = "classification",
    metadata: str | Path | None = None,
) -> ImageSet:
    """Read a set of images in the layout its users have on disk; the readers say which.

    Opens each image as far as its header and compares its boxes with its size. An image that is
    missing, cannot be opened or does not hold its boxes (by more than `BOX_TOLERANCE_PIXELS`) is
    left out and listed in `ImageSet.skipped`; a list that is missing or malformed is an error.

    Args:
        dataset: "imagenet", "cub", "cars", "folder" or "wsol".
        root: Its folder.
        protocol: "classification", the official splits; "zero_shot", classes to train on and other
            classes to test on (retrieval: Table 3).
        metadata: Of "wsol", and of it alone: the folder of the benchmark's lists.

    Raises:
        InputError: If there is no such data set or protocol, or the one does not have the other.
        ImageSetError: If the files are not as they should be, or no image is usable.
    """
    if dataset not in IMAGE_SETS:
        raise InputError(f"no image set {dataset!r}; there are {', '.join(IMAGE_SETS)}")
    if protocol not in PROTOCOLS:
        raise InputError(f"no protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")
    if (metadata is None) == (dataset == "wsol"):
        raise InputError(
            "wsol is read by the benchmark's lists: give their folder, --metadata"
            if dataset == "wsol"
            else f"--metadata is of wsol, the benchmark's lists: {dataset} has lists of its own"
        )
    if dataset in _WITH_SPLITS:
        return _WITH_SPLITS[dataset](root, zero_shot=protocol == "zero_shot")
    if protocol == "zero_shot":
        splits = "validation images are all to test" if dataset == "imagenet" else "lists are fixed"
        raise InputError(f"{dataset} has no zero-shot split: its {splits}")
    return read_imagenet(root) if metadata is None else read_wsol(root, metadata)
