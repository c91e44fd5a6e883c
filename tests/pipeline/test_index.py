"""An index of a run that is known on paper: what is in it, and that it is only ever added to."""

import json
import math

import numpy as np
import pytest

from caf_video.data.manifest import Clip, write_manifest
from caf_video.errors import CafVideoError, InputError
from caf_video.models.preprocessing import Normalization, Preprocessing
from caf_video.pipeline import index as stage
from caf_video.pipeline.index import Windows, index_moments
from caf_video.pipeline.moments import MomentIndex
from caf_video.pipeline.windows import windows_of
from caf_video.rendering import VideoWriter
from caf_video.shards import Shard


class Brightness:
    """A backbone whose map says in both channels how bright a frame is; it counts its frames."""

    def __init__(self) -> None:
        self.frames = 0

    def preprocessing(self, size):
        return Preprocessing(size, Normalization("bilinear", (0, 0, 0), (1, 1, 1)))  # as they are

    def features(self, images):
        self.frames += len(images)
        level = images.mean(dim=(1, 2, 3))
        return level[:, None, None, None].expand(-1, 2, 2, 4) / 32


@pytest.fixture
def backbone(monkeypatch) -> Brightness:
    made = Brightness()
    monkeypatch.setattr(stage, "run_backbone", lambda run, name: made)
    return made


def write_drive(path, seconds: int = 6, fps: int = 10, first: int = 10):
    """A drive whose frames grow brighter."""
    with VideoWriter(path, fps=fps) as writer:
        for frame in range(seconds * fps):
            writer.write(np.full((64, 128, 3), first + 3 * frame, np.uint8))
    return path


def on_paper(levels) -> list[float]:
    """The embedding of a clip whose frames have these brightnesses: see `known_network`."""
    cell = 0.0
    for level in levels:
        cell = 0.5 * cell + math.tanh(0.01 * level)
    return [math.tanh(cell)] * 2


def test_windows_are_a_step_apart_and_the_last_one_ends_with_the_drive() -> None:
    drive = Clip("d", None, "")  # type: ignore[arg-type]
    told = [(one.start_seconds, one.end_seconds) for one in
            windows_of(drive, 6.3, window=4, step=1)]  # fmt: skip
    assert told == [(0, 4), (1, 5), (2, 6), (pytest.approx(2.3), pytest.approx(6.3))]
    exact = windows_of(drive, 6.0, window=4, step=0.5)
    assert [one.start_seconds for one in exact] == [0, 0.5, 1, 1.5, 2]
    assert [one.clip_id for one in exact][1] == "d@0.5"
    (short,) = windows_of(drive, 1.5, window=4, step=1)
    assert (short.start_seconds, short.end_seconds) == (0, 1.5)
    with pytest.raises(InputError, match="above 0"):
        windows_of(drive, 6, window=4, step=0)


def test_a_window_has_the_embedding_of_its_frames_and_no_frame_goes_through_twice(
    known_run, backbone, tmp_path
) -> None:
    drive = write_drive(tmp_path / "drive.mp4")
    done = index_moments(known_run.folder, tmp_path / "i", [drive], windows=Windows(3, 1))
    assert (done.added, done.held, done.failed, done.total) == (4, 0, [], 4)
    moments = MomentIndex.open(tmp_path / "i").read()
    for row in range(4):  # the middles of three seconds from `row` on
        assert moments.frame_indices[row].tolist() == [10 * row + 5, 10 * row + 15, 10 * row + 25]
        levels = [(10 + 3 * frame) / 32 for frame in moments.frame_indices[row]]
        # 2 levels of brightness are lost in the video, and half precision has 11 bits
        np.testing.assert_allclose(moments.embeddings[row], on_paper(levels), rtol=0.08)
    np.testing.assert_allclose(moments.times_seconds, moments.frame_indices / 10)
    assert backbone.frames == 6  # seconds 0.5 to 5.5, which the four windows share


def test_a_long_drive_is_embedded_in_pieces_as_in_one(
    known_run, backbone, tmp_path, monkeypatch
) -> None:
    drive = write_drive(tmp_path / "drive.mp4")
    index_moments(known_run.folder, tmp_path / "one", [drive], windows=Windows(2, 0.7))
    for name, few in (("FRAMES_AT_ONCE", 2), ("READ_AT_ONCE", 1), ("CLIPS_AT_ONCE", 1)):
        monkeypatch.setattr(f"caf_video.pipeline.windows.{name}", few)
    index_moments(known_run.folder, tmp_path / "few", [drive], windows=Windows(2, 0.7))
    one, few = (MomentIndex.open(tmp_path / name).read() for name in ("one", "few"))
    assert one.events == few.events and len(one) == 7
    np.testing.assert_allclose(one.embeddings, few.embeddings, rtol=1e-5)


def test_what_is_there_is_not_made_again_whatever_the_file_is_called(
    known_run, backbone, tmp_path
) -> None:
    drive, out = write_drive(tmp_path / "drive.mp4"), tmp_path / "i"
    index_moments(known_run.folder, out, [drive])
    before = {path: path.read_bytes() for path in (out / "parts").iterdir()}
    seen = backbone.frames
    (tmp_path / "copy.mp4").write_bytes(drive.read_bytes())
    other = write_drive(tmp_path / "other.mp4", first=60)
    done = index_moments(known_run.folder, out, [drive, tmp_path / "copy.mp4"])
    assert (done.added, done.held, done.total) == (0, 6, 3) and backbone.frames == seen
    done = index_moments(known_run.folder, out, [drive, other])
    assert (done.added, done.held, done.total) == (3, 3, 6)
    for path, content in before.items():
        assert path.read_bytes() == content


def test_clips_of_a_manifest_and_its_whole_drives_are_indexed_by_their_sessions(
    known_run, backbone, tmp_path
) -> None:
    drive = write_drive(tmp_path / "drive.mp4")
    clips = [
        Clip("a", drive, "left", 1.0, 2.5, "monday"),
        Clip("b", drive, "right", 1.0, 6.0, "monday"),
        Clip("c", drive, "wrong", 1.0, 2.5, "monday"),  # the event of a
    ]
    write_manifest(clips, tmp_path / "m.csv")
    done = index_moments(known_run.folder, tmp_path / "c", [tmp_path / "m.csv"])
    moments = MomentIndex.open(tmp_path / "c").read()
    assert done.added == 2
    assert [(one.clip_id, one.label) for one in moments.clips] == [("a", "left"), ("b", "right")]
    assert moments.frame_indices.tolist() == [[12, 17, 22], [18, 35, 51]]
    index_moments(known_run.folder, tmp_path / "d", [tmp_path / "m.csv"], drives=True)
    moments = MomentIndex.open(tmp_path / "d").read()
    assert [one.start_seconds for one in moments.clips] == [0, 1, 2]
    assert {one.session for one in moments.clips} == {"monday"}


def test_a_split_of_the_run_is_indexed_from_its_features(known_run, tmp_path) -> None:
    done = index_moments(known_run.folder, tmp_path / "i")
    assert (done.added, done.held, done.total) == (7, 0, 7)
    assert index_moments(known_run.folder, tmp_path / "i").held == 7
    moments = MomentIndex.open(tmp_path / "i").read()
    for clip, embedding in zip(moments.clips, moments.embeddings, strict=True):
        assert embedding == pytest.approx(known_run.embedding(clip.clip_id), rel=1e-3)
    assert moments.frame_indices.tolist() == [list(known_run.frames)] * 7


def test_another_runs_index_is_refused_in_one_line_and_stays(make_known_run, tmp_path) -> None:
    known = make_known_run()
    index_moments(known.folder, tmp_path / "i")
    before = sorted((path, path.read_bytes()) for path in (tmp_path / "i").rglob("*.*"))
    known.retrain()
    with pytest.raises(CafVideoError, match="index of another run") as refused:
        index_moments(known.folder, tmp_path / "i")
    assert len(str(refused.value).splitlines()) == 1
    assert before == sorted((path, path.read_bytes()) for path in (tmp_path / "i").rglob("*.*"))
    (tmp_path / "i" / "index.json").unlink()
    with pytest.raises(CafVideoError, match="no index.json"):
        index_moments(known.folder, tmp_path / "i")


def test_a_drive_that_cannot_be_read_does_not_end_the_others(known_run, backbone, tmp_path) -> None:
    drive = write_drive(tmp_path / "drive.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    done = index_moments(known_run.folder, tmp_path / "i", [tmp_path / "bad.mp4", drive])
    assert done.added == 3 and [path.name for path, _ in done.failed] == ["bad.mp4"]
    with pytest.raises(CafVideoError, match="bad.mp4"):
        index_moments(known_run.folder, tmp_path / "j", [tmp_path / "bad.mp4"])


def test_a_damaged_part_is_named_and_an_index_that_is_not_there_says_how(
    known_run, tmp_path
) -> None:
    index_moments(known_run.folder, tmp_path / "i")
    (part,) = (tmp_path / "i" / "parts").iterdir()
    part.write_bytes(part.read_bytes()[:50])
    with pytest.raises(CafVideoError, match=part.name):
        MomentIndex.open(tmp_path / "i").read()
    with pytest.raises(CafVideoError, match="caf-video index RUN"):
        MomentIndex.open(tmp_path / "nothing")
    (tmp_path / "i" / "index.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(CafVideoError, match="format 1"):
        MomentIndex.open(tmp_path / "i")


def test_a_part_with_one_bit_turned_is_never_searched_and_is_made_again(
    known_run, backbone, tmp_path
) -> None:
    drive, out = write_drive(tmp_path / "drive.mp4"), tmp_path / "i"
    index_moments(known_run.folder, out, [drive])
    whole = MomentIndex.open(out).read()
    (part,) = (out / "parts").iterdir()
    content = bytearray(part.read_bytes())
    content[-3] ^= 4
    part.write_bytes(content)
    with pytest.raises(CafVideoError, match="run `caf-video index` again"):
        MomentIndex.open(out).read()
    assert index_moments(known_run.folder, out, [drive]).added == 3
    again = MomentIndex.open(out).read()
    assert again.events == whole.events
    np.testing.assert_array_equal(again.embeddings, whole.embeddings)


def test_shards_add_to_one_index_what_one_process_would(known_run, backbone, tmp_path) -> None:
    drives = [write_drive(tmp_path / f"{n}.mp4", first=10 + 20 * n) for n in range(3)]
    index_moments(known_run.folder, tmp_path / "whole", drives)
    added = []
    for index in (1, 0, 3, 2):  # of four, one without a drive
        done = index_moments(known_run.folder, tmp_path / "i", drives, shard=Shard(index, 4))
        added.append(done.added)
        assert done.total == sum(added)
    assert sorted(added) == [0, 3, 3, 3]
    whole, divided = (MomentIndex.open(tmp_path / name).read() for name in ("whole", "i"))
    assert whole.events == divided.events  # in the order of their parts' names
    np.testing.assert_array_equal(whole.embeddings, divided.embeddings)


def test_shards_of_a_split_are_all_of_it(known_run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(stage, "CLIPS_IN_A_PART", 2)
    added = [
        index_moments(known_run.folder, tmp_path / "i", shard=Shard(index, 3)).added
        for index in range(3)
    ]
    assert sorted(added) == [2, 2, 3]
    index_moments(known_run.folder, tmp_path / "whole")
    whole, divided = (MomentIndex.open(tmp_path / name).read() for name in ("whole", "i"))
    rows = [divided.events.index(event) for event in whole.events]
    assert len(rows) == 7 == len(divided) and len(list((tmp_path / "i" / "parts").iterdir())) == 4
    np.testing.assert_array_equal(whole.embeddings, divided.embeddings[rows])


def test_an_index_that_another_process_makes_meanwhile_is_gone_on_with(
    known_run, tmp_path, monkeypatch
) -> None:
    def made_meanwhile(*_: object) -> bool:
        monkeypatch.undo()
        index_moments(known_run.folder, tmp_path / "i")
        return True

    is_file = type(tmp_path).is_file
    monkeypatch.setattr(
        type(tmp_path),
        "is_file",
        lambda path: (
            made_meanwhile() and is_file(path)
            if path == tmp_path / "i" / "index.json"
            else is_file(path)
        ),
    )
    done = index_moments(known_run.folder, tmp_path / "i")
    assert (done.added, done.held) == (0, 7)


def test_what_is_not_there_is_neither_a_video_nor_a_list(known_run, tmp_path) -> None:
    with pytest.raises(InputError, match=r"no video and no list of clips at .*gone\.mp4"):
        index_moments(known_run.folder, tmp_path / "i", [tmp_path / "gone.mp4"])
    assert not (tmp_path / "i").exists()
