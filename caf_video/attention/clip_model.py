"""A network over clips in two halves: its twin, its maps checked, a few clips at a time."""

from collections.abc import Iterator
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from caf_video.attention.cutting.twin import Twin
from caf_video.errors import InputError

FEATURE_CHUNK_BYTES = 64 * 2**20  # of input maps that go through `features` at once


class ClipModel(Protocol):
    """A network over clips in two halves: `head(features(feature_maps))` is the embedding."""

    def features(self, feature_maps: Tensor) -> Tensor:
        """Stored maps (b, t, c, h, w) to A, the maps that a filter multiplies."""
        ...

    def head(self, maps: Tensor) -> Tensor:
        """A to raw embeddings (b, d)."""
        ...


def in_halves(clip_model: ClipModel) -> ClipModel:
    """A clip model's twin, in eval mode: the model itself is not touched.

    Raises:
        InputError: It is not in two halves.
    """
    halves = [name for name in ("features", "head") if callable(getattr(clip_model, name, None))]
    if len(halves) < 2:
        raise InputError(
            f"{type(clip_model).__name__} is not in two halves: wanted features(feature_maps), up "
            "to the maps that a filter multiplies, and head(maps), from there to the embedding; "
            "any other network is cut at a layer, caf_video.explain(model, clips, layer=…)"
        )
    if isinstance(clip_model, nn.Module):
        return cast(ClipModel, Twin(clip_model).model)
    return clip_model


def check_clip_maps(clip_model: ClipModel, feature_maps: Tensor) -> Tensor:
    """The maps in the model's own dtype; InputError names the clip and frame that are wrong."""
    if feature_maps.dim() != 5 or not feature_maps.dtype.is_floating_point:
        raise InputError(
            f"feature_maps are {tuple(feature_maps.shape)} {feature_maps.dtype}, "
            "wanted floating (clips, timesteps, channels, height, width)"
        )
    if feature_maps.numel() == 0:
        raise InputError(f"feature_maps are empty: {tuple(feature_maps.shape)}")
    parameter = next(clip_model.parameters(), None) if isinstance(clip_model, nn.Module) else None
    if parameter is not None:
        if parameter.device != feature_maps.device:
            raise InputError(
                f"feature_maps are on {feature_maps.device}, the model on {parameter.device}"
            )
        feature_maps = feature_maps.to(parameter.dtype)
    check_frames_finite(feature_maps, "feature map", 0)
    return feature_maps


def check_frames_finite(maps: Tensor, what: str, first_clip: int) -> None:
    if maps.sum(dtype=accurate(maps.dtype)).isfinite():  # one cheap pass; nothing cancels a NaN
        return
    finite = maps.flatten(2).isfinite().all(dim=2)
    if not finite.all():
        clip, frame = (~finite).nonzero()[0].tolist()
        raise InputError(f"the {what} of clip {first_clip + clip}, frame {frame} is not finite")


def chunks_of(maps: Tensor, bytes_a_clip: int, limit: int) -> Iterator[tuple[int, Tensor]]:
    """Runs of clips within `limit` bytes, at least one clip each, and the number of the first."""
    size = max(1, limit // bytes_a_clip)
    for first in range(0, len(maps), size):
        yield first, maps[first : first + size]


def accurate(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
