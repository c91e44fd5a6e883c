"""Frozen image networks in two halves: `features` gives the map to filter, `head` the logits.

Milliseconds a frame of 256x448 in `features`, batches of 4, one thread of a 2-core AMD EPYC with
AVX-512 (best of interleaved runs), and the original module's forward beside it; two threads take
about 0.55 of it:

    =================== ======== ======= ========
    backbone            original float32 bfloat16
    =================== ======== ======= ========
    efficientnet_lite0        52      35       18
    resnet18                 107      87       46
    resnet34                 199     175       82
    resnet50                 305     245       99
    resnet101                475     423      192
    googlenet                165      84       46
    densenet121              224     179       87
    densenet161              534     450      211
    vgg16                    917     668      334
    =================== ======== ======= ========

What was tried and left out: oneDNN's fused convolution-activation (private, 10 % more), 1x1
convolutions as matrix products (no gain).
"""

import torch
from torch import Tensor, nn

from caf_video.errors import InputError
from caf_video.models.architectures import BACKBONES, Architecture, as_sequence
from caf_video.models.folding import fold_batch_norm
from caf_video.models.preprocessing import (
    Preprocessing,
    require_aligned,
    require_preprocessed,
    size_for,
)
from caf_video.models.weights import DEFAULT, network_with_weights, weights_digest

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# Input bytes that go through `features` at once on a CPU: two frames of 256x448 in float32.
_BYTES_AT_ONCE = 2 * 3 * 256 * 448 * 4


class Backbone(nn.Module):
    """A frozen network in eval mode, cut at a layer: ``model(x) == head(features(x))``.

    Attributes:
        name, weights: Given to `load_backbone` they make this network again.
        weights_sha256: Digest of the weights' values, of the whole network.
        stride: Pixels a cell, 32 or 16.
        channels: Channels of the feature map.
        precision: What `features` computes in, "float32" or "bfloat16". The maps are float32
            always.
    """

    def __init__(
        self,
        net: nn.Module,
        architecture: Architecture,
        *,
        name: str,
        weights: str,
        stride: int,
        precision: str,
    ) -> None:
        super().__init__()
        stage = architecture.stages[stride]
        self.name = name
        self.weights = weights
        self.weights_sha256 = weights_digest(net)
        self.stride = stride
        self.channels = stage.channels
        self.precision = precision
        self._normalization = architecture.normalization

        steps = architecture.chain(net)
        end = [step for step, _ in steps].index(stage.last_step) + 1
        self.trunk, self.tail = as_sequence(steps[:end]), as_sequence(steps[end:])
        self.eval().requires_grad_(False)
        for half in (self.trunk, self.tail):
            fold_batch_norm(half)
        self.to(memory_format=torch.channels_last)
        for module in self.trunk.modules():
            # Batch norms that could not be folded read bfloat16 maps with float32 statistics.
            if isinstance(module, nn.Conv2d):
                module.to(PRECISIONS[precision])

    def features(self, images: Tensor) -> Tensor:
        """Feature maps float32 (n, channels, h, w) of preprocessed images (n, 3, height, width)."""
        require_preprocessed(images)
        images = images.to(PRECISIONS[self.precision], memory_format=torch.channels_last)
        if images.is_cuda or len(images) == 0:
            return self.trunk(images).float()
        # glibc gives blocks over 32 MiB back to the system after every layer: the page faults took
        # a quarter of the time (Lite0 by four frames: 2700 faults and 43 ms a frame; by two: 0 and
        # 33).
        frames = max(1, _BYTES_AT_ONCE // images[0].nbytes)
        return torch.cat([self.trunk(chunk).float() for chunk in images.split(frames)])

    def head(self, feature_maps: Tensor) -> Tensor:
        """Logits (n, classes) of feature maps (n, channels, h, w), float32; differentiable."""
        return self.tail(feature_maps)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of preprocessed images (n, 3, height, width)."""
        return self.head(self.features(images))

    size_for = staticmethod(size_for)

    def train(self, mode: bool = True) -> "Backbone":
        """Stays in eval mode, whatever the module it is part of does: it is frozen."""
        return super().train(False)

    def preprocessing(
        self, size: tuple[int, int], resized: tuple[int, int] | None = None
    ) -> Preprocessing:
        """What turns frames into input of `size` (height, width), 32 pixels or more each.

        With `resized`, into the centre of that size of frames resized to it.
        """
        return Preprocessing(size, self._normalization, resized)

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Cells (h, w) of the map of an input of `size` (height, width), multiples of 32."""
        require_aligned(size)
        return size[0] // self.stride, size[1] // self.stride


def load_backbone(
    name: str, *, weights: str = DEFAULT, stride: int = 32, precision: str = "float32"
) -> Backbone:
    """A frozen backbone by name.

    Args:
        name: A key of BACKBONES: resnet18, resnet34, resnet50, resnet101, googlenet, densenet121,
            densenet161, vgg16 or efficientnet_lite0.
        weights: "default" (torchvision's best, downloaded once; Lite0's come installed), a
            torchvision weights name such as "IMAGENET1K_V1", a file (.safetensors or a .pth state
            dict), or "none" (random: seed before).
        stride: 32, the last map; or 16, the map of the stage before (an earlier stage, not
            dilation: the head runs the rest of the network).
        precision: What `features` computes in. "bfloat16" takes half the time where
            `fastest_precision` says so, at a relative error of the map of 1.8 % (ResNet-18), 3.1 %
            (ResNet-50) and 5.4 % (Lite0), mean of 200 photographs; their top-1 accuracy moved by
            at most one point.

    Raises:
        InputError: If the name, the stride or the precision is unknown.
        WeightsError: If the weights cannot be had, read, or belong to another network.
    """
    if name not in BACKBONES:
        raise InputError(f"no backbone {name!r}: choose one of {', '.join(BACKBONES)}")
    if stride not in BACKBONES[name].stages:
        raise InputError(f"no stride {stride}: choose 32 or 16")
    if precision not in PRECISIONS:
        raise InputError(f"no precision {precision!r}: choose {' or '.join(PRECISIONS)}")
    net, resolved = network_with_weights(name, weights)
    return Backbone(
        net, BACKBONES[name], name=name, weights=resolved, stride=stride, precision=precision
    )


def fastest_precision() -> str:
    """Name "bfloat16" where this CPU multiplies it natively, else "float32"."""
    # Where it is not native it is emulated, and slow. There is no public test before torch 2.10.
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return "bfloat16" if native is not None and native() else "float32"
