"""From overlaps of many images to which are right, and to localisation accuracy by threshold."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caf_video.errors import InputError
from caf_video.localization.protocols import Protocol, require_protocol


@dataclass(frozen=True)
class ThresholdCurve:
    """Accuracy (GT-known) by threshold. Its best is an oracle: it was chosen on these very boxes.

    Attributes:
        protocol: Its name.
        thresholds: Shares of the maximum, rising, (t,).
        iou_levels: The IoU from which on a box is right, (l,).
        accuracies: Share of images that are right at each, (l, t).
    """

    protocol: str
    thresholds: NDArray[np.float64]
    iou_levels: tuple[float, ...]
    accuracies: NDArray[np.float64]

    @property
    def best_thresholds(self) -> NDArray[np.float64]:
        """The threshold of highest accuracy at each IoU, the lowest of equal ones, (l,)."""
        return self.thresholds[self.accuracies.argmax(axis=1)]

    @property
    def best_accuracy(self) -> float:
        """The highest accuracy at each IoU, averaged: MaxBoxAcc, of the protocols of that name."""
        return float(self.accuracies.max(axis=1).mean())


def threshold_curve(protocol: str, overlaps: ArrayLike) -> ThresholdCurve:
    """The accuracy of a protocol at each of its thresholds.

    Args:
        protocol: A key of PROTOCOLS that has thresholds.
        overlaps: What `sweep`, or `measure` of an oracle, said of each image, (n, t).

    Raises:
        InputError: A protocol without thresholds, or overlaps of another shape or not finite.
    """
    found = require_protocol(protocol)
    if not found.thresholds:
        raise InputError(f"{protocol} has no threshold to set, and so no curve")
    right = _right(found, overlaps, len(found.thresholds))
    return ThresholdCurve(
        protocol, np.array(found.thresholds), found.iou_levels, right.mean(axis=1)
    )


def localization_hits(protocol: str, overlaps: ArrayLike) -> NDArray[np.float64]:
    """How right each image is: 1 or 0, or the share of several IoU levels that it reaches.

    The mean is the protocol's accuracy with known class. For an oracle, each level is taken at the
    threshold that is best over these images.

    Args:
        protocol: A key of PROTOCOLS.
        overlaps: What `measure` said of each image, (n, t): t is 1, for an oracle 255.

    Returns:
        (n,).

    Raises:
        InputError: An unknown protocol, or overlaps of another shape or not finite.
    """
    found = require_protocol(protocol)
    if found.of_masks:
        raise InputError(f"{protocol} ranks the pixels of all images at once: no image is a hit")
    if not found.oracle:
        return _right(found, overlaps, 1)[0, :, 0].astype(np.float64)
    right = _right(found, overlaps, len(found.thresholds))
    best = right.mean(axis=1).argmax(axis=1)
    return right[np.arange(len(right)), :, best].mean(axis=0)


def _right(protocol: Protocol, overlaps: ArrayLike, thresholds: int) -> NDArray[np.bool_]:
    """Whether each IoU level is reached in each image at each threshold, (l, n, t)."""
    array = np.asarray(overlaps, dtype=np.float64)
    if array.ndim != 2 or not len(array) or array.shape[1] != thresholds:
        raise InputError(
            f"overlaps of shape {array.shape} for {protocol.name}: wanted (images, {thresholds})"
        )
    if not np.isfinite(array).all():
        image = int((~np.isfinite(array)).any(axis=1).argmax())
        raise InputError(f"overlaps for {protocol.name}: those of image {image} are not finite")
    return array >= np.array(protocol.iou_levels)[:, None, None]
