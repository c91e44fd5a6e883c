"""ResNet50-SE as ADL uses it: squeeze-and-excitation blocks (Hu et al. 2018), stride 16.

The last stage keeps its resolution (stride 1 where ResNet-50 has 2, no dilation), as in the code of
Choe & Shim 2019: 14x14 cells of a 224x224 image.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import SqueezeExcitation

from caf_video.models.architectures import Architecture, Stage, resnet_chain

REDUCTION = 16  # of channels, inside the gate (Hu et al. 2018, Table 10; ADL's code)


class SEBottleneck(Bottleneck):
    """torchvision's bottleneck with a gate on every channel of the residual, before the sum."""

    def __init__(self, inplanes: int, planes: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(inplanes, planes, *args, **kwargs)
        channels = planes * self.expansion
        self.se = SqueezeExcitation(channels, channels // REDUCTION)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (n, inplanes, h, w) to (n, 4 * planes, h / stride, w / stride)."""
        shortcut = maps if self.downsample is None else self.downsample(maps)
        inner = self.relu(self.bn1(self.conv1(maps)))
        inner = self.relu(self.bn2(self.conv2(inner)))
        residual = self.se(self.bn3(self.conv3(inner)))
        summed: Tensor = self.relu(residual + shortcut)
        return summed


def resnet50_se() -> nn.Module:
    """The bare network; but for `se` in every block its names are those of torchvision's."""
    net = ResNet(SEBottleneck, [3, 4, 6, 3])
    first = net.layer4[0]
    for convolution in (first.conv2, first.downsample[0]):
        convolution.stride = (1, 1)
    return net


@torch.no_grad()
def open_gates(net: nn.Module) -> None:
    """Make the gates do nothing at first, where the rest has a plain ResNet-50's weights.

    A gate that starts at random would about halve every residual. Here each starts at exactly 1/2,
    the middle of its sigmoid, and the batch norm before it is doubled.
    """
    for block in net.modules():
        if isinstance(block, SEBottleneck):
            nn.init.zeros_(block.se.fc2.weight)
            nn.init.zeros_(block.se.fc2.bias)
            block.bn3.weight.mul_(2)
            block.bn3.bias.mul_(2)


RESNET50_SE = Architecture(
    resnet50_se, resnet_chain, {16: Stage("layer4", 2048)}, parent="resnet50", settle=open_gates
)
