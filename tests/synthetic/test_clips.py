"""Synthetic driving clips on disk: what is written reads back, and writing can be resumed."""

import errno
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from caf_video.data.clip_boxes import read_boxes
from caf_video.data.manifest import read_manifest
from caf_video.errors import CafVideoError, InputError
from caf_video.files import RECORD
from caf_video.synthetic import (
    EVENT_CLASSES,
    SyntheticClipsError,
    render_clip,
    write_driving_clips,
)
from caf_video.synthetic import clips as clips_module
from caf_video.synthetic.clips import driving_clips

SEED = 9_000


def read_frames(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic")
    return write_driving_clips(
        out, train_sessions=1, val_sessions=0, test_sessions=0, seed=SEED, workers=1
    )


def test_the_manifest_lists_one_clip_of_each_class_in_a_session(written: Path) -> None:
    clips = read_manifest(written)
    assert sorted(clip.label for clip in clips) == sorted(EVENT_CLASSES)
    assert {clip.split for clip in clips} == {"train"}
    assert len({clip.session for clip in clips}) == 1
    for clip in clips:
        assert clip.path.is_file() and clip.path.parent.name == clip.session
        assert clip.path.stem == clip.clip_id


def test_frames_and_boxes_read_back_as_they_were_rendered(written: Path) -> None:
    boxes = read_boxes(written.parent / "boxes.csv")
    jobs = {job.clip_id: job for job in driving_clips(1, 0, 0, SEED)}
    clips = read_manifest(written)
    assert set(boxes) == set(jobs) == {clip.clip_id for clip in clips}
    for clip in clips[:3]:
        job = jobs[clip.clip_id]
        rendered = render_clip(job.event_class, session=job.session, variant=job.variant)
        frames = read_frames(clip.path)
        assert frames.shape == rendered.frames.shape
        error = frames.astype(float) - rendered.frames.astype(float)
        assert np.sqrt((error**2).mean()) < 8.0
        np.testing.assert_allclose(boxes[clip.clip_id][0], rendered.boxes, atol=0.006)
        np.testing.assert_array_equal(boxes[clip.clip_id][1], rendered.visible)


def test_a_clip_is_a_small_mp4_of_twelve_frames_at_4_fps(written: Path) -> None:
    for path in sorted((written.parent / "clips").rglob("*.mp4"))[:3]:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
            assert (stream.width, stream.height, stream.frames) == (448, 256, 12)
            assert float(stream.average_rate) == 4.0
        assert path.stat().st_size < 250_000


def test_writing_resumes_and_renders_only_what_is_missing(written: Path) -> None:
    paths = sorted((written.parent / "clips").rglob("*.mp4"))
    lost, kept = paths[4], [path for path in paths if path != paths[4]]
    content, stamps = lost.read_bytes(), {path: path.stat().st_mtime_ns for path in kept}
    lost.unlink()
    told: list[tuple[int, str]] = []

    def track(clips, *, description: str, total: int):
        for clip in clips:
            told.append((total, clip.clip_id))
            yield clip

    write_driving_clips(
        written.parent, train_sessions=1, val_sessions=0, test_sessions=0, seed=SEED, workers=1,
        track=track,
    )  # fmt: skip
    assert told == [(1, lost.stem)]
    assert lost.read_bytes() == content
    assert {path: path.stat().st_mtime_ns for path in kept} == stamps
    assert {path.name for path in written.parent.rglob(".*")} == {RECORD}


def test_processes_write_what_one_process_writes(written: Path, tmp_path: Path) -> None:
    other = write_driving_clips(
        tmp_path, train_sessions=1, val_sessions=0, test_sessions=0, seed=SEED, workers=2
    )
    assert other.read_bytes() == written.read_bytes()
    assert (tmp_path / "boxes.csv").read_bytes() == (written.parent / "boxes.csv").read_bytes()
    for path in sorted((written.parent / "clips").rglob("*.mp4")):
        assert (tmp_path / path.relative_to(written.parent)).read_bytes() == path.read_bytes()


def test_splits_and_seeds_share_no_session_and_classes_are_balanced() -> None:
    jobs = list(driving_clips(20, 5, 8, 0))
    sessions = {
        split: {job.session for job in jobs if job.split == split}
        for split in ("train", "val", "test")
    }
    assert [len(found) for found in sessions.values()] == [20, 5, 8]
    assert len(set.union(*sessions.values())) == 33
    assert not {job.session for job in driving_clips(20, 5, 8, 1)} & set.union(*sessions.values())
    assert set(Counter(job.event_class for job in jobs).values()) == {33}
    assert set(Counter((job.session, job.variant) for job in jobs).values()) == {1}
    # More train sessions do not move the test split.
    longer = [job for job in driving_clips(30, 5, 8, 0) if job.split == "test"]
    assert longer == [job for job in jobs if job.split == "test"]


def test_which_place_holds_a_class_does_not_depend_on_the_class() -> None:
    jobs = list(driving_clips(600, 0, 0, 0))
    places = {name: np.zeros(12) for name in EVENT_CLASSES}
    for job in jobs:
        places[job.event_class][job.variant] += 1
    counts = np.stack(list(places.values()))  # 50 +- 6.8 expected in each
    assert counts.min() > 50 - 4.5 * 6.8 and counts.max() < 50 + 4.5 * 6.8


def test_an_output_folder_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    occupied = tmp_path / "clips.txt"
    occupied.write_text("not a folder")
    with pytest.raises(CafVideoError, match="clips.txt"):
        write_driving_clips(occupied, train_sessions=1, val_sessions=0, test_sessions=0, workers=1)
    assert occupied.read_text() == "not a folder"


def test_a_full_disk_is_one_clear_line_and_damages_nothing(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(frames: np.ndarray, path: Path) -> None:
        path.write_bytes(b"half a file")
        raise OSError(errno.ENOSPC, "No space left on device")

    lost, *kept = sorted((written.parent / "clips").rglob("*.mp4"))
    content, manifest = lost.read_bytes(), written.read_bytes()
    lost.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(clips_module, "_encode", full)
        with pytest.raises(SyntheticClipsError, match=f"cannot write .*{lost.name}: No space left"):
            write_driving_clips(
                written.parent,
                train_sessions=1,
                val_sessions=0,
                test_sessions=0,
                seed=SEED,
                workers=1,
            )
    assert not lost.exists()
    assert {path.name for path in written.parent.rglob(".*")} == {RECORD}
    assert all(path.is_file() for path in kept) and written.read_bytes() == manifest
    lost.write_bytes(content)


def test_wrong_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="val is -1"):
        write_driving_clips(tmp_path, train_sessions=1, val_sessions=-1, test_sessions=0)
    with pytest.raises(InputError, match="nothing to render"):
        write_driving_clips(tmp_path, train_sessions=0, val_sessions=0, test_sessions=0)
