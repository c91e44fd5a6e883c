"""Trainable image networks in two halves: classifiers, and embedders of Sec. S2.

    model = ImageNetwork("resnet50", outputs=128)  # an embedder: raw, the loss normalises
    model = ImageNetwork("vgg16_gap", outputs=200, tuning="adl")  # a classifier of Table 2
    caf_video.explain(model, images, layer="trunk")

`Backbone` is the frozen sibling: batch norm folded, its weights' own classes, faster.
"""

from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn

from caf_video.errors import InputError
from caf_video.models.acol import ACoLHead
from caf_video.models.adl import adl_placement, insert_attention_dropout
from caf_video.models.architectures import BACKBONES, Architecture, as_sequence
from caf_video.models.foreign import ForeignNetwork
from caf_video.models.names import Name, named
from caf_video.models.preprocessing import Preprocessing, require_preprocessed
from caf_video.models.resnet_se import RESNET50_SE
from caf_video.models.vgg_gap import VGG16_ACOL, VGG16_GAP
from caf_video.models.weights import DEFAULT, NONE, network_to_train

IMAGE_BACKBONES: dict[str, Architecture] = {
    **BACKBONES,
    "vgg16_gap": VGG16_GAP,
    "resnet50_se": RESNET50_SE,
}
TUNINGS = ("gap", "acol", "adl")
# Of the running statistics, for every backbone: torchvision's networks have it. EfficientNet-Lite0
# comes with 0.01, for trainings of many thousand steps: after a short one its statistics are still
# in part those of the pretrained weights (measured: top-1 0.94 after 60 steps, against 0.99).
BATCH_NORM_MOMENTUM = 0.1


class ImageNetwork(nn.Module):
    """A backbone up to its last map, and a new head: ``model(x) == head(features(x))``.

    The head is global average pooling and one linear layer, so affine in the map: for logits, or a
    raw embedding (Sec. S2). The networks of Table 2 are classifiers with it ("gap"), with it and
    attention dropout in the trunk ("adl"), or with ACoL's two classifiers in its place ("acol").
    What is new starts small and at random, by torch's global seed.

    Args:
        backbone: A key of IMAGE_BACKBONES: those of `load_backbone`, vgg16_gap or resnet50_se. Or
            any other name that `load_backbone` takes; such a network is taken up to its last map.
        outputs: Classes, or the width of the embedding.
        tuning: "gap", "acol" or "adl"; the last two are ways to train a classifier.
        weights: As `load_backbone` takes them; not a hyperparameter. A file may hold any number of
            classes; its last layer is kept only if it has as many as `outputs`, and so on ImageNet
            the network can go on where its weights are. vgg16_gap and resnet50_se take the weights
            of vgg16 and resnet50 and start the rest (see `fresh`), or those of a whole network.
        erase_threshold, erase_channels: Of `ACoLHead`, threshold and hidden.
        drop_rate, drop_threshold: Of `AttentionDropout`; no threshold is the published one of the
            backbone, 0.9 for ResNets, 0.8 for VGG (and, ours, the others).
        frozen_batch_norm: Train mode, too, normalises by the running statistics and leaves them:
            usual where batches are small, and necessary for weights whose batch norm was folded.

    Attributes:
        hyperparameters: Plain values that make this network again: with weights="none" the same
            modules, to load a state dict into.
        weights: What was loaded; given again it finds the same.
        fresh: Names of the parameters that the weights did not fill.
        channels, stride: Of the feature map: how many, and pixels a cell.
        trunk, tail: The two halves.

    Raises:
        InputError: An argument that is unknown or out of range.
        WeightsError: If the weights cannot be had, read, or belong to another network.
    """

    def __init__(
        self,
        backbone: Name,
        *,
        outputs: int,
        tuning: str = "gap",
        weights: str = DEFAULT,
        erase_threshold: float = 0.6,
        erase_channels: int = 1024,
        drop_rate: float = 0.75,
        drop_threshold: float | None = None,
        frozen_batch_norm: bool = False,
    ) -> None:
        super().__init__()
        architecture = named(backbone, IMAGE_BACKBONES)
        name = architecture.name if isinstance(architecture, ForeignNetwork) else str(backbone)
        if tuning not in TUNINGS:
            raise InputError(f"no tuning {tuning!r}: choose one of {', '.join(TUNINGS)}")
        if outputs < 1:
            raise InputError(f"an image network with {outputs} outputs: wanted 1 or more")
        if tuning == "acol" and backbone == "vgg16_gap":
            architecture = VGG16_ACOL
        pretrained = network_to_train(name, architecture, weights)
        if isinstance(architecture, ForeignNetwork):
            halves = architecture.halves(pretrained.net, head=False)
            self._normalization = architecture.feeding(pretrained.net).normalization
        else:
            halves = architecture.halves(pretrained.net, max(architecture.stages))
            self._normalization = architecture.normalization
        placement = adl_placement(name, halves.stages)
        if drop_threshold is None:
            drop_threshold = placement.threshold
        self.hyperparameters: dict[str, Any] = {
            "backbone": name,
            "outputs": outputs,
            "tuning": tuning,
            "erase_threshold": erase_threshold,
            "erase_channels": erase_channels,
            "drop_rate": drop_rate,
            "drop_threshold": drop_threshold,
            "frozen_batch_norm": frozen_batch_norm,
        }
        self.stride = halves.stride
        self.channels = halves.channels
        self.weights = pretrained.weights
        self.trunk = halves.trunk
        if tuning == "adl":
            insert_attention_dropout(
                self.trunk, placement.after, drop_rate=drop_rate, threshold=drop_threshold
            )
        kept = False
        self.tail: nn.Module
        if tuning == "acol":
            self.tail = ACoLHead(
                halves.channels, outputs, threshold=erase_threshold, hidden=erase_channels
            )
        else:
            linear = _small_linear(halves.channels, outputs)
            kept = _fill(linear, pretrained.last_layer)
            self.tail = as_sequence(
                [("avgpool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("fc", linear)]
            )
        self.fresh = tuple(
            name
            for name, _ in self.named_parameters()
            if pretrained.weights == NONE
            or name.removeprefix("trunk.") in pretrained.missing
            or (name.startswith("tail.") and not kept)
        )
        self.to(memory_format=torch.channels_last)
        for norm in self._batch_norms():
            norm.momentum = BATCH_NORM_MOMENTUM
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Switch to train or eval mode; a frozen batch norm stays in eval mode."""
        super().train(mode)
        if self.hyperparameters["frozen_batch_norm"]:
            for norm in self._batch_norms():
                norm.eval()
        return self

    def _batch_norms(self) -> Iterator[nn.BatchNorm2d]:
        return (module for module in self.modules() if isinstance(module, nn.BatchNorm2d))

    def features(self, images: Tensor) -> Tensor:
        """A, the feature maps (n, channels, h, w) of preprocessed images (n, 3, height, width).

        Images of any size that has 32 pixels or more each way, multiples of 32 or not.

        Raises:
            InputError: Images that were not preprocessed.
        """
        require_preprocessed(images)
        maps: Tensor = self.trunk(images.contiguous(memory_format=torch.channels_last))
        return maps

    def head(self, feature_maps: Tensor) -> Tensor:
        """Logits, or raw embeddings, (n, outputs) of feature maps (n, channels, h, w).

        Raises:
            InputError: A network tuned by ACoL in train mode, see `training_logits`.
        """
        outputs: Tensor = self.tail(feature_maps)
        return outputs

    def forward(self, images: Tensor) -> Tensor:
        """Logits, or raw embeddings, (n, outputs) of preprocessed images (n, 3, height, width)."""
        return self.head(self.features(images))

    def training_logits(self, images: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """Logits (n, outputs) of every classifier there is; the loss is the sum of theirs.

        One, or two if the tuning is "acol": the second sees the features without what the first
        knows the targets by.

        Args:
            images: Preprocessed, (n, 3, height, width).
            targets: The class of each, (n,).

        Raises:
            InputError: Images that were not preprocessed, or not one target for each.
        """
        feature_maps = self.features(images)
        if isinstance(self.tail, ACoLHead):
            return self.tail.branches(feature_maps, targets)
        return (self.head(feature_maps),)

    def preprocessing(
        self, size: tuple[int, int], resized: tuple[int, int] | None = None
    ) -> Preprocessing:
        """What turns frames into input of `size` (height, width), 32 pixels or more each.

        With `resized`, into the centre of that size of frames resized to it.
        """
        return Preprocessing(size, self._normalization, resized)


def image_preprocessing(backbone: Name, size: tuple[int, int]) -> Preprocessing:
    """As `ImageNetwork.preprocessing`, of the network of that backbone, which need not be made.

    But for a module of one's own, which says how it is fed once it is made.

    Raises:
        InputError: There is no such backbone.
    """
    architecture = named(backbone, IMAGE_BACKBONES)
    if isinstance(architecture, ForeignNetwork):
        return Preprocessing(size, architecture.feeding().normalization)
    return Preprocessing(size, architecture.normalization)


def _small_linear(channels: int, outputs: int) -> nn.Linear:
    """A last layer whose logits start near 0, as ADL's: weights N(0, 0.01), no bias."""
    linear = nn.Linear(channels, outputs)
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
    return linear


def _fill(linear: nn.Linear, state: dict[str, Tensor]) -> bool:
    """Load a layer if the state is one of its shape; whether it was."""
    wanted = linear.state_dict()
    if {name: values.shape for name, values in state.items()} != {
        name: values.shape for name, values in wanted.items()
    }:
        return False
    linear.load_state_dict(state)
    return True
