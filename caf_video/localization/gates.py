"""Localisation under its gates, and how sure a share of so many images is.

A gate asks that the network was right about the image too: with the true class in the top k of a
classifier, or with an image of the same label next to it in an embedding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caf_video.errors import InputError

RESAMPLES = 2000
_INTERVAL = (2.5, 97.5)  # percent
_VALUES_AT_ONCE = 2**22


@dataclass(frozen=True)
class Estimate:
    """A mean over images and its 95 % bootstrap interval (percentile)."""

    value: float
    low: float
    high: float


def true_class_ranks(logits: ArrayLike, labels: ArrayLike) -> NDArray[np.int64]:
    """How many classes come before the true one, (n,): 0 is top-1.

    Of classes with equal logits the first comes first, as with argmax.

    Args:
        logits: (n, classes), finite.
        labels: True class of each, (n,).

    Raises:
        InputError: Shapes that do not fit, a non-finite logit, or a label that is no class.
    """
    array, classes = np.asarray(logits), np.asarray(labels)
    if array.ndim != 2 or classes.shape != array.shape[:1]:
        raise InputError(
            f"logits of shape {array.shape} and labels of shape {classes.shape}: "
            "wanted (n, classes) and (n,)"
        )
    unknown = (classes < 0) | (classes >= array.shape[1])
    if unknown.any():
        image = int(unknown.argmax())
        raise InputError(
            f"label {classes[image]} of image {image}: the logits are of {array.shape[1]} classes"
        )
    broken = ~np.isfinite(array).all(axis=1)
    if broken.any():
        raise InputError(f"the logits of image {int(broken.argmax())} are not finite")
    own = np.take_along_axis(array, classes[:, None], axis=1)
    earlier = np.arange(array.shape[1]) < classes[:, None]
    return ((array > own) | ((array == own) & earlier)).sum(axis=1)


def gate(
    hits: ArrayLike,
    *,
    ranks: ArrayLike | None = None,
    neighbour_correct: ArrayLike | None = None,
    neighbour_counted: ArrayLike | None = None,
) -> dict[str, NDArray[np.float64]]:
    """What each image scores under each gate; the means are the figures of the table.

    Args:
        hits: How right the box of the image's heatmap is, in [0, 1], (n,) (`localization_hits`).
            Where heatmaps are of a class, that of the true one: only it can pass a gate.
        ranks: Classes before the true one, (n,) (`true_class_ranks`).
        neighbour_correct: Whether the nearest other image has the same label, (n,).
        neighbour_counted: Whether there is another image of that label, (n,); all, unless given.
            Those without are left out of the two figures of retrieval.

    Returns:
        "gt_known" always; with ranks "top1", "top5" (the class alone), "top1_loc" and "top5_loc";
        with neighbours "recall@1" and "gated_loc", (counted,). float64, the others (n,).

    Raises:
        InputError: Shapes that do not fit, no image at all, hits outside [0, 1], or no image
            counted.
    """
    right = np.asarray(hits, dtype=np.float64)
    if right.ndim != 1 or not len(right):
        raise InputError(f"hits of shape {right.shape}: wanted (n,), one image or more")
    if not ((right >= 0) & (right <= 1)).all():
        raise InputError("hits outside [0, 1]")
    scores = {"gt_known": right}
    if ranks is not None:
        places = _one_each(ranks, right, "ranks")
        for k in (1, 5):
            scores[f"top{k}"] = (places < k).astype(np.float64)
            scores[f"top{k}_loc"] = right * (places < k)
    if neighbour_correct is not None:
        correct = _one_each(neighbour_correct, right, "neighbour_correct").astype(np.float64)
        counted = np.ones(len(right), dtype=bool)
        if neighbour_counted is not None:
            counted = _one_each(neighbour_counted, right, "neighbour_counted").astype(bool)
        if not counted.any():
            raise InputError("no image has another one of its label: R@1 has nothing to count")
        scores["recall@1"] = correct[counted]
        scores["gated_loc"] = (right * correct)[counted]
    return scores


def estimate(scores: ArrayLike, *, seed: int = 0) -> Estimate:
    """The mean of images' scores (n,), and the interval of RESAMPLES resamples of the images.

    Raises:
        InputError: Scores that are not (n,) or not finite, or none.
    """
    return estimates([scores], seed=seed)[0]


def estimates(scores: Sequence[ArrayLike], *, seed: int = 0) -> list[Estimate]:
    """`estimate` of many scores of the same images, (n,) each, with the same resamples for all.

    Scores may be the difference of two methods: that is then the paired bootstrap, in which what
    makes an image hard for both does not widen the interval.

    Raises:
        InputError: As `estimate`, or the numbers of images differ.
    """
    rows = [np.asarray(row, dtype=np.float64) for row in scores]
    for row in rows:
        if row.ndim != 1 or not len(row) or not np.isfinite(row).all():
            raise InputError(f"scores of shape {row.shape}: wanted (n,), finite, one or more")
        if row.shape != rows[0].shape:
            raise InputError(
                f"scores of shapes {row.shape} and {rows[0].shape}: wanted the same images"
            )
    if not rows:
        return []
    values = np.stack(rows)
    count = values.shape[1]
    means = np.concatenate([times @ values.T / count for times in resamples(count, seed)])
    return [
        interval(float(mean), drawn)
        for mean, drawn in zip(values.mean(axis=1), means.T, strict=True)
    ]


def resamples(count: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """RESAMPLES resamples of so many images, as how often each is drawn: parts (r, count)."""
    generator = np.random.default_rng(seed)
    step = max(1, _VALUES_AT_ONCE // count)
    for first in range(0, RESAMPLES, step):
        drawn = generator.integers(count, size=(min(step, RESAMPLES - first), count))
        yield np.stack([np.bincount(images, minlength=count) for images in drawn]).astype(float)


def interval(value: float, drawn: NDArray[np.float64]) -> Estimate:
    """A value, and the interval that its resamples (r,) make."""
    low, high = np.percentile(drawn, _INTERVAL)
    return Estimate(value, float(low), float(high))


def _one_each(values: ArrayLike, hits: NDArray[np.float64], name: str) -> NDArray:
    array = np.asarray(values)
    if array.shape != hits.shape:
        raise InputError(f"{name} of shape {array.shape} for hits of shape {hits.shape}")
    return array
