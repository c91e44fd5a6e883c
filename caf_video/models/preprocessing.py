"""Frames to network input: resize and normalise as each network was trained."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from caf_video.errors import InputError

COARSEST_STRIDE = 32
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


@dataclass(frozen=True)
class Normalization:
    """How a family of networks is fed: interpolation, and mean and deviation on the 0–255 scale.

    Raises:
        InputError: An interpolation that frames cannot be resized by, or a deviation of 0.
    """

    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise InputError(
                f"no interpolation {self.interpolation!r}: frames are resized by one of "
                f"{', '.join(INTERPOLATIONS)}"
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise InputError(
                f"mean {self.mean} and std {self.std}: wanted three numbers each, of red, green "
                "and blue, and no deviation of 0"
            )

    @classmethod
    def of_unit_scale(
        cls, interpolation: str, mean: Sequence[float], std: Sequence[float]
    ) -> "Normalization":
        """From mean and deviation of pixels that lie in 0–1, as most libraries write them."""
        red, green, blue = (255 * float(value) for value in mean)
        of_red, of_green, of_blue = (255 * float(value) for value in std)
        return cls(interpolation, (red, green, blue), (of_red, of_green, of_blue))

    def __str__(self) -> str:
        """As the field writes it: mean and deviation on the 0-1 scale."""
        mean, std = (
            " ".join(f"{value / 255:.6g}" for value in values) for values in (self.mean, self.std)
        )
        return f"{self.interpolation}, mean {mean}, std {std}"


# torchvision's classification presets: mean (0.485, 0.456, 0.406), deviation (0.229, 0.224, 0.225)
# of 0–1.
IMAGENET = Normalization(
    "bilinear",
    mean=(0.485 * 255, 0.456 * 255, 0.406 * 255),
    std=(0.229 * 255, 0.224 * 255, 0.225 * 255),
)
LITE = Normalization("bicubic", mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))


@dataclass(frozen=True)
class Preprocessing:
    """A picklable callable: RGB frames to the input of one network.

    The whole frame is resized (antialiased, rounded to uint8 as PIL does), and nothing is cropped
    unless that is asked for: attention must be able to fall on the border of a frame. A frame that
    has the size already is not resampled.

    Attributes:
        size: Of the input, (height, width).
        normalization: How the network is fed.
        resized: What frames are resized to before their centre of `size` is cut out; None is
            `size`, the whole frame.
    """

    size: tuple[int, int]
    normalization: Normalization
    resized: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        # Five halvings leave nothing of a smaller image. Any larger size will do: that photographs
        # be multiples of 32 too is a matter of grids known beforehand, see `require_aligned`.
        if len(self.size) != 2 or min(self.size) < COARSEST_STRIDE:
            raise InputError(
                f"size (height, width) is {tuple(self.size)}: wanted {COARSEST_STRIDE} pixels or "
                "more each"
            )
        if self.resized is not None and any(np.less(self.resized, self.size)):
            raise InputError(f"{self.resized} has no centre of {self.size} (height, width)")

    def __call__(self, frames: NDArray[np.uint8]) -> Tensor:
        """Frames uint8 RGB (n, height, width, 3) to float32 (n, 3, *size), channels last in memory.

        Raises:
            InputError: If the frames are not uint8 of that shape.
        """
        return self.finish(self.resize(frames))

    def resize(self, frames: NDArray[np.uint8]) -> Tensor:
        """The costly half, worth keeping: frames as uint8 (n, 3, *(resized or size)).

        Raises:
            InputError: As when called.
        """
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
            raise InputError(
                f"frames must be uint8 (n, height, width, 3), got {frames.dtype} {frames.shape}"
            )
        # torch takes neither negative strides nor, without a warning, read-only memory: copy those.
        images = torch.from_numpy(np.require(frames, requirements=["C", "W"])).permute(0, 3, 1, 2)
        whole = self.resized or self.size
        if len(images) == 0:
            return images.new_empty((0, 3, *whole))
        if images.shape[-2:] != whole:
            images = transforms.resize(
                images,
                list(whole),
                interpolation=InterpolationMode(self.normalization.interpolation),
                antialias=True,
            )
        return images

    def finish(self, images: Tensor) -> Tensor:
        """The cheap half: the centre of uint8 images (n, 3, h, w), normalised, (n, 3, *size).

        It is done where they are, so that a device is sent a quarter of the bytes.
        """
        if images.shape[-2:] != self.size:
            images = transforms.center_crop(images, list(self.size))
        count, _, height, width = images.shape
        # Row by row as they lie in memory: three numbers at a time would take three times as long.
        rows = images.movedim(1, 3).reshape(count, height, 3 * width)
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=images.device).repeat(width)
            for values in (self.normalization.mean, self.normalization.std)
        )
        normalized = rows.to(torch.float32, copy=True).sub_(mean).div_(std)
        return normalized.view(count, height, width, 3).movedim(3, 1)


def require_preprocessed(images: Tensor) -> None:
    """Raise InputError unless images are floats (n, 3, height, width)."""
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise InputError(
            f"images must be preprocessed floats (n, 3, height, width), "
            f"got {images.dtype} {tuple(images.shape)}"
        )


def size_for(
    height: int, width: int, shorter: int = 256, *, multiple: int = COARSEST_STRIDE
) -> tuple[int, int]:
    """The input size of a frame: aspect kept, shorter side near `shorter`, multiples of 32.

    Multiples of another number if that is given, and of 32 pixels or more.

    Raises:
        InputError: If a side or `shorter` is not positive.

    >>> size_for(540, 960)
    (256, 448)
    """
    if min(height, width, shorter) < 1:
        raise InputError(
            f"sizes must be positive, got height {height}, width {width}, shorter {shorter}"
        )
    scale = shorter / min(height, width) / multiple
    least = -(-COARSEST_STRIDE // multiple)
    rounded = (max(least, int(side * scale + 0.5)) * multiple for side in (height, width))
    return next(rounded), next(rounded)


def require_aligned(size: tuple[int, int], *, multiple: int = COARSEST_STRIDE) -> None:
    """Raise InputError unless both sides of (height, width) are multiples of 32, and not 0.

    Multiples of another number if that is given, and of 32 pixels or more.
    """
    if any(side < COARSEST_STRIDE or side % multiple for side in size):
        raise InputError(
            f"size (height, width) must be multiples of {multiple}, got {size}: "
            "size_for(height, width) gives the nearest"
        )
