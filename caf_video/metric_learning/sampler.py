"""Batches of P classes with K samples each, in which every sample has a positive."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from caf_video.errors import InputError


class PKBatchSampler:
    """Draws P classes a batch, and K different samples of each.

    A sample is at most once in a batch, so never its own positive. A class with fewer than K gives
    all it has, and where there are fewer than P classes all are drawn: such a batch is smaller.
    Batches are drawn independently of each other: the same seed and batch number give the same
    batch, whatever was drawn before, so training can go on from any batch.

    Args:
        labels: The class of every sample.
        classes_per_batch: P, at least 2.
        samples_per_class: K, at least 2.
        batches_per_epoch: Its length; batches can be drawn by any number. None: as many as draw as
            many samples as there are, on average.
        seed: Of the draws.

    Raises:
        InputError: On numbers too small, a single class, or a class with one sample, by its name.
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        classes_per_batch: int,
        samples_per_class: int,
        batches_per_epoch: int | None,
        seed: int,
    ) -> None:
        if classes_per_batch < 2 or samples_per_class < 2:
            raise InputError(
                f"batches of {classes_per_batch} classes x {samples_per_class} samples: "
                "a ranking loss needs at least 2 x 2"
            )
        if batches_per_epoch is not None and batches_per_epoch < 1:
            raise InputError(f"{batches_per_epoch} batches an epoch: wanted 1 or more")
        members: dict[str, list[int]] = defaultdict(list)
        for position, label in enumerate(labels):
            members[label].append(position)
        if len(members) < 2:
            raise InputError(f"{len(members)} class to draw batches from: wanted 2 or more")
        for label, positions in members.items():
            if len(positions) < 2:
                raise InputError(f"class {label!r} has one sample: it needs two to form a pair")
        self._classes = [np.asarray(positions) for positions in members.values()]
        self._classes_per_batch = classes_per_batch
        self._samples_per_class = samples_per_class
        drawn = sum(min(samples_per_class, len(one)) for one in self._classes) / len(self._classes)
        drawn *= min(classes_per_batch, len(self._classes))  # samples of a batch, on average
        self._batches_per_epoch = batches_per_epoch or math.ceil(len(labels) / drawn)
        self._seed = seed

    def batch(self, number: int) -> list[int]:
        """Positions in batch `number` of the whole training, class after class."""
        random = np.random.default_rng((self._seed, number))
        chosen = random.permutation(len(self._classes))[: self._classes_per_batch]
        drawn = [random.permutation(self._classes[c])[: self._samples_per_class] for c in chosen]
        return np.concatenate(drawn).tolist()

    def __len__(self) -> int:
        return self._batches_per_epoch
