"""Generated still pictures on disk: JPEG files and a table of labels, splits and boxes."""

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from caf_video.data.images import Box, ImageError, image_size
from caf_video.errors import CafVideoError, InputError
from caf_video.files import require_ours, written_whole
from caf_video.synthetic.picture_scene import (
    PICTURE_CLASSES,
    picture_box,
    render_picture,
)
from caf_video.synthetic.processes import in_processes
from caf_video.synthetic.world.sessions import sessions_of_splits, shuffled_places

_COLUMNS = ("image", "label", "split", "x1", "y1", "x2", "y2")


class PicturesError(CafVideoError):
    """Generated pictures that cannot be written; names the file."""


@dataclass(frozen=True)
class PictureJob:
    """One picture to render: of a class, at a place of a session."""

    label: str
    session: int
    variant: int
    split: str

    @property
    def name(self) -> str:
        """Path of its file in the folder of the set, with `/`."""
        return f"images/{self.split}/{self.session:06d}-{self.label}.jpg"


def write_pictures(
    out: str | Path,
    *,
    train_per_class: int = 60,
    val_per_class: int = 15,
    test_per_class: int = 30,
    seed: int = 0,
    size: int = 160,
    workers: int | None = None,
    track: Callable[..., Iterable[tuple[PictureJob, Box]]] | None = None,
) -> Path:
    """Render a set of pictures with boxes, which `read_image_set("folder", out)` reads.

    Leaves `images/<split>/<session>-<label>.jpg` and `images.csv` in `out`: the 12 classes of
    PICTURE_CLASSES, one object a picture, which covers 5 to 35 % of it. A picture that is there in
    the size asked for is not rendered again. Each session holds one picture of every class, and
    which of its places holds which class is drawn from its seed.

    Args:
        out: Folder to write; made if it is not there.
        train_per_class: Pictures of each class to train on; no session is in two splits.
        val_per_class: The same of the val split.
        test_per_class: The same of the test split.
        seed: Another seed, other pictures; the same seed, the same pixels.
        size: Height and width of the pictures in pixels.
        workers: Processes that render; None: one for each core. With more than one, a script must
            be importable (`if __name__ == "__main__"`), as the processes are spawned.
        track: Shows how far it is: passes on what it is given, with `description` and `total`.

    Returns:
        Path of the table.

    Raises:
        InputError: If a number is negative, the size is not positive, or nothing is asked for.
        PicturesError: If the folder cannot be written.
    """
    out = Path(out)
    if size < 1:
        raise InputError(f"pictures of size {size}: wanted at least 1 pixel")
    jobs = list(picture_jobs(train_per_class, val_per_class, test_per_class, seed))
    if not jobs:
        raise InputError("0 pictures asked for: nothing to render")
    table = out / "images.csv"
    require_ours(table, failure=PicturesError)
    work = partial(_write_picture, out=out, size=size)
    with closing(in_processes(work, jobs, workers)) as rendered:
        done: Iterable[tuple[PictureJob, Box]] = rendered
        if track is not None:
            done = track(done, description="Rendering pictures", total=len(jobs))
        boxes = dict(done)
    _write_table([(job, boxes[job]) for job in jobs], table)
    return table


def picture_jobs(train: int, val: int, test: int, seed: int) -> Iterator[PictureJob]:
    """What to render: a picture of each class in every session, shuffled over its places.

    Raises:
        InputError: If a number is negative, or there are more pictures than a split has sessions.
    """
    for split, session in sessions_of_splits(train, val, test, seed=seed):
        for label, variant in shuffled_places(PICTURE_CLASSES, session, stream=4):
            yield PictureJob(label, session, variant, split)


def _write_picture(job: PictureJob, out: Path, size: int) -> Box:
    """Write the picture unless it is there, and return its box."""
    path = out / job.name
    if _is_there(path, size):
        return picture_box(job.label, session=job.session, variant=job.variant, size=size)
    picture = render_picture(job.label, session=job.session, variant=job.variant, size=size)
    with written_whole(path, PicturesError) as temporary:
        # Full colour resolution: small red things are what tells some classes.
        Image.fromarray(picture.pixels).save(temporary, "JPEG", quality=95, subsampling=0)
    return picture.box


def _is_there(path: Path, size: int) -> bool:
    try:
        return image_size(path) == (size, size)
    except ImageError:
        return False


def _write_table(rows: list[tuple[PictureJob, Box]], path: Path) -> None:
    with (
        written_whole(path, PicturesError, ours=True) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for job, box in rows:
            corners = [f"{number:.2f}" for number in box]
            writer.writerow([job.name, job.label, job.split, *corners])
