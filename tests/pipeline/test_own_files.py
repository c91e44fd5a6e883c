"""Nothing of a user's is replaced, and no result takes the place or the name of another's."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from caf_video.data.features import ClipFeatures
from caf_video.errors import CafVideoError
from caf_video.models.preprocessing import Normalization, Preprocessing
from caf_video.pipeline.explain import explain_clips
from caf_video.pipeline.explain_files import write_explanations
from caf_video.pipeline.explain_video import explain_video
from caf_video.pipeline.results import result_names, write_json, write_npz, write_text
from caf_video.rendering import VideoWriter
from caf_video.synthetic import write_driving_clips, write_pictures
from caf_video.training import RunFolder, TrainingError

pytestmark = pytest.mark.filterwarnings("ignore::caf_video.attention.AttentionWarning")


class Grey(torch.nn.Module):
    """A classifier of two columns."""

    name, weights, label_names = "grey", "none", ()
    tail = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 1))

    def require_head(self) -> None:
        """It has one."""

    def features(self, images):
        return torch.nn.functional.avg_pool2d(images[:, :1], 16)

    def head(self, maps):
        return self.tail(maps)

    def size_for(self, height, width):
        return height, width

    def preprocessing(self, size):
        return Preprocessing(size, Normalization("bilinear", (0, 0, 0), (255, 255, 255)))


def write_video(path: Path, shade: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps=10) as writer:
        for frame in range(3):
            writer.write(np.full((32, 64, 3), shade + frame, np.uint8))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("mine", ["drive.mp4", "drive.json", "drive.npz"])
def test_an_overlay_replaces_neither_its_video_nor_a_file_beside_it(tmp_path, mine) -> None:
    video = write_video(tmp_path / "videos" / "drive.mp4")
    out = tmp_path / "out"
    out.mkdir()
    (out / mine).write_bytes(video.read_bytes() if mine == video.name else b"notes")
    before = contents(out)
    with pytest.raises(CafVideoError, match=rf"{mine} is there already"):
        explain_video(video, out, backbone=Grey())  # type: ignore[arg-type]
    assert contents(out) == before


def test_videos_of_one_name_leave_results_of_two_and_again_the_same_two(tmp_path) -> None:
    videos = [write_video(tmp_path / name / "drive.mp4", 50) for name in ("a", "b")]
    for order in (videos, videos[::-1]):
        for video in order:
            explain_video(video, tmp_path / "out", backbone=Grey())  # type: ignore[arg-type]
    records = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")]
    assert sorted(record["video"] for record in records) == [str(video) for video in videos]
    assert {record["files"]["overlay"] for record in records} == {"drive.mp4", "b%2Fdrive.mp4"}
    for record in records:
        assert (tmp_path / "out" / record["files"]["overlay"]).is_file()


def test_names_differ_in_more_than_case_and_in_the_end_by_number(tmp_path) -> None:
    wanted = [("drive", Path("/a/drive.mp4")), ("Drive", Path("/b/Drive.mp4")),
              ("x/y", Path("/c.mp4")), ("drive", Path("/drive.mp4")),
              ("drive", Path("/drive.avi"))]  # fmt: skip
    names = result_names(wanted, tmp_path)
    assert names == ["drive", "b%2FDrive", "x%2Fy", "drive 2", "drive 3"]


def test_a_users_json_text_and_array_stay(tmp_path) -> None:
    for write in (
        lambda path: write_json(path, {"a": 1}),
        lambda path: write_text(path, "a"),
        lambda path: write_npz(path, {"a": np.zeros(2)}),
    ):
        path = tmp_path / "file"
        path.write_bytes(b"mine")
        with pytest.raises(CafVideoError, match="is there already"):
            write(path)
        assert path.read_bytes() == b"mine"
        path.unlink()
        write(path)
        write(path)  # ours
        path.unlink()


def test_synthetic_clips_and_pictures_replace_no_table_of_a_users(tmp_path) -> None:
    for name, render in (
        ("manifest.csv", lambda: write_driving_clips(tmp_path, train_sessions=1, val_sessions=0,
                                                     test_sessions=0, workers=1)),
        ("boxes.csv", lambda: write_driving_clips(tmp_path, workers=1)),
        ("images.csv", lambda: write_pictures(tmp_path, workers=1)),
    ):  # fmt: skip
        (tmp_path / name).write_text("mine")
        with pytest.raises(CafVideoError, match=rf"{name} is there already"):
            render()
        assert contents(tmp_path) == {name: b"mine"}
        (tmp_path / name).unlink()


def test_a_training_replaces_no_config_of_a_users(known_run, tmp_path) -> None:
    description = known_run.store.description
    for name in ("config.yaml", "metrics.csv", "curves.png"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(TrainingError, match=f"{name} is there already"):
            RunFolder.begin(tmp_path, {"kind": "recurrent"}, description)
        assert contents(tmp_path) == {name: b"mine"}
        (tmp_path / name).unlink()
    RunFolder.begin(tmp_path, {"kind": "recurrent"}, description)
    RunFolder.begin(tmp_path, {"kind": "recurrent"}, description)  # stopped before it began


# --- who is left out of a search ------------------------------------------------------------------


@pytest.fixture
def features_of_any(monkeypatch) -> Callable:
    """Let new videos have the features of a clip of the store, for there is no such backbone."""

    def give(known, clip_id: str) -> None:
        stored = known.store.read(clip_id)
        monkeypatch.setattr(
            "caf_video.pipeline.explain.new_features",
            lambda run, clips: [
                ClipFeatures(
                    clip.clip_id, stored.feature_maps, stored.frame_indices, stored.times_seconds
                )
                for clip in clips
            ],
        )

    return give


def test_a_new_video_named_like_a_gallery_clip_does_not_hide_that_clip(
    known_run, features_of_any, tmp_path
) -> None:
    features_of_any(known_run, "left_a")
    video = write_video(tmp_path / "left_a.mp4")
    (explained,) = explain_clips(known_run.folder, [str(video)])
    assert explained.nearest.clip_id == "left_a"
    assert explained.distance == pytest.approx(0, abs=1e-6)


def test_a_gallery_clip_under_another_name_is_not_its_own_neighbour(
    make_known_run, features_of_any, tmp_path
) -> None:
    from caf_video.pipeline.identity import VideoDigests

    known = make_known_run()
    features_of_any(known, "left_a")
    whole = known.clip("left_a")
    known.store.write(known.store.read("left_a"), "known", event=VideoDigests().event(whole))
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(whole.path.read_bytes())
    for video in (copy, whole.path):
        (explained,) = explain_clips(known.folder, [str(video)])
        assert explained.nearest.clip_id == known.nearest["left_a"]


def test_explanations_of_videos_of_one_name_are_all_kept(
    known_run, features_of_any, tmp_path
) -> None:
    features_of_any(known_run, "right_a")
    videos = []
    for name in ("a", "b"):
        videos.append(tmp_path / name / "drive.mp4")
        videos[-1].parent.mkdir()
        videos[-1].write_bytes(known_run.clip("right_a").path.read_bytes() + name.encode())
    explained = explain_clips(known_run.folder, [str(video) for video in [*videos, videos[0]]])
    assert len(explained) == 2  # the third is the first
    strips = write_explanations(explained, tmp_path / "out")
    assert [strip.name for strip in strips] == ["drive.png", "b%2Fdrive.png"]
    told = [json.loads(strip.with_suffix(".json").read_text())["video"] for strip in strips]
    assert told == [str(video) for video in videos]
    assert write_explanations(explained, tmp_path / "out") == strips
    (tmp_path / "out" / "drive.json").write_text("mine")
    before = contents(tmp_path / "out")
    with pytest.raises(CafVideoError, match=r"drive\.json is there already"):
        write_explanations(explained, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_a_video_without_a_label_is_not_judged(known_run, features_of_any, tmp_path) -> None:
    features_of_any(known_run, "left_a")
    video = str(write_video(tmp_path / "new.mp4"))
    for only in ("correct", "wrong"):
        explained = explain_clips(known_run.folder, [video, "left_a", "left_b"], only=only)
        assert [one.clip.clip_id for one in explained] == [f"left_{'ab'[only == 'wrong']}"]
        assert [clip.clip_id for clip in explained.unjudged] == ["new"]


def test_the_neighbour_is_of_another_session_where_sessions_allow(make_known_run) -> None:
    from caf_video.data.manifest import write_manifest

    known = make_known_run()
    together = {"left_b", "stop_c"}
    clips = [
        replace(clip, session="drive") if clip.clip_id in together else clip for clip in known.clips
    ]
    write_manifest(clips, known.store.manifest_path)
    one, other = explain_clips(known.folder, ["left_b", "stop_c"])
    assert one.nearest_of_all.clip_id == "stop_c" and other.nearest_of_all.clip_id == "left_b"
    assert one.nearest.clip_id == other.nearest.clip_id == "left_a"
    assert one.correct is True and other.correct is False
    record = one.record()
    assert record["gate"] == "other_sessions" and record["session"] == "drive"
    assert record["nearest_session"] == known.clip("left_a").session


# --- moved projects -------------------------------------------------------------------------------


def test_a_project_that_was_moved_finds_its_features_and_videos(make_known_run, tmp_path) -> None:
    import torch as saved

    known = make_known_run()
    file = known.folder / "checkpoints" / "best.ckpt"
    checkpoint = saved.load(file, weights_only=True)
    checkpoint["caf_video"]["features_from_run"] = "../features"
    saved.save(checkpoint, file)
    (tmp_path / "moved").mkdir()
    for name in ("run", "features"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    run = tmp_path / "moved" / "run"
    with pytest.raises(CafVideoError, match=r"no video at .*--videos FOLDER"):
        explain_clips(run, ["left_a"])
    (explained,) = explain_clips(run, ["left_a"], videos=tmp_path / "videos")
    assert explained.clip.path == tmp_path / "videos" / "left_a.mp4"
    (tmp_path / "moved" / "features").rename(tmp_path / "elsewhere")
    with pytest.raises(CafVideoError, match="no feature store"):
        explain_clips(run, ["left_a"])
    assert explain_clips(
        run, ["left_a"], features=tmp_path / "elsewhere", videos=tmp_path / "videos"
    )
