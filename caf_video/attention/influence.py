"""Which frame of a clip matters: what the embedding loses when a frame is blanked (maths 1.3)."""

import torch
from torch import Tensor

from caf_video.attention.clip_model import (
    FEATURE_CHUNK_BYTES,
    ClipModel,
    accurate,
    check_clip_maps,
    check_frames_finite,
    chunks_of,
    in_halves,
)
from caf_video.attention.cutting.undisturbed import undisturbed


def frame_influence(clip_model: ClipModel, feature_maps: Tensor) -> Tensor:
    """Which frame matters: its share of the embedding's change when its map A_t is blanked.

    A unit filter says where in a frame the network looked, not which frame it looked at. Blanking
    feeds the head a zero map in place of A_t, the filter 0.

    Args:
        clip_model: A network with `features` and `head`.
        feature_maps: (b, t, c, h, w).

    Returns:
        Shares (b, t) of the sum of the norms of the changes, each row summing to 1; equal shares
        where no frame changes anything.
    """
    clip_model = in_halves(clip_model)
    feature_maps = check_clip_maps(clip_model, feature_maps)
    timesteps = feature_maps.shape[1]
    changes = []
    with undisturbed(clip_model), torch.no_grad():
        for first, chunk in chunks_of(feature_maps, feature_maps[0].nbytes, FEATURE_CHUNK_BYTES):
            maps = clip_model.features(chunk).clone()
            check_frames_finite(maps, "feature map A", first)
            embeddings = clip_model.head(maps)
            moved_by = []
            for frame in range(timesteps):
                blanked = maps.clone()
                blanked[:, frame] = 0
                moved = clip_model.head(blanked) - embeddings
                moved_by.append(moved.flatten(1).norm(dim=1, dtype=accurate(maps.dtype)))
            changes.append(torch.stack(moved_by, dim=1))
    change = torch.cat(changes)
    total = change.sum(dim=1, keepdim=True)
    return torch.where(total > 0, change / total.where(total > 0, 1.0), 1 / timesteps)
