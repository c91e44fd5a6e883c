"""Synthetic driving clips on disk: mp4 files, manifests and the boxes of the evidence.

OUT/manifest.csv                          the clips
OUT/boxes.csv                             where the evidence is, frame by frame
OUT/others.csv                            of two events, where the one is that does not decide
OUT/neutral.csv                           the val and test clips again, under the same ids, with
                                          all evidence painted out: a manifest like the first
OUT/clips/SESSION/CLIP.mp4, OUT/neutral/SESSION/CLIP.mp4
"""

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
from caf_video.synthetic.render import SceneRenderer
from caf_video.synthetic.world.camera import HEIGHT, WIDTH
from caf_video.synthetic.world.events import (
    EVENT_CLASSES,
    ActorStates,
    event_states,
    neutral_states,
)
from caf_video.synthetic.world.scene import FPS, FRAMES, Place, draw_place
from caf_video.synthetic.world.sessions import sessions_of_splits, shuffled_places
from caf_video.synthetic.world.truth import ground_truth
from caf_video.synthetic.world.two_events import (
    pairs_of_session,
    two_event_states,
    two_neutral_states,
)

ONE_EVENT, TWO_EVENTS = "one-event", "two-events"
CLIP_SETS = (ONE_EVENT, TWO_EVENTS)
NEUTRAL_SPLITS = ("val", "test")


class SyntheticClipsError(CafVideoError):
    """Synthetic clips that cannot be written; names the file."""


@dataclass(frozen=True)
class DrivingClip:
    """One clip to render.

    Attributes:
        event_class: What decides, its label.
        session: Seed of the drive.
        variant: Which place of the drive.
        split: train, val or test.
        other: The event that does not decide; "": there is but one event.
    """

    event_class: str
    session: int
    variant: int
    split: str
    other: str = ""

    @property
    def session_name(self) -> str:
        return f"{self.session:06d}"

    @property
    def clip_id(self) -> str:
        other = f"-{self.other}" if self.other else ""
        return f"{self.session_name}-{self.event_class}{other}"

    @property
    def has_neutral(self) -> bool:
        """Whether a copy without evidence is rendered beside it."""
        return self.split in NEUTRAL_SPLITS

    def told(self, place: Place) -> tuple[ActorStates, ...]:
        """What happens: the states with the actor that decides, and with the other's."""
        if self.other:
            return two_event_states(self.event_class, self.other, place)
        return (event_states(self.event_class, place),)

    def neutral(self, place: Place) -> ActorStates:
        """What happens with all evidence painted out."""
        return two_neutral_states(place) if self.other else neutral_states(place)


def write_driving_clips(
    out: Path,
    *,
    clip_set: str = ONE_EVENT,
    train_sessions: int = 50,
    val_sessions: int = 10,
    test_sessions: int = 20,
    seed: int = 0,
    workers: int | None = None,
    track: Callable[..., Iterable[DrivingClip]] | None = None,
) -> Path:
    """Render the driving clips of all sessions, and neutral copies of those of val and test.

    Of one event: a clip of each event class in every session. Of two: 16 clips in every session,
    two of each class. Leaves the files named above (448 x 256, 12 frames at 4 fps, H.264). A clip
    that is there is not rendered again. Which place of a session holds which class is drawn from
    the session's seed.

    Args:
        out: Folder to write; made if it is not there.
        clip_set: One of CLIP_SETS.
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
        InputError: If the set is unknown, a count or the seed is negative, or there is nothing to
            render.
        SyntheticClipsError: If the folder cannot be written.
    """
    out = Path(out)
    jobs = list(driving_clips(train_sessions, val_sessions, test_sessions, seed, clip_set))
    if not jobs:
        raise InputError("0 sessions asked for: nothing to render")
    with_neutral = [job for job in jobs if job.has_neutral]
    tables = {
        "manifest.csv": lambda path: write_manifest(
            _listed(jobs, _video_path, out), path, ours=True
        ),
        "boxes.csv": lambda path: _write_boxes(jobs, path, which=0),
    }
    if with_neutral:
        tables["neutral.csv"] = lambda path: write_manifest(
            _listed(with_neutral, _neutral_path, out), path, ours=True
        )
    if clip_set == TWO_EVENTS:
        tables["others.csv"] = lambda path: _write_boxes(jobs, path, which=1)
    require_ours(*(out / name for name in tables), failure=SyntheticClipsError)
    try:
        missing = [job for job in jobs if _unwritten(out, job)]
        out.mkdir(parents=True, exist_ok=True)
        with closing(in_processes(partial(_render_job, out=out), missing, workers)) as rendered:
            done: Iterable[DrivingClip] = (clip for clip, _ in rendered)
            if track is not None:
                done = track(done, description="Rendering clips", total=len(missing))
            for _ in done:
                pass
        for name, write in tables.items():
            write(out / name)
    except OSError as error:
        raise unwritable(out, error, SyntheticClipsError) from error
    return out / "manifest.csv"


def driving_clips(
    train: int, val: int, test: int, seed: int, clip_set: str = ONE_EVENT
) -> Iterator[DrivingClip]:
    """What to render: every session's clips, their classes shuffled over the session's places.

    Raises:
        InputError: If the set is unknown, a number is negative, or there are more sessions than a
            split has seeds.
    """
    if clip_set not in CLIP_SETS:
        raise InputError(f"no set of clips {clip_set!r}; there are {', '.join(CLIP_SETS)}")
    for split, session in sessions_of_splits(train, val, test, seed=seed):
        if clip_set == ONE_EVENT:
            for event_class, variant in shuffled_places(EVENT_CLASSES, session, stream=2):
                yield DrivingClip(event_class, session, variant, split)
        else:
            pairs = list(pairs_of_session(session))
            for (deciding, other), variant in shuffled_places(pairs, session, stream=5):
                yield DrivingClip(deciding, session, variant, split, other)


def _listed(
    jobs: Iterable[DrivingClip], path_of: Callable[[Path, DrivingClip], Path], out: Path
) -> list[Clip]:
    return [
        Clip(job.clip_id, path_of(out, job), job.event_class, session=job.session_name,
             split=job.split)
        for job in jobs
    ]  # fmt: skip


def _video_path(out: Path, job: DrivingClip) -> Path:
    return out / "clips" / job.session_name / f"{job.clip_id}.mp4"


def _is_there(path: Path) -> bool:
    """Whether a clip is there, and is as it was written, as far as it was noted."""
    return path.is_file() and (is_ours(path) or not was_ours(path))


def _neutral_path(out: Path, job: DrivingClip) -> Path:
    return out / "neutral" / job.session_name / f"{job.clip_id}.mp4"


def _unwritten(out: Path, job: DrivingClip) -> list[tuple[Path, bool]]:
    """The videos of a clip that are not there, and whether each is the neutral copy."""
    wanted = [(_video_path(out, job), False)]
    if job.has_neutral:
        wanted.append((_neutral_path(out, job), True))
    return [(path, neutral) for path, neutral in wanted if not _is_there(path)]


def _render_job(job: DrivingClip, out: Path) -> None:
    place = draw_place(job.session, job.variant)
    renderer = SceneRenderer(place)
    for path, neutral in _unwritten(out, job):
        states = job.neutral(place) if neutral else job.told(place)[0]
        frames = np.stack([renderer.frame(states, frame) for frame in range(FRAMES)])
        # Said here: PyAV's errors do not travel between processes.
        with written_whole(path, SyntheticClipsError, ours=True) as temporary:
            _encode(frames, temporary)


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


def _write_boxes(jobs: list[DrivingClip], path: Path, *, which: int) -> None:
    """Write where the deciding events are (`which` 0), or the others (1)."""
    with (
        written_whole(path, ours=True) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(BOX_COLUMNS)
        for job in jobs:
            place = draw_place(job.session, job.variant)
            states = job.told(place)[which]
            boxes, visible = ground_truth(place, states, states.actor)
            for index in range(FRAMES):
                corners = [f"{value:.2f}" for value in boxes[index]]
                writer.writerow([job.clip_id, index, *corners, int(visible[index])])
