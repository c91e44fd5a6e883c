"""The networks of the zoo: which, how each is made, and what it is called with."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.zoo.check import SAMPLES, Case
from benchmarks.zoo.timm_families import TIMM
from benchmarks.zoo.transformers_networks import TRANSFORMERS, transformer

CLASSES = 7
SIZES = ((64, 96), (96, 96), (128, 192), (224, 224), (256, 256), (384, 384))
LARGER = {
    "alexnet": (128, 192),
    "crossvit_tiny_240": (240, 240),
    "csatv2": (256, 384),
    "inception_resnet_v2": (192, 256),
    "inception_v3": (192, 256),
    "inception_v4": (192, 256),
    "shvit_s1": (192, 256),
}
CLIPS = ((8, 64, 96), (8, 112, 112), (16, 112, 112), (16, 224, 224))


def names() -> list[str]:
    """Of all networks: "torchvision/resnet18", "timm/…", "transformers/…"."""
    from torchvision import models

    listed = []
    for module in (models, models.segmentation, models.video):
        listed += [f"torchvision/{name}" for name in models.list_models(module=module)]
    listed += [f"timm/{name}" for family in TIMM.values() for name in family]
    return listed + [f"transformers/{name}" for name in TRANSFORMERS]


def family_of(name: str) -> str:
    """The line of the table that a network is in."""
    library, _, name = name.partition("/")
    if library == "timm":
        return next(family for family, members in TIMM.items() if name in members)
    if library == "torchvision":
        known = ("resnext", "wide_resnet", "resnet", "regnet_x", "regnet_y", "efficientnet_v2",
                 "efficientnet", "vgg", "densenet", "mnasnet", "mobilenet_v2", "mobilenet_v3",
                 "shufflenet_v2", "squeezenet", "convnext", "swin_v2", "swin3d", "swin", "vit",
                 "deeplabv3", "fcn", "mvit")  # fmt: skip
        return next((family for family in known if name.startswith(family)), name)
    return name


def make(name: str, millions: float) -> Case:
    """A network with random weights and two samples for it.

    Raises:
        TooLarge: It has more than so many million parameters.
        RuntimeError: It runs on no input that was tried.
    """
    torch.manual_seed(0)
    library, _, kind = name.partition("/")
    if library == "transformers":
        model, inputs, more = transformer(kind)
        return _lively(Case(model.eval(), inputs, **more))
    tries = _torchvision(kind) if library == "torchvision" else _timm(kind)
    errors = []
    for build, inputs in tries:
        try:
            model = build().eval()
            case = Case(model, inputs, input_axes="n c t h w" if inputs.dim() == 5 else "n c h w")
            if sum(p.numel() for p in model.parameters()) > millions * 1e6:
                raise TooLarge(f"more than {millions:.0f} M parameters")
            with torch.no_grad():
                model(inputs)
        except TooLarge:
            raise
        except Exception as error:  # noqa: BLE001 - any size may be wrong, in any way
            errors.append(f"{tuple(inputs.shape)}: {error!r}"[:160])
            continue
        return _lively(case)
    raise RuntimeError("; ".join(errors))


class TooLarge(Exception):
    """A network is left out for its size."""


def images(size: tuple[int, ...], channels: int = 3) -> Tensor:
    """Two images or clips (2, c, *size): smooth, with noise."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(SAMPLES, channels, *(4 for _ in size), generator=generator)
    mode = "bilinear" if len(size) == 2 else "trilinear"
    smooth = functional.interpolate(coarse, size=size, mode=mode)
    return smooth + 0.3 * torch.randn(smooth.shape, generator=generator)


Try = tuple[Callable[[], nn.Module], Tensor]


def _torchvision(name: str) -> Iterator[Try]:
    from torchvision import models

    builder = models.get_model_builder(name)
    is_video = name in models.list_models(module=models.video)
    more: dict[str, Any] = {"num_classes": CLASSES}
    if name in models.list_models(module=models.segmentation):
        more["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        more["init_weights"] = True
    for size in CLIPS if is_video else _sizes(name):
        also: dict[str, Any] = {}
        if name.startswith("vit_"):
            if size != (96, 96) and size != (224, 224):
                continue
            also = {"image_size": size[0]}
        yield lambda also=also: builder(weights=None, **more, **also), images(size)


def _timm(name: str) -> Iterator[Try]:
    import timm

    def build(**more: Any) -> nn.Module:
        return timm.create_model(name, pretrained=False, num_classes=CLASSES, **more)

    for size in _sizes(name):
        yield lambda size=size: build(img_size=size), images(size)
        yield build, images(size)


def _sizes(name: str) -> tuple[tuple[int, int], ...]:
    """The sizes to try, small ones first: but large enough for a map with cells at the end."""
    return (LARGER[name],) if name in LARGER else SIZES


def _lively(case: Case) -> Case:
    """The network as a trained one: no constant weights, batch norm that knows its inputs.

    Zero-started heads and layer scales of 1e-6 would make every filter a perfect answer.
    """
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in case.model.parameters():
            if not parameter.is_floating_point() or parameter.numel() < 2:
                continue
            if parameter.min() == parameter.max():
                noise = torch.randn(parameter.shape, generator=generator)
                start = 1.0 if parameter.flatten()[0].abs() > 1e-2 else 0.0
                if start == 0 and parameter.flatten()[0] != 0:  # a layer scale
                    start = 0.5
                parameter.copy_(start + (0.1 if parameter.dim() < 2 else 0.05) * noise)
    norms = [module for module in case.model.modules() if isinstance(module, _BatchNorm)]
    if norms:
        before = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        try:
            with torch.no_grad(), warnings.catch_warnings(action="ignore"):
                call = {case.key: case.inputs} if case.key else None
                case.model(**call) if call else case.model(case.inputs)
        except (ValueError, RuntimeError):  # one value a channel: as it was made
            for norm in norms:
                norm.reset_running_stats()
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
    case.model.eval()
    return case
