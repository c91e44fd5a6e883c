"""Networks in two halves, `features` and `head`, cut where a filter goes.

Imports errors; its foreign doors are torchvision, the Lite0 packages and, where they are there,
timm and transformers. Law: ``model(x) == head(features(x))``; a network whose head reads more than
its map has no head here.
"""

from caf_video.models.acol import ACoLHead
from caf_video.models.adl import AttentionDropout
from caf_video.models.architectures import BACKBONES
from caf_video.models.backbones import Backbone, fastest_precision, load_backbone
from caf_video.models.image_network import IMAGE_BACKBONES, ImageNetwork
from caf_video.models.preprocessing import Preprocessing, size_for
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.models.weights import WeightsError

__all__ = [
    "BACKBONES",
    "IMAGE_BACKBONES",
    "ACoLHead",
    "AttentionDropout",
    "Backbone",
    "ImageNetwork",
    "Preprocessing",
    "RecurrentEmbedder",
    "WeightsError",
    "fastest_precision",
    "load_backbone",
    "size_for",
]
