"""clips ─► feature store: frames of every clip through a frozen backbone, once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from caf_video.data.clips import assign_splits
from caf_video.data.features import ClipFeatures, FeatureStore, StoreDescription
from caf_video.data.frames import ClipFrames, ClipSample
from caf_video.data.manifest import Clip, read_clips, read_manifest, write_manifest
from caf_video.data.video.reader import VideoError
from caf_video.data.workers import made_in_order
from caf_video.errors import CafVideoError
from caf_video.files import require_ours, was_ours
from caf_video.models.backbones import BACKBONES, Backbone
from caf_video.pipeline.identity import VideoDigests
from caf_video.pipeline.progress import Track, device, quietly

FRAMES_AT_ONCE = 64  # through a backbone: keeps a GPU busy in little memory


@dataclass(frozen=True)
class FailedClip:
    """A clip without features, and why."""

    clip: Clip
    reason: str


@dataclass(frozen=True)
class Extraction:
    """What `extract` left.

    Attributes:
        store: Its manifest lists the clips that have features.
        failed: The others.
    """

    store: FeatureStore
    failed: list[FailedClip]


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
    fps: float | None = None,
    track: Track = quietly,
) -> Extraction:
    """Frames of every clip to frozen feature maps on disk; goes on where it was interrupted.

    A clip that cannot be read is passed over. Splits that a store has dealt stay: `seed` deals the
    recordings that are new to it.

    Args:
        source: A manifest, a folder per class, or a `path label` list.
        out: The feature store. It also keeps the list of clips, every one with its split.
        backbone: The frozen network.
        size: (height, width) that frames are resized to, multiples of 32.
        timesteps: Frames that stand for a clip.
        candidates: Frames per timestep that training may choose from, odd; other splits have one.
        workers: Processes that decode.
        seed: Of the split, for clips that come without one.
        fps: Frames a second, of raw streams, folders of frames and lists in frames that do not say.

    Raises:
        CafVideoError: The list cannot be read, the store not be written, or it holds features of
            another kind; what was extracted so far stays.
    """
    listed = read_clips(source, fps=fps)
    description = describe(backbone, size, timesteps=timesteps, candidates=candidates)
    store = FeatureStore.create(out, description)
    dealt = read_manifest(store.manifest_path) if store.manifest_path.is_file() else []
    clips = assign_splits(with_kept_splits(listed, dealt), seed=seed)
    itself = store.manifest_path.is_file() and source.exists()
    itself = itself and source.samefile(store.manifest_path)
    if not itself and was_ours(store.manifest_path):
        require_ours(store.manifest_path)  # a split, say, was changed by hand
    if not itself or clips != listed:
        _write_manifest(clips, store)
    failed: list[FailedClip] = []
    events = _events(clips, store, failed, track)
    missing = [
        clip
        for clip in clips
        if clip.clip_id in events and not store.holds(clip.clip_id, _key(clip, events))
    ]
    frames = ClipFrames(
        missing,
        timesteps=timesteps,
        candidates=candidates,
        transform=backbone.preprocessing(size),
    )
    backbone.to(device())
    lost = VideoError(
        "a video crashed its decoder, or memory ran out: `caf-video check` names such clips"
    )
    samples = made_in_order(
        _Attempt(frames), range(len(missing)), workers=min(workers, len(missing)), lost=lost
    )
    made = zip(missing, samples, strict=True)
    for clip, sample in track(made, description="Extracting features", total=len(missing)):
        if isinstance(sample, str):
            failed.append(FailedClip(clip, sample))
            continue
        features = sample_features(backbone, sample)
        store.write(features, _key(clip, events), event=events[clip.clip_id])
    if failed:
        without = {one.clip.clip_id for one in failed}
        _write_manifest([clip for clip in clips if clip.clip_id not in without], store)
    return Extraction(store, failed)


def with_kept_splits(clips: Sequence[Clip], dealt: Sequence[Clip]) -> list[Clip]:
    """Give clips without a split the one that was dealt to them, or to their recording, before.

    A split that is given now stays: the recording is then left as it is.
    """
    by_id = {clip.clip_id: clip.split for clip in dealt}
    by_recording = {clip.recording: clip.split for clip in dealt}
    given = {clip.recording for clip in clips if clip.split}
    return [
        clip
        if clip.split or clip.recording in given
        else replace(clip, split=by_id.get(clip.clip_id) or by_recording.get(clip.recording) or "")
        for clip in clips
    ]


def _write_manifest(clips: Sequence[Clip], store: FeatureStore) -> None:
    write_manifest(clips, store.manifest_path, ours=True)


def _events(
    clips: Sequence[Clip], store: FeatureStore, failed: list[FailedClip], track: Track
) -> dict[str, str]:
    """The event of each clip whose video is there, by clip id; the others are failures."""
    digests = VideoDigests(store.folder / "videos.json")
    events: dict[str, str] = {}
    try:
        for clip in track(clips, description="Looking at videos", total=len(clips)):
            try:
                events[clip.clip_id] = digests.event(clip)
            except VideoError as error:
                failed.append(FailedClip(clip, str(error)))
    finally:
        digests.keep()
    return events


def _key(clip: Clip, events: dict[str, str]) -> str:
    """What a clip's features depend on beside the backbone: its event, and how many candidates."""
    return f"{events[clip.clip_id]}|{'candidates' if clip.split == 'train' else 'middle'}"


@dataclass(frozen=True)
class _Attempt:
    """A clip's sample, or in words why there is none: one bad clip does not end the others."""

    frames: ClipFrames

    def __call__(self, position: int) -> ClipSample | str:
        try:
            return self.frames[position]
        except CafVideoError as error:
            return str(error)


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
