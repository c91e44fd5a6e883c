"""clips ─► feature store: frames of every clip through a frozen backbone, once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from caf_video.data.clips import assign_splits
from caf_video.data.features import ClipFeatures, FeatureStore, StoreDescription, unstorable
from caf_video.data.frames import ClipFrames, ClipSample
from caf_video.data.manifest import Clip, read_clips, read_manifest, write_manifest
from caf_video.data.moved import where_they_are
from caf_video.data.video.reader import VideoError
from caf_video.data.workers import NothingMadeError, made_in_order
from caf_video.errors import CafVideoError
from caf_video.file_names import file_name
from caf_video.files import require_ours, was_ours
from caf_video.models.backbones import BACKBONES, Backbone
from caf_video.models.preprocessing import Preprocessing
from caf_video.pipeline.identity import VideoDigests
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.shards import WHOLE, Shard, items_of

_AHEAD = 2  # samples that each process makes before they are asked for, torch's default
FRAMES_AT_ONCE = 64  # through a backbone: keeps a GPU busy in little memory

# What a clip has to be decoded, in a process: two minutes, and the time in which its whole video is
# read and decoded by a slow disk and core. An hour of 2 GB has 8 minutes and a half.
_LEAST_SECONDS = 120.0
_BYTES_A_SECOND = 5e6


@dataclass(frozen=True)
class FailedClip:
    """A clip without features, and why."""

    clip: Clip
    reason: str


@dataclass(frozen=True)
class Extraction:
    """What `extract` left.

    Attributes:
        store: Its manifest lists all clips but those that failed, here or on another shard.
        failed: The clips of this shard that have no features.
        clips: How many this shard has.
        total: How many there are.
    """

    store: FeatureStore
    failed: list[FailedClip]
    clips: int
    total: int


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
    videos: Path | None = None,
    shard: Shard = WHOLE,
    track: Track = quietly,
) -> Extraction:
    """Frames of every clip to frozen feature maps on disk; goes on where it was interrupted.

    Of several shards each extracts the clips of its own recordings into the same store, all with
    the same manifest.

    A clip that cannot be read is passed over; so is one whose decoder ends its process or, where
    `workers` decode, gives nothing in two minutes and a second for every 5 MB of its video; and one
    whose features are not finite. Splits that a store has dealt stay: `seed` deals the recordings
    that are new to it.

    Args:
        source: A manifest, a folder per class, or a `path label` list.
        out: The feature store. It also keeps the list of clips, every one with its split.
        backbone: The frozen network.
        size: (height, width) that frames are resized to, multiples of 32.
        timesteps: Frames that stand for a clip.
        candidates: Frames per timestep that training may choose from, odd; other splits have one.
        workers: Processes that decode; with 0 nothing ends a decoder that hangs.
        seed: Of the split, for clips that come without one.
        fps: Frames a second, of raw streams, folders of frames and lists in frames that do not say.
        videos: Where the videos are, if they are not where the list says; the store then says so.
        shard: Which of the clips.
        track: Shows how far it is.

    Raises:
        CafVideoError: The list cannot be read, none of the clips can, the store not be written, or
            it holds features of another kind; what was extracted so far stays.
    """
    listed = where_they_are(read_clips(source, fps=fps), videos)
    description = describe(backbone, size, timesteps=timesteps, candidates=candidates)
    store = FeatureStore.create(out, description)
    dealt = read_manifest(store.manifest_path) if store.manifest_path.is_file() else []
    clips = assign_splits(with_kept_splits(listed, dealt), seed=seed)
    itself = store.manifest_path.is_file() and source.exists()
    itself = itself and source.samefile(store.manifest_path)
    if not itself and was_ours(store.manifest_path):
        require_ours(store.manifest_path)  # a split, say, was changed by hand
    if clips != dealt and not (itself and clips == listed):
        _write_manifest(clips, store)
    mine = clips_on(shard, clips)
    before = store.failed()
    failed: list[FailedClip] = []
    events = _events(mine, store, failed, track)
    missing = []
    for clip in mine:
        if clip.clip_id not in events:
            continue
        if not store.holds(clip.clip_id, _key(clip, events)):
            missing.append(clip)
        elif file_name(clip.clip_id) in before:  # its video had gone, and is there again
            store.forget_failure(clip.clip_id)
    preprocessing = backbone.preprocessing(size)
    frames = ClipFrames(
        missing, timesteps=timesteps, candidates=candidates, transform=preprocessing.resize
    )
    backbone.to(device())
    samples = _samples(_Attempt(frames), len(missing), workers)
    computed = gathered_features(backbone, preprocessing, samples, _gathered())
    made = zip(missing, computed, strict=True)
    for clip, features in track(made, description="Extracting features", total=len(missing)):
        if isinstance(features, str):
            failed.append(FailedClip(clip, features))
            continue
        reason = unstorable(features.feature_maps)
        if reason:
            failed.append(FailedClip(clip, f"its features {reason}"))
            continue
        store.write(features, _key(clip, events), event=events[clip.clip_id])
        store.forget_failure(clip.clip_id)
    for one in failed:
        store.note_failure(one.clip.clip_id, one.reason)
    without = store.failed()  # those of other shards too: the last one to end leaves out them all
    kept = [clip for clip in clips if file_name(clip.clip_id) not in without]
    if not kept:  # a disk that is not there, say: the splits stay
        raise CafVideoError(f"none of the {len(clips)} clips can be read: {failed[0].reason}")
    if kept != read_manifest(store.manifest_path):
        _write_manifest(kept, store)
    return Extraction(store, failed, len(mine), len(clips))


def clips_on(shard: Shard, clips: Sequence[Clip]) -> list[Clip]:
    """The clips of a shard: those of one recording are on one, for its videos are opened there.

    By their number alone: splits, which may be dealt anew meanwhile, do not move them.
    """
    return items_of(clips, shard, together=lambda clip: clip.recording, cost=lambda clip: 1.0)


def with_kept_splits(clips: Sequence[Clip], dealt: Sequence[Clip]) -> list[Clip]:
    """Give clips without a split the one that was dealt to them, or to their recording, before.

    A split that is given now stays: the recording is then left as it is.
    """
    by_id = {clip.clip_id: clip.split for clip in dealt}
    splits_of: dict[str, set[str]] = {}
    for clip in dealt:
        splits_of.setdefault(clip.recording, set()).add(clip.split)
    # Of queries and gallery a recording may be in both: then it tells nothing of another clip.
    by_recording = {name: min(splits) for name, splits in splits_of.items() if len(splits) == 1}
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


class _DecoderLost(VideoError):
    """A process that decodes was ended from outside, or by its decoder."""


_LOST = _DecoderLost("the video crashed its decoder, or memory ran out")


def _samples(attempt: _Attempt, count: int, workers: int) -> Iterator[ClipSample | str]:
    """Samples in order, decoded ahead in processes, or in words why there is none.

    When a process is lost, those that work ahead do not tell at which clip. So the next clips are
    decoded one by one, each in a process of its own, until one is lost again: that was it. One that
    hangs is known: the next clip is what it was at.
    """
    done = 0
    while done < count:
        ahead = min(workers, count - done)
        seconds = _patience(attempt.frames.clips[done:])
        try:
            for sample in made_in_order(
                attempt, range(done, count), workers=ahead, lost=_LOST, seconds=seconds
            ):
                done += 1
                yield sample
        except NothingMadeError:
            yield _nothing_decoded(attempt, done, seconds)
            done += 1
        except _DecoderLost:
            for position in range(done, min(done + (_AHEAD + 1) * ahead, count)):
                sample = _alone(attempt, position)
                done += 1
                yield sample
                if isinstance(sample, str):
                    break


def _alone(attempt: _Attempt, position: int) -> ClipSample | str:
    clip = attempt.frames.clips[position]
    seconds = _patience([clip])
    try:
        (sample,) = made_in_order(attempt, [position], workers=1, lost=_LOST, seconds=seconds)
    except _DecoderLost as error:
        return f"{clip.path.name}: {error}"
    except NothingMadeError:
        return _nothing_decoded(attempt, position, seconds)
    return sample


def _patience(clips: Sequence[Clip]) -> float:
    """Seconds that the decoding of any of these clips may take."""
    sizes = (path.stat().st_size for path in {clip.path for clip in clips} if path.is_file())
    return _LEAST_SECONDS + max(sizes, default=0) / _BYTES_A_SECOND


def _nothing_decoded(attempt: _Attempt, position: int, seconds: float) -> str:
    name = attempt.frames.clips[position].path.name
    return f"{name}: nothing was decoded in {seconds:.0f} s"


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


def _gathered() -> int:
    """Frames to gather before they go through a backbone: a CPU takes them two by two."""
    return FRAMES_AT_ONCE if device().type == "cuda" else 1


def gathered_features(
    backbone: Backbone,
    preprocessing: Preprocessing,
    samples: Iterable[ClipSample | str],
    frames: int,
) -> Iterator[ClipFeatures | str]:
    """The features of each sample, in order, or the words that stand for one.

    Args:
        backbone: The frozen network.
        preprocessing: Which has resized their images, and normalises them on the device.
        samples: Of clips, or in words why there is none.
        frames: Those of several clips go through together once they are so many: the few of one
            clip are no batch for a GPU.
    """
    waiting: list[ClipSample | str] = []
    count = 0
    for sample in samples:
        waiting.append(sample)
        count += 0 if isinstance(sample, str) else sample.frame_indices.numel()
        if count >= frames or count == 0:
            yield from _together(backbone, preprocessing, waiting)
            waiting, count = [], 0
    yield from _together(backbone, preprocessing, waiting)


def _together(
    backbone: Backbone, preprocessing: Preprocessing, samples: Sequence[ClipSample | str]
) -> Iterator[ClipFeatures | str]:
    of_clips = [sample for sample in samples if isinstance(sample, ClipSample)]
    maps: Iterator[Tensor] = iter(())
    if of_clips:
        images = torch.cat([sample.images.flatten(0, 1) for sample in of_clips])
        counts = [sample.frame_indices.numel() for sample in of_clips]
        maps = iter(feature_maps(backbone, preprocessing, images).cpu().split(counts))
    for sample in samples:
        yield sample if isinstance(sample, str) else _features_of(sample, next(maps))


def sample_features(
    backbone: Backbone, preprocessing: Preprocessing, sample: ClipSample
) -> ClipFeatures:
    """The feature maps of a clip's sampled frames, which `preprocessing` has resized."""
    images = sample.images.flatten(0, 1)
    return _features_of(sample, feature_maps(backbone, preprocessing, images).cpu())


def _features_of(sample: ClipSample, maps: Tensor) -> ClipFeatures:
    return ClipFeatures(
        clip_id=sample.clip_id,
        feature_maps=maps.unflatten(0, sample.images.shape[:2]),
        frame_indices=sample.frame_indices,
        times_seconds=sample.times_seconds,
    )


def feature_maps(backbone: Backbone, preprocessing: Preprocessing, images: Tensor) -> Tensor:
    """Feature maps (n, c, h, w) of images that `preprocessing` has resized, on the device.

    Args:
        backbone: The frozen network.
        preprocessing: What normalises them, on the device: they go there a byte a pixel and colour.
        images: uint8 (n, 3, height, width).
    """
    with torch.no_grad():
        if device().type == "cuda":
            images = images.pin_memory()  # what is pinned is copied while the GPU computes
        parts = (part.to(device(), non_blocking=True) for part in images.split(FRAMES_AT_ONCE))
        return torch.cat([backbone.features(preprocessing.finish(part)) for part in parts])
