"""Stored clips as samples: one drawn frame a segment in training, the middle one elsewhere."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from caf_video.data.stores import ClipStore


class ClipMaps:
    """The feature maps of a list of clips: in memory if they fit, else read whenever they are used.

    Args:
        store: Where they are.
        clip_ids: Whose.
        memory_gb: How many GB they may take in memory (10^9 bytes).

    Raises:
        FeatureStoreError: A clip's features are missing, damaged or not finite.
    """

    def __init__(self, store: ClipStore, clip_ids: Sequence[str], *, memory_gb: float) -> None:
        self._store = store
        self._clip_ids = clip_ids
        described = store.description
        self._shape = (described.timesteps, *described.grid, described.channels)
        self._buffer = torch.empty(0)
        self._held: list[Tensor] = []
        first = store.read(clip_ids[0]).feature_maps
        if first.nbytes * len(clip_ids) <= memory_gb * 1e9:
            self._held = [self._read(position) for position in range(len(clip_ids))]

    def __len__(self) -> int:
        return len(self._clip_ids)

    @property
    def in_memory(self) -> bool:
        """Whether the maps are held in memory."""
        return bool(self._held)

    def batch(
        self, positions: Sequence[int], randoms: Sequence[np.random.Generator] | None
    ) -> Tensor:
        """Maps of some clips, float32 (b, t, c, h, w): the buffer that the next batch reuses.

        Args:
            positions: Of the clips in the list.
            randoms: Of each clip, to draw one candidate frame for every segment; None takes the
                middle one.
        """
        # A fresh tensor of this size costs as much as the products that are made with it: the
        # system hands its pages out one by one.
        if len(self._buffer) < len(positions):
            self._buffer = torch.empty(len(positions), *self._shape)
        out = self._buffer[: len(positions)]
        for row, position in enumerate(positions):
            choose = partial(_chosen, None if randoms is None else randoms[row])
            if not self._held:
                # Read as they are stored, (t, c, h, w), and no map that is not taken.
                maps = self._store.read_maps(self._clip_ids[position], choose)
                out[row] = maps.movedim(1, 3)  # float16 becomes float32 here
                continue
            maps = self._held[position]
            for timestep, candidate in enumerate(choose(*maps.shape[:2])):
                out[row, timestep] = maps[timestep, candidate]  # and here
        return out.movedim(4, 2)

    def channel_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every channel over the middle frames, each (c,)."""
        total = torch.zeros(self._shape[-1], dtype=torch.float64)
        squares = torch.zeros_like(total)
        for position in range(len(self)):
            cells = self.batch([position], None).movedim(2, 4).flatten(0, 3)  # (t*h*w, c)
            total += cells.sum(dim=0)
            squares += cells.square().sum(dim=0)
        count = len(self) * int(np.prod(self._shape[:-1]))
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        return mean.float(), variance.sqrt().float()

    def _read(self, position: int) -> Tensor:
        """A clip's maps as float16 (t, k, h, w, c): channels last, as one product wants them."""
        maps = self._store.read(self._clip_ids[position]).feature_maps
        return maps.movedim(2, 4).contiguous()


def _chosen(random: np.random.Generator | None, timesteps: int, candidates: int) -> np.ndarray:
    """Which candidate of each timestep is taken, (t,): a drawn one, or the middle one."""
    if random is None:
        return np.full(timesteps, candidates // 2)
    return random.integers(candidates, size=timesteps)
