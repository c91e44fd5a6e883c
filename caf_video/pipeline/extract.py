"""clips ─► feature store: frames of every clip through a frozen backbone, once."""

from pathlib import Path

import torch
from torch import Tensor

from caf_video.data.clips import assign_splits
from caf_video.data.features import ClipFeatures, FeatureStore, StoreDescription
from caf_video.data.frames import ClipFrames, ClipSample, load_samples
from caf_video.data.manifest import Clip, read_clips, write_manifest
from caf_video.data.video.reader import VideoError
from caf_video.models.backbones import BACKBONES, Backbone
from caf_video.pipeline.progress import Track, device, quietly

FRAMES_AT_ONCE = 64  # through a backbone: keeps a GPU busy in little memory


def extract(
    source: Path,
    out: Path,
    *,
    backbone: Backbone,
    size: tuple[int, int],
    timesteps: int = 3,
    candidates: int = 3,
    workers: int = 1,
    seed: int = 0,
    track: Track = quietly,
) -> FeatureStore:
    """Frames of every clip to frozen feature maps on disk; goes on where it was interrupted.

    Args:
        source: A manifest, a folder per class, or a `path label` list.
        out: The feature store. It also keeps the list of clips, every one with its split.
        backbone: The frozen network.
        size: (height, width) that frames are resized to, multiples of 32.
        timesteps: Frames that stand for a clip.
        candidates: Frames per timestep that training may choose from, odd; other splits have one.
        workers: Processes that decode.
        seed: Of the split, for clips that come without one.

    Raises:
        CafVideoError: A clip cannot be read; what was extracted so far stays.
    """
    clips = assign_splits(read_clips(source), seed=seed)
    keys = {clip.clip_id: event_key(clip) for clip in clips}
    store = FeatureStore.create(
        out, describe(backbone, size, timesteps=timesteps, candidates=candidates)
    )
    write_manifest(clips, store.manifest_path)
    missing = [clip for clip in clips if not store.holds(clip.clip_id, keys[clip.clip_id])]
    frames = ClipFrames(
        missing,
        timesteps=timesteps,
        candidates=candidates,
        transform=backbone.preprocessing(size),
    )
    backbone.to(device())
    samples = load_samples(frames, workers=min(workers, len(missing)))
    for sample in track(samples, description="Extracting features", total=len(missing)):
        store.write(sample_features(backbone, sample), keys[sample.clip_id])
    return store


def describe(
    backbone: Backbone, size: tuple[int, int], *, timesteps: int, candidates: int
) -> StoreDescription:
    """What makes the features of a store."""
    return StoreDescription(
        backbone=backbone.name,
        weights=backbone.weights,
        weights_sha256=backbone.weights_sha256,
        stride=backbone.stride,
        size=size,
        channels=backbone.channels,
        grid=backbone.grid(size),
        timesteps=timesteps,
        candidates=candidates,
        precision=backbone.precision,
        normalization="" if backbone.name in BACKBONES else str(backbone.normalization),
        revision=backbone.revision,
    )


def event_key(clip: Clip) -> str:
    """What a clip's features depend on beside the backbone: its event, its split, its file.

    Raises:
        VideoError: The file is not there.
    """
    try:
        stat = clip.path.stat()
    except OSError as error:
        raise VideoError(
            f"clip {clip.clip_id!r}: {clip.path}: {error.strerror}; "
            "`caf-video check MANIFEST --write GOOD.csv` keeps the clips that can be read"
        ) from error
    many = clip.split == "train"  # only these hold several candidates
    event = (clip.path.name, clip.start_seconds, clip.end_seconds, many)
    return "|".join(map(str, (*event, stat.st_size, stat.st_mtime_ns)))


def sample_features(backbone: Backbone, sample: ClipSample) -> ClipFeatures:
    """The feature maps of a clip's sampled frames."""
    maps = feature_maps(backbone, sample.images.flatten(0, 1))
    return ClipFeatures(
        clip_id=sample.clip_id,
        feature_maps=maps.unflatten(0, sample.images.shape[:2]).cpu(),
        frame_indices=sample.frame_indices,
        times_seconds=sample.times_seconds,
    )


def feature_maps(backbone: Backbone, images: Tensor) -> Tensor:
    """Feature maps (n, c, h, w) of preprocessed images (n, 3, height, width), on the device."""
    with torch.no_grad():
        parts = images.split(FRAMES_AT_ONCE)
        return torch.cat([backbone.features(part.to(device())) for part in parts])
