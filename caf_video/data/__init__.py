"""Files to tensors: video reader, clip manifest, feature store, synthetic driving clips.

Imports nothing of ours but errors; its foreign doors are decord, av, PIL and cv2.
Law: order, dtype and range are as documented; the numbered test video reads back frame-exact.
"""

from importlib import import_module

# Found on first use: the processes of `check`, which are born often, import no torch.
_HOMES = {
    "Clip": "manifest",
    "ManifestError": "manifest",
    "SPLITS": "manifest",
    "read_clips": "manifest",
    "read_manifest": "manifest",
    "write_manifest": "manifest",
    "assign_splits": "clips",
    "require_evaluable": "clips",
    "require_trainable": "clips",
    "clip_frame_range": "sampling",
    "segment_frame_indices": "sampling",
    "ClipFrames": "frames",
    "ClipSample": "frames",
    "load_samples": "frames",
    "ClipCheck": "check",
    "check_clips": "check",
    "VideoError": "video",
    "VideoInfo": "video",
    "VideoReader": "video",
    "probe_video": "video",
    "ClipFeatures": "features",
    "FeatureStore": "features",
    "FeatureStoreError": "features",
    "StoreDescription": "features",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
