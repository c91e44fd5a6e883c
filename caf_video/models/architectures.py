"""Every backbone as one chain of steps, and the two places where it may be cut.

A chain is what makes ``model(x) == head(features(x))`` true by construction: `features` is the
steps up to the cut, `head` the rest. The chains name torchvision's (or the package's) own modules,
so their weights and their arithmetic are the originals.

Stride 16 is an *earlier stage* of the same network, never dilation: dilated convolutions would
feed the trained last stage something it never saw, exist in torchvision for bottleneck ResNets
only, and cost four times the last stage. At an earlier stage the head simply runs the rest of the
network.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite_pytorch.utils import Conv2dStaticSamePadding
from torch import Tensor, nn
from torchvision.models import get_model

from caf_video.errors import InputError
from caf_video.models.preprocessing import IMAGENET, LITE, Normalization

Steps = list[tuple[str, nn.Module]]


@dataclass(frozen=True)
class Stage:
    """Where `features` ends: the name of its last step, and how many channels come out of it."""

    last_step: str
    channels: int


@dataclass(frozen=True)
class Halves:
    """A network in two: up to its last map, and the rest.

    Attributes:
        trunk: Images (n, 3, height, width) to feature maps (n, c, h, w).
        tail: Feature maps to logits (n, classes).
        stages: Where the network's stages end, by pixels a cell; each is a step of its chain.
        stride: Which of them ends the trunk.
    """

    trunk: nn.Sequential
    tail: nn.Sequential
    stages: Mapping[int, Stage]
    stride: int

    @property
    def channels(self) -> int:
        """Of the feature map."""
        return self.stages[self.stride].channels


@dataclass(frozen=True)
class Architecture:
    """How a named network is built, laid out as a chain, cut and fed.

    Attributes:
        stages: By pixels a cell of the map.
        parent: The backbone that it is made from, whose weights fit but for what was added to it.
        settle: Starts what was added, once the parent's weights are in.
    """

    build: Callable[[], nn.Module]
    chain: Callable[[nn.Module], Steps]
    stages: Mapping[int, Stage]
    normalization: Normalization = field(default=IMAGENET)
    torchvision: bool = True
    parent: str = ""
    settle: Callable[[nn.Module], None] | None = None

    def require_stride(self, stride: int) -> None:
        """Raise InputError unless there is a cut with that many pixels a cell."""
        if stride not in self.stages:
            known = " or ".join(map(str, sorted(self.stages, reverse=True)))
            raise InputError(f"no stride {stride}: choose {known}")

    def halves(self, net: nn.Module, stride: int) -> Halves:
        """A network of this architecture in two, cut at one of `stages`; they share its modules.

        Raises:
            InputError: No cut has this stride.
        """
        self.require_stride(stride)
        steps = self.chain(net)
        end = [step for step, _ in steps].index(self.stages[stride].last_step) + 1
        return Halves(as_sequence(steps[:end]), as_sequence(steps[end:]), self.stages, stride)


def as_sequence(steps: Steps) -> nn.Sequential:
    """Part of a chain as one module."""
    sequence = nn.Sequential()
    for name, module in steps:
        sequence.add_module(name, module)
    return sequence


def resnet_chain(net: nn.Module) -> Steps:
    """He et al. 2016; stride 16 ends after layer3, stride 32 after layer4."""
    return _flatten_before_last(list(net.named_children()))


class TransformInput(nn.Module):
    """ImageNet-normalised images to the [-1, 1] that GoogLeNet's weights were trained on."""

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, std = torch.tensor(IMAGENET.mean) / 255, torch.tensor(IMAGENET.std) / 255
        self.register_buffer("scale", (std / 0.5).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", ((mean - 0.5) / 0.5).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, height, width) in and out."""
        return (images * self.scale + self.shift).to(images.dtype)


def googlenet_chain(net: nn.Module) -> Steps:
    """Szegedy et al. 2015 without its auxiliary heads; stride 16 ends after inception4e."""
    steps = [step for step in net.named_children() if step[0] not in ("aux1", "aux2", "dropout")]
    return [("transform_input", TransformInput()), *_flatten_before_last(steps)]


def densenet_chain(net: nn.Module) -> Steps:
    """Huang et al. 2017. Both stages lie after a ReLU: after the final one, or after transition3's.

    torchvision overwrites the final map with an in-place ReLU (maths 1.4). Here that ReLU is the
    last step of `features`, so nothing writes to the map once it is handed out.
    """
    features = net.get_submodule("features")
    steps: Steps = []
    for name, module in features.named_children():
        if name == "transition3":
            steps += [(f"transition3_{part}", child) for part, child in module.named_children()]
        else:
            steps.append((name, module))
    return [
        *steps,
        ("relu5", nn.ReLU(inplace=True)),
        ("avgpool", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
        ("classifier", net.get_submodule("classifier")),
    ]


def vgg_chain(net: nn.Module) -> Steps:
    """Simonyan & Zisserman 2015; cut before (stride 16) or after (32) the last maximum pooling.

    The head is torchvision's adaptive pooling to 7x7 and the three fully connected layers.
    """
    convolutions = net.get_submodule("features").named_children()
    classifier = net.get_submodule("classifier").named_children()
    return [
        *((f"features{name}", module) for name, module in convolutions),
        ("avgpool", net.get_submodule("avgpool")),
        ("flatten", nn.Flatten()),
        *((f"classifier{n}", m) for n, m in classifier if not isinstance(m, nn.Dropout)),
    ]


def lite_chain(net: nn.Module) -> Steps:
    """EfficientNet-Lite0 (Tan & Le 2019, without squeeze-excitation, ReLU6).

    Stride 16 ends after the last block of 112 channels (a linear bottleneck: signed values),
    stride 32 after the 1280-channel convolution and its ReLU6, right before the average pooling.
    """
    _make_plain(net)
    blocks = net.get_submodule("_blocks").named_children()
    return [
        ("stem", net.get_submodule("_conv_stem")),
        ("stem_norm", net.get_submodule("_bn0")),
        ("stem_activation", nn.ReLU6(inplace=True)),
        *((f"block{name}", block) for name, block in blocks),
        ("top", net.get_submodule("_conv_head")),
        ("top_norm", net.get_submodule("_bn1")),
        ("top_activation", nn.ReLU6(inplace=True)),
        ("avgpool", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
        ("fc", net.get_submodule("_fc")),
    ]


def _flatten_before_last(steps: Steps) -> Steps:
    return [*steps[:-1], ("flatten", nn.Flatten()), steps[-1]]


def _make_plain(module: nn.Module) -> None:
    """Replace the package's padded convolutions by equal plain ones, its ReLU6 by in-place ones."""
    for name, child in list(module.named_children()):
        if isinstance(child, Conv2dStaticSamePadding):
            setattr(module, name, _plain_convolution(child))
        elif isinstance(child, nn.ReLU6):
            child.inplace = True
        else:
            _make_plain(child)


def _plain_convolution(padded: nn.Conv2d) -> nn.Conv2d:
    """The same convolution with symmetric padding.

    TensorFlow's "same" padding at stride 2 is one wider on the right and at the bottom, and the
    package makes it by copying the whole map. A kernel grown by a row and a column of zeros at the
    top left, with the wider padding on both sides, gives the same sums without the copy (measured
    0 difference).
    """
    left, right = 0, 0
    if isinstance(padded.static_padding, nn.ZeroPad2d):  # else it is the identity
        left, right, _, _ = padded.static_padding.padding
    grown = right - left
    weight = nn.functional.pad(padded.weight.detach(), (grown, 0, grown, 0))
    plain = nn.Conv2d(
        padded.in_channels,
        padded.out_channels,
        (weight.shape[2], weight.shape[3]),
        stride=(padded.stride[0], padded.stride[1]),
        padding=right,
        groups=padded.groups,
        bias=False,
    )
    plain.weight = nn.Parameter(weight)
    return plain


def _torchvision(
    name: str, chain: Callable[[nn.Module], Steps], stages: Mapping[int, Stage], **options: bool
) -> Architecture:
    return Architecture(lambda: get_model(name, weights=None, **options), chain, stages)


def _resnet(name: str, channels: int) -> Architecture:
    return _torchvision(
        name, resnet_chain, {16: Stage("layer3", channels // 2), 32: Stage("layer4", channels)}
    )


def _densenet(name: str, third: int, fourth: int) -> Architecture:
    return _torchvision(
        name, densenet_chain, {16: Stage("transition3_relu", third), 32: Stage("relu5", fourth)}
    )


BACKBONES: dict[str, Architecture] = {
    "resnet18": _resnet("resnet18", 512),
    "resnet34": _resnet("resnet34", 512),
    "resnet50": _resnet("resnet50", 2048),
    "resnet101": _resnet("resnet101", 2048),
    "googlenet": _torchvision(
        "googlenet",
        googlenet_chain,
        {16: Stage("inception4e", 832), 32: Stage("inception5b", 1024)},
        aux_logits=False,
        init_weights=False,
    ),
    "densenet121": _densenet("densenet121", 1024, 1024),
    "densenet161": _densenet("densenet161", 2112, 2208),
    "vgg16": _torchvision(
        "vgg16",
        vgg_chain,
        {16: Stage("features29", 512), 32: Stage("features30", 512)},
        init_weights=False,
    ),
    "efficientnet_lite0": Architecture(
        lambda: EfficientNet.from_name("efficientnet-lite0"),
        lite_chain,
        {16: Stage("block10", 112), 32: Stage("top_activation", 1280)},
        normalization=LITE,
        torchvision=False,
    ),
}
