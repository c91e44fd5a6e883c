"""VGG-GAP: VGG-16 without its fully connected layers (Zhou et al. 2016, "Learning Deep Features").

Everything behind conv5-3 goes, the last pooling too, so that the map has stride 16 (14x14 cells of
a 224x224 image). In its place: a 3x3 convolution to 1024 channels, ReLU, average, one linear layer.

There are two of it. CAM's released network splits its convolution in two groups of channels; ADL's
does not. Ours is ADL's: its paper is the one whose numbers Table 2 sets beside its own.
"""

from dataclasses import replace

from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from caf_video.models.architectures import Architecture, Stage, Steps

_CHANNELS = 512  # of conv5-3
_WIDTH = 1024


class VGGGap(nn.Module):
    """The bare network; `features` has the names of torchvision's VGG-16, up to conv5-3's ReLU."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.features = make_layers(cfgs["D"], batch_norm=False)[:-1]
        self.conv6 = nn.Conv2d(_CHANNELS, _WIDTH, 3, padding=1)
        self.fc = nn.Linear(_WIDTH, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, 3, height, width)."""
        maps = self.conv6(self.features(images)).relu()
        logits: Tensor = self.fc(maps.mean(dim=(2, 3)))
        return logits


def vgg_gap_chain(net: nn.Module) -> Steps:
    """The map is that behind the added convolution's ReLU."""
    return [
        *_convolutions(net),
        ("conv6", net.get_submodule("conv6")),
        ("relu6", nn.ReLU(inplace=True)),
        *_pooled(net),
    ]


def vgg_acol_chain(net: nn.Module) -> Steps:
    """What ACoL's two classifiers stand on: conv5-3, without the added convolution.

    The authors' code max-pools and then average-pools the map, both 3x3 at stride 1 (the paper
    mentions neither); so does ours. It also takes the strides out of the fourth pooling; ours keeps
    the grid of the other two rows of Table 2, at a quarter of the cost.
    """
    return [
        *_convolutions(net),
        ("pool5", nn.MaxPool2d(3, stride=1, padding=1)),
        ("average5", nn.AvgPool2d(3, stride=1, padding=1)),
        *_pooled(net),
    ]


def _convolutions(net: nn.Module) -> Steps:
    named = net.get_submodule("features").named_children()
    return [(f"features{name}", module) for name, module in named]


def _pooled(net: nn.Module) -> Steps:
    return [
        ("avgpool", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
        ("fc", net.get_submodule("fc")),
    ]


VGG16_GAP = Architecture(VGGGap, vgg_gap_chain, {16: Stage("relu6", _WIDTH)}, parent="vgg16")
VGG16_ACOL = replace(VGG16_GAP, chain=vgg_acol_chain, stages={16: Stage("average5", _CHANNELS)})
