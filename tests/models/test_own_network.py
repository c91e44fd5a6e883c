"""A module of one's own as a backbone: what it may be, and what it may say."""

import importlib
import json
import linecache
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from caf_video.errors import InputError
from caf_video.models.backbones import load_backbone
from caf_video.models.image_network import ImageNetwork, image_preprocessing
from caf_video.models.weights import WeightsError

SOURCE = '''
import torch
from torch import nn


class Plain(nn.Module):
    """8 pixels a cell; calling it gives the map."""

    def __init__(self, channels=6):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 8, stride=8)

    def forward(self, images):
        return self.stem(images).relu()


class Halved(Plain):
    mean, std, interpolation, input_size = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bicubic", (64, 96)

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 10)

    def features(self, images):
        return self.stem(images).relu()

    def head(self, maps):
        return self.fc(maps.mean(dim=(2, 3)))

    def forward(self, images):
        return self.head(self.features(images))


class Last(Plain):
    def forward(self, images):
        return super().forward(images).permute(0, 2, 3, 1)


class Tokens(Plain):
    num_prefix_tokens = 3

    def forward(self, images):
        tokens = super().forward(images).flatten(2).transpose(1, 2)
        return torch.cat([tokens[:, :3] * 0, tokens], dim=1)


class Lying(Halved):
    def forward(self, images):
        return 2 * super().forward(images)


class Transposed(Plain):
    def forward(self, images):
        return super().forward(images).transpose(2, 3)


class Classifier(Halved):
    features = None

    def forward(self, images):
        return self.head(self.stem(images))


class Cube(Plain):
    input_size = (64, 64)

    def __init__(self):
        super().__init__(channels=8)


class Square(Cube):
    axes = "n h w c"

    def forward(self, images):
        return super().forward(images).permute(0, 2, 3, 1)


def outer(inner, scale=1.0):
    return inner


def number():
    return 3
'''


@pytest.fixture(autouse=True)
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_nets.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_nets", None)


def stem(backbone) -> torch.nn.Module:
    return next(module for module in backbone.modules() if isinstance(module, torch.nn.Conv2d))


@pytest.mark.parametrize("name", ["Plain", "Last", "Tokens"])
def test_the_map_is_channels_first_whatever_it_was(name: str, generator) -> None:
    backbone = load_backbone(f"own_nets.{name}")
    images = torch.randn(3, 3, 64, 96, generator=generator)
    maps = backbone.features(images)
    assert maps.shape == (3, 6, 8, 12)
    assert (backbone.name, backbone.stride, backbone.channels) == (f"own_nets.{name}", 8, 6)
    assert backbone.grid((64, 96)) == (8, 12)
    kernel, bias = stem(backbone).weight, stem(backbone).bias
    for n, y, x in ((0, 0, 0), (1, 7, 2), (2, 3, 11)):  # the convolution by hand, a cell at a time
        patch = images[n, :, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
        cell = ((kernel * patch).sum(dim=(1, 2, 3)) + bias).clamp(min=0)
        torch.testing.assert_close(maps[n, :, y, x], cell, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="feature maps only .*it comes without a head"):
        backbone.head(maps)


def test_a_module_with_two_halves_keeps_the_law_and_says_how_it_is_fed(generator) -> None:
    backbone = load_backbone("own_nets.Halved")
    images = torch.randn(2, 3, 64, 96, generator=generator)
    assert torch.equal(backbone(images), backbone.head(backbone.features(images)))
    assert torch.equal(backbone(images), backbone.trunk[0].net(images))
    assert backbone.output_count() == 10
    assert backbone.own_size == (64, 96)
    frames = np.full((1, 40, 40, 3), 255, dtype=np.uint8)
    assert backbone.preprocessing((32, 32))(frames).unique().item() == 2  # (1 - 0.5) / 0.25
    assert str(backbone.normalization) == "bicubic, mean 0.5 0.5 0.5, std 0.25 0.25 0.25"
    assert image_preprocessing("own_nets.Halved", (32, 32)) == backbone.preprocessing((32, 32))


def test_bfloat16_is_near_and_the_maps_are_float32(generator) -> None:
    torch.manual_seed(0)
    exact = load_backbone("own_nets.Plain")
    torch.manual_seed(0)
    near = load_backbone("own_nets.Plain", precision="bfloat16")
    images = torch.randn(1, 3, 64, 64, generator=generator)
    maps = near.features(images)
    assert maps.dtype == torch.float32
    error = (maps - exact.features(images)).norm() / exact.features(images).norm()
    assert 0 < error < 0.02


def test_arguments_are_given_and_the_name_makes_the_same_network_again(tmp_path) -> None:
    backbone = load_backbone({"_target_": "own_nets.Plain", "channels": 5})
    assert backbone.channels == 5
    assert json.loads(backbone.name) == {"_target_": "own_nets.Plain", "channels": 5}
    save_file(backbone.trunk[0].net.state_dict(), tmp_path / "w.safetensors")
    again = load_backbone(backbone.name, weights=str(tmp_path / "w.safetensors"))
    assert again.weights_sha256 == backbone.weights_sha256
    assert (again.name, again.revision) == (backbone.name, backbone.revision)
    nested = {"_target_": "own_nets.outer", "inner": {"_target_": "own_nets.Plain", "channels": 4}}
    assert load_backbone(nested).channels == 4


def test_another_code_of_the_same_name_is_another_revision(tmp_path) -> None:
    before = load_backbone("own_nets.Plain").revision
    sys.modules.pop("own_nets")
    (tmp_path / "own_nets.py").write_text(SOURCE.replace(".relu()", ".tanh()"))
    importlib.invalidate_caches()
    linecache.clearcache()
    for compiled in (tmp_path / "__pycache__").glob("*"):
        compiled.unlink()
    assert load_backbone("own_nets.Plain").revision != before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own_nets.Classifier", r"returned \(1, 10\) for an image of 64x96, which is no map"),
        ("own_nets.Transposed", "a change at the top right of the image moves the bottom left"),
        ("own_nets.Cube", 'may be "n c h w" or "n h w c": say how .* axes ='),
        ("own_nets.number", "gave a int, not an nn.Module"),
        ("own_nets.Missing", "module own_nets has no class or function 'Missing'"),
        ("no_such_package.nets.Net", "no module 'no_such_package' .* PYTHONPATH"),
        ("{_target_: own_nets.Plain}", "is not JSON"),
        ({"channels": 3}, "has no _target_"),
        ({"_target_": "own_nets.Plain", "width": 3}, "unexpected keyword argument 'width'"),
        ({"_target_": "Plain"}, "wanted package.module.factory"),
        ("vgg", "no backbone 'vgg': choose one of resnet18.* timm/NAME, hf/ID, or package.module"),
    ],
)
def test_what_gives_no_map_or_is_not_there_is_one_line(name, words) -> None:
    with pytest.raises(InputError, match=words) as caught:
        load_backbone(name)
    assert "\n" not in str(caught.value)


def test_axes_that_are_said_are_taken() -> None:
    assert load_backbone("own_nets.Square").channels == 8


def test_a_head_that_is_not_the_networks_own_is_none() -> None:
    backbone = load_backbone("own_nets.Lying")
    with pytest.raises(InputError, match="is not what the network itself gives"):
        backbone.require_head()


def test_sizes_are_whole_cells(generator) -> None:
    backbone = load_backbone("own_nets.Plain")
    with pytest.raises(InputError, match=r"multiples of 8, got \(60, 64\)"):
        backbone.grid((60, 64))
    assert backbone.size_for(540, 960, shorter=40) == (40, 72)
    with pytest.raises(InputError, match="no stride 16 of own_nets.Plain: its map has 8 pixels"):
        load_backbone("own_nets.Plain", stride=16)
    assert load_backbone("own_nets.Plain", stride=8).stride == 8


def test_weights_are_the_factorys_random_or_a_file_that_must_fit(tmp_path) -> None:
    torch.manual_seed(0)
    made = load_backbone("own_nets.Plain")
    torch.manual_seed(0)
    assert load_backbone("own_nets.Plain").weights_sha256 == made.weights_sha256
    assert made.weights == "default"
    torch.manual_seed(0)
    assert load_backbone("own_nets.Plain", weights="none").weights_sha256 != made.weights_sha256
    save_file({"stem.weight": torch.ones(6, 3, 8, 8)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"w.safetensors does not hold .* no stem\.bias"):
        load_backbone("own_nets.Plain", weights=str(tmp_path / "w.safetensors"))
    with pytest.raises(WeightsError, match="neither a file nor default nor none"):
        load_backbone("own_nets.Plain", weights="IMAGENET1K_V1")


def test_it_is_trained_on_images_too_and_comes_back_from_plain_values(generator) -> None:
    spec = {"_target_": "own_nets.Plain", "channels": 5}
    network = ImageNetwork(spec, outputs=4, weights="none")
    images = torch.randn(2, 3, 64, 64, generator=generator)
    assert network(images).shape == (2, 4)
    assert isinstance(network.hyperparameters["backbone"], str)
    again = ImageNetwork(**network.hyperparameters, weights="none")
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.eval()(images), network.eval()(images))
    network.train()(images).sum().backward()
    assert all(values.grad is not None for values in network.parameters())
