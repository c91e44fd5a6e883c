"""Adversarial complementary learning (ACoL, Zhang et al. 2018): a head of two classifiers.

Where classifier A finds the class strongest, the features are erased before classifier B sees them,
so that B has to know the class by the rest of the object. Their class maps are fused by maximum.
"""

import torch
from torch import Tensor, nn

from caf_video.errors import InputError


class ACoLHead(nn.Module):
    """Feature maps to logits by two fully convolutional classifiers, the second on what is left.

    Each is conv 3x3 → ReLU → conv 3x3 → ReLU → conv 1x1 to one map per class → average over the
    cells (Sec. 3.2; Xavier-uniform weights and no bias at the start, as in the
    authors' code). Alone, and in eval mode, the head is classifier A.

    Args:
        channels: Of the feature maps.
        classes: How many.
        threshold: δ in (0, 1]: cells of A's normalised map of the class that reach it are erased.
            0.6 in the authors' scripts, for ImageNet and CUB.
        hidden: Channels of the two 3x3 convolutions; 1024 in the paper.

    Raises:
        InputError: An argument out of range.
    """

    def __init__(
        self, channels: int, classes: int, *, threshold: float = 0.6, hidden: int = 1024
    ) -> None:
        super().__init__()
        for name, count in (("channels", channels), ("classes", classes), ("hidden", hidden)):
            if count < 1:
                raise InputError(f"an ACoL head with {name} {count}: wanted 1 or more")
        if not 0 < threshold <= 1:
            raise InputError(f"an ACoL head with threshold {threshold}: wanted above 0, up to 1")
        self.threshold = threshold
        self.classifier_a = _classifier(channels, classes, hidden)
        self.classifier_b = _classifier(channels, classes, hidden)

    def forward(self, feature_maps: Tensor) -> Tensor:
        """Logits (n, classes) of classifier A on maps (n, channels, h, w); eval mode only.

        Raises:
            InputError: In train mode, where B would silently learn nothing; see `branches`.
        """
        if self.training:
            raise InputError(
                "an ACoL head learns from labels only: in training call `branches` (of a whole "
                "network `training_logits`) with the targets"
            )
        return _average(self.classifier_a(feature_maps))

    def branches(self, feature_maps: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, classes) of both classifiers; the loss is the sum of their cross-entropies.

        Args:
            feature_maps: (n, channels, h, w).
            targets: The class of each map, whose evidence is erased for B, (n,).

        Raises:
            InputError: Not one target for each map.
        """
        class_maps_a, class_maps_b = self._class_maps(feature_maps, targets)
        return _average(class_maps_a), _average(class_maps_b)

    @torch.no_grad()
    def localization_maps(self, feature_maps: Tensor, targets: Tensor | None = None) -> Tensor:
        """The larger of the two classifiers' normalised maps of a class, in [0, 1] (Sec. 3.2).

        Args:
            feature_maps: (n, channels, h, w).
            targets: The class of each, (n,); None is the one that classifier A predicts.

        Returns:
            Maps (n, h, w).

        Raises:
            InputError: Not one target for each map.
        """
        if targets is None:
            targets = _average(self.classifier_a(feature_maps)).argmax(dim=1)
        class_maps = self._class_maps(feature_maps, targets)
        of_a, of_b = (normalized(_chosen(maps, targets)) for maps in class_maps)
        return torch.maximum(of_a, of_b)

    def _class_maps(self, feature_maps: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """A map per class (n, classes, h, w) from A, and from B on the erased features."""
        if targets.shape != feature_maps.shape[:1]:
            raise InputError(
                f"targets of shape {tuple(targets.shape)} for feature maps of shape "
                f"{tuple(feature_maps.shape)}: wanted one for each"
            )
        class_maps = self.classifier_a(feature_maps)
        found = normalized(_chosen(class_maps.detach(), targets))  # where to erase has no gradient
        kept = (found < self.threshold).to(feature_maps.dtype)
        return class_maps, self.classifier_b(feature_maps * kept[:, None])


def normalized(maps: Tensor) -> Tensor:
    """Each map (n, h, w) less its minimum, over its range; a constant one is 0 everywhere."""
    low = maps.amin(dim=(1, 2), keepdim=True)
    extent = maps.amax(dim=(1, 2), keepdim=True) - low
    return (maps - low) / extent.where(extent > 0, 1.0)


def _classifier(channels: int, classes: int, hidden: int) -> nn.Sequential:
    classifier = nn.Sequential(
        nn.Conv2d(channels, hidden, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, hidden, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, classes, 1),
    )
    for name, values in classifier.named_parameters():
        if name.endswith("weight"):
            nn.init.xavier_uniform_(values)
        else:
            nn.init.zeros_(values)
    return classifier


def _average(class_maps: Tensor) -> Tensor:
    """Logits (n, classes) of class maps (n, classes, h, w)."""
    return class_maps.mean(dim=(2, 3))


def _chosen(class_maps: Tensor, targets: Tensor) -> Tensor:
    """The map of one class of each sample, (n, h, w)."""
    return class_maps[torch.arange(len(targets), device=targets.device), targets]
