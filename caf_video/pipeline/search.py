"""query ─► the moments of an index that resemble it, and why: a page, JSON, clips cut out."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caf_video.attention import explain_clip, frame_influence
from caf_video.data.manifest import Clip
from caf_video.data.moved import relocated
from caf_video.data.sampling import clip_frame_range
from caf_video.data.session_store import ARRAY_SUFFIX
from caf_video.data.video.cut import copy_frames
from caf_video.data.video.reader import VideoReader
from caf_video.errors import InputError
from caf_video.files import remember_ours, require_ours
from caf_video.pipeline.ask import Found, Match, SearchIndex
from caf_video.pipeline.opened import (
    maps_at_test,
    open_features,
)
from caf_video.pipeline.page_folder import Heat, PageFolder, heat_of, read_small
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.pipeline.results import output_folder, write_json
from caf_video.pipeline.windows import maps_of_clip
from caf_video.rendering import (
    Chart,
    PageFilm,
    PageMatch,
    Recording,
    SearchPage,
    VideoWriter,
    line_chart,
    write_search_page,
)

FILM_WIDTH = 480  # pixels of a frame on the page
MOST_TIMELINES = 40  # drives that are drawn, those of the nearest moments first

MODES = {
    "attention": "where the network looked in each clip (a scale for each frame)",
    "alike": "what in each makes it resemble the other, measured against the index's mean",
    "unlike": "what in each makes it differ from the other, on the scale of “alike”",
    "frames alone": "nothing over the frames",
}


@dataclass(frozen=True)
class Searched:
    """What `search` left: the page, the matches, and notes for the reader."""

    page: Path
    matches: list[Match]
    notes: list[str]


def search(
    query: Clip,
    index: Path,
    out: Path,
    *,
    top: int = 10,
    exclude_session: bool = False,
    timeline: bool = False,
    rerun: Path | None = None,
    run_folder: Path | None = None,
    videos: Path | None = None,
    track: Track = quietly,
) -> Searched:
    """Find the moments that resemble a clip; leave a page and `search.json`.

    Args:
        query: Of any video.
        index: Folder of the index.
        out: Folder for the page, its pictures and clips.
        top: How many moments.
        exclude_session: Leave out what is of the query's own session.
        timeline: Also draw the similarity along each drive, and cut the moments out as clips.
        rerun: Also write a recording for the viewer of rerun.io: frames, heat and its lines, the
            influence of frames and the similarity along each drive, over the seconds of the drives.
        run_folder: The run, if it is not where the index says.
        videos: Where the videos are, if they are not where the index says.
        track: Shows how far it is.

    Raises:
        CafVideoError: The index, the query or a video cannot be used, or the folder holds what is
            not ours.
    """
    require_ours(out / "search.json")
    recording = None if rerun is None else Recording(rerun)  # now, and not after the work
    folder = PageFolder(out, "caf-video search")
    opened = SearchIndex(index, run_folder)
    found = opened.ask(query, top=top, exclude_session=exclude_session)
    moved = [relocated(match.clip, videos) for match in found.matches]
    clips = _cut(folder.folder, moved, track) if timeline else [""] * len(moved)
    with nullcontext() if recording is None else recording:
        pairs = _pairs(folder, opened, found, moved, clips, recording, track)
        if recording is not None:
            _record_similarity(opened, _timelines(opened, found)[1], recording)
    charts, drives = _timelines(opened, found) if timeline else ([], [])
    write_json(folder.folder / "search.json", _record(opened, found, clips, drives))
    write_search_page(folder.page, _page(opened, found, pairs, charts))
    folder.done()
    return Searched(folder.page, found.matches, found.notes)


def _maps(opened: SearchIndex, match: Match, clip: Clip) -> Tensor:
    """The maps of a match, (t, c, h, w): of its video, else those that the run's store has."""
    if clip.path.suffix == ARRAY_SUFFIX:
        return maps_at_test(open_features(opened.run).read(clip.clip_id)).cpu()
    indices = match.moment.frame_indices
    return maps_of_clip(opened.run, opened.backbone, clip, indices).cpu()


def _pairs(
    folder: PageFolder,
    opened: SearchIndex,
    found: Found,
    moved: Sequence[Clip],
    clips: Sequence[str],
    recording: Recording | None,
    track: Track,
) -> list[PageMatch]:
    """Query and match side by side, each under its own attention and under the pair's."""
    model = opened.run.model
    ours = found.maps[None].to(device())
    center = torch.from_numpy(opened.moments.mean_output).float().to(device())
    pairs = []
    matched = list(zip(found.matches, moved, clips, strict=True))
    for place, (match, clip, cut) in enumerate(
        track(matched, description="Explaining matches", total=len(matched))
    ):
        theirs = _maps(opened, match, clip)[None].to(device())
        films = []
        for letter, one, indices, maps, other in (
            ("q", found.query, found.frame_indices, ours, theirs),
            ("m", clip, match.moment.frame_indices, theirs, ours),
        ):
            frames = read_small(one, indices, FILM_WIDTH, maps.shape[-2:])
            own = explain_clip(model, maps)
            pair = explain_clip(
                model, maps, filters="joint", reference=other, center=center,
                size=frames.shape[1:3],
            )  # fmt: skip
            if pair.unlike is None:
                raise InputError("a centred pair has no “unlike”")
            like, unlike = pair.heatmaps[0].cpu().numpy(), pair.unlike[0].cpu().numpy()
            most = float(max(like.max(), unlike.max()))  # one scale: little difference looks little
            heats = [heat_of(own.filters[0].cpu(), frames), Heat(like, most), Heat(unlike, most)]
            names, size = folder.films(f"{place:03}{letter}", frames, heats, FILM_WIDTH)
            times = found.times_seconds if letter == "q" else match.moment.times_seconds
            influence = frame_influence(model, maps)[0].cpu().numpy()
            if recording is not None:
                entity = f"match {place + 1}/" + ("query" if letter == "q" else clip.path.name)
                for step, seconds in enumerate(times.tolist()):
                    recording.frame(f"{entity}/frame", seconds, frames[step])
                    for mode, heat in zip(("attention", "alike", "unlike"), heats, strict=True):
                        recording.heat(
                            f"{entity}/frame/{mode}", seconds, heat.heatmaps[step],
                            maximum=heat.maximum,
                        )  # fmt: skip
                    recording.value(f"{entity}/influence", seconds, influence[step])
            films.append(
                PageFilm(
                    one.clip_id, names, size,
                    [round(value, 3) for value in times.tolist()],
                    [round(value, 3) for value in influence.tolist()],
                )
            )  # fmt: skip
        facts = {"distance": f"{match.distance:.4g}", "session": clip.session or "its own video",
                 "in its drive": told_times(clip)}  # fmt: skip
        if clip.label:
            facts["class"] = clip.label
        pairs.append(PageMatch(clip.clip_id, facts, films[0], films[1], cut))
    return pairs


def _record_similarity(
    opened: SearchIndex, drives: Sequence[dict[str, Any]], recording: Recording
) -> None:
    for drive in drives:
        name, values = _similarity(opened, np.array(drive["distance"]))
        entity = f"{name}/{Path(drive['video']).name}"
        for seconds, value in zip(drive["middle_seconds"], values.tolist(), strict=True):
            recording.value(entity, seconds, value)


def told_times(clip: Clip) -> str:
    """When a clip is in its video: `12:03.5 – 12:07.5`."""
    end = "end" if clip.end_seconds is None else _clock(clip.end_seconds)
    return f"{_clock(clip.start_seconds)} – {end}"


def _clock(seconds: float) -> str:
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02}.{tenths % 10}"


def _similarity(opened: SearchIndex, distances: np.ndarray) -> tuple[str, np.ndarray]:
    """What is drawn along a drive: the cosine of unit embeddings, else minus the distance."""
    if opened.run.normalize:
        return "cosine similarity", 1 - distances**2 / 2
    return "minus the distance", -distances


def _timelines(opened: SearchIndex, found: Found) -> tuple[list[Chart], list[dict[str, Any]]]:
    """The similarity along each drive of several windows, those of the matches first."""
    distances = opened.distances(found)
    name, similarity = _similarity(opened, distances)
    moments = opened.moments
    nearest = np.full(len(moments.first_clips), np.inf)
    np.minimum.at(nearest, moments.video_codes, distances)
    ends = np.where(np.isfinite(moments.ends), moments.ends, moments.last_times)
    middles = (moments.starts + ends) / 2
    by_video = np.argsort(moments.video_codes, kind="stable")
    edges = np.searchsorted(moments.video_codes[by_video], np.arange(len(nearest) + 1))
    charts: list[Chart] = []
    drives: list[dict[str, Any]] = []
    for code in np.argsort(nearest, kind="stable").tolist():
        rows = by_video[edges[code] : edges[code + 1]]
        if len(rows) < 2:
            continue
        rows = rows[np.argsort(middles[rows], kind="stable")]
        marked = [
            (match.clip.start_seconds, float(ends[match.position]))
            for match in found.matches
            if moments.video_codes[match.position] == code
        ]
        first = moments.first_clips[code]
        drives.append(
            {
                "video": str(first.path),
                "session": first.session,
                "middle_seconds": middles[rows].round(3).tolist(),
                "distance": distances[rows].tolist(),
            }
        )
        if len(charts) < MOST_TIMELINES:
            line = (middles[rows].tolist(), similarity[rows].tolist())
            charts.append(line_chart(f"{first.path.name}: {name}", {first.path.name: line},
                                     unit="s", spans=marked))  # fmt: skip
    return charts, drives


def _cut(folder: Path, clips: Sequence[Clip], track: Track) -> list[str]:
    """The moments as clips; their names from the folder, "" where there is no video."""
    output_folder(folder / "clips")
    names = []
    for place, clip in enumerate(track(clips, description="Cutting clips", total=len(clips))):
        if clip.path.suffix == ARRAY_SUFFIX:
            names.append("")
            continue
        name = f"clips/{place + 1:03}.mp4"
        require_ours(folder / name)
        cut_clip(clip, folder / name)
        remember_ours(folder / name)
        names.append(name)
    return names


def cut_clip(clip: Clip, out: Path) -> bool:
    """Cut a clip out of its video: its packets as they are, where they alone make it, else anew.

    Returns:
        Whether the packets were copied.

    Raises:
        CafVideoError: The video cannot be read, or the file not be written.
    """
    with VideoReader(clip.path, fps=clip.fps) as reader:
        info = reader.info
        first, stop = clip_frame_range(clip, reader.times_seconds, info.duration_seconds)
        if clip.path.is_file() and copy_frames(clip.path, first, stop, out):
            return True
        with VideoWriter(out, fps=info.fps) as writer:
            for _, frame in reader.frames(first, stop):
                writer.write(frame)
    return False


def _record(
    opened: SearchIndex, found: Found, clips: Sequence[str], drives: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "index": str(opened.index.folder.resolve()),
        "run": str(opened.run.checkpoint),
        "moments": len(opened.moments),
        "left_out": found.left_out,
        "query": _told(found.query, found.frame_indices),
        "matches": [
            {
                **_told(match.clip, match.moment.frame_indices),
                "label": match.clip.label,
                "distance": match.distance,
                "cut": cut or None,
            }
            for match, cut in zip(found.matches, clips, strict=True)
        ],
        "drives": drives,
        "notes": found.notes,
    }


def _told(clip: Clip, frame_indices: np.ndarray) -> dict[str, Any]:
    return {
        "id": clip.clip_id,
        "video": str(clip.path),
        "session": clip.session,
        "start_seconds": clip.start_seconds,
        "end_seconds": clip.end_seconds,
        "frame_indices": frame_indices.tolist(),
    }


def _page(
    opened: SearchIndex, found: Found, pairs: Sequence[PageMatch], charts: Sequence[Chart]
) -> SearchPage:
    query, moments = found.query, opened.moments
    drives = len(moments.first_clips)
    return SearchPage(
        title=f"What resembles {query.path.name}",
        lead=f"{len(pairs)} of {len(moments)} moments of {drives} videos, by the run "
        f"{'/'.join(opened.run.folder.resolve().parts[-2:])}. Overlapping windows count once.",
        facts={
            "video": str(query.path),
            "times": told_times(query),
            "session": query.session or "its own video",
            "not searched": f"{found.left_out} moments, of the query itself or of its session",
            "index": str(opened.index.folder.resolve()),
        },
        notes=found.notes,
        modes=MODES,
        matches=pairs,
        timelines=charts,
    )
