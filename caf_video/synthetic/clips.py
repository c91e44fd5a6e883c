"""Synthetic driving clips on disk: mp4 files, a manifest and the boxes of the evidence."""

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np

from caf_video.data.clip_boxes import BOX_COLUMNS
from caf_video.data.manifest import Clip, write_manifest
from caf_video.errors import CafVideoError, InputError
from caf_video.files import is_ours, require_ours, unwritable, was_ours, written_whole
from caf_video.synthetic.processes import in_processes
from caf_video.synthetic.render import render_clip
from caf_video.synthetic.world.camera import HEIGHT, WIDTH
from caf_video.synthetic.world.events import EVENT_CLASSES, event_states
from caf_video.synthetic.world.scene import FPS, FRAMES, draw_place
from caf_video.synthetic.world.sessions import sessions_of_splits, shuffled_places
from caf_video.synthetic.world.truth import ground_truth


class SyntheticClipsError(CafVideoError):
    """Synthetic clips that cannot be written; names the file."""


@dataclass(frozen=True)
class DrivingClip:
    """One clip to render."""

    event_class: str
    session: int
    variant: int
    split: str

    @property
    def session_name(self) -> str:
        return f"{self.session:06d}"

    @property
    def clip_id(self) -> str:
        return f"{self.session_name}-{self.event_class}"


def write_driving_clips(
    out: Path,
    *,
    train_sessions: int = 50,
    val_sessions: int = 10,
    test_sessions: int = 20,
    seed: int = 0,
    workers: int | None = None,
    track: Callable[..., Iterable[DrivingClip]] | None = None,
) -> Path:
    """Render the driving clips: one of each event class in every session.

    Leaves `clips/<session>/<clip_id>.mp4` (448 x 256, 12 frames at 4 fps, H.264), `manifest.csv`
    and `boxes.csv` in `out`. A clip that is there is not rendered again. Which place of a session
    holds which class is drawn from the session's seed.

    Args:
        out: Folder to write; made if it is not there.
        train_sessions: Sessions of the train split; no seed is in two splits.
        val_sessions: Sessions of the val split.
        test_sessions: Sessions of the test split.
        seed: Another seed, other sessions; the same seed, the same pixels.
        workers: Processes that render; None: one for each core. With more than one, a script must
            be importable (`if __name__ == "__main__"`), as the processes are spawned.
        track: Shows how far it is: passes on the clips it is given, with `description` and `total`.

    Returns:
        Path of the manifest.

    Raises:
        InputError: If a count or the seed is negative, or there is nothing to render.
        SyntheticClipsError: If the folder cannot be written.
    """
    out = Path(out)
    jobs = list(driving_clips(train_sessions, val_sessions, test_sessions, seed))
    if not jobs:
        raise InputError("0 sessions asked for: nothing to render")
    tables = out / "manifest.csv", out / "boxes.csv"
    require_ours(*tables, failure=SyntheticClipsError)
    try:
        missing = [job for job in jobs if not _is_there(_video_path(out, job))]
        out.mkdir(parents=True, exist_ok=True)
        with closing(in_processes(partial(_render_job, out=out), missing, workers)) as rendered:
            done: Iterable[DrivingClip] = (clip for clip, _ in rendered)
            if track is not None:
                done = track(done, description="Rendering clips", total=len(missing))
            for _ in done:
                pass
        write_manifest(
            [
                Clip(job.clip_id, _video_path(out, job), job.event_class, session=job.session_name,
                     split=job.split)
                for job in jobs
            ],
            out / "manifest.csv",
            ours=True,
        )  # fmt: skip
        _write_boxes(jobs, out / "boxes.csv")
    except OSError as error:
        raise unwritable(out, error, SyntheticClipsError) from error
    return out / "manifest.csv"


def driving_clips(train: int, val: int, test: int, seed: int) -> Iterator[DrivingClip]:
    """What to render: every session's clips, their classes shuffled over the session's places.

    Raises:
        InputError: If a number is negative, or there are more sessions than a split has seeds.
    """
    for split, session in sessions_of_splits(train, val, test, seed=seed):
        for event_class, variant in shuffled_places(EVENT_CLASSES, session, stream=2):
            yield DrivingClip(event_class, session, variant, split)


def _video_path(out: Path, job: DrivingClip) -> Path:
    return out / "clips" / job.session_name / f"{job.clip_id}.mp4"


def _is_there(path: Path) -> bool:
    """Whether a clip is there, and is as it was written, as far as it was noted."""
    return path.is_file() and (is_ours(path) or not was_ours(path))


def _render_job(job: DrivingClip, out: Path) -> None:
    path = _video_path(out, job)
    clip = render_clip(job.event_class, session=job.session, variant=job.variant)
    # Said here: PyAV's errors do not travel between processes.
    with written_whole(path, SyntheticClipsError, ours=True) as temporary:
        _encode(clip.frames, temporary)


def _encode(frames: np.ndarray, path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        # One thread and no look-ahead (the preset's): the same bytes in every run, and the
        # processes already take all cores. About 150 KB a clip, rms error 4 of 255.
        stream.options = {
            "crf": "24",
            "preset": "ultrafast",
            "threads": "1",
            "x264-params": "cabac=1",
        }
        for frame in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def _write_boxes(jobs: list[DrivingClip], path: Path) -> None:
    with (
        written_whole(path, ours=True) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(BOX_COLUMNS)
        for job in jobs:
            place = draw_place(job.session, job.variant)
            states = event_states(job.event_class, place)
            boxes, visible = ground_truth(place, states, states.actor)
            for index in range(FRAMES):
                corners = [f"{value:.2f}" for value in boxes[index]]
                writer.writerow([job.clip_id, index, *corners, int(visible[index])])
