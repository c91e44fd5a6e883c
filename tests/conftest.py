"""Shared fixtures: one thread, seeded randomness, real data where a machine has it, tiny stores."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from caf_video.data.features import ClipFeatures, FeatureStore, StoreDescription
from caf_video.data.manifest import Clip, write_manifest

ROOT = Path(__file__).resolve().parents[1]

# A feature store small enough for tests, whose classes can be told apart and learned.
DESCRIPTION = StoreDescription(
    backbone="tiny",
    weights="none",
    weights_sha256="0" * 64,
    stride=32,
    size=(64, 96),
    channels=6,
    grid=(2, 3),
    timesteps=3,
    candidates=3,
)


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


def clips_of(
    folder: Path,
    *,
    train: int = 6,
    val: int = 3,
    test: int = 3,
    labels: Sequence[str] = ("left", "right", "stop"),
) -> list[Clip]:
    """So many clips of every class in each split. Their videos do not exist."""
    return [
        Clip(
            clip_id=f"{split}/{label}_{number}",
            path=folder / "videos" / f"{split}_{label}_{number}.mp4",
            label=label,
            session=f"{split}_{number}",
            split=split,
        )
        for split, count in (("train", train), ("val", val), ("test", test))
        for label in labels
        for number in range(count)
    ]


def write_store(
    folder: Path,
    clips: Sequence[Clip],
    *,
    signal: float = 1.0,
    description: StoreDescription = DESCRIPTION,
) -> FeatureStore:
    """Noise, in which one channel a class is raised by `signal` in the first segment."""
    store = FeatureStore.create(folder, description)
    write_manifest(clips, store.manifest_path)
    generator = torch.Generator().manual_seed(0)
    labels = sorted({clip.label for clip in clips})
    for clip in clips:
        candidates = description.candidates if clip.split == "train" else 1
        shape = (description.timesteps, candidates, description.channels, *description.grid)
        maps = torch.rand(shape, generator=generator)
        maps[0, :, labels.index(clip.label) % description.channels] += signal
        indices = torch.arange(description.timesteps * candidates).view(-1, candidates)
        store.write(ClipFeatures(clip.clip_id, maps, indices, indices / 25.0), clip_key="tiny")
    return store


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., FeatureStore]:
    """Write a store: clips as `clips_of` makes them, unless given; settings as `write_store`."""

    def make(clips: Sequence[Clip] | None = None, **settings) -> FeatureStore:
        clips = clips_of(tmp_path) if clips is None else clips
        return write_store(tmp_path / "features", clips, **settings)

    return make


@pytest.fixture
def make_clips(tmp_path: Path) -> Callable[..., list[Clip]]:
    """Clips whose videos would lie in the test's folder; settings as `clips_of`."""
    return lambda **settings: clips_of(tmp_path, **settings)


@pytest.fixture(scope="session")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that several tests read, and none writes."""
    folder = tmp_path_factory.mktemp("shared")
    return write_store(folder / "features", clips_of(folder), signal=4.0).folder
