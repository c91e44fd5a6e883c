"""Labelled images as samples: a drawn window in training, the centre (or all) elsewhere."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from caf_video.data.images import LabelledImage, read_image
from caf_video.models.augmentation import random_window
from caf_video.models.preprocessing import Preprocessing


class ImagePixels:
    """The pixels of a list of images: in memory if they fit, else read whenever they are used.

    They are held as the preprocessing resizes them, one byte a pixel and colour.

    Args:
        images: Whose.
        preprocessing: What makes network input of them. In training `resized` is what windows of
            `size` are drawn from.
        memory_gb: How many GB they may take in memory (10^9 bytes).

    Raises:
        ImageError: An image cannot be read, as far as they are held.
    """

    def __init__(
        self, images: Sequence[LabelledImage], preprocessing: Preprocessing, *, memory_gb: float
    ) -> None:
        self._paths = [image.path for image in images]
        self._preprocessing = preprocessing
        height, width = preprocessing.resized or preprocessing.size
        self._held = torch.empty(0)
        if len(images) * height * width * 3 <= memory_gb * 1e9:
            self._held = self._read_all(
                torch.empty(len(images), height, width, 3, dtype=torch.uint8)
            )

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def in_memory(self) -> bool:
        """Whether the pixels are held in memory."""
        return len(self._held) > 0

    def batch(
        self, positions: Sequence[int], randoms: Sequence[np.random.Generator] | None
    ) -> Tensor:
        """Input of some images, float32 (b, 3, *size), channels last in memory.

        Args:
            positions: Of the images in the list.
            randoms: Of each image, to draw a window, mirrored or not; None takes the centre.

        Raises:
            ImageError: An image cannot be read.
        """
        rows = []
        for row, position in enumerate(positions):
            pixels = self._held[position] if self.in_memory else self._read(position)
            image = pixels.movedim(2, 0)  # (3, height, width)
            if randoms is not None:
                image = random_window(image, self._preprocessing.size, randoms[row])
            rows.append(image.movedim(0, 2))
        return self._preprocessing.finish(torch.stack(rows).movedim(3, 1))

    def _read(self, position: int) -> Tensor:
        """An image as it is held, uint8 (height, width, 3)."""
        frames = read_image(self._paths[position])[None]
        return self._preprocessing.resize(frames)[0].movedim(0, 2)

    def _read_all(self, held: Tensor) -> Tensor:
        def read(position: int) -> None:
            held[position] = self._read(position)

        # Decoding and resizing let other threads run.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(read, range(len(held))):
                pass
        return held
