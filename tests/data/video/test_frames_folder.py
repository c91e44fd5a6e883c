"""Folders of numbered pictures are videos like others."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caf_video.data.clip import Clip, ManifestError
from caf_video.data.sampling import clip_frame_indices
from caf_video.data.video.reader import VideoError, VideoReader, probe_video

NumberedFrames = Callable[..., Path]


def test_frames_come_in_the_order_of_their_numbers(
    tmp_path: Path, numbered_frames: NumberedFrames, read_number: Callable[[np.ndarray], int]
) -> None:
    """Of the numbers, not of the names: 10 stands after 9."""
    folder = numbered_frames(tmp_path / "drive", [f"frame_{i}.png" for i in range(8, 13)])
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "times.txt").write_text("no frame")
    with VideoReader(folder, fps=10) as video:
        assert [read_number(frame) for _, frame in video.frames()] == [0, 1, 2, 3, 4]
        np.testing.assert_allclose(video.times_seconds, [0, 0.1, 0.2, 0.3, 0.4], atol=1e-12)
        info = video.info
    assert (info.frame_count, info.fps, info.height, info.width) == (5, 10, 48, 64)
    assert (info.duration_seconds, info.has_clock, info.reader) == (0.5, True, "pictures")


def test_names_that_are_times_are_an_order_and_no_numbering(
    tmp_path: Path, numbered_frames: NumberedFrames, read_number: Callable[[np.ndarray], int]
) -> None:
    """nuScenes': microseconds, never equally far apart."""
    names = [f"n015__CAM_FRONT__{1532402927612460 + t}.jpg" for t in (0, 83_011, 166_020, 350_077)]
    folder = numbered_frames(tmp_path, names)
    with VideoReader(folder, fps=12) as video:
        assert [read_number(frame) for frame in video.read([3, 0, 2])] == [3, 0, 2]


def test_without_a_rate_a_folder_has_frames_and_no_times(
    tmp_path: Path, numbered_frames: NumberedFrames
) -> None:
    folder = numbered_frames(tmp_path / "drive", [f"{i:06d}.png" for i in range(9)])
    assert not probe_video(folder).has_clock
    with VideoReader(folder) as video:
        whole = clip_frame_indices(Clip("a", folder, "l"), video, timesteps=3, candidates=1)
        assert whole.ravel().tolist() == [1, 4, 7]
        with pytest.raises(ManifestError, match="clip 'b': drive does not tell its frame rate"):
            clip_frame_indices(Clip("b", folder, "l", 0.1), video, timesteps=3, candidates=1)
    event = Clip("c", folder, "l", 0.3, 0.6, fps=10)
    with VideoReader(folder, fps=10) as video:
        indices = clip_frame_indices(event, video, timesteps=3, candidates=1)
    assert indices.ravel().tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.png", "2.png", "3.png", "6.png", "7.png", "8.png"], "between 3.png and 6.png: number"),
        (
            [f"{i}.png" for i in (1, 2, 3, 4, 6, 7, 8, 10)],
            "between 4.png and 6.png (and 1 gaps more): number",
        ),
        (["left_1.png", "right_1.png"], "two kinds of names (left_1.png, right_1.png)"),
        (["1.png", "01.png"], "01.png and 1.png are both frame"),
        (["1.png", "cover.png"], "cover.png has no number"),
    ],
)
def test_names_that_are_no_row_of_frames_are_refused(
    tmp_path: Path, numbered_frames: NumberedFrames, names: list[str], message: str
) -> None:
    folder = numbered_frames(tmp_path / "drive", names)
    with pytest.raises(VideoError) as caught:
        VideoReader(folder, fps=10)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_every_fifth_frame_is_a_numbering_too(
    tmp_path: Path, numbered_frames: NumberedFrames
) -> None:
    folder = numbered_frames(tmp_path, [f"{i}.png" for i in range(0, 50, 5)])
    assert probe_video(folder, fps=2).frame_count == 10


def test_pictures_of_two_sizes_are_refused(tmp_path: Path, numbered_frames: NumberedFrames) -> None:
    folder = numbered_frames(tmp_path / "drive", ["1.png", "2.png"])
    Image.new("RGB", (32, 20)).save(folder / "3.png")
    with pytest.raises(VideoError, match=r"1.png is 48x64, 3.png 20x32"):
        VideoReader(folder)


def test_a_picture_that_cannot_be_read_is_named(
    tmp_path: Path, numbered_frames: NumberedFrames
) -> None:
    folder = numbered_frames(tmp_path / "drive", ["1.png", "2.png"])
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:60])
    with VideoReader(folder) as video, pytest.raises(VideoError, match=r"2.png can't be read"):
        video.read([1])
    (folder / "2.png").write_text("no picture")
    (folder / "3.png").write_text("so that the folder has changed")
    with pytest.raises(VideoError, match=r"2.png can't be read as a picture: it is none"):
        VideoReader(folder)


def test_sixteen_bits_are_refused_rather_than_clipped(
    tmp_path: Path, numbered_frames: NumberedFrames
) -> None:
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(tmp_path / "1.png")
    with pytest.raises(VideoError, match="more than 8 bits"):
        VideoReader(tmp_path)


def test_a_reader_of_files_is_refused(tmp_path: Path, numbered_frames: NumberedFrames) -> None:
    with pytest.raises(VideoError, match="decord reads no folder"):
        VideoReader(numbered_frames(tmp_path, ["1.png"]), reader="decord")
