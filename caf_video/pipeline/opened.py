"""A run and its features, opened: where evaluation, explanation and search begin."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from caf_video.data.features import ClipFeatures
from caf_video.data.frames import ClipFrames
from caf_video.data.manifest import Clip
from caf_video.data.stores import ClipStore, open_store
from caf_video.errors import CafVideoError
from caf_video.models.backbones import load_backbone
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.pipeline.extract import describe, sample_features
from caf_video.pipeline.progress import device
from caf_video.training import ClipRun, load_clip_run


def open_run(folder: Path) -> ClipRun:
    """A trained run of clips, its network on the device.

    Raises:
        CheckpointError: There is none, it cannot be used, or it is of images.
    """
    run = load_clip_run(folder)
    run.model.to(device())
    return run


def open_features(run: ClipRun) -> ClipStore:
    """The features that a run was trained on.

    Raises:
        CafVideoError: They are gone, or are now of another kind.
    """
    store = open_store(run.config["features"])
    run.require_features(store.description)
    return store


def maps_at_test(features: ClipFeatures) -> Tensor:
    """The feature maps of a clip at test, on the device, float32, (t, c, h, w)."""
    return features.middle_frames().feature_maps.float().to(device())


def split_maps(store: ClipStore, clips: Sequence[Clip]) -> Tensor:
    """The feature maps at test of clips of a store, (n, t, c, h, w)."""
    return torch.stack([maps_at_test(store.read(clip.clip_id)) for clip in clips])


def untrained(run: ClipRun) -> ClipRun:
    """The run's network before training: first weights of its seed, the same standardisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.config["seed"])
        model = RecurrentEmbedder(**run.model.hyperparameters)
    model.fit_standardization(run.model.channel_mean.cpu(), run.model.channel_std.cpu())
    return replace(run, model=model.to(device()).eval())


def new_features(run: ClipRun, clip: Clip) -> ClipFeatures:
    """Features of a clip that is in no store, as those that the run was trained on.

    Raises:
        CafVideoError: The video cannot be read, or the backbone has other weights now.
    """
    wanted = run.description
    if not wanted.weights_sha256:
        raise CafVideoError(
            f"{clip.path.name}: the run was trained on maps of {wanted.backbone} that were made "
            "elsewhere: of another video there are none. Give clip ids of its store"
        )
    backbone = load_backbone(
        wanted.backbone, weights=wanted.weights, stride=wanted.stride, precision=wanted.precision
    )
    made = describe(backbone, wanted.size, timesteps=wanted.timesteps, candidates=wanted.candidates)
    if made.differences(wanted):
        raise CafVideoError(
            f"{clip.path.name}: {wanted.backbone} has other weights now than the run was trained "
            f"on ({wanted.weights}): put those back"
        )
    backbone.to(device())
    transform = backbone.preprocessing(wanted.size)
    frames = ClipFrames([clip], timesteps=wanted.timesteps, candidates=1, transform=transform)
    return sample_features(backbone, frames[0])
