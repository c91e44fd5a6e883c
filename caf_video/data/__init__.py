"""Files to tensors: videos, clip manifests, feature stores, labelled images, synthetic scenes.

Imports nothing of ours but errors; its foreign doors are decord, av, PIL, cv2 and scipy.
Law: order, dtype and range are as documented; the numbered test video reads back frame-exact.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from caf_video.data.check import ClipCheck, check_clips
from caf_video.data.clips import assign_splits, require_evaluable, require_trainable
from caf_video.data.manifest import (
    SPLITS,
    Clip,
    ManifestError,
    read_clips,
    read_manifest,
    write_manifest,
)
from caf_video.data.sampling import clip_frame_range, segment_frame_indices
from caf_video.data.video.reader import VideoError, VideoInfo, VideoReader, probe_video

if TYPE_CHECKING:
    from caf_video.data.features import (
        ClipFeatures,
        FeatureStore,
        FeatureStoreError,
        StoreDescription,
    )
    from caf_video.data.frames import ClipFrames, ClipSample, load_samples

__all__ = [
    "SPLITS",
    "Clip",
    "ClipCheck",
    "ClipFeatures",
    "ClipFrames",
    "ClipSample",
    "FeatureStore",
    "FeatureStoreError",
    "ManifestError",
    "StoreDescription",
    "VideoError",
    "VideoInfo",
    "VideoReader",
    "assign_splits",
    "check_clips",
    "clip_frame_range",
    "load_samples",
    "probe_video",
    "read_clips",
    "read_manifest",
    "require_evaluable",
    "require_trainable",
    "segment_frame_indices",
    "write_manifest",
]

# Imported on first use, for they need torch, and the processes of `check` start often.
_WITH_TORCH = {
    "ClipFeatures": "features",
    "FeatureStore": "features",
    "FeatureStoreError": "features",
    "StoreDescription": "features",
    "ClipFrames": "frames",
    "ClipSample": "frames",
    "load_samples": "frames",
}


def __getattr__(name: str) -> object:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WITH_TORCH[name]}"), name)
