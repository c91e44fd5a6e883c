"""Whether a heatmap lies where the evidence is: the pointing game and the energy in the box.

Boxes are (x1, y1, x2, y2) in pixels of the heatmap, half-open: pixel (row i, column j) covers
[j, j + 1) x [i, i + 1), so a box (0, 0, width, height) is the whole image.
A map that says nothing, all zeros or any constant, scores what the uniform map scores.
"""

import torch
from torch import Tensor

from caf_video.errors import InputError

_TIE = 1e-6  # of the maximum: upsampling a flat map leaves rounding of this size


def pointing_game(heatmaps: Tensor, boxes: Tensor, tolerance_pixels: float = 15.0) -> Tensor:
    """Whether the maximum of each heatmap lies within a distance of its box (Zhang et al. 2016).

    The distance is that of the pixel's centre from the box, Euclidean. Of tied maxima the share
    that hits counts, which is what a maximum chosen at random would score: a constant map scores
    the share of the image that is near enough to the box.

    Args:
        heatmaps: (n, height, width), finite, any sign.
        boxes: One for each heatmap, (n, 4).
        tolerance_pixels: How far outside the box is a hit; 15 in the paper and its successors.

    Returns:
        Hits in [0, 1], float64, (n,).

    Raises:
        InputError: A wrong shape, a non-finite heatmap, or a box that is empty or outside the
            image; names which.
    """
    _require_pairs(heatmaps, boxes)
    if not tolerance_pixels >= 0:
        raise InputError(f"tolerance of {tolerance_pixels} pixels: wanted 0 or more")
    height, width = heatmaps.shape[1:]
    across = _distances(boxes[:, 0], boxes[:, 2], width)  # (n, width)
    down = _distances(boxes[:, 1], boxes[:, 3], height)  # (n, height)
    hits = torch.empty(len(heatmaps), dtype=torch.float64)
    for i, heatmap in enumerate(heatmaps.detach().double().cpu()):
        maximum = heatmap.max()
        tied = heatmap >= maximum - _TIE * maximum.abs()
        rows, columns = tied.nonzero(as_tuple=True)
        squared = down[i, rows] ** 2 + across[i, columns] ** 2
        hits[i] = (squared <= tolerance_pixels**2).double().mean()
    return hits


def energy_in_box(heatmaps: Tensor, boxes: Tensor) -> Tensor:
    """Share of each heatmap's mass inside its box; pixels on the edge count by the covered part.

    Args:
        heatmaps: (n, height, width), finite, nowhere negative.
        boxes: One for each heatmap, (n, 4).

    Returns:
        Shares in [0, 1], float64, (n,); that of a uniform map is `box_area_share`.

    Raises:
        InputError: As `pointing_game`, or a heatmap has a negative value.
    """
    _require_pairs(heatmaps, boxes)
    height, width = heatmaps.shape[1:]
    across, down = _coverage(boxes, (height, width))
    shares = box_area_share(boxes, (height, width))  # stays where a map has no mass
    for i, heatmap in enumerate(heatmaps.detach().double().cpu()):
        if heatmap.min() < 0:
            raise InputError(f"heatmap {i} has negative values: take |f| or a ReLU of it first")
        maximum = heatmap.max()
        if maximum > 0:
            heatmap = heatmap / maximum
            shares[i] = (down[i] @ heatmap @ across[i]) / heatmap.sum()
    return shares


def box_area_share(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Share of an image (height, width) that each box (n, 4) covers, float64, (n,).

    Raises:
        InputError: A box is empty or outside the image; names which.
    """
    across, down = _coverage(boxes, size)
    return across.mean(dim=1) * down.mean(dim=1)


def box_prior(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """The heatmap that knows no image: how often the boxes (n, 4), of training, cover each pixel.

    Returns:
        Shares of the boxes, float64, (height, width).

    Raises:
        InputError: There is no box, or one is empty or outside the image; names which.
    """
    across, down = _coverage(boxes, size)
    if not len(boxes):
        raise InputError("a prior of boxes needs a box")
    return down.T @ across / len(boxes)


def _coverage(boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """How much of each column (n, width) and of each row (n, height) a box covers, in [0, 1]."""
    _require_boxes(boxes, size)
    boxes = boxes.detach().double().cpu()
    covered = []
    for low, high, pixels in ((0, 2, size[1]), (1, 3, size[0])):
        edges = torch.arange(pixels, dtype=torch.float64)
        end = torch.minimum(boxes[:, high, None], edges + 1)
        covered.append((end - torch.maximum(boxes[:, low, None], edges)).clamp(min=0))
    return covered[0], covered[1]


def _distances(low: Tensor, high: Tensor, pixels: int) -> Tensor:
    """Distance of each pixel's centre from the interval [low, high] along one axis, (n, pixels)."""
    centers = torch.arange(pixels, dtype=torch.float64) + 0.5
    low, high = low.detach().double().cpu()[:, None], high.detach().double().cpu()[:, None]
    return torch.maximum(low - centers, centers - high).clamp(min=0)


def _require_pairs(heatmaps: Tensor, boxes: Tensor) -> None:
    if heatmaps.ndim != 3 or 0 in heatmaps.shape[1:]:
        raise InputError(f"heatmaps of shape {tuple(heatmaps.shape)}: wanted (n, height, width)")
    if len(boxes) != len(heatmaps):
        raise InputError(f"{len(boxes)} boxes for {len(heatmaps)} heatmaps")
    finite = heatmaps.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        raise InputError(f"heatmap {int((~finite).nonzero()[0])} is not finite")
    _require_boxes(boxes, (heatmaps.shape[1], heatmaps.shape[2]))


def _require_boxes(boxes: Tensor, size: tuple[int, int]) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"boxes of shape {tuple(boxes.shape)}: wanted (n, 4)")
    height, width = size
    for i, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        if not (x1 < x2 and y1 < y2):  # also refuses NaN
            raise InputError(f"box {i} ({x1:g}, {y1:g}, {x2:g}, {y2:g}) is empty")
        if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            raise InputError(
                f"box {i} ({x1:g}, {y1:g}, {x2:g}, {y2:g}) is outside the image, "
                f"{height} high and {width} wide"
            )
