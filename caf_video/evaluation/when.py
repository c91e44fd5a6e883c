"""Which frame, and where in the whole clip: scores of frames and maps against truth (maths 7).

All of it clip by clip, so that a bootstrap can pair the clips: NaN where a clip has no answer.
"""

import torch
from torch import Tensor

from caf_video.attention import resize_maps
from caf_video.errors import InputError
from caf_video.evaluation.pointing import pointing_game


def when_auc(scores: Tensor, positive: Tensor, negative: Tensor | None = None) -> Tensor:
    """Of each clip the chance that a frame that counts has a higher score than one that does not.

    Ties count a half: a score that says nothing has 0.5.

    Args:
        scores: Of frames, finite, any sign, (n, t).
        positive: Frames that count, bool (n, t).
        negative: Frames that do not, bool (n, t); None: all others. With two events the frames of
            the other one, against those of the deciding one.

    Returns:
        Area under the ROC curve of each clip, float64, (n,); NaN where there is no pair of frames.

    Raises:
        InputError: Shapes that do not fit, or a score that is not finite; names the clip.
    """
    negative = ~positive if negative is None else negative
    if scores.ndim != 2 or scores.shape != positive.shape or scores.shape != negative.shape:
        raise InputError(
            f"scores {tuple(scores.shape)}, positive {tuple(positive.shape)} and negative "
            f"{tuple(negative.shape)}: wanted (n, t), all three alike"
        )
    finite = scores.isfinite().all(dim=1)
    if not finite.all():
        raise InputError(f"scores of clip {int((~finite).nonzero()[0])} are not finite")
    values = scores.double()
    pairs = positive[:, :, None] & negative[:, None, :]  # (n, t, t)
    difference = values[:, :, None] - values[:, None, :]
    won = (difference > 0).double() + 0.5 * (difference == 0)
    return (won * pairs).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2))  # 0 / 0 is NaN


def heaviest_counts(scores: Tensor, positive: Tensor) -> Tensor:
    """Of each clip whether its heaviest frame counts; of tied ones the share. Float64, (n,)."""
    heaviest = scores == scores.max(dim=1, keepdim=True).values
    return (heaviest & positive).sum(dim=1).double() / heaviest.sum(dim=1)


def single_maximum(heat: Tensor, boxes: Tensor, visible: Tensor, size: tuple[int, int]) -> Tensor:
    """Of each clip whether the one maximum over (t, h, w) lies in a box of visible evidence.

    One map of a clip on one scale: it must choose the frame as well as the place. The tolerance is
    that of the pointing game. Of frames that tie, the share that hits.

    Args:
        heat: On the grid, (n, t, h, w).
        boxes: (x1, y1, x2, y2) in pixels, (n, t, 4).
        visible: Whether there is evidence to see, bool (n, t).
        size: (height, width) of the frames.

    Returns:
        Hits in [0, 1], float64, (n,); NaN where a clip has no visible evidence in any frame.
    """
    hits = torch.full((len(heat),), float("nan"), dtype=torch.float64)
    for clip, of_frames in enumerate(heat):
        if not visible[clip].any():
            continue
        peaks = of_frames.flatten(1).max(dim=1).values
        tied = (peaks >= peaks.max() - 1e-6 * peaks.max().abs()).nonzero()[:, 0]
        seen = tied[visible[clip, tied]]
        found = 0.0
        if len(seen):
            found = float(
                pointing_game(resize_maps(of_frames[seen], size), boxes[clip, seen]).sum()
            )
        hits[clip] = found / len(tied)
    return hits
