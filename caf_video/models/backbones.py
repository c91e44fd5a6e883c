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
from caf_video.models.architectures import BACKBONES, Architecture
from caf_video.models.class_names import class_names
from caf_video.models.folding import fold_batch_norm
from caf_video.models.foreign import ForeignNetwork, NoHead
from caf_video.models.names import Name, named
from caf_video.models.preprocessing import (
    Normalization,
    Preprocessing,
    require_aligned,
    require_preprocessed,
    size_for,
)
from caf_video.models.weights import (
    DEFAULT,
    foreign_with_weights,
    network_with_weights,
    weights_digest,
)

IMAGENET_SIZE = (224, 224)
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# Input bytes that go through `features` at once on a CPU: two frames of 256x448 in float32.
_BYTES_AT_ONCE = 2 * 3 * 256 * 448 * 4


class Backbone(nn.Module):
    """A frozen network in eval mode, cut at a layer: ``model(x) == head(features(x))``.

    A network whose head reads what is not in the map (a class token) gives feature maps only:
    `head` then raises InputError, and so does `require_head`.

    Attributes:
        name, weights: Given to `load_backbone` they make this network again.
        weights_sha256: Digest of the weights' values, of the whole network.
        revision: What else tells its definition from another, see `ForeignNetwork`; empty if the
            name does.
        label_names: What its classes are called, in their order; empty where nobody says.
        own_size: Of the images it was trained on, (height, width).
        stride: Pixels a cell.
        channels: Channels of the feature map.
        precision: What `features` computes in, "float32" or "bfloat16". The maps are float32
            always.
    """

    def __init__(
        self,
        net: nn.Module,
        architecture: Architecture | ForeignNetwork,
        *,
        name: str,
        weights: str,
        stride: int,
        precision: str,
    ) -> None:
        super().__init__()
        self.name = name
        self.weights = weights
        self.label_names = class_names(net, architecture)
        self.weights_sha256 = weights_digest(net)
        halves = architecture.halves(net, stride)
        self.stride = halves.stride
        self.channels = halves.channels
        self.precision = precision
        self.trunk, self.tail = halves.trunk, halves.tail
        self.eval().requires_grad_(False)
        self._of_foreign = isinstance(architecture, ForeignNetwork)
        if isinstance(architecture, ForeignNetwork):
            feeding = architecture.feeding(net)
            self._normalization, self.own_size = feeding.normalization, feeding.size
            self.revision = architecture.revision
            return
        self._normalization, self.own_size = architecture.normalization, IMAGENET_SIZE
        self.revision = ""
        # Only where the order of registration is known to be the order of execution.
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
        return self._maps(images, at_once=images.is_cuda or len(images) == 0)

    def _maps(self, images: Tensor, *, at_once: bool) -> Tensor:
        if not self._of_foreign:
            images = images.to(PRECISIONS[self.precision], memory_format=torch.channels_last)
            return self.trunk(images).float() if at_once else self._in_parts(images)
        with torch.autocast(
            images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        ):
            images = images.float()
            return self.trunk(images).float() if at_once else self._in_parts(images)

    def _in_parts(self, images: Tensor) -> Tensor:
        # glibc gives blocks over 32 MiB back to the system after every layer: the page faults took
        # a quarter of the time (Lite0 by four frames: 2700 faults and 43 ms a frame; by two: 0 and
        # 33).
        frames = max(1, _BYTES_AT_ONCE // images[0].nbytes)
        return torch.cat([self.trunk(chunk).float() for chunk in images.split(frames)])

    def head(self, feature_maps: Tensor) -> Tensor:
        """Logits (n, classes) of feature maps (n, channels, h, w), float32; differentiable."""
        return self.tail(feature_maps)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of preprocessed images (n, 3, height, width).

        Every layer runs once, so that any of them can be explained.
        """
        require_preprocessed(images)
        return self.head(self._maps(images, at_once=True))

    def require_head(self) -> None:
        """Raise InputError where there are feature maps only: see `foreign`."""
        for module in self.tail:
            if isinstance(module, NoHead):
                raise InputError(module.message)

    @torch.no_grad()
    def output_count(self) -> int:
        """How many numbers `head` gives for a map: classes, of a classifier."""
        cells = self.grid(self.own_size)
        return self.head(next(self.tail.parameters()).new_zeros(1, self.channels, *cells)).shape[1]

    def size_for(self, height: int, width: int, shorter: int = 256) -> tuple[int, int]:
        """As `preprocessing.size_for`, in whole cells; the network's own size if it has only one.

        Raises:
            InputError: If a side or `shorter` is not positive.
        """
        if not self._of_foreign:
            return size_for(height, width, shorter)
        size = size_for(height, width, shorter, multiple=self.stride)
        try:
            self.grid(size)
        except InputError:
            return self.own_size
        return size

    def train(self, mode: bool = True) -> "Backbone":
        """Stays in eval mode, whatever the module it is part of does: it is frozen."""
        return super().train(False)

    @property
    def normalization(self) -> Normalization:
        """Interpolation, mean and deviation that it is fed with."""
        return self._normalization

    def preprocessing(
        self, size: tuple[int, int], resized: tuple[int, int] | None = None
    ) -> Preprocessing:
        """What turns frames into input of `size` (height, width), 32 pixels or more each.

        With `resized`, into the centre of that size of frames resized to it.
        """
        return Preprocessing(size, self._normalization, resized)

    @torch.no_grad()
    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Cells (h, w) of the map of an input of `size` (height, width).

        Of a network that is not laid out here one blank image tells.

        Raises:
            InputError: The sides are not multiples of 32, of `stride` in such a network; or it does
                not take that size.
        """
        if not self._of_foreign:
            require_aligned(size)
            return size[0] // self.stride, size[1] // self.stride
        if size != self.own_size:
            require_aligned(size, multiple=self.stride)
        blank = next(self.trunk.parameters()).new_zeros(1, 3, *size)
        _, _, height, width = self.features(blank).shape
        return height, width


def load_backbone(
    name: Name, *, weights: str = DEFAULT, stride: int = 32, precision: str = "float32"
) -> Backbone:
    """A frozen backbone by name.

    Args:
        name: A key of BACKBONES: resnet18, resnet34, resnet50, resnet101, googlenet, densenet121,
            densenet161, vgg16 or efficientnet_lite0; or resnetv2_50, which is timm's. Or a network
            that is not laid out here: "timm/NAME"; "hf/ID" or "hf/./folder" (transformers); or a
            module of one's own, by the path "package.module.factory", or a mapping with it as
            `_target_` and arguments beside it. See `timm_network`, `hub_network` and `own_network`.
        weights: "default" (torchvision's best, timm's or the Hub's, downloaded once; Lite0's come
            installed; one's own as the factory makes them), a torchvision weights name such as
            "IMAGENET1K_V1", a file (.safetensors or a .pth state dict), or "none" (random: seed
            before).
        stride: 32, the last map; or 16, the map of the stage before (an earlier stage, not
            dilation: the head runs the rest of the network). Networks that are not laid out here
            have their last map only: 32 stands for it, and so does its own stride.
        precision: What `features` computes in. "bfloat16" takes half the time where
            `fastest_precision` says so, at a relative error of the map of 1.8 % (ResNet-18), 3.1 %
            (ResNet-50) and 5.4 % (Lite0), mean of 200 photographs; their top-1 accuracy moved by
            at most one point.

    Raises:
        InputError: If the name, the stride or the precision is unknown, a package for the name is
            not installed, or the network gives no map.
        WeightsError: If the weights cannot be had, read, or belong to another network.
    """
    if precision not in PRECISIONS:
        raise InputError(f"no precision {precision!r}: choose {' or '.join(PRECISIONS)}")
    architecture = named(name, BACKBONES)
    if isinstance(architecture, ForeignNetwork):
        net, resolved = foreign_with_weights(architecture, weights)
        name = architecture.name
    else:
        name = str(name)
        architecture.require_stride(stride)  # before anything is downloaded
        net, resolved = network_with_weights(name, weights)
    return Backbone(
        net, architecture, name=name, weights=resolved, stride=stride, precision=precision
    )


def fastest_precision() -> str:
    """Name "bfloat16" where this CPU multiplies it natively, else "float32"."""
    # Where it is not native it is emulated, and slow. There is no public test before torch 2.10.
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return "bfloat16" if native is not None and native() else "float32"
