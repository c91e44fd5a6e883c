"""Shared by the tests of faults: a limit of time, flipped bits, a trained network in a file."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from caf_video.data.features import FeatureStore
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.training.checkpoint import KEY, RunRecord, plain_record

SECONDS = 60  # of a case, on a machine that has other work


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """A reader that waits for a pipe, say, fails its case instead of stopping them all."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not done in {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def flips() -> Callable[..., Iterator[bytes]]:
    """Copies of some bytes, each with one bit that is another, by a seed."""

    def of(content: bytes, count: int) -> Iterator[bytes]:
        random = np.random.default_rng(20_201_123)
        for place in random.choice(8 * len(content), size=count, replace=False).tolist():
            damaged = bytearray(content)
            damaged[place // 8] ^= 1 << place % 8
            yield bytes(damaged)

    return of


@pytest.fixture(scope="session")
def checkpoint(store_folder: Path) -> dict:
    """A checkpoint of a tiny embedder that nobody trained."""
    torch.manual_seed(0)
    model = RecurrentEmbedder(in_channels=6, grid=(2, 3), channels=5, hidden=6, embedding_dim=4)
    record = RunRecord(
        kind="recurrent",
        hyperparameters=model.hyperparameters,
        normalize=True,
        description=FeatureStore.open(store_folder).description,
        label_names=["left", "right", "stop"],
        config={"kind": "recurrent", "seed": 0, "features": str(store_folder)},
        training_clips={},
    )
    weights = {f"model.{name}": values for name, values in model.state_dict().items()}
    return {KEY: plain_record(record), "state_dict": weights, "global_step": 3}
