"""Stored clips as batches: one drawn frame a segment in training, the middle one elsewhere."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from caf_video.data.features import FeatureStore
from caf_video.errors import InputError
from caf_video.metric_learning import PKBatchSampler


class ClipBatch(NamedTuple):
    """Some clips of a split.

    Attributes:
        feature_maps: float32, (b, t, c, h, w), in channels-last memory. The next batch is written
            over them: clone what is kept.
        labels: Position of each clip's label among the label names, int64, (b,).
        positions: Of each clip in its split, which serve as its id, int64, (b,).
    """

    feature_maps: Tensor
    labels: Tensor
    positions: Tensor


class ClipMaps:
    """The feature maps of a list of clips: in memory if they fit, else read whenever they are used.

    Args:
        store: Where they are.
        clip_ids: Whose.
        memory_gb: How many GB they may take in memory (10^9 bytes).

    Raises:
        FeatureStoreError: A clip's features are missing, damaged or not finite.
    """

    def __init__(self, store: FeatureStore, clip_ids: Sequence[str], *, memory_gb: float) -> None:
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

    def batch(self, positions: Sequence[int], random: np.random.Generator | None) -> Tensor:
        """Maps of some clips, float32 (b, t, c, h, w): the buffer that the next batch reuses.

        Args:
            positions: Of the clips in the list.
            random: Draws one candidate frame for every segment; None takes the middle one.
        """
        # A fresh tensor of this size costs as much as the products that are made with it: the
        # system hands its pages out one by one.
        if len(self._buffer) < len(positions):
            self._buffer = torch.empty(len(positions), *self._shape)
        out = self._buffer[: len(positions)]
        for row, position in enumerate(positions):
            maps = self._held[position] if self._held else self._read(position)
            timesteps, candidates = maps.shape[:2]
            if random is None:
                chosen = np.full(timesteps, candidates // 2)
            else:
                chosen = random.integers(candidates, size=timesteps)
            for timestep, candidate in enumerate(chosen):
                out[row, timestep] = maps[timestep, candidate]  # float16 becomes float32 here
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


class TrainingBatches:
    """Batches of P classes with K clips; a pass is an epoch, and the next one goes on from there.

    Batch and frames depend on the seed and the batch's number alone, so training that stops goes on
    with the very batches it would have had. The number is the state that a checkpoint saves.

    Args:
        maps: Of the training clips.
        labels: Of each, as a position among the label names.
        sampler: Draws the clips.
        seed: Of the frames drawn.
        rank, world_size: Which of several processes this is; each draws other batches.
    """

    def __init__(
        self,
        maps: ClipMaps,
        labels: Sequence[int],
        sampler: PKBatchSampler,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._maps = maps
        self._labels = torch.as_tensor(labels)
        self._sampler = sampler
        self._seed = seed
        self._rank, self._world_size = rank, world_size
        self._given = 0  # batches, in this process

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[ClipBatch]:
        while True:
            batch = self._batch(self._given * self._world_size + self._rank)
            self._given += 1
            yield batch
            if self._given % len(self) == 0:
                return

    def state_dict(self) -> dict[str, Any]:
        """How many batches were given: what a checkpoint saves."""
        return {"given": self._given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after as many batches as the state says."""
        self._given = state["given"]

    def _batch(self, number: int) -> ClipBatch:
        positions = self._sampler.batch(number)
        random = np.random.default_rng((self._seed, 1, number))
        chosen = torch.as_tensor(positions)
        return ClipBatch(self._maps.batch(positions, random), self._labels[chosen], chosen)


class EvaluationBatches:
    """All clips in order, each with the middle frame of every segment.

    Args:
        maps: Of the clips.
        labels: Of each, as a position among the label names.
        batch_size: Clips at once.
    """

    def __init__(self, maps: ClipMaps, labels: Sequence[int], *, batch_size: int) -> None:
        if batch_size < 1:
            raise InputError(f"batches of {batch_size} clips: wanted 1 or more")
        self._maps = maps
        self._labels = torch.as_tensor(labels)
        self._batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self._maps) // self._batch_size)

    def __iter__(self) -> Iterator[ClipBatch]:
        for positions in torch.arange(len(self._maps)).split(self._batch_size):
            maps = self._maps.batch(positions.tolist(), None)
            yield ClipBatch(maps, self._labels[positions], positions)
