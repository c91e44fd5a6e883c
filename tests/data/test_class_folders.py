"""Folders of classes and of splits: what is taken for which, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from caf_video.data.manifest import ManifestError, read_clips


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "val", "test"), ("train", "val", "test")),
        (("train", "validation"), ("train", "val")),
        (("Train", "Test"), ("train", "test")),
        (("train", "valid"), ("train", "val")),
        (("training", "testing"), ("train", "test")),
        (("TRAINING", "Validation", "TEST"), ("train", "val", "test")),
    ],
)
def test_folders_of_splits_have_synonyms(
    tmp_path: Path, folders: tuple[str, ...], splits: tuple[str, ...]
) -> None:
    touch(tmp_path, *(f"{folder}/left/{folder}.mp4" for folder in folders))
    clips = read_clips(tmp_path)
    assert {(clip.path.stem, clip.label, clip.split) for clip in clips} == {
        (folder, "left", split) for folder, split in zip(folders, splits, strict=True)
    }


@pytest.mark.parametrize("other", ["left", "extra", "unlabeled"])
def test_another_folder_beside_those_of_splits_is_an_error(tmp_path: Path, other: str) -> None:
    touch(tmp_path, "train/left/a.mp4", "validation/left/b.mp4", f"{other}/x/c.mp4")
    with pytest.raises(ManifestError) as caught:
        read_clips(tmp_path)
    assert f"folders of splits (train, validation) beside others ({other})" in str(caught.value)
    assert "FOLDER/train/CLASS/video.mp4" in str(caught.value)


def test_two_folders_of_one_split_are_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "train/l/a.mp4", "val/l/b.mp4", "validation/l/c.mp4")
    with pytest.raises(ManifestError, match="val and validation are both the val split"):
        read_clips(tmp_path)


def test_a_folder_of_videos_without_classes_says_what_was_expected(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{i}.mp4" for i in range(7)))
    with pytest.raises(ManifestError) as caught:
        read_clips(tmp_path)
    message = str(caught.value)
    assert "in no class folder (0.mp4, 1.mp4, 2.mp4, 3.mp4, 4.mp4 and 2 more)" in message
    assert "FOLDER/CLASS/video.mp4" in message and "columns path and label" in message


@pytest.mark.parametrize("loose", ["b.mp4", "train/b.mp4"])
def test_a_video_beside_the_folders_is_not_dropped(tmp_path: Path, loose: str) -> None:
    touch(tmp_path, "train/left/a.mp4", loose)
    with pytest.raises(ManifestError, match=r"in no class folder \(b.mp4\)"):
        read_clips(tmp_path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(("v.mp4", {}), ("v.mov", {}), ("v.mkv", {}), ("v.avi", {}), ("v.ts", {}), ("v.MTS", {})),
        *(("v.m2ts", {}), ("v.flv", {}), ("v.3gp", {"size": (144, 176)}), ("v.f4v", {})),
        ("v.webm", {"codec": "libvpx", "b_frames": 0}),
        *((name, {"codec": "mpeg2video"}) for name in ("v.mpg", "v.vob", "v.m2v", "v.mxf")),
        *((name, {"container": "h264"}) for name in ("v.h264", "v.264")),
        ("v.hevc", {"codec": "libx265", "size": (72, 96), "container": "hevc"}),
        ("v.265", {"codec": "libx265", "size": (72, 96), "container": "hevc"}),
        ("v.wmv", {"codec": "wmv2", "b_frames": 0}),
        ("v.asf", {"codec": "wmv2", "b_frames": 0}),
        ("v.gif", {"codec": "gif", "pixel_format": "rgb8", "b_frames": 0}),
        ("v.y4m", {"codec": "wrapped_avframe"}),
    ],
)  # fmt: skip
def test_every_container_that_is_read_is_listed(
    name: str, options: dict, numbered_video: Callable[..., Path], tmp_path: Path
) -> None:
    from caf_video.data.video.reader import probe_video

    (tmp_path / "left").mkdir()
    video = numbered_video(f"left/{name}", 4, **options)
    assert [clip.path for clip in read_clips(tmp_path)] == [video]
    assert probe_video(video).frame_count == 4


# --- folders of pictures --------------------------------------------------------------------------


def test_a_folder_of_pictures_in_a_class_is_one_video(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"train/left/drive 1/{number:06d}.png" for number in range(3)),
        *(f"train/left/city/drive 2/{number:06d}.JPG" for number in range(3)),
        "train/left/drive 1/.000009.png",
        "train/right/drive 3/1.png",
        "train/right/.cache/2.png",
        "test/right/drive 4/frame7.jpeg",
    )
    clips = read_clips(tmp_path, fps=10)
    assert [(clip.clip_id, clip.label, clip.split) for clip in clips] == [
        ("test/right/drive 4", "right", "test"),
        ("train/left/city/drive 2", "left", "train"),
        ("train/left/drive 1", "left", "train"),
        ("train/right/drive 3", "right", "train"),
    ]
    assert clips[2].path == tmp_path / "train/left/drive 1" and clips[2].fps == 10


def test_pictures_beside_a_video_file_are_not_a_video(tmp_path: Path) -> None:
    touch(tmp_path, "left/a.mp4", "left/a_1.jpg", "left/more/b.mp4", "left/more/b_1.jpg")
    assert [clip.path.name for clip in read_clips(tmp_path)] == ["a.mp4", "b.mp4"]


def test_files_and_folders_of_pictures_in_one_class_are_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "left/a.mp4", "left/thumbs/1.jpg", "left/thumbs/2.jpg")
    with pytest.raises(ManifestError, match=r"both video files \(a.mp4\) and folders .*\(thumbs\)"):
        read_clips(tmp_path)


def test_pictures_that_lie_in_a_class_itself_are_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "left/1.png", "left/2.png", "left/drive/1.png")
    with pytest.raises(ManifestError, match="holds pictures that are in no video's folder"):
        read_clips(tmp_path)
