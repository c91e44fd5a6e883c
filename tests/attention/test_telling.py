"""Losses that tell nothing are named, with a layer that tells something; ordinary ones are not."""

import warnings
from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn

from caf_video.attention import AttentionWarning, explain
from caf_video.errors import InputError


class Block(nn.Module):
    """A transformer's block, as ViT has it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Read at its class token, or pooled."""

    def __init__(self, pool: str, *, norm: bool = True, width: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, int(pool == "token"), width))
        self.place = nn.Parameter(torch.randn(1, 12 + int(pool == "token"), width))
        self.blocks = nn.Sequential(Block(width), Block(width), Block(width))
        self.norm = nn.LayerNorm(width, eps=1e-8) if norm else nn.Identity()
        self.fc, self.pool = nn.Linear(width, 5), pool

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1) + self.place
        tokens = self.norm(self.blocks(tokens))
        return self.fc(tokens[:, 0] if self.pool == "token" else tokens.mean(dim=1))


class Swin(nn.Module):
    """Channels last, with a norm in each cell before the pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.block = nn.Conv2d(3, 8, 4, 4), nn.Sequential(nn.Linear(8, 8), nn.GELU())
        self.norm, self.fc = nn.LayerNorm(8, eps=1e-9), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).permute(0, 2, 3, 1)
        return self.fc(self.norm(x + self.block(x)).mean(dim=(1, 2)))


class Scaled(nn.Module):
    """Ignores the scale of a map that it does not pool: nothing can be done."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn, self.fc = nn.Conv2d(3, 4, 3, 4), nn.Linear(4 * 12, 5)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.cnn(x)
        maps = maps / maps.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return self.fc(maps.flatten(1))


X = (2, 3, 12, 16)
FLAT: dict[str, tuple[Callable[[], nn.Module], str, str, str | None]] = {
    "ViT, a norm in each cell behind": (lambda: ViT("mean"), "blocks.2", "cells", "norm"),
    "ViT, its last block is read at the class token": (
        lambda: ViT("token"), "blocks.2", "unread", "blocks.2.norm1"),
    "ViT, what the last norm gives is read at the class token": (
        lambda: ViT("token"), "norm", "unread", None),
    "Swin": (Swin, "block", "", None),
    "the scale of all": (Scaled, "cnn", "scale", None),
}  # fmt: skip


@pytest.mark.parametrize("name", FLAT)
def test_a_loss_that_tells_nothing_is_named_with_a_layer_that_does(name) -> None:
    torch.manual_seed(0)
    make, layer, flat, advised = FLAT[name]
    model, x = make().eval(), torch.randn(X)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = explain(model, x, layer=layer)
    text = " ".join(str(one.message) for one in caught)
    if not flat:  # the skip around the block tells
        assert found.flat is None and not text
        return
    assert found.flat == flat
    assert len(caught) == 1 and caught[0].category is AttentionWarning
    assert f'the filters of layer "{layer}" say nothing' in text
    meaning = {"cells": "every positive filter", "unread": "every filter is", "scale": "uniform"}
    assert meaning[flat] in text
    # It is so: by a plain hook, the filters that the word is about change nothing.
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(found.filters.shape, generator=generator)
    noise = {"cells": noise.abs() + 0.1, "unread": noise, "scale": torch.full_like(noise, 0.3)}[
        flat
    ]
    cells = noise.flatten(1)[:, :, None]
    if name.startswith("ViT") and "token" in name:
        cells = torch.cat([torch.ones(2, 1, 1), cells], dim=1)
    with torch.no_grad():
        plain = model(x)
        multiplier = noise[:, None] if name == "the scale of all" else cells
        handle = model.get_submodule(layer).register_forward_hook(lambda m, a, o: o * multiplier)
        moved = (model(x) - plain).square().sum()
        handle.remove()
    assert moved <= 1e-6 * plain.square().sum()
    if advised is None:
        return
    assert f'layer="{advised}" tells something' in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        better = explain(model, x, layer=advised)
    assert better.flat is None and better.filters.flatten(1).std(dim=1).min() > 1e-3


def vgg() -> nn.Module:
    layers = torchvision.models.vgg.make_layers([8, "M", 8, "M", 16, "M"], batch_norm=True)
    model = torchvision.models.VGG(layers, init_weights=False)
    model.classifier = nn.Sequential(nn.Linear(16 * 49, 32), nn.ReLU(), nn.Linear(32, 5))
    return model


class Clips(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn, self.lstm = nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.ReLU()), nn.LSTM(8, 12)
        self.fc = nn.Linear(12, 6)

    def forward(self, v: Tensor) -> Tensor:
        z = self.cnn(v.flatten(0, 1)).mean(dim=(2, 3)).unflatten(0, v.shape[:2])
        return self.fc(self.lstm(z.transpose(0, 1))[0][-1])


def resnet() -> nn.Module:
    return torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], 7)


ORDINARY: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[str]]] = {
    "resnet": (resnet, (2, 3, 64, 64), ["layer4", "layer3"]),
    "vgg": (vgg, (2, 3, 32, 32), ["features.11", "features"]),
    "ViT, pooled": (lambda: ViT("mean", norm=False), X, ["blocks.2", "blocks.0"]),
    "ViT, the block before the last": (lambda: ViT("token"), X, ["blocks.0.mlp"]),
    "LSTM": (Clips, (2, 3, 3, 20, 24), ["cnn"]),
    "1-D": (
        lambda: nn.Sequential(nn.Conv1d(2, 8, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 13, 3)),
        (2, 2, 30), ["1"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_network_raises_no_alarm(name) -> None:
    torch.manual_seed(0)
    make, shape, layers = ORDINARY[name]
    model, x = make().eval(), torch.randn(shape)
    for layer in layers:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = explain(model, x, layer=layer)
        assert found.flat is None and found.until is None


class Segmentation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        self.classify = nn.Conv2d(8, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.classify(self.backbone(x).relu())
        return nn.functional.interpolate(maps, x.shape[2:], mode="bilinear")


DEFAULTS = {
    "CNN": (resnet, (2, 3, 64, 64), "layer4"),
    "ViT, pooled without a norm": (lambda: ViT("mean", norm=False), X, "norm"),
    "ViT, pooled behind a norm": (lambda: ViT("mean"), X, "norm"),
    "ViT, class token": (lambda: ViT("token"), X, "blocks.2.norm1"),
    "Swin": (Swin, X, "norm"),
    "segmentation": (Segmentation, X, "backbone"),
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_without_a_layer_the_last_that_tells_something_is_taken_and_said(name) -> None:
    torch.manual_seed(0)
    make, shape, layer = DEFAULTS[name]
    model, x = make().eval(), torch.randn(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = explain(model, x)
    assert found.layer == layer
    torch.testing.assert_close(found.losses, explain(model, x, layer=layer).losses)
    assert found.flat is None and found.filters.flatten(1).std(dim=1).min() > 1e-4


def test_a_network_without_maps_asks_for_a_layer() -> None:
    with pytest.raises(InputError, match="no layer of Sequential is sure to say where it looked"):
        explain(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)), torch.randn(2, 4))
