"""Generated pictures: what the class may change, how tight the box is, and what lies on disk."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caf_video.data.images import image_size, read_image, read_image_set
from caf_video.errors import InputError
from caf_video.files import RECORD
from caf_video.synthetic.picture_scene import PICTURE_CLASSES, picture_box, render_picture
from caf_video.synthetic.pictures import PicturesError, picture_jobs, write_pictures
from caf_video.synthetic.processes import in_processes

SESSION = 7_000  # far from the sessions that are written by default
SEEN = 12  # levels of 255 by which a pixel that an object covers differs, nearly always
SPILL = 4  # pixels by which a shadow or a shine may leave the box

Box = tuple[float, float, float, float]


def difference(label: str, session: int, variant: int) -> tuple[np.ndarray, Box]:
    """How far each pixel changes when the object is painted out, (size, size), and its box."""
    shown = render_picture(label, session=session, variant=variant)
    empty = render_picture(label, session=session, variant=variant, evidence=False)
    assert shown.box == empty.box
    return np.abs(shown.pixels.astype(int) - empty.pixels).max(axis=2), shown.box


def test_with_the_object_painted_out_the_picture_does_not_depend_on_the_class() -> None:
    for variant in (0, 5):
        empty = [
            render_picture(label, session=SESSION, variant=variant, evidence=False).pixels
            for label in PICTURE_CLASSES
        ]
        for other in empty[1:]:
            np.testing.assert_array_equal(other, empty[0])


@pytest.mark.parametrize("label", PICTURE_CLASSES)
def test_the_object_lies_in_its_box_and_touches_its_four_sides(label: str) -> None:
    missed = 0
    for session in range(SESSION, SESSION + 6):
        changed, (x1, y1, x2, y2) = difference(label, session, 2)
        left, top, right, bottom = int(x1), int(y1), int(np.ceil(x2)), int(np.ceil(y2))
        inside = changed[top:bottom, left:right] > SEEN
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        gaps = (
            left + columns[0] - x1,
            top + rows[0] - y1,
            x2 - (left + columns[-1] + 1),
            y2 - (top + rows[-1] + 1),
        )
        missed += sum(gap > 2 for gap in gaps)
        assert inside.mean() > 0.25
        changed[max(top - SPILL, 0) : bottom + SPILL, max(left - SPILL, 0) : right + SPILL] = 0
        assert changed.max() <= SEEN
    assert missed <= 1  # of 24 sides: dark hair before a dark tree is seen by nobody


def test_objects_are_of_a_like_size_and_stand_inside_the_picture() -> None:
    for label in PICTURE_CLASSES:
        for session in range(SESSION, SESSION + 40):
            x1, y1, x2, y2 = picture_box(label, session=session, variant=7, size=160)
            assert 0.05 <= (x2 - x1) * (y2 - y1) / 160**2 <= 0.36
            assert min(x1, y1, 160 - x2, 160 - y2) >= 1


def test_no_single_box_finds_most_objects() -> None:
    boxes = np.array([
        picture_box(label, session=SESSION + session, variant=session % 12, size=160)
        for label in PICTURE_CLASSES
        for session in range(20)
    ])  # fmt: skip
    for guess in (np.array([0, 0, 160, 160]), boxes.mean(axis=0), np.array([40, 40, 120, 120])):
        corners = np.minimum(guess[2:], boxes[:, 2:]) - np.maximum(guess[:2], boxes[:, :2])
        shared = corners.clip(min=0).prod(axis=1)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (guess[2:] - guess[:2]).prod()
        assert (shared / (areas - shared) >= 0.5).mean() < 0.4


def test_a_seed_always_gives_the_same_pixels_and_another_seed_others() -> None:
    first = render_picture("van", session=SESSION, variant=3)
    again = render_picture("van", session=SESSION, variant=3)
    assert first.pixels.shape == (160, 160, 3) and first.pixels.dtype == np.uint8
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert first.box == again.box == picture_box("van", session=SESSION, variant=3, size=160)
    for session, variant in ((SESSION, 4), (SESSION + 1, 3)):
        other = render_picture("van", session=session, variant=variant)
        assert (other.pixels != first.pixels).mean() > 0.5


def test_the_size_scales_the_picture_and_its_box() -> None:
    small = render_picture("arrow_sign", session=SESSION, size=80)
    large = render_picture("arrow_sign", session=SESSION, size=320)
    assert small.pixels.shape == (80, 80, 3) and large.pixels.shape == (320, 320, 3)
    np.testing.assert_allclose(np.array(large.box), 4 * np.array(small.box))
    quarter = large.pixels.reshape(80, 4, 80, 4, 3).mean(axis=(1, 3))
    assert np.abs(quarter - small.pixels).mean() < 4


def test_classes_can_be_told_apart_and_their_empty_pictures_cannot() -> None:
    """Nearest neighbours of small pictures: at chance without the object, well above it with."""
    empty, crops, labels = [], [], []
    for job in picture_jobs(8, 0, 0, SESSION):
        seed = {"session": job.session, "variant": job.variant}
        bare = render_picture(job.label, **seed, evidence=False).pixels
        empty.append(bare[::10, ::10].ravel().astype(float))
        shown = render_picture(job.label, **seed)
        x1, y1, x2, y2 = shown.box
        rows, columns = np.linspace(y1, y2 - 1, 12), np.linspace(x1, x2 - 1, 12)
        seen = shown.pixels[np.ix_(rows.astype(int), columns.astype(int))].ravel() / 255
        crops.append(np.append(seen, 4 * (x2 - x1) / (y2 - y1)))
        labels.append(job.label)
    # Of 96 pictures 7.1 +- 2.6 are right by chance; more than 18 once in ten thousand times.
    assert nearest_is_right(np.array(empty), labels) <= 18 / 96
    assert nearest_is_right(np.array(crops), labels) >= 48 / 96


def nearest_is_right(points: np.ndarray, labels: list[str]) -> float:
    distances = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(distances, np.inf)
    return float(np.mean([labels[i] == labels[j] for i, j in enumerate(distances.argmin(axis=1))]))


def test_splits_and_seeds_share_no_session_and_classes_are_balanced() -> None:
    jobs = list(picture_jobs(20, 5, 8, 0))
    sessions = {
        split: {job.session for job in jobs if job.split == split}
        for split in ("train", "val", "test")
    }
    assert [len(found) for found in sessions.values()] == [20, 5, 8]
    assert len(set.union(*sessions.values())) == 33
    assert not {job.session for job in picture_jobs(20, 5, 8, 1)} & set.union(*sessions.values())
    assert set(Counter(job.label for job in jobs).values()) == {33}
    assert set(Counter((job.session, job.variant) for job in jobs).values()) == {1}
    longer = [job for job in picture_jobs(30, 5, 8, 0) if job.split == "test"]
    assert longer == [job for job in jobs if job.split == "test"]


def test_which_place_holds_a_class_does_not_depend_on_the_class() -> None:
    places = Counter((job.label, job.variant) for job in picture_jobs(600, 0, 0, 0))
    counts = [places[label, place] for label in PICTURE_CLASSES for place in range(12)]
    assert min(counts) > 50 - 4.5 * 6.8 and max(counts) < 50 + 4.5 * 6.8  # 50 +- 6.8 expected


COUNTS = {"train_per_class": 1, "val_per_class": 0, "test_per_class": 1, "size": 96, "seed": 9_000}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"), **COUNTS, workers=1)


def test_what_is_written_reads_back_as_a_set_with_boxes_and_splits(written: Path) -> None:
    found = read_image_set("folder", written.parent)
    assert found.skipped == () and found.label_names == tuple(sorted(PICTURE_CLASSES))
    jobs = list(picture_jobs(1, 0, 1, 9_000))
    assert [image.image_id for image in found.images] == [job.name for job in jobs]
    assert [image.split for image in found.images] == [job.split for job in jobs]
    for image, job in zip(found.images, jobs, strict=True):
        assert found.label_names[image.label] == job.label
        box = picture_box(job.label, session=job.session, variant=job.variant, size=96)
        np.testing.assert_allclose(np.array(image.boxes), [box], atol=0.006)
    for image, job in list(zip(found.images, jobs, strict=True))[:3]:
        rendered = render_picture(job.label, session=job.session, variant=job.variant, size=96)
        error = read_image(image.path).astype(float) - rendered.pixels
        assert np.sqrt((error**2).mean()) < 4


def test_writing_resumes_and_renders_only_what_is_missing(written: Path) -> None:
    paths = sorted(written.parent.rglob("*.jpg"))
    lost, *kept = paths
    contents, stamps = [path.read_bytes() for path in paths], [p.stat().st_mtime_ns for p in kept]
    table = written.read_bytes()
    lost.unlink()
    told: list[tuple[str, int, int]] = []

    def track(done, *, description: str, total: int):
        for count, one in enumerate(done, start=1):
            told.append((description, count, total))
            yield one

    write_pictures(written.parent, **COUNTS, workers=1, track=track)
    assert told == [("Rendering pictures", count, 24) for count in range(1, 25)]
    assert [path.read_bytes() for path in paths] == contents and written.read_bytes() == table
    assert [path.stat().st_mtime_ns for path in kept] == stamps
    assert {path.name for path in written.parent.rglob(".*")} == {RECORD}


def test_a_picture_of_its_users_is_not_replaced_and_one_of_ours_in_another_size_is(
    tmp_path: Path,
) -> None:
    one = {"train_per_class": 1, "val_per_class": 0, "test_per_class": 0, "workers": 1}
    table = write_pictures(tmp_path, **one, size=40)
    first, second, *_ = sorted(tmp_path.rglob("*.jpg"))
    contents = first.read_bytes()
    write_pictures(tmp_path, **one, size=48)
    assert {image_size(path) for path in tmp_path.rglob("*.jpg")} == {(48, 48)}
    rows = table.read_bytes()
    for size in (40, 48, 64):  # also in the size that is asked for
        Image.new("RGB", (size, size)).save(second)
        mine = second.read_bytes()
        with pytest.raises(PicturesError, match=f"{second.name} is there already, and is not as"):
            write_pictures(tmp_path, **one, size=40)
        assert second.read_bytes() == mine and table.read_bytes() == rows
    second.unlink()
    write_pictures(tmp_path, **one, size=40)
    assert first.read_bytes() == contents


def test_processes_write_what_one_process_writes(written: Path, tmp_path: Path) -> None:
    other = write_pictures(tmp_path, **COUNTS, workers=2)
    assert other.read_bytes() == written.read_bytes()
    for path in sorted(written.parent.rglob("*.jpg")):
        assert (tmp_path / path.relative_to(written.parent)).read_bytes() == path.read_bytes()


def test_the_table_has_a_row_a_picture(written: Path) -> None:
    with written.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "label", "split", "x1", "y1", "x2", "y2"]
    assert len(rows) == 24
    assert all((written.parent / row["image"]).is_file() for row in rows)


def test_a_folder_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    occupied = tmp_path / "file.txt"
    occupied.write_text("not a folder")
    with pytest.raises(PicturesError, match=r"cannot write .*file\.txt"):
        write_pictures(occupied, train_per_class=1, val_per_class=0, test_per_class=0, workers=1)
    assert occupied.read_text() == "not a folder"

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("caf_video.files.os.replace", full)
    with pytest.raises(PicturesError, match=r"cannot write .*\.jpg: No space left on device"):
        write_pictures(tmp_path, train_per_class=1, val_per_class=0, test_per_class=0, workers=1)
    left = {path.name for path in tmp_path.rglob("*") if path.is_file() and path != occupied}
    assert left <= {".caf_video.sha256"}  # which notes what is ours before it is there


def test_wrong_numbers_and_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="val is -1"):
        write_pictures(tmp_path, val_per_class=-1)
    with pytest.raises(InputError, match="nothing to render"):
        write_pictures(tmp_path, train_per_class=0, val_per_class=0, test_per_class=0)
    with pytest.raises(InputError, match="pictures of size 0"):
        write_pictures(tmp_path, size=0)
    with pytest.raises(InputError, match="100001 train sessions: at most 100000"):
        write_pictures(tmp_path, train_per_class=100_001)
    with pytest.raises(InputError, match="no picture class 'tram'; there are stop_sign"):
        render_picture("tram", session=0)
    with pytest.raises(InputError, match="must not be negative"):
        render_picture("van", session=-1)
    with pytest.raises(InputError, match="a picture of size 0"):
        render_picture("van", session=0, size=0)
    assert not list(tmp_path.iterdir())


def test_processes_give_every_job_its_own_result() -> None:
    for workers in (1, 2):
        assert dict(in_processes(abs, [-3, 2, -1], workers)) == {-3: 3, 2: 2, -1: 1}
    assert list(in_processes(abs, [], 2)) == []
    with pytest.raises(TypeError):
        list(in_processes(abs, [-1, "one"], 2))
