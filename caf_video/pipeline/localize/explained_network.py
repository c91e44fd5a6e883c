"""The network that is explained: a pretrained classifier, or what `caf-video train` made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from caf_video.data.images import ImageSet
from caf_video.metric_learning import loss_name, unit_norm
from caf_video.models.backbones import Backbone
from caf_video.models.preprocessing import Preprocessing
from caf_video.pipeline.progress import device
from caf_video.training import RETRIEVAL, load_image_run

Size = tuple[int, int]


class TwoHalves(Protocol):
    """A network in two halves, `tail(features(images))`."""

    @property
    def tail(self) -> nn.Module: ...

    def features(self, images: Tensor) -> Tensor: ...

    def preprocessing(self, size: Size, resized: Size | None = None) -> Preprocessing: ...


@dataclass(frozen=True)
class ExplainedNetwork:
    """A network, and what its outputs are.

    Attributes:
        halves: The network in two halves, on the device.
        backbone: Its name.
        trained: What made it, for the table: "ImageNet", a loss, or a tuning.
        kind: "classifier", "acol" (a classifier whose heatmaps fuse two) or "embedding".
        classes: How many logits; None of an embedding.
        label_names: What the logits mean, where that is known.
        normalize: Whether embeddings are compared at length 1.
        size: Of the images it was trained on.
        protocol: How image sets are split for it, see `read_image_set`.
        source: Settings that make the same network again.
    """

    halves: TwoHalves
    backbone: str
    trained: str
    kind: str
    classes: int | None
    label_names: tuple[str, ...] | None
    normalize: bool
    size: Size
    protocol: str
    source: dict[str, str]

    def comparable(self, outputs: Tensor) -> Tensor:
        """Embeddings (n, d) as retrieval compares them."""
        return unit_norm(outputs) if self.normalize else outputs

    def knows_classes_of(self, images: ImageSet) -> bool:
        """Whether its logits are of the classes of a set, in their order."""
        if self.classes is None:
            return False
        if self.label_names is None:  # ImageNet's order is everybody's
            of_imagenet = images.name in ("imagenet", "wsol") and len(images.label_names) == 1000
            return of_imagenet and self.classes == 1000
        return self.label_names == images.label_names


def of_backbone(backbone: Backbone) -> ExplainedNetwork:
    """A pretrained classifier of ImageNet.

    Raises:
        InputError: It gives feature maps only.
    """
    backbone.require_head()
    backbone.to(device())
    return ExplainedNetwork(
        halves=backbone,
        backbone=backbone.name,
        trained="ImageNet",
        kind="classifier",
        classes=backbone.output_count(),
        label_names=None,
        normalize=False,
        size=backbone.own_size,
        protocol="classification",
        source={"backbone": backbone.name, "weights": backbone.weights_sha256},
    )


def of_run(folder: Path) -> ExplainedNetwork:
    """The network of a training run of images.

    Raises:
        CheckpointError: There is none, or it is of clips.
    """
    run = load_image_run(folder)
    run.model.to(device())
    settings = run.model.hyperparameters
    is_embedding = run.kind == RETRIEVAL
    return ExplainedNetwork(
        halves=run.model,
        backbone=settings["backbone"],
        trained=loss_name(run.config["loss"]) if is_embedding else settings["tuning"],
        kind="embedding"
        if is_embedding
        else "acol"
        if settings["tuning"] == "acol"
        else "classifier",
        classes=None if is_embedding else settings["outputs"],
        label_names=tuple(run.label_names),
        normalize=run.normalize,
        size=run.description.size,
        protocol=run.description.protocol,
        source={"run": str(run.checkpoint.resolve()), "step": str(run.step)},
    )
