"""What made the images that a network was trained on: what its checkpoint says of them."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from caf_video.data.images import LabelledImage


@dataclass(frozen=True)
class ImageDescription:
    """Where images came from, and as what they went into a network.

    Attributes:
        dataset, root, protocol: As `read_image_set` takes them.
        size: Of the network's input, (height, width).
        train_images: How many there were to train on, and a digest of their ids and labels.
    """

    dataset: str
    root: str
    protocol: str
    size: tuple[int, int]
    train_images: str

    def differences(self, other: "ImageDescription") -> list[str]:
        """The names of the fields in which two descriptions do not agree; the root may move."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "root"]
        return [name for name in names if getattr(self, name) != getattr(other, name)]


def digest_of(images: Sequence[LabelledImage]) -> str:
    """How many images, and what tells their ids and labels from any others."""
    lines = "".join(f"{image.image_id}\t{image.label}\n" for image in images)
    return f"{len(images)} ({hashlib.sha256(lines.encode()).hexdigest()[:12]})"
