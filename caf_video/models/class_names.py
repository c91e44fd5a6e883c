"""What the classes of a pretrained network are called."""

from collections.abc import Mapping

from torch import nn
from torchvision.models import get_model_weights

from caf_video.models.architectures import Architecture
from caf_video.models.foreign import ForeignNetwork

IMAGENET_CLASSES = 1000


def class_names(net: nn.Module, architecture: Architecture | ForeignNetwork) -> tuple[str, ...]:
    """The names in the order of the logits; empty where nobody says.

    A network says by `label_names`, or `config.id2label` as transformers' do. Those laid out here,
    and timm's of 1000 classes, are ImageNet's, as torchvision lists them.
    """
    told = getattr(net, "label_names", None)
    if told:
        return tuple(map(str, told))
    id2label = getattr(getattr(net, "config", None), "id2label", None)
    if isinstance(id2label, Mapping):
        return tuple(str(id2label[number]) for number in sorted(id2label))
    of_timm = getattr(net, "pretrained_cfg", None) is not None
    if of_timm and getattr(net, "num_classes", None) != IMAGENET_CLASSES:
        return ()
    if isinstance(architecture, ForeignNetwork) and not of_timm:
        return ()
    return tuple(get_model_weights("resnet18").DEFAULT.meta["categories"])
