"""video ─► overlay mp4: class-oblivious attention of a pretrained classifier, untrained by us."""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from caf_video.attention import explain
from caf_video.data.video.reader import VideoReader
from caf_video.errors import InputError
from caf_video.files import require_ours
from caf_video.models.backbones import Backbone
from caf_video.pipeline.explain_images import class_name, class_number, share_text
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.pipeline.results import output_folder, result_names, write_json, write_npz
from caf_video.rendering import MOVING, Footer, Recording, heat_over, moving_writer, overlay

FRAMES_AT_ONCE = 16

_TICK = 1e-6  # seconds by which a time that was computed may miss the one that is meant

Frame = tuple[int, np.ndarray]


@dataclass(frozen=True)
class ExplainedVideo:
    """What `explain_video` left on disk, and what it took.

    Attributes:
        overlay: The mp4, or what came first.
        frames: Frames explained.
        seconds: For all of it, decoding and encoding included.
        backbone_seconds: Of these, in the bare pass of the backbone.
    """

    overlay: Path
    frames: int
    seconds: float
    backbone_seconds: float


def explain_video(
    video: Path,
    out: Path,
    *,
    backbone: Backbone,
    size: tuple[int, int] | None = None,
    every: int = 1,
    fps: float | None = None,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    target: str | None = None,
    center_logits: bool = False,
    formats: Sequence[str] = ("mp4",),
    rerun: Path | None = None,
    track: Track = quietly,
) -> ExplainedVideo:
    """Where a pretrained classifier looks in every n-th frame of a video (Eq. 1; of a class Eq. 2).

    Leaves `NAME.mp4` (the overlay, as fast as life; under each frame time and first class),
    `NAME.npz` (filters (n, h, w), signed; frame_indices, times_seconds, losses) and
    `NAME.json` in `out`, NAME being the video's; with its folder before it, where
    results of another video of that name are there.

    Args:
        video: A video file.
        out: Folder for the results.
        backbone: The frozen network.
        size: (height, width) that frames are resized to; None keeps their aspect, the shorter side
            near 256.
        every: n.
        fps: In place of `every`: about so many frames a second.
        start_seconds, end_seconds: The part of the video; None is its end.
        target: Name or number of a class: the filters are that class's.
        center_logits: Of a class: as of `explain`.
        formats: Of the overlay: "mp4", "gif", "webp".
        rerun: Also write a recording for the viewer of rerun.io: frames, heat, its lines, and the
            share of the class told, over the seconds of the video.

    Raises:
        CafVideoError: The video cannot be read, or the results not be written; says why.
    """
    if every < 1:
        raise InputError(f"every {every}-th frame: it must be 1 or more")
    for one in formats:
        if f".{one}" not in MOVING:
            raise InputError(f"no format {one!r}: {', '.join(end[1:] for end in MOVING)}")
    backbone.require_head()
    number = None if target is None else class_number(backbone, target)
    started = time.perf_counter()
    folder = output_folder(out)
    name = result_names([(video.stem, video)], folder)[0]
    overlays = [folder / f"{name}.{one}" for one in dict.fromkeys(formats)]
    require_ours(*overlays, *(folder / f"{name}{suffix}" for suffix in (".npz", ".json")))
    recording = None if rerun is None else Recording(rerun)  # now, and not after the work
    backbone.to(device())
    # The trunk runs below, once; what is explained starts with its feature maps.
    rest = nn.Sequential(nn.Identity(), backbone.tail)
    # Of every frame no more than is written: an hour at 30 frames a second has 108 000 of them.
    filters: list[Tensor] = []
    losses: list[Tensor] = []
    settled, solver = 0, ""
    indices: list[int] = []
    backbone_seconds = 0.0
    with VideoReader(video) as reader, ExitStack() as stack:
        info, times = reader.info, reader.times_seconds
        every = every if fps is None else frames_between(info.fps, fps)
        first, last = _part(times, start_seconds, end_seconds, video)
        input_size = size or backbone.size_for(info.height, info.width)
        preprocessing = backbone.preprocessing(input_size)
        frames = track(
            reader.frames(first, last, every),
            description=f"Explaining {video.name}",
            total=-(-(last - first) // every),
        )
        footer = Footer(info.width)
        canvas = np.empty((info.height + footer.height, info.width, 3), np.uint8)
        writers = [moving_writer(path, fps=info.fps / every, ours=True) for path in overlays]
        for writer in writers:
            stack.enter_context(writer)
        if recording is not None:
            stack.enter_context(recording)

        def draw(batch: list[Frame], heat: np.ndarray, words: list[tuple[str, float]]) -> None:
            for (index, frame), of_frame, (told, share) in zip(batch, heat, words, strict=True):
                heated = heat_over(of_frame, frame.shape[:2])
                canvas[: info.height] = overlay(frame, heated)
                canvas[info.height :] = footer.under(f"{times[index]:.2f} s", told)
                if recording is not None:
                    recording.frame(f"{video.name}/frame", times[index], frame)
                    recording.heat(f"{video.name}/frame/heat", times[index], heated)
                    recording.value(f"{video.name}/share of the class", times[index], share)
                for writer in writers:
                    writer.write(canvas)

        # A batch is drawn and encoded, which needs no Python, while the next one is computed.
        drawer = stack.enter_context(ThreadPoolExecutor(max_workers=1))
        drawing = drawer.submit(draw, [], np.empty(0), [])
        for batch in _batches(frames):
            # One by one: a stack of whole frames would be a copy of many megabytes.
            resized = torch.cat([preprocessing.resize(frame[None]) for _, frame in batch])
            images = preprocessing.finish(resized.to(device()))
            before = time.perf_counter()
            with torch.no_grad():
                maps = backbone.features(images)
                shares = backbone.head(maps).softmax(dim=1).cpu()
            backbone_seconds += time.perf_counter() - before
            if number is not None and number >= shares.shape[1]:
                raise InputError(f"{backbone.name} has {shares.shape[1]} classes, none {number}")
            solution = explain(
                rest, maps, layer="0", axes="n c h w", target=number, center_logits=center_logits
            )
            filters.append(solution.filters.cpu())
            losses.append(solution.losses.cpu())
            settled, solver = settled + int(solution.settled.sum()), solution.solver
            indices += [index for index, _ in batch]
            heat = filters[-1].abs().numpy()
            words = [
                (
                    f"{class_name(backbone, shown)} {share_text(of_frame[shown])}",
                    float(of_frame[shown]),
                )
                for of_frame in shares
                for shown in [int(of_frame.argmax()) if number is None else number]
            ]
            drawing.result()
            drawing = drawer.submit(draw, batch, heat, words)
        drawing.result()
    record = {
        "video": str(video.resolve()),
        "backbone": backbone.name,
        "weights": backbone.weights,
        "size": input_size,
        "every": every,
        "start_seconds": start_seconds,
        "end_seconds": end_seconds,
        "class": number,
        "center_logits": center_logits,
        "solver": solver,
        "settled": settled,
        "frames": len(indices),
        "files": {"overlay": overlays[0].name, "filters": f"{name}.npz"},
        "overlays": [path.name for path in overlays],
    }
    write_npz(
        folder / f"{name}.npz",
        {
            "filters": torch.cat(filters).numpy(),
            "losses": torch.cat(losses).numpy(),
            "frame_indices": np.array(indices),
            "times_seconds": times[indices],
        },
    )
    write_json(folder / f"{name}.json", record)
    return ExplainedVideo(
        overlay=overlays[0],
        frames=len(indices),
        seconds=time.perf_counter() - started,
        backbone_seconds=backbone_seconds,
    )


def frames_between(fps: float, wanted: float) -> int:
    """Every n-th frame of a video at `fps` is about `wanted` a second: n.

    Raises:
        InputError: `wanted` is no positive number.
    """
    if not 0 < wanted < float("inf"):
        raise InputError(f"{wanted:g} frames a second: it must be a positive number")
    return max(1, round(fps / wanted))


def _part(
    times: np.ndarray, start_seconds: float, end_seconds: float | None, video: Path
) -> tuple[int, int]:
    """The first frame of a part of a video, and the first after it."""
    end = float("inf") if end_seconds is None else end_seconds
    first, last = np.searchsorted(times, [start_seconds - _TICK, end - _TICK]).tolist()
    if not first < last:
        raise InputError(
            f"{video.name} has no frame from {start_seconds:g} s "
            + ("on" if end_seconds is None else f"to {end:g} s")
            + f": it ends at {times[-1]:.2f} s"
        )
    return first, last


def _batches(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    batch: list[Frame] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == FRAMES_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
