"""Shared by the tests of training: a network and images that are small enough to train fast."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from caf_video.models.architectures import Architecture, Stage
from caf_video.models.image_network import IMAGE_BACKBONES

COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 40, 50)}


class TinyNet(nn.Module):
    """Two convolutions with batch norm, 8 pixels a cell; trained from nothing in a few steps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 5, stride=4, padding=2), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 10)


def tiny_chain(net: nn.Module) -> list[tuple[str, nn.Module]]:
    steps = dict(net.named_children())
    fc = steps.pop("fc")
    pairs = [(name, steps[name]) for name in ("conv1", "bn1")]
    more = [(name, steps[name]) for name in ("conv2", "bn2")]
    pool = [("avgpool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("fc", fc)]
    return [*pairs, ("relu1", nn.ReLU()), *more, ("relu2", nn.ReLU()), *pool]


@pytest.fixture(scope="module")
def tiny_backbone() -> Iterator[str]:
    """Name of a backbone of `ImageNetwork` that is there while the tests of a file run."""
    tiny = Architecture(TinyNet, tiny_chain, {8: Stage("relu2", 8)}, torchvision=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(IMAGE_BACKBONES, "tiny", tiny)
        yield "tiny"


def write_pictures(
    root: Path,
    *,
    train: int = 6,
    val: int = 3,
    test: int = 3,
    labels: Sequence[str] = tuple(COLOURS),
) -> Path:
    """So many pictures of every class in each split: a colour under much noise, of odd sizes."""
    random = np.random.default_rng(0)
    rows = []
    for split, count in (("train", train), ("val", val), ("test", test)):
        for label in labels:
            for number in range(count):
                name = f"{split}_{label}_{number}.png"
                noise = random.normal(0, 60, (41 + number, 57, 3))
                pixels = np.asarray(COLOURS[label]) + noise
                root.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / name)
                rows.append((name, label, split))
    with (root / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "label", "split"), *rows])
    return root


@pytest.fixture
def make_pictures(tmp_path: Path) -> Callable[..., Path]:
    """Write a set of pictures into the test's folder; settings as `write_pictures`."""
    return lambda **settings: write_pictures(tmp_path / "pictures", **settings)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of pictures that several tests read, and none writes."""
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def assert_same_end() -> Callable[[Path, Path], None]:
    """Two runs ended with the same weights, optimizer, schedule and numbers."""

    def compare(one: Path, other: Path) -> None:
        last, wanted = (
            torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (one, other)
        )
        for part in ("global_step", "epoch", "callbacks", "lr_schedulers", "optimizer_states"):
            assert same(last[part], wanted[part]), part
        assert same(last["state_dict"], wanted["state_dict"])
        assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()

    return compare


def same(one: object, other: object) -> bool:
    """Equal to the bit, whatever it is made of."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
