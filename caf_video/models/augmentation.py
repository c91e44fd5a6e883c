"""What training draws of an image: a window of it, mirrored or not."""

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from caf_video.errors import InputError

MIRRORED = 0.5  # of the images: the flip of every training command of Tables 2 and 3


def random_window(image: Tensor, size: tuple[int, int], random: np.random.Generator) -> Tensor:
    """A window of `size` at a random place of an image, mirrored left to right half of the time.

    Args:
        image: (3, height, width), of any type.
        size: (height, width) of the window.
        random: Where it is, and whether it is mirrored, depends on this alone.

    Returns:
        The window, (3, *size): a view of the image, where it is not mirrored.

    Raises:
        InputError: If the image is smaller than the window.
    """
    height, width = image.shape[-2:]
    if height < size[0] or width < size[1]:
        raise InputError(f"an image of {(height, width)} has no window of {size} (height, width)")
    top, left = (int(random.integers(room + 1)) for room in (height - size[0], width - size[1]))
    window = transforms.crop(image, top, left, *size)
    return transforms.horizontal_flip(window) if random.random() < MIRRORED else window
