"""explained clips ─► a strip, raw filters and a record each: written, and forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caf_video.attention import filters_to_heatmaps, resize_maps
from caf_video.data.video.reader import VideoError, VideoReader
from caf_video.errors import CafVideoError
from caf_video.files import is_ours, require_ours
from caf_video.pipeline.explain import Asked, ExplainedClip, Only, has_video
from caf_video.pipeline.localize.parts import Parts
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.results import (
    output_folder,
    read_json,
    result_names,
    write_json,
    write_npz,
    write_picture,
)
from caf_video.rendering import ClipCaption, NeighbourRow, clip_strip, frame_title
from caf_video.shards import WHOLE, Shard

_PLAIN_GREY = 96  # under the heat of a clip without a video,
_PLAIN_CELL = 32  # whose cells are as many pixels large
ENDS = (".npz", ".png", ".json")  # the record last: where it is, the others are


@dataclass(frozen=True)
class Left:
    """What `explain_into` left.

    Attributes:
        strips: Of this shard's clips that are explained, now or before, in their order.
        held: How many of them were there already.
        without_video: How many show the heat alone.
        all_strips: Those of all shards; None where some have not ended yet,
        waiting: namely these.
    """

    strips: list[Path]
    held: int
    without_video: int
    all_strips: list[Path] | None
    waiting: list[Shard]


def explain_into(
    folder: Path,
    asked: Asked,
    *,
    only: Only = "all",
    shard: Shard = WHOLE,
    track: Track = quietly,
) -> Left:
    """Explain clips and leave of each what `write_explanations` leaves, in the same folder.

    No more than one chunk of clips is held at a time. A clip that is there already, explained by
    the same run from the same features, is passed over; a chunk is passed over if all of it is.

    Args:
        folder: For the results, new or this command's.
        asked: What is to be explained.
        only: Keep the clips whose retrieval was right, or wrong.
        shard: The one whose clips were asked for.
        track: Shows how far it is.

    Raises:
        CafVideoError: A file is there that is not ours, or cannot be written; or a video could not
            be read, of which the others are done.
    """
    output_folder(folder)
    every = result_names([(clip.clip_id, clip.path) for clip in asked.everything], folder)
    name_of = dict(zip(asked.everything, every, strict=True))
    names = [name_of[clip] for clip in asked.clips]
    keys = [asked.made_of(row) for row in range(len(names))]
    there = [_correct(folder, name, key) for name, key in zip(names, keys, strict=True)]
    for name, known in zip(names, there, strict=True):
        if known is None:
            require_ours(*(folder / f"{name}{end}" for end in ENDS))
    verdicts: dict[str, tuple[Any, ...]] = {"all": (), "correct": (True,), "wrong": (False,)}
    unjudged = set(asked.unjudged)
    strips: list[Path] = []
    failed: list[VideoError] = []
    held = alone = 0
    chunks = asked.chunks()
    for chunk in track(chunks, description="Explaining clips", total=len(chunks)):
        todo = any(there[row] is None for row in chunk)
        made = asked.explained(chunk, only) if todo else [None] * len(chunk)
        for row, one in zip(chunk, made, strict=True):
            verdict = there[row]
            if verdict is not None:
                if only != "all" and (
                    asked.clips[row] in unjudged or verdict[0] not in verdicts[only]
                ):
                    continue
                held += 1
            elif one is None:
                continue
            else:
                try:
                    _write_clip(one, folder, names[row], made_of=keys[row])
                except VideoError as error:
                    failed.append(error)
                    continue
            strips.append(folder / f"{names[row]}.png")
            alone += not has_video(asked.clips[row])
    if failed:
        raise _undrawn(failed, len(strips) + len(failed), folder)
    if shard == WHOLE:
        return Left(strips, held, alone, strips, [])
    parts = Parts(folder / "index.html", [every, asked.of_all, only, shard.count])
    parts.write(shard.index, {"names": np.array([strip.stem for strip in strips], dtype=str)})
    done = [parts.read(number) for number in range(shard.count)]
    waiting = [Shard(number, shard.count) for number, part in enumerate(done) if part is None]
    if waiting:
        return Left(strips, held, alone, None, waiting)
    shown = {str(name) for part in done if part is not None for name in part["names"].tolist()}
    ordered = [folder / f"{name}.png" for name in every if name in shown]
    return Left(strips, held, alone, ordered, [])


def draw_clip(
    explained: ExplainedClip,
    *,
    captioned: bool = True,
    with_neighbour: bool = True,
    boxes: np.ndarray | None = None,
    evidence_visible: np.ndarray | None = None,
) -> Any:
    """The strip of a clip: its frames under their heatmaps, its nearest neighbour's below.

    Where there is no video the heat is drawn alone, over grey.

    Args:
        captioned: Whether the strip says whose it is; a page around it may say so itself.
        with_neighbour: Whether the nearest clip's frames stand below.
        boxes: Ground truth in pixels of the video, (t, 4).
        evidence_visible: Whether each box's evidence is visible, (t,).

    Returns:
        A PIL image.
    """
    clip, nearest = explained.clip, explained.nearest
    titles = list(map(frame_title, explained.frame_indices, explained.times_seconds))
    neighbour = None
    if explained.has_video:
        with VideoReader(clip.path, fps=clip.fps) as reader:
            frames = reader.read(explained.frame_indices.tolist())
    else:
        height, width = (_PLAIN_CELL * cells for cells in explained.filters.shape[1:])
        frames = np.full((len(titles), height, width, 3), _PLAIN_GREY, np.uint8)
        titles = [f"{seconds:.2f} s" for seconds in explained.times_seconds]
    if with_neighbour and has_video(nearest):
        with VideoReader(nearest.path, fps=nearest.fps) as reader:
            others = reader.read(explained.nearest_frames.tolist())
        neighbour = NeighbourRow(
            others, [f"{nearest.clip_id} · frame {index}" for index in explained.nearest_frames]
        )
    shares, size = explained.frame_shares, frames.shape[1:3]
    heatmaps = (
        filters_to_heatmaps(explained.filters, size)
        if shares is None
        else resize_maps(explained.filters.clamp(min=0), size)
    )
    caption = ClipCaption(
        clip.clip_id,
        clip.label,
        nearest.clip_id,
        nearest.label,
        explained.correct,
        neighbour_session=nearest.session,
        distance=explained.distance,
    )
    return clip_strip(
        frames,
        heatmaps.numpy(),
        titles=titles,
        caption=caption if captioned else None,
        boxes=boxes,
        evidence_visible=evidence_visible,
        frame_influence=explained.influence if shares is None else None,
        frame_shares=shares,
        neighbour=neighbour,
    )


def write_explanations(
    explained: Sequence[ExplainedClip], out: Path, *, track: Track = quietly
) -> list[Path]:
    """Leave a strip, the raw signed filters and a record of each clip in `out`.

    `CLIP.png`, `CLIP.npz` (filters (t, h, w), frame_indices, times_seconds, losses, influence; of
    one filter also frame_shares) and `CLIP.json`, where CLIP is the `file_name` of the clip's id;
    of two that are called alike, the second with its folder before it. A clip that cannot be drawn
    does not stop those that follow.

    Returns:
        The strips.

    Raises:
        CafVideoError: A file is there that is not ours, or cannot be written; or a video could not
            be read, of which the others are done.
    """
    folder = output_folder(out)
    names = result_names([(one.clip.clip_id, one.clip.path) for one in explained], folder)
    require_ours(*(folder / f"{name}{end}" for name in names for end in ENDS))
    strips = []
    failed: list[VideoError] = []
    drawn = list(zip(explained, names, strict=True))
    for one, name in track(drawn, description="Drawing strips", total=len(drawn)):
        try:
            _write_clip(one, folder, name)
        except VideoError as error:
            failed.append(error)
            continue
        strips.append(folder / f"{name}.png")
    if failed:
        raise _undrawn(failed, len(drawn), folder)
    return strips


def _write_clip(one: ExplainedClip, folder: Path, name: str, **more: str) -> None:
    strip = draw_clip(one)
    write_npz(
        folder / f"{name}.npz",
        {
            "filters": one.filters.numpy(),
            "frame_indices": one.frame_indices,
            "times_seconds": one.times_seconds,
            "losses": one.losses,
            "influence": one.influence,
            **({} if one.frame_shares is None else {"frame_shares": one.frame_shares}),
        },
    )
    write_picture(folder / f"{name}.png", strip)
    files = {"strip": f"{name}.png", "filters": f"{name}.npz"}
    write_json(folder / f"{name}.json", {**one.record(), "files": files, **more})


def _undrawn(failed: Sequence[VideoError], count: int, folder: Path) -> CafVideoError:
    return CafVideoError(
        f"{len(failed)} of {count} clips could not be drawn, the others are in {folder}; "
        f"the first of them: {failed[0]}"
    )


def _correct(folder: Path, name: str, made_of: str) -> tuple[bool | None] | None:
    """The verdict of a clip that is explained and was made of this, in a tuple; else None."""
    record = folder / f"{name}.json"
    if not is_ours(record) or not all((folder / f"{name}{end}").is_file() for end in ENDS):
        return None
    told = read_json(record)
    if not isinstance(told, dict) or told.get("made_of") != made_of:
        return None
    return (told.get("correct"),)
