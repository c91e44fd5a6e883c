"""The attention-based dropout layer (ADL, Choe & Shim 2019), and where it goes in a network.

It has no weights and is the identity in eval mode: a network trained with it is, afterwards, the
plain network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from caf_video.errors import InputError
from caf_video.models.architectures import Stage


class AttentionDropout(nn.Module):
    """Hides where a map is strongest, or brings it out; one of the two for each training step.

    The self-attention of a sample is its mean over channels. With probability `drop_rate` the cells
    where that reaches `threshold` times its maximum become 0 (drop mask), else every cell is
    multiplied by the attention's sigmoid (importance map); Sec. 3 and the authors' code. One choice
    holds for the whole batch, made by torch's global generator. Of a map whose attention is the
    same everywhere the drop mask leaves nothing.

    Args:
        drop_rate: Probability of the drop mask, in [0, 1].
        threshold: γ, as a share of the maximum, in [0, 1].

    Raises:
        InputError: An argument out of range.
    """

    def __init__(self, *, drop_rate: float = 0.75, threshold: float = 0.8) -> None:
        super().__init__()
        for name, share in (("drop_rate", drop_rate), ("threshold", threshold)):
            if not 0 <= share <= 1:
                raise InputError(f"attention dropout with {name} {share}: wanted 0 to 1")
        self.drop_rate, self.threshold = drop_rate, threshold

    def forward(self, feature_maps: Tensor) -> Tensor:
        """Feature maps (n, c, h, w) in and out."""
        if not self.training:
            return feature_maps
        attention = feature_maps.mean(dim=1, keepdim=True)  # (n, 1, h, w)
        if torch.rand(()) < self.drop_rate:
            highest = attention.amax(dim=(2, 3), keepdim=True)
            return feature_maps * (attention < self.threshold * highest)
        return feature_maps * attention.sigmoid()

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"drop_rate={self.drop_rate}, threshold={self.threshold}"


@dataclass(frozen=True)
class Placement:
    """Behind which modules of a trunk the layers go, and their threshold γ."""

    after: tuple[str, ...]
    threshold: float


# The authors' training commands, for CUB and ImageNet: VGG-GAP behind pool3, pool4 and conv5-3;
# ResNet50-SE behind the first block of each of the last two stages, and at the end. Both with the
# drop mask in three steps of four.
_VGG = Placement(("features16", "features23", "features29"), threshold=0.8)
_RESNET = Placement(("layer3.0", "layer4.0", "layer4"), threshold=0.9)


def adl_placement(backbone: str, stages: Mapping[int, Stage]) -> Placement:
    """The published places for VGGs and ResNets; for others (ours) the ends of the last two stages.

    Args:
        backbone: Its name.
        stages: Of its architecture.
    """
    for family, placement in (("vgg", _VGG), ("resnet", _RESNET)):
        if backbone.startswith(family):
            return placement
    return Placement(tuple(stage.last_step for stage in stages.values()), threshold=0.8)


def insert_attention_dropout(
    trunk: nn.Sequential, after: Sequence[str], *, drop_rate: float, threshold: float
) -> None:
    """Put an `AttentionDropout` behind each of the named modules, in place.

    A module's name and those of its weights stay as they are, so that networks with and without
    load each other's.

    Args:
        trunk: What holds the modules.
        after: Names in it, dotted; each must be a step of an `nn.Sequential`.
        drop_rate, threshold: As `AttentionDropout`'s.

    Raises:
        InputError: There is no such step, or a share is out of range.
    """
    modules = dict(trunk.named_modules())
    for name in after:
        holder, _, step = name.rpartition(".")
        sequence = modules.get(holder)
        if name not in modules or not isinstance(sequence, nn.Sequential):
            raise InputError(f"attention dropout after {name!r}: no step of that name")
        steps = list(sequence.named_children())
        following = steps[[child for child, _ in steps].index(step) + 1 :]
        for child, _ in following:
            delattr(sequence, child)
        layer = AttentionDropout(drop_rate=drop_rate, threshold=threshold)
        for child, module in ((f"{step}_adl", layer), *following):
            sequence.add_module(child, module)
