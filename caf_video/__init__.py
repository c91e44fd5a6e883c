"""caf_video: where a network looked, in an image and in every frame of a clip.

result = caf_video.explain(model, images, layer="layer4")  # any network, one filter a sample
result.save("look.png")  # the images under their heat
result = caf_video.explain_clip(clip_model, feature_maps)  # a filter for every frame
model = caf_video.load_run("runs/mine").model  # what `caf-video train` made
"""

from importlib import import_module
from typing import TYPE_CHECKING

from caf_video.errors import CafVideoError, InputError

if TYPE_CHECKING:
    from caf_video.attention import (
        cam,
        frame_influence,
        grad_cam,
        retrieval_grad_cam,
    )
    from caf_video.data.features import FeatureStore
    from caf_video.data.video.reader import VideoReader
    from caf_video.models.backbones import load_backbone
    from caf_video.pipeline.pictures import explain, explain_clip, overlay
    from caf_video.training import load_run

    __version__: str

# Found on first use: the processes that open videos import no torch.
_HOMES = {
    "cam": "attention",
    "explain": "pipeline.pictures",
    "explain_clip": "pipeline.pictures",
    "frame_influence": "attention",
    "grad_cam": "attention",
    "overlay": "pipeline.pictures",
    "retrieval_grad_cam": "attention",
    "FeatureStore": "data.features",
    "VideoReader": "data.video.reader",
    "load_backbone": "models.backbones",
    "load_run": "training",
}

__all__ = [
    "__version__",
    "CafVideoError",
    "FeatureStore",
    "InputError",
    "VideoReader",
    "cam",
    "explain",
    "explain_clip",
    "frame_influence",
    "grad_cam",
    "load_backbone",
    "load_run",
    "overlay",
    "retrieval_grad_cam",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("caf_video")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
