"""Samples as batches, in training by number: what stops goes on as if it never had."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from caf_video.data.workers import made_in_order
from caf_video.errors import CafVideoError, InputError


class Batch(NamedTuple):
    """Some samples of a split.

    Attributes:
        inputs: What the network takes, float32: feature maps of clips (b, t, c, h, w), or images
            (b, 3, height, width). The next batch may be written over them: clone what is kept.
        labels: Position of each sample's label among the label names, int64, (b,).
        positions: Of each sample in its split, which serve as its id, int64, (b,).
    """

    inputs: Tensor
    labels: Tensor
    positions: Tensor


class Samples(Protocol):
    """The samples of a split, in order: `ClipMaps` or `ImagePixels`."""

    def __len__(self) -> int: ...

    def batch(
        self, positions: Sequence[int], randoms: Sequence[np.random.Generator] | None
    ) -> Tensor:
        """Inputs of some samples, each drawn by its own generator; None draws nothing.

        Raises:
            CafVideoError: A sample cannot be read.
        """
        ...


class Sampler(Protocol):
    """Chooses training batches by number alone: `PKBatchSampler` or `ShuffledSampler`."""

    def __len__(self) -> int:
        """Batches an epoch."""
        ...

    def batch(self, number: int) -> list[int]:
        """Positions of the samples in batch `number` of the whole training."""
        ...


class ShuffledSampler:
    """Goes through all samples in batches, again and again, each time in another order.

    The few that are left at the end of a pass, and would make a smaller batch, wait for another
    one. Where all of them do not make one batch, they are one.

    Args:
        count: Samples there are.
        batch_size: Samples in a batch.
        batches_per_epoch: How many batches an epoch has; it need not be a pass, and None is one.
        seed: Of the orders.

    Raises:
        InputError: On numbers below 1.
    """

    def __init__(
        self, count: int, *, batch_size: int, batches_per_epoch: int | None, seed: int
    ) -> None:
        for what, number in (
            ("samples", count),
            ("samples in a batch", batch_size),
            ("batches an epoch", batches_per_epoch),
        ):
            if number is not None and number < 1:
                raise InputError(f"{number} {what}: wanted 1 or more")
        self._count, self._batch_size = count, batch_size
        self._batches_a_pass = max(1, count // batch_size)
        self._batches_per_epoch, self._seed = batches_per_epoch or self._batches_a_pass, seed

    def __len__(self) -> int:
        return self._batches_per_epoch

    def batch(self, number: int) -> list[int]:
        """Positions in batch `number` of the whole training."""
        turn, place = divmod(number, self._batches_a_pass)
        order = np.random.default_rng((self._seed, turn)).permutation(self._count)
        return order[place * self._batch_size :][: self._batch_size].tolist()


class TrainingBatches:
    """The batches of a sampler; a pass is an epoch, and the next one goes on from there.

    Batch and what is drawn of its samples depend on the seed and the batch's number alone, however
    many processes make it or share it. So training that stops goes on with the very batches it
    would have had. The number is the state that a checkpoint saves.

    Args:
        samples: Of the training split.
        labels: Of each, as a position among the label names.
        sampler: Chooses those of a batch.
        seed: Of what is drawn of a sample.
        workers: Processes that make batches ahead, of samples that do not write over the last
            batch; 0 makes them here.
        rank, world_size: Which of the processes this is that share each batch: it has every
            `world_size`-th sample from the `rank`-th on.
    """

    def __init__(
        self,
        samples: Samples,
        labels: Sequence[int],
        sampler: Sampler,
        *,
        seed: int,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._samples = samples
        self._labels = torch.as_tensor(labels)
        self._sampler = sampler
        self._seed = seed
        self._workers = workers
        self._rank, self._world_size = rank, world_size
        self._given = 0  # batches, in this process

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[Batch]:
        left = len(self) - self._given % len(self)
        places = range(self._given, self._given + left)
        for batch in _made(self._batch, places, self._workers):
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """How many batches were given: what a checkpoint saves."""
        return {"given": self._given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after as many batches as the state says."""
        self._given = state["given"]

    def _batch(self, number: int) -> Batch:
        positions = self._sampler.batch(number)
        places = range(len(positions))[self._rank :: self._world_size]
        if not places:
            raise InputError(
                f"a batch of {len(positions)} samples cannot be shared by {self._world_size} "
                "processes: train with fewer, or on larger batches"
            )
        mine = [positions[place] for place in places]
        randoms = [np.random.default_rng((self._seed, 1, number, place)) for place in places]
        inputs, chosen = self._samples.batch(mine, randoms), torch.as_tensor(mine)
        return Batch(inputs, self._labels[chosen], chosen)


class EvaluationBatches:
    """All samples in order, with nothing drawn.

    Processes that share them have equally many: of a few, the first samples again.

    Args:
        samples: Of a split.
        labels: Of each, as a position among the label names.
        batch_size: Samples at once.
        workers: As of `TrainingBatches`.
        rank, world_size: As of `TrainingBatches`.
    """

    def __init__(
        self,
        samples: Samples,
        labels: Sequence[int],
        *,
        batch_size: int,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batches of {batch_size} samples: wanted 1 or more")
        self._samples = samples
        self._labels = torch.as_tensor(labels)
        self._batch_size = batch_size
        self._workers = workers
        share = -(-len(samples) // world_size)
        self._positions = torch.arange(share) * world_size + rank
        self._positions %= max(1, len(samples))

    def __len__(self) -> int:
        return -(-len(self._positions) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return _made(self._batch, range(len(self)), self._workers)

    def _batch(self, number: int) -> Batch:
        positions = self._positions[number * self._batch_size :][: self._batch_size]
        inputs = self._samples.batch(positions.tolist(), None)
        return Batch(inputs, self._labels[positions], positions)


def _made(make: Callable[[int], Batch], numbers: Sequence[int], workers: int) -> Iterator[Batch]:
    lost = CafVideoError(
        "a process that makes batches was ended from outside, or memory ran out: "
        "go on with ckpt_path=last, and fewer data.workers"
    )
    return made_in_order(make, numbers, workers=workers, lost=lost)
