"""What a network was shown, as pictures that a person can look at."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from caf_video.errors import InputError

Frame = NDArray[np.uint8]

_ROUNDING = 1e-4  # by which floats may leave 0 to 1 and still be pixels


def as_frames(
    images: Any,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> list[Frame]:
    """Images of any common kind as RGB, uint8 (height, width, 3), one by one.

    Args:
        images: A PIL image; an array or a tensor, uint8, floats from 0 to 1, or normalised, of
            (…, height, width, 3) or (…, 3, height, width), one channel standing for three; or a
            sequence of these. What comes before an image's own axes is counted through.
        mean, std: What a tensor was normalised with, on the scale from 0 to 1.

    Raises:
        InputError: They are none of these, or floats outside 0 to 1 without `mean` and `std`.
    """
    if (mean is None) != (std is None):
        raise InputError("mean and std belong together: give both, on the scale from 0 to 1")
    if isinstance(images, Image.Image):
        return [np.array(images.convert("RGB"))]
    if isinstance(images, list | tuple):
        return [frame for one in images for frame in as_frames(one, mean=mean, std=std)]
    stack = _channels_last(images)
    if stack.dtype != np.uint8:
        stack = _pixels(stack, mean, std)
    elif mean is not None:
        raise InputError("images of uint8 are not normalised: leave out mean and std")
    return list(np.ascontiguousarray(np.broadcast_to(stack, (*stack.shape[:-1], 3))))


def stretched(images: Any) -> list[Frame]:
    """As `as_frames`, of floats on an unknown scale: each between its own extremes."""
    stack = _channels_last(images).astype(np.float64)
    lowest = stack.min(axis=(1, 2, 3), keepdims=True)
    spread = stack.max(axis=(1, 2, 3), keepdims=True) - lowest
    scaled = (stack - lowest) / np.where(spread > 0, spread, 1)
    return as_frames(scaled)


def is_pictures(images: Any) -> bool:
    """Whether it is a tensor of images, finite."""
    if not isinstance(images, Tensor) or images.dim() < 4 or not images.numel():
        return False
    has_channels = images.shape[-3] in (1, 3) or images.shape[-1] in (1, 3)
    return has_channels and not images.is_complex() and bool(images.isfinite().all())


def _channels_last(images: Any) -> NDArray:
    """Of an array or a tensor, (n, height, width, channels), one channel or three."""
    if isinstance(images, Tensor):
        images = images.detach().cpu()
        array = (images.float() if images.dtype == torch.bfloat16 else images).numpy()
        channels_first = images.dim() >= 3 and images.shape[-3] in (1, 3)
    elif isinstance(images, np.ndarray):
        array = images
        channels_first = images.ndim >= 3 and images.shape[-1] not in (1, 3)
    else:
        raise InputError(
            f"images are {type(images).__name__}: wanted PIL images, an array or a tensor"
        )
    if channels_first:
        array = np.moveaxis(array, -3, -1)
    kinds = array.dtype == np.uint8 or np.issubdtype(array.dtype, np.floating)
    if array.ndim < 3 or array.shape[-1] not in (1, 3) or not array.size or not kinds:
        raise InputError(
            f"images are {images.dtype} {tuple(images.shape)}: wanted uint8 or floats "
            "(…, height, width, 3) or (…, 3, height, width)"
        )
    return array.reshape(-1, *array.shape[-3:])


def _pixels(
    stack: NDArray, mean: Sequence[float] | None, std: Sequence[float] | None
) -> NDArray[np.uint8]:
    values = stack.astype(np.float64)
    if mean is not None and std is not None:
        for name, numbers in (("mean", mean), ("std", std)):
            if np.shape(numbers) not in ((), (1,), (stack.shape[-1],)):
                raise InputError(f"{name} has shape {np.shape(numbers)}: wanted one a channel")
        values = values * np.asarray(std, np.float64) + np.asarray(mean, np.float64)
    elif not (values.min() >= -_ROUNDING and values.max() <= 1 + _ROUNDING):
        raise InputError(
            f"pixels go from {values.min():.3g} to {values.max():.3g}: of normalised images say "
            "with what, mean= and std= on the scale from 0 to 1"
        )
    if not np.isfinite(values).all():
        raise InputError("images hold a value that is not finite")
    return np.rint(255 * values.clip(0, 1)).astype(np.uint8)
