"""A run and its features, opened: where evaluation, explanation and search begin."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from caf_video.data.features import ClipFeatures
from caf_video.data.frames import ClipFrames
from caf_video.data.manifest import Clip, read_manifest
from caf_video.data.stores import ClipStore, open_store
from caf_video.errors import CafVideoError, InputError
from caf_video.models.backbones import Backbone, load_backbone
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.pipeline.extract import describe, sample_features
from caf_video.pipeline.progress import device
from caf_video.pipeline.trained_on import TrainingTimes
from caf_video.training import ClipRun, load_clip_run


def open_run(folder: Path) -> ClipRun:
    """A trained run of clips, its network on the device.

    Raises:
        CheckpointError: There is none, it cannot be used, or it is of images.
    """
    run = load_clip_run(folder)
    run.model.to(device())
    return run


def open_features(run: ClipRun, features: Path | None = None) -> ClipStore:
    """The features that a run was trained on: where they lay from the run, else where they were.

    Args:
        run: The run.
        features: Where they are, if they are elsewhere now.

    Raises:
        CafVideoError: They are gone, or are now of another kind.
    """
    if features is not None:
        store = open_store(features)
    else:
        beside = run.folder / run.features_from_run
        moved_along = bool(run.features_from_run) and (beside / "store.json").is_file()
        if not moved_along and "features" not in run.config:
            raise InputError(f"{run.checkpoint} does not say where its features are: --features")
        store = open_store(beside.resolve() if moved_along else run.config["features"])
    run.require_features(store.description)
    return store


@dataclass(frozen=True)
class SplitClips:
    """The clips of a split that a run may be measured on.

    Attributes:
        clips: Those it was not trained on; of the train split, which is asked for by its name, all.
        trained_on: Those that are left out, because it was.
        checked: Whether the run remembers what it was trained on; else nothing is left out.
    """

    clips: list[Clip]
    trained_on: list[Clip]
    checked: bool


def clips_of(run: ClipRun, store: ClipStore, split: str) -> SplitClips:
    """The clips of a split, less those that the run was trained on: a split may have changed since.

    A training clip is known by its id and, under another name, by its event; left out is, too, what
    shares time of its video with one.

    Raises:
        InputError: The split has no clip, or none that the run was not trained on.
    """
    listed = read_manifest(store.manifest_path)
    clips = [clip for clip in listed if clip.split == split]
    if not clips:
        there = Counter(clip.split or "none" for clip in listed)
        counts = ", ".join(f"{name} {count}" for name, count in sorted(there.items()))
        raise InputError(
            f"no clip of {store.manifest_path} is in the split {split!r}: by split there are "
            f"{counts}"
        )
    if split == "train" or run.training_clips is None:
        return SplitClips(clips, [], checked=run.training_clips is not None)
    learned = TrainingTimes(run.training_clips, listed)
    kept: list[Clip] = []
    trained_on: list[Clip] = []
    for clip in clips:
        known = clip.clip_id in run.training_clips
        known = known or learned.include(clip, store.event(clip.clip_id))
        (trained_on if known else kept).append(clip)
    if not kept:
        raise InputError(
            f"{run.checkpoint} was trained on all {len(clips)} clips of the {split} split: "
            "put the splits back, or train again"
        )
    return SplitClips(kept, trained_on, checked=True)


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


def run_backbone(run: ClipRun, name: str) -> Backbone:
    """The frozen network whose maps a run was trained on, on the device.

    Args:
        run: The run.
        name: Of the video that it is for, to say so in an error.

    Raises:
        CafVideoError: The maps were made elsewhere, or the backbone has other weights now.
    """
    wanted = run.description
    if not wanted.weights_sha256:
        raise CafVideoError(
            f"{name}: the run was trained on maps of {wanted.backbone} that were made "
            "elsewhere: of another video there are none. Give clip ids of its store"
        )
    backbone = load_backbone(
        wanted.backbone, weights=wanted.weights, stride=wanted.stride, precision=wanted.precision
    )
    made = describe(backbone, wanted.size, timesteps=wanted.timesteps, candidates=wanted.candidates)
    if made.differences(wanted):
        raise CafVideoError(
            f"{name}: {wanted.backbone} has other weights now than the run was trained "
            f"on ({wanted.weights}): put those back"
        )
    return backbone.to(device())


def new_features(run: ClipRun, clips: Sequence[Clip]) -> Iterator[ClipFeatures]:
    """Features of clips that are in no store, as those that the run was trained on.

    Raises:
        CafVideoError: A video cannot be read, or the backbone has other weights now.
    """
    if not clips:
        return
    wanted = run.description
    backbone = run_backbone(run, clips[0].path.name)
    preprocessing = backbone.preprocessing(wanted.size)
    frames = ClipFrames(
        clips, timesteps=wanted.timesteps, candidates=1, transform=preprocessing.resize
    )
    for position in range(len(clips)):
        yield sample_features(backbone, preprocessing, frames[position])
