"""The `pxap` protocol: pixel average precision of the mask benchmark (Choe et al. 2020).

The map, scaled from its minimum to its maximum, ranks the pixels of all images at once; those of
objects are to come first. Pixels that are neither object nor background do not count. Scores are
told apart by the published 1000 thresholds, 0 to 0.999, and precision is summed over the steps of
recall: AP = sum P_k (R_k - R_{k-1}), from the highest threshold down. No threshold is chosen.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from caf_video.errors import InputError
from caf_video.localization.gates import Estimate, interval, resamples
from caf_video.localization.heatmaps import min_max, require_heatmap

OBJECT, BACKGROUND, IGNORED = 1, 0, 255
# The published edges: [0, 0.001), ..., [0.999, 1), and 1 itself.
_EDGES = np.append(np.arange(0, 1, 0.001), [1.0, 2.0])
BINS = len(_EDGES) - 1


def joined_masks(
    objects: Sequence[ArrayLike], ignored: ArrayLike | None, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """The masks of an image as one (height, width): OBJECT, BACKGROUND or IGNORED.

    Args:
        objects: A mask each, (h, w), not 0 where the object is; one or more.
        ignored: The same of what does not count, but where an object is; None: all counts.
        size: (height, width) of the view; masks take the nearest pixel.
    """
    if not objects:
        raise InputError("the image has no mask to compare with: leave it out")
    any_object = np.any([_nearest(mask, size) for mask in objects], axis=0)
    joined = np.where(any_object, OBJECT, BACKGROUND).astype(np.uint8)
    if ignored is not None:
        joined[_nearest(ignored, size) & ~any_object] = IGNORED
    return joined


def pixel_counts(heatmap: ArrayLike, mask: ArrayLike) -> NDArray[np.float64]:
    """How many pixels of objects, then of background, have a score of each bin, (2 * BINS,).

    A constant map scores 0 everywhere, as the published evaluator has it.

    Args:
        heatmap: (height, width) of the view, finite, of any sign.
        mask: What `joined_masks` gives, of the same shape.

    Raises:
        InputError: The heatmap is not (height, width), not of floats, or not finite, or the mask
            is of another shape.
    """
    array, kinds = require_heatmap(heatmap), np.asarray(mask)
    if kinds.shape != array.shape:
        raise InputError(f"mask of shape {kinds.shape} for a heatmap of shape {array.shape}")
    scaled = min_max(array)
    scores = np.zeros(array.shape) if scaled is None else scaled
    counts = [np.histogram(scores[kinds == kind], _EDGES)[0] for kind in (OBJECT, BACKGROUND)]
    return np.concatenate(counts).astype(np.float64)


def pixel_average_precision(counts: ArrayLike) -> NDArray[np.float64]:
    """PxAP of summed counts (..., 2 * BINS), (...), in [0, 1].

    Raises:
        InputError: There is no pixel of an object.
    """
    both = np.asarray(counts, dtype=np.float64)
    true = both[..., :BINS][..., ::-1].cumsum(axis=-1)
    false = both[..., BINS:][..., ::-1].cumsum(axis=-1)
    if not (true[..., -1] > 0).all():
        raise InputError("no pixel of an object in the masks: nothing to be precise about")
    above = true + false
    precision = np.divide(true, above, out=np.zeros_like(above), where=above > 0)
    recall = true / true[..., -1:]
    steps = np.diff(recall, axis=-1, prepend=0.0)
    return np.asarray((precision * steps).sum(axis=-1))


def pixel_estimates(
    counts: Sequence[ArrayLike], *, seed: int = 0
) -> tuple[list[Estimate], list[Estimate | None]]:
    """PxAP of several methods on the same images, and what each is above the first, with intervals.

    Both are of the whole set of images and of its resamples, the same for all: the difference is
    the paired bootstrap.

    Args:
        counts: For each method what `pixel_counts` said of each image, (n, 2 * BINS).
        seed: Of the resamples.

    Returns:
        The estimates, and the differences: None for the first.
    """
    arrays = [np.asarray(each, dtype=np.float64) for each in counts]
    whole = [float(pixel_average_precision(each.sum(axis=0))) for each in arrays]
    drawn = np.stack(
        [
            np.concatenate(
                [pixel_average_precision(times @ each) for times in resamples(len(each), seed)]
            )
            for each in arrays
        ]
    )  # (methods, resamples)
    values = [interval(value, row) for value, row in zip(whole, drawn, strict=True)]
    differences: list[Estimate | None] = [None]
    differences += [
        interval(value - whole[0], row - drawn[0])
        for value, row in zip(whole[1:], drawn[1:], strict=True)
    ]
    return values, differences


def _nearest(mask: ArrayLike, size: tuple[int, int]) -> NDArray[np.bool_]:
    height, width = size
    grey = (np.asarray(mask) > 0).astype(np.uint8)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_NEAREST)) > 0
