"""Networks in two halves, `features` and `head`, cut where a filter goes.

Imports attention.split and errors; its foreign doors are torchvision and the Lite0 packages.
Law: ``model(x) == head(features(x))``.
"""

from caf_video.models.architectures import BACKBONES
from caf_video.models.backbones import Backbone, fastest_precision, load_backbone
from caf_video.models.preprocessing import Preprocessing, size_for
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.models.weights import WeightsError

__all__ = [
    "BACKBONES",
    "Backbone",
    "Preprocessing",
    "RecurrentEmbedder",
    "WeightsError",
    "fastest_precision",
    "load_backbone",
    "size_for",
]
