"""Networks of every kind: the loss reported is a plain hook's, and Adam does no better."""

from collections import OrderedDict, UserDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from caf_video.attention import explain, grad_cam
from caf_video.errors import InputError


def trunk(channels: int = 3, out: int = 6) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, 4), nn.Tanh())


class Of(nn.Module):
    """A trunk, a layer after its pooling, and any code between and behind."""

    def __init__(self, forward: Callable[[nn.Module, Any], Any], **parts: nn.Module) -> None:
        super().__init__()
        self.cnn = parts.pop("cnn", trunk())
        self.fc = parts.pop("fc", nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5)))
        for name, part in parts.items():
            self.add_module(name, part)
        self._run = forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(self, *args, **kwargs)


def pooled(maps: Tensor) -> Tensor:
    return maps.mean(dim=tuple(range(2, maps.dim())))


def two_paths(m: nn.Module, paths: list[Tensor]) -> Tensor:
    return m.fc(torch.cat([pooled(m.cnn(paths[0])), pooled(m.fast(paths[1]))], dim=1))


def of_images(filters: Tensor) -> Tensor:
    """(n, h, w) for a map (n, c, h, w)."""
    return filters[:, None]


@dataclass
class Pair:
    first: Tensor
    second: Tensor


@dataclass
class Answer:
    logits: Tensor


class BatchFeature(UserDict):
    """As transformers' image processors return."""


class ModelOutput(OrderedDict):
    """As transformers' models return: its keys are attributes, its numbers are positions."""

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else tuple(self.values())[key]


class InnerCheckpoint(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.layers, self.reentrant = nn.Sequential(nn.Linear(6, 8), nn.Tanh()), reentrant

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.layers, x, use_reentrant=self.reentrant)


IMAGES = (2, 3, 15, 19)
Kind = tuple[Callable[[], nn.Module], Callable[[], Any], dict[str, Any]]
# name: the network, its inputs, and what of `Hooked` is not plain
KINDS: dict[str, Kind] = {
    "outputs (n,)": (
        lambda: Of(lambda m, x: m.fc(pooled(m.cnn(x)))[:, 0]),
        lambda: torch.randn(IMAGES),
        {},
    ),
    "one number in all, one image": (
        lambda: Of(lambda m, x: m.fc(pooled(m.cnn(x))).sum()),
        lambda: torch.randn(1, 3, 15, 19),
        {"pick": lambda output: output.reshape(1, 1)},
    ),
    "a list [slow, fast]": (
        lambda: Of(
            two_paths, cnn=nn.Conv3d(3, 4, 3, (1, 4, 4), 1), fast=nn.Conv3d(3, 2, 3, (2, 4, 4), 1)
        ),
        lambda: [torch.randn(2, 3, 2, 12, 12), torch.randn(2, 3, 8, 12, 12)],
        {"pick": lambda output: output},
    ),
    "([slow, fast],)": (
        lambda: Of(
            two_paths, cnn=nn.Conv3d(3, 4, 3, (1, 4, 4), 1), fast=nn.Conv3d(3, 2, 3, (2, 4, 4), 1)
        ),
        lambda: ([torch.randn(2, 3, 2, 12, 12), torch.randn(2, 3, 8, 12, 12)],),
        {},
    ),
    '({"image": x},)': (
        lambda: Of(lambda m, batch: m.fc(pooled(m.cnn(batch["image"])))),
        lambda: ({"image": torch.randn(IMAGES)},),
        {},
    ),
    "a dataclass": (
        lambda: Of(lambda m, pair: m.fc(pooled(m.cnn(pair.first)) + pair.second)),
        lambda: Pair(torch.randn(IMAGES), torch.randn(2, 6)),
        {},
    ),
    "a UserDict of keywords": (
        lambda: Of(lambda m, pixel_values: m.fc(pooled(m.cnn(pixel_values)))),
        lambda: BatchFeature(pixel_values=torch.randn(IMAGES)),
        {},
    ),
    "a ModelOutput returned": (
        lambda: Of(lambda m, x: ModelOutput(logits=m.fc(pooled(m.cnn(x))))),
        lambda: torch.randn(IMAGES),
        {"pick": lambda output: output.logits},
    ),
    "a dataclass returned": (
        lambda: Of(lambda m, x: Answer(m.fc(pooled(m.cnn(x))))),
        lambda: torch.randn(IMAGES),
        {"pick": lambda output: output.logits},
    ),
    ".view(1, -1), one image": (
        lambda: Of(lambda m, x: m.fc(m.cnn(x).view(1, -1)), fc=nn.Linear(6 * 4 * 5, 5)),
        lambda: torch.randn(1, 3, 15, 19),
        {},
    ),
    "a vmap head": (
        lambda: Of(lambda m, x: torch.func.vmap(lambda one: m.fc(one.mean((1, 2))))(m.cnn(x))),
        lambda: torch.randn(IMAGES),
        {},
    ),
    "checkpointing": (
        lambda: Of(lambda m, x: m.fc(m.part(pooled(m.cnn(x)))), fc=nn.Linear(8, 5),
                   part=InnerCheckpoint(False)),
        lambda: torch.randn(IMAGES),
        {},
    ),
    "checkpointing around the layer": (
        lambda: Of(lambda m, x: m.fc(pooled(checkpoint(m.cnn, x, use_reentrant=False)))),
        lambda: torch.randn(IMAGES),
        {},
    ),
    "a data-parallel wrapper": (
        lambda: nn.DataParallel(Of(lambda m, x: m.fc(pooled(m.cnn(x))))),
        lambda: torch.randn(IMAGES),
        {"layer": "module.cnn"},
    ),
    "whole numbers as images": (
        lambda: Of(lambda m, x: m.fc(pooled(m.cnn(x.float() / 255)))),
        lambda: torch.randint(0, 256, IMAGES, dtype=torch.uint8),
        {},
    ),
    "images of three axes, a list": (
        lambda: Of(lambda m, images: m.fc(pooled(m.cnn(torch.stack(images))))),
        lambda: [torch.randn(3, 15, 19), torch.randn(3, 15, 19)],
        {},
    ),
    "statistics of the batch": (
        lambda: Of(lambda m, x: m.fc(pooled(m.norm(m.cnn(x)).relu())),
                   norm=nn.BatchNorm2d(6, track_running_stats=False)),
        lambda: torch.randn(3, 3, 15, 19),
        {},
    ),
    "z @ z.T": (
        lambda: Of(lambda m, x: (z := m.fc(pooled(m.cnn(x)))) @ z.T),
        lambda: torch.randn(3, 3, 15, 19),
        {},
    ),
    "a layer that returns its map in a tuple": (
        lambda: Of(lambda m, x: m.fc(pooled(m.cnn(x)[0])), cnn=Of(
            lambda m, x: (m.cnn(x), torch.ones(2, 3)))),
        lambda: torch.randn(IMAGES),
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_the_reported_loss_is_the_hooks_and_no_worse_than_adams(name, hooked) -> None:
    torch.manual_seed(0)
    make, inputs, more = KINDS[name]
    model, x = make().eval(), inputs()
    layer = more.get("layer", "cnn")
    plain = hooked(model, x, layer, of_images, **{k: v for k, v in more.items() if k != "layer"})
    fast = explain(model, x, layer=layer)
    assert fast.flat is None and fast.until is None
    # A checkpoint around the layer runs it again on the way back, when the hook is gone.
    plain.check(fast, adam=name != "checkpointing around the layer")
    vanilla = explain(model, x, layer=layer, endpoint="vanilla")
    torch.testing.assert_close(vanilla.losses, fast.losses, rtol=1e-3, atol=1e-6)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # torch's own
def test_re_entrant_checkpointing_is_named_with_its_mend() -> None:
    model = Of(
        lambda m, x: m.fc(m.part(pooled(m.cnn(x)))), fc=nn.Linear(8, 5), part=InnerCheckpoint(True)
    )
    for ask in (explain, grad_cam):
        with pytest.raises(InputError, match="use_reentrant=False"):
            ask(model, torch.randn(IMAGES), layer="cnn")


def test_a_layer_inside_a_vmap_is_named() -> None:
    model = Of(lambda m, x: torch.func.vmap(lambda one: m.fc(m.cnn(one).mean((1, 2))))(x))
    with pytest.raises(InputError, match="vmap"):
        explain(model, torch.randn(IMAGES), layer="cnn")
