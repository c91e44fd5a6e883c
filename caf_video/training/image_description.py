"""What made the images that a network was trained on: what its checkpoint says of them."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from caf_video.data.features import LARGEST
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

    @classmethod
    def of_plain(cls, fields: Any) -> Self:
        """The description that `dataclasses.asdict` made these values of.

        Raises:
            TypeError: They are no description.
            ValueError: A field is out of range.
        """
        fields = dict(fields)
        height, width = fields["size"]
        description = cls(**{**fields, "size": (height, width)})
        for number in description.size:
            if type(number) is not int or not 0 < number < LARGEST:
                raise ValueError(f"{number!r} is no size of an image")
        for field in dataclasses.fields(cls):
            if field.type is str and not isinstance(getattr(description, field.name), str):
                raise ValueError(f"{field.name} is no text")
        return description

    def differences(self, other: "ImageDescription") -> list[str]:
        """The names of the fields in which two descriptions do not agree; the root may move."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "root"]
        return [name for name in names if getattr(self, name) != getattr(other, name)]


def digest_of(images: Sequence[LabelledImage]) -> str:
    """How many images, and what tells their ids and labels from any others."""
    lines = "".join(f"{image.image_id}\t{image.label}\n" for image in images)
    return f"{len(images)} ({hashlib.sha256(lines.encode()).hexdigest()[:12]})"
