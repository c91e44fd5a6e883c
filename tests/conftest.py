"""Shared fixtures: one thread, seeded randomness, and the real data where a machine has it."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep every test single-threaded: the machines that run them have few cores."""
    torch.set_num_threads(1)


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded source of randomness, the same in every test."""
    return torch.Generator().manual_seed(20_201_123)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photographs, weights and videos; tests that need it skip without it."""
    folder = Path(os.environ.get("CAF_VIDEO_SHARED", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set CAF_VIDEO_SHARED)")
    return folder
