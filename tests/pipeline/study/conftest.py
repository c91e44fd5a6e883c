"""A set of pictures with one object and with two, and a network with random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from caf_video.models.backbones import Backbone, load_backbone


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six pictures of 64 x 96 pixels; the even ones have one bright patch, the odd ones two."""
    root = tmp_path / "pictures"
    root.mkdir()
    random = np.random.default_rng(4)
    rows = ["image,label,x1,y1,x2,y2"]
    for number in range(6):
        pixels = random.integers(0, 90, (64, 96, 3)).astype(np.uint8)
        for patch in range(1 + number % 2):
            x, y = 4 + 48 * patch, 10 + 2 * number
            pixels[y : y + 30, x : x + 24] = 230
            rows.append(f"{number}.png,thing{number % 3},{x},{y},{x + 24},{y + 30}")
        Image.fromarray(pixels).save(root / f"{number}.png")
    (root / "images.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    torch.manual_seed(0)
    return load_backbone("resnet18", weights="none")
