from fractions import Fraction

import av
import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.rendering import RenderingError, VideoWriter, write_video


def frames(count=5, size=(48, 64)):
    """Smooth frames of different brightness: what survives a lossy codec."""
    height, width = size
    slope = np.linspace(0, 40, width)[None, :, None]
    for position in range(count):
        base = np.array([20, 60, 120]) + 20 * position
        yield np.broadcast_to(base + slope, (height, width, 3)).astype(np.uint8)


def read(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_video_reads_back_with_the_same_frames(tmp_path):
    path = tmp_path / "new folder" / "clip.mp4"
    write_video(path, frames(), fps=25)
    back = read(path)
    assert len(back) == 5
    for frame, expected in zip(back, frames(), strict=True):
        assert np.abs(frame.astype(int) - expected).mean() < 3
    assert [entry.name for entry in path.parent.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("colour", [(220, 30, 30), (30, 200, 60), (30, 60, 220)])
def test_colours_survive(tmp_path, colour):
    path = tmp_path / "colour.mp4"
    write_video(path, [np.full((48, 64, 3), colour, np.uint8)] * 2, fps=10)
    assert np.abs(read(path)[1].astype(int) - colour).max() <= 6


def test_browsers_can_play_it(tmp_path):
    path = tmp_path / "clip.mp4"
    write_video(path, frames(), fps=25)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # the index first: plays while loading


@pytest.mark.parametrize("fps", [1, 0.5, 12.5, 29.97, Fraction(30000, 1001), np.float64(25)])
def test_the_frame_rate_is_kept(tmp_path, fps):
    path = tmp_path / "clip.mp4"
    write_video(path, frames(4), fps=fps)
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([position / float(fps) for position in range(4)], rel=1e-3)


@pytest.mark.parametrize("size", [(49, 64), (48, 63), (33, 35), (1, 1)])
def test_odd_sizes_are_padded_by_their_last_row_and_column(tmp_path, size):
    path = tmp_path / "odd.mp4"
    write_video(path, frames(size=size), fps=10)
    back = read(path)[0]
    assert back.shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    expected = next(frames(size=size))
    assert np.abs(back[: size[0], : size[1]].astype(int) - expected).mean() < 4


def test_an_exception_leaves_nothing_behind(tmp_path):
    def broken():
        yield from frames()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_video(tmp_path / "clip.mp4", broken(), fps=25)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_the_video_that_was_there(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"an older video")
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, fps=25) as writer:
        writer.write(next(frames()))
        raise KeyboardInterrupt
    assert path.read_bytes() == b"an older video"
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.mp4"]


def test_an_exception_before_the_first_frame_leaves_nothing_behind(tmp_path):
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / "clip.mp4", fps=25):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_the_writer_counts_its_frames(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", fps=25) as writer:
        for frame in frames():
            writer.write(frame)
        assert writer.frame_count == 5


def test_a_video_of_no_frames_is_an_error(tmp_path):
    with pytest.raises(RenderingError, match="given no frames"):
        write_video(tmp_path / "clip.mp4", [], fps=25)
    assert list(tmp_path.iterdir()) == []


def test_a_frame_of_another_size_is_an_error_that_names_it(tmp_path):
    mixed = [*frames(2), *frames(1, size=(48, 66))]
    with pytest.raises(InputError, match=r"clip\.mp4 frame 2 is \(48, 66\)"):
        write_video(tmp_path / "clip.mp4", mixed, fps=25)
    assert list(tmp_path.iterdir()) == []


def test_a_frame_that_is_not_uint8_is_an_error_that_names_it(tmp_path):
    with pytest.raises(InputError, match=r"clip\.mp4 frame 0: .* float64"):
        write_video(tmp_path / "clip.mp4", [np.zeros((4, 4, 3))], fps=25)


@pytest.mark.parametrize("fps", [0, -5, float("nan"), float("inf"), 1e-9])
def test_a_senseless_frame_rate_is_an_error(tmp_path, fps):
    with pytest.raises(InputError, match=r"clip\.mp4"):
        VideoWriter(tmp_path / "clip.mp4", fps=fps)


def test_a_place_that_cannot_be_written_is_an_error_in_one_line(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder").mkdir()
    long_name = tmp_path / ("n" * 300 + ".mp4")
    for path in (tmp_path / "file" / "clip.mp4", tmp_path / "folder", long_name):
        with pytest.raises(RenderingError, match="cannot write") as caught:
            write_video(path, frames(), fps=25)
        assert "\n" not in str(caught.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_a_failing_disk_leaves_the_video_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"an older video")

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RenderingError, match="No space left on device"):
        write_video(path, frames(), fps=25)
    assert path.read_bytes() == b"an older video"
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.mp4"]
