"""What a trained embedding must beat: frozen feature maps, pooled, that nobody trained on."""

from torch import Tensor
from torch.nn.functional import normalize


def mean_pooled(feature_maps: Tensor) -> Tensor:
    """The mean over frames and cells, at length 1: maps (b, t, c, h, w) to (b, c)."""
    return normalize(feature_maps.mean(dim=(1, 3, 4)))


def pooled_by_frame(feature_maps: Tensor) -> Tensor:
    """Each frame's mean over cells, one after the other, at length 1: (b, t, c, h, w) to (b, tc).

    Unlike `mean_pooled` it knows the order of the frames.
    """
    return normalize(feature_maps.mean(dim=(3, 4)).flatten(1))
