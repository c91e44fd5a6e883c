"""The video readers against the numbers that are drawn in the frames."""

import itertools
import multiprocessing
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from caf_video.data.video import decord as decord_reader
from caf_video.data.video.reader import VideoError, VideoReader, probe_video
from caf_video.errors import InputError

NumberedVideo = Callable[..., Path]
ReadNumber = Callable[[np.ndarray], int]

needs_decord = pytest.mark.skipif(
    decord_reader._listened_decord() is None, reason="no decord on this platform"
)

H264_OPEN = {"x264-params": "scenecut=0:open-gop=1:keyint=10:min-keyint=10:bframes=3:b-adapt=0"}
H264_PYRAMID = {"x264-params": "scenecut=0:bframes=5:b-adapt=0:b-pyramid=normal"}
H264_REFRESH = {"x264-params": "scenecut=0:intra-refresh=1:keyint=10"}
H264_CLOSED = {"x264-params": "scenecut=0:open-gop=0:keyint=8:bframes=2:b-adapt=0"}
HEVC_CLOSED = {"x265-params": "log-level=none:keyint=10:scenecut=0:open-gop=0"}
HEVC_OPEN = {"x265-params": "log-level=none:keyint=10:scenecut=0:open-gop=1:bframes=3"}
VFR_MS = [0, 5, 45, 46, 86, 206, 906, 926, 931, 1051, 1091, 1131, 1171, 1172, 1871, 1911, 1951]
VFR_MS += [1999, 2000, 2700]

vp9: dict[str, Any] = {"codec": "libvpx-vp9", "b_frames": 0}
hevc: dict[str, Any] = {"codec": "libx265", "size": (72, 96)}
hevc_open = hevc | {"codec_options": HEVC_OPEN, "frame_count": 40}
# name: (reader that "auto" takes, file name, options)
FORMATS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "h264": ("decord", "v.mp4", {"codec_options": H264_CLOSED}),
    "h264 without B-frames": ("decord", "v.mov", {"b_frames": 0}),
    "h264 with sound": ("decord", "v.mp4", {"with_audio": True}),
    "h264 pyramid": ("decord", "v.mp4", {"codec_options": H264_PYRAMID, "gop": 20}),
    "h264 in Matroska": ("decord", "v.mkv", {"with_audio": True}),
    "h264 in fragments": (
        "decord", "v.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    ),
    "h264 open GOP": ("pyav", "v.mp4", {"codec_options": H264_OPEN, "gop": 10, "b_frames": 3}),
    "h264 open GOP in Matroska": (
        "pyav", "v.mkv", {"codec_options": H264_OPEN, "gop": 10, "b_frames": 3},
    ),
    "h264 intra refresh": (
        "pyav", "v.mp4", {"codec_options": H264_REFRESH, "gop": 10, "b_frames": 0},
    ),
    "hevc": ("decord", "v.mp4", hevc | {"codec_options": HEVC_CLOSED}),
    "hevc open GOP": ("pyav", "v.mp4", hevc_open),
    "hevc open GOP in Matroska": ("pyav", "v.mkv", hevc_open),
    "vp9": ("decord", "v.webm", vp9),
    "vp9 in MP4, hidden frames": (
        "decord", "v.mp4", vp9 | {"codec_options": {"auto-alt-ref": "1", "lag-in-frames": "16"}},
    ),
    "vp8": ("pyav", "v.webm", {"codec": "libvpx", "b_frames": 0, "codec_options": {"b": "2M"}}),
    "mpeg4": ("decord", "v.mp4", {"codec": "mpeg4", "b_frames": 0}),
    "mpeg4 with B-frames": ("pyav", "v.mp4", {"codec": "mpeg4"}),
    "mpeg4 in AVI": ("pyav", "v.avi", {"codec": "mpeg4"}),
    "h264 in AVI": ("pyav", "v.avi", {}),
    "h264, no container": ("pyav", "v.h264", {"container": "h264"}),
    "mpeg2 program stream": ("pyav", "v.mpg", {"codec": "mpeg2video"}),
    "MPEG-TS": ("pyav", "v.ts", {"codec_options": H264_OPEN, "gop": 10, "b_frames": 3}),
    "MPEG-TS under another name": ("pyav", "v.mp4", {"container": "mpegts"}),
    "av1": ("pyav", "v.mp4", {"codec": "libsvtav1", "size": (96, 128), "b_frames": 0}),
    "gif": ("pyav", "v.gif", {"codec": "gif", "pixel_format": "rgb8", "b_frames": 0}),
    "motion jpeg": (
        "pyav", "v.avi", {"codec": "mjpeg", "pixel_format": "yuvj420p", "b_frames": 0},
    ),
    "odd sizes, 4:4:4": ("decord", "v.mp4", {"size": (51, 67), "pixel_format": "yuv444p"}),
    "odd sizes, vp9": ("pyav", "v.webm", vp9 | {"size": (51, 67)}),
    "odd sizes, mpeg4": ("pyav", "v.mp4", {"codec": "mpeg4", "size": (51, 67)}),
    "not a multiple of 16": ("decord", "v.mp4", {"size": (54, 70)}),
    "10 bit": ("pyav", "v.mp4", {"pixel_format": "yuv420p10le"}),
    "variable frame rate": ("decord", "v.mp4", {"times_ms": VFR_MS}),
    "variable frame rate in Matroska": ("decord", "v.mkv", {"times_ms": VFR_MS}),
    "starts late": ("decord", "v.mp4", {"times_ms": [time + 3000 for time in VFR_MS]}),
    "one frame": ("decord", "v.mp4", {"frame_count": 1}),
    "one frame of vp9": ("decord", "v.webm", vp9 | {"frame_count": 1}),
    "one frame of gif": (
        "pyav", "v.gif", {"codec": "gif", "pixel_format": "rgb8", "b_frames": 0, "frame_count": 1},
    ),
    "a name in other letters": ("decord", "Straße 東京 ё.mp4", {}),
    "a name like a protocol": ("decord", "a:b%03d #?.mp4", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("asked", ["auto", "pyav"])
def test_every_frame_shows_its_number_in_any_order(
    name: str, asked: str, numbered_video: NumberedVideo, read_number: ReadNumber
) -> None:
    taken, file_name, options = FORMATS[name]
    count = options.get("frame_count", 20)
    path = numbered_video(file_name, **options)
    if asked == "pyav" or decord_reader._listened_decord() is None:
        taken = "pyav"
    jumps = random.Random(0).choices(range(count), k=2 * count)
    with VideoReader(path, reader=asked) as video:
        assert (video.info.reader, video.info.frame_count) == (taken, count)
        assert [read_number(video.read([i])[0]) for i in jumps] == jumps
        assert [(i, read_number(frame)) for i, frame in video.frames()] == [
            (i, i) for i in range(count)
        ]
        assert video.info.reader == taken
    for start in range(count):  # the first read decides where a decoder begins
        with VideoReader(path, reader=asked) as video:
            assert [read_number(f) for f in video.read([start, count - 1])] == [start, count - 1]


@needs_decord
@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name][0] == "decord"])
def test_both_readers_give_the_same_pixels(name: str, numbered_video: NumberedVideo) -> None:
    _, file_name, options = FORMATS[name]
    path = numbered_video(file_name, **options)
    with VideoReader(path, reader="decord") as one, VideoReader(path, reader="pyav") as other:
        for (_, frame), (_, same) in zip(one.frames(), other.frames(), strict=True):
            np.testing.assert_array_equal(frame, same)


@needs_decord
@pytest.mark.parametrize(
    "name", ["h264 open GOP", "hevc open GOP", "mpeg4 with B-frames", "MPEG-TS", "h264 in AVI"]
)
def test_decord_is_refused_where_it_would_give_other_frames(
    name: str, numbered_video: NumberedVideo
) -> None:
    _, file_name, options = FORMATS[name]
    path = numbered_video(file_name, **options)
    with pytest.raises(VideoError, match=r"decord can't read it: .*use reader='auto'"):
        VideoReader(path, reader="decord")


def test_frames_come_in_the_order_asked_with_repeats(
    numbered_video: NumberedVideo, read_number: ReadNumber
) -> None:
    with VideoReader(str(numbered_video())) as video:
        frames = video.read(np.array([7, 3, 3, 19, 0, 7]))  # type: ignore[arg-type]
        assert [read_number(frame) for frame in frames] == [7, 3, 3, 19, 0, 7]
        assert (frames.dtype, frames.shape, frames.flags.c_contiguous) == (
            np.uint8, (6, 48, 64, 3), True,
        )  # fmt: skip
        assert video.read([]).shape == (0, 48, 64, 3)


def test_frames_in_a_row_start_stop_and_step(numbered_video: NumberedVideo) -> None:
    with VideoReader(numbered_video()) as video:
        assert [i for i, _ in video.frames(3, 12, 4)] == [3, 7, 11]
        assert [i for i, _ in video.frames(17, 99)] == [17, 18, 19]
        assert [i for i, _ in video.frames(20)] == []
        for start, step in ((-1, 1), (0, 0)):
            with pytest.raises(InputError, match="go forward"):
                next(video.frames(start, step=step))


@pytest.mark.parametrize("index", [-1, 20, 10**12])
def test_a_frame_that_is_not_there_is_named(numbered_video: NumberedVideo, index: int) -> None:
    with VideoReader(numbered_video("drive.mp4")) as video:
        with pytest.raises(VideoError, match=rf"drive\.mp4 has 20 frames, no frame {index}$"):
            video.read([0, index])


def test_a_closed_reader_says_so(numbered_video: NumberedVideo) -> None:
    path = numbered_video("drive.mp4")
    for reader in ("auto", "pyav"):
        with VideoReader(path, reader=reader) as video:
            video.read([3])
        with pytest.raises(InputError, match=r"drive\.mp4 is closed"):
            video.read([3])


def test_the_description_of_a_video(numbered_video: NumberedVideo) -> None:
    info = probe_video(numbered_video("v.mp4", 20, fps=25))
    assert (info.frame_count, info.fps, info.height, info.width) == (20, 25.0, 48, 64)
    assert info.duration_seconds == pytest.approx(0.8)
    assert probe_video(numbered_video("w.mkv", 20, fps=4)).fps == 4.0


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts"])
@pytest.mark.parametrize("late_ms", [0, 3000])
def test_the_times_of_a_variable_frame_rate(
    numbered_video: NumberedVideo, name: str, late_ms: int
) -> None:
    path = numbered_video(name, times_ms=[time + late_ms for time in VFR_MS])
    with VideoReader(path) as video:
        np.testing.assert_allclose(video.times_seconds, np.array(VFR_MS) / 1000, atol=1e-4)
        assert video.times_seconds[0] == 0.0
        assert video.times_seconds.dtype == np.float64
        assert video.info.duration_seconds > 2.7


def test_the_frame_on_screen_at_a_time(numbered_video: NumberedVideo) -> None:
    with VideoReader(numbered_video(times_ms=VFR_MS)) as video:
        for index, start in enumerate(video.times_seconds):
            assert video.frame_index_at(float(start)) == index
        assert video.frame_index_at(0.0859) == 3
        assert video.frame_index_at(0.9) == 5
        assert [video.frame_index_at(t) for t in (-1.0, 2.7, 1e9, np.inf)] == [0, 19, 19, 19]
        with pytest.raises(InputError, match="not a number"):
            video.frame_index_at(float("nan"))
    with VideoReader(numbered_video("c.mp4", fps=30)) as video:
        assert [video.frame_index_at(i / 30) for i in range(20)] == list(range(20))
        assert [video.frame_index_at(i * (1 / 30)) for i in range(20)] == list(range(20))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("reader", ["auto", "pyav"])
def test_turned_pictures_come_out_upright(
    numbered_video: NumberedVideo, read_number: ReadNumber, rotation: int, reader: str
) -> None:
    path = numbered_video("v.mov", 10, size=(96, 128), rotation=rotation)
    with VideoReader(path, reader=reader) as video:
        upright = (96, 128) if rotation in (0, 180) else (128, 96)
        assert (video.info.height, video.info.width) == upright
        assert [read_number(frame) for _, frame in video.frames()] == list(range(10))
        if reader == "auto" and decord_reader._listened_decord() is not None:
            assert video.info.reader == "decord"
            with VideoReader(path, reader="pyav") as other:
                np.testing.assert_array_equal(video.read(range(10)), other.read(range(10)))


@pytest.mark.parametrize("rotation", [0, 90])
def test_mirrored_pictures_come_out_unmirrored(
    numbered_video: NumberedVideo, read_number: ReadNumber, rotation: int
) -> None:
    path = numbered_video("v.mp4", 10, size=(96, 128), rotation=rotation, mirrored=True)
    with VideoReader(path) as video:
        assert video.info.reader == "pyav"
        assert [read_number(frame) for _, frame in video.frames()] == list(range(10))


def test_a_width_at_which_decord_miscounts_the_channels(
    numbered_video: NumberedVideo, read_number: ReadNumber
) -> None:
    with VideoReader(numbered_video(size=(64, 48))) as video:
        assert [read_number(frame) for frame in video.read([4, 2])] == [4, 2]


def cut(source: Path, target: Path, first: int) -> Path:
    """Copy the packets from the keyframe before frame `first` on, to be shown from that frame."""
    with av.open(source) as one, av.open(target, "w") as other:
        stream = one.streams.video[0]
        copy = other.add_stream_from_template(stream)
        packets = [packet for packet in one.demux(stream) if packet.size]
        zero = sorted(packet.pts for packet in packets if packet.pts is not None)[first]
        key = max(
            position
            for position, packet in enumerate(packets)
            if packet.is_keyframe and packet.pts <= zero  # type: ignore[operator]
        )
        for packet in packets[key:]:
            packet.pts -= zero  # type: ignore[operator]
            packet.dts -= zero  # type: ignore[operator]
            packet.stream = copy
            other.mux(packet)
    return target


@pytest.mark.parametrize(
    "name",
    ["h264", "h264 pyramid", "h264 open GOP", "h264 intra refresh", "hevc", "hevc open GOP"]
    + ["vp9", "mpeg4 with B-frames"],
)
@pytest.mark.parametrize("first", [9, 13, 25])
def test_a_cut_without_recoding_starts_at_its_edit_list(
    name: str, first: int, numbered_video: NumberedVideo, read_number: ReadNumber, tmp_path: Path
) -> None:
    _, file_name, options = FORMATS[name]
    path = cut(
        numbered_video(file_name, **options | {"frame_count": 40}), tmp_path / "cut.mp4", first
    )
    shown = list(range(first, 40))
    with VideoReader(path) as video:
        assert video.info.reader == "pyav"
        assert video.info.fps == pytest.approx(25)
        assert video.times_seconds[0] == 0.0
        assert [read_number(frame) for _, frame in video.frames()] == shown
        for i in random.Random(1).choices(range(len(shown)), k=30):
            assert read_number(video.read([i])[0]) == shown[i]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cut_open_gop.mp4", list(range(25, 60))),
        ("cut_open_gop.mkv", list(range(20, 60))),
        ("cut_at_both_ends.mp4", [*range(13, 30), 33, 38]),
    ],
)
def test_cuts_made_by_the_ffmpeg_program(
    name: str, shown: list[int], read_number: ReadNumber
) -> None:
    with VideoReader(Path(__file__).parent / "videos" / name) as video:
        assert [read_number(frame) for _, frame in video.frames()] == shown
        for i in random.Random(2).choices(range(len(shown)), k=40):
            assert read_number(video.read([i])[0]) == shown[i]


def test_a_transport_stream_that_starts_and_ends_anywhere(
    numbered_video: NumberedVideo, read_number: ReadNumber, tmp_path: Path
) -> None:
    options = FORMATS["MPEG-TS"][2]
    data = numbered_video("v.ts", 60, **options).read_bytes()
    piece = tmp_path / "piece.ts"
    piece.write_bytes(data[188 * (len(data) // 188 // 3) + 51 : -5033])
    with VideoReader(piece) as video:
        numbers = []
        for i in range(video.info.frame_count):
            try:
                numbers.append(read_number(video.read([i])[0]))
            except VideoError:
                continue
        assert len(numbers) > 15
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_two_streams_one_after_the_other_in_one_file(
    numbered_video: NumberedVideo, read_number: ReadNumber, tmp_path: Path
) -> None:
    data = numbered_video("v.ts").read_bytes()
    both = tmp_path / "both.ts"
    both.write_bytes(data + data)
    with VideoReader(both) as video:
        assert [read_number(frame) for _, frame in video.frames()] == [*range(20), *range(20)]
        assert read_number(video.read([25])[0]) == 5


def test_times_that_were_guessed_do_not_reorder_frames(
    numbered_video: NumberedVideo, read_number: ReadNumber, tmp_path: Path
) -> None:
    path = tmp_path / "guessed.mp4"
    with av.open(numbered_video("v.mp4", codec_options=H264_CLOSED)) as one:
        with av.open(path, "w") as other:
            copy = other.add_stream_from_template(one.streams.video[0])
            for order, packet in enumerate(p for p in one.demux(video=0) if p.size):
                packet.pts = packet.dts = order * 512
                packet.stream = copy
                other.mux(packet)
    for reader in ("auto", "pyav"):
        with VideoReader(path, reader=reader) as video:
            assert [read_number(frame) for _, frame in video.frames()] == list(range(20))


def test_without_decord_pyav_reads_without_complaint(
    numbered_video: NumberedVideo, read_number: ReadNumber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    decord_reader._listened_decord.cache_clear()
    try:
        with VideoReader(numbered_video()) as video:
            assert video.info.reader == "pyav"
            assert read_number(video.read([11])[0]) == 11
        with pytest.raises(VideoError, match="not installed"):
            VideoReader(numbered_video(), reader="decord")
    finally:
        monkeypatch.undo()
        decord_reader._listened_decord.cache_clear()


def test_the_environment_does_without_decord_which_is_then_not_even_loaded(
    numbered_video: NumberedVideo, read_number: ReadNumber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decord_reader, "_listened_decord", lambda: pytest.fail("decord is loaded"))
    monkeypatch.setenv("CAF_VIDEO_READER", "pyav")
    with VideoReader(numbered_video()) as video:
        assert video.info.reader == "pyav"
        assert [read_number(frame) for _, frame in video.frames()] == list(range(20))
    monkeypatch.setenv("CAF_VIDEO_READER", "opencv")
    with pytest.raises(InputError, match="CAF_VIDEO_READER is 'opencv': it is pyav, or not set"):
        VideoReader(numbered_video())


def test_one_module_alone_imports_decord() -> None:
    package = Path(decord_reader.__file__).parents[2]
    users = [file for file in package.rglob("*.py") if "import decord\n" in file.read_text("utf-8")]
    assert users == [Path(decord_reader.__file__)]


@needs_decord
def test_a_long_video_goes_to_pyav_whose_index_is_kept(
    numbered_video: NumberedVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decord_reader, "MOST_FRAMES", 19)
    assert probe_video(numbered_video()).reader == "pyav"


def test_a_file_that_was_written_anew_is_read_anew(
    numbered_video: NumberedVideo, read_number: ReadNumber
) -> None:
    assert probe_video(numbered_video("v.mp4", 20)).frame_count == 20
    with VideoReader(numbered_video("v.mp4", 9)) as video:
        assert video.info.frame_count == 9
        assert read_number(video.read([8])[0]) == 8


def test_an_unknown_reader_is_refused(numbered_video: NumberedVideo) -> None:
    with pytest.raises(InputError, match="reader is 'cv2', not one of auto, decord, pyav"):
        VideoReader(numbered_video(), reader="cv2")


def the_error(path: Path) -> str:
    """The message of opening a file: one line that names it."""
    with pytest.raises(VideoError) as caught:
        VideoReader(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message.replace(str(path), "FILE")


def test_a_file_that_is_missing_a_folder_or_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert the_error(tmp_path / "none.mp4") == "FILE: there is no such file"
    assert the_error(tmp_path) == "FILE is a folder without pictures, not a video file"
    assert the_error(tmp_path / "empty.mp4") == "FILE is empty (0 bytes)"
    assert "can't be opened" in the_error(tmp_path / ("x" * 300 + ".mp4"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this platform")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert the_error(tmp_path / "pipe.mp4") == "FILE is not a regular file"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"a line of text\n" * 50),
        ("notes.mp4", b"a line of text\n" * 50),
        ("table.csv", b"clip_id,path\n1,v.mp4\n"),
        ("zeros.mp4", bytes(5000)),
        ("noise.mp4", np.random.default_rng(0).bytes(20_000)),
        ("titles.srt", b"1\n00:00:00,000 --> 00:00:01,000\nHello\n"),
    ],
)
def test_a_file_that_is_no_video(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert the_error(tmp_path / name) == "FILE is not a video"


def test_a_picture_is_no_video(tmp_path: Path) -> None:
    from PIL import Image

    for ending in ("png", "jpg"):
        Image.new("RGB", (32, 32)).save(tmp_path / f"photo.{ending}")
        assert the_error(tmp_path / f"photo.{ending}") == "FILE is a picture, not a video"


@pytest.mark.parametrize("name", ["sound.mp4", "sound.mkv", "sound.wav"])
def test_a_file_of_sound_alone(tmp_path: Path, name: str) -> None:
    with av.open(tmp_path / name, "w") as output:
        stream = output.add_stream("pcm_s16le" if name.endswith("wav") else "aac", rate=16_000)
        for start in range(0, 16_000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = 16_000, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert the_error(tmp_path / name) == "FILE has sound but no video"


def test_an_mp4_without_a_video_track_is_said_to_be_that(tmp_path: Path) -> None:
    def box(kind: bytes, content: bytes) -> bytes:
        return (8 + len(content)).to_bytes(4, "big") + kind + content

    header = bytes(12) + (1000).to_bytes(4, "big") + bytes(80)  # mvhd: 1000 ticks a second
    path = tmp_path / "drive.mp4"
    path.write_bytes(box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", box(b"mvhd", header)))
    assert the_error(path) == "FILE has no video track (its tracks are: none)"


def test_an_mp4_whose_tracks_are_of_other_kinds_names_them(
    numbered_video: NumberedVideo, tmp_path: Path
) -> None:
    """As the GPS that an action camera records: here a video's track that says it is one."""
    data = numbered_video().read_bytes()
    assert data.count(b"hdlr\0\0\0\0\0\0\0\0vide") == 1
    path = tmp_path / "gps.mp4"
    path.write_bytes(data.replace(b"\0vide", b"\0meta").replace(b"avc1", b"gpmd"))
    assert the_error(path) == "FILE has no video track (its tracks are: data)"


def test_a_raw_stream_has_no_clock_unless_its_rate_is_given(
    numbered_video: NumberedVideo, read_number: ReadNumber
) -> None:
    video = numbered_video("drive.h264", 20, container="h264", fps=10)
    assert not probe_video(video).has_clock
    with VideoReader(video, fps=20) as reader:
        np.testing.assert_allclose(reader.times_seconds, np.arange(20) / 20, atol=1e-12)
        info = reader.info
        assert (info.has_clock, info.fps, info.duration_seconds) == (True, 20, 1.0)
        assert read_number(reader.read([reader.frame_index_at(0.5)])[0]) == 10
    with pytest.raises(InputError, match="fps is 0"):
        VideoReader(video, fps=0)


@pytest.mark.parametrize("name", ["drive.mp4", "drive.mkv", "drive.ts", "drive.avi", "drive.mpg"])
def test_a_file_that_tells_its_times_is_believed(numbered_video: NumberedVideo, name: str) -> None:
    codec = "mpeg2video" if name.endswith("mpg") else "libx264"
    with VideoReader(numbered_video(name, 12, codec=codec), fps=5) as reader:
        assert reader.info.has_clock
        assert reader.info.fps == pytest.approx(25, rel=0.01)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_recording_that_was_never_finished(
    numbered_video: NumberedVideo, tmp_path: Path, share: float
) -> None:
    data = numbered_video().read_bytes()  # the index, moov, is at the end
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: int(len(data) * share)])
    assert "cut short: its index (moov) is missing" in the_error(path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("v.mp4", {"container_options": {"movflags": "faststart"}}),
        ("v.mov", {"container_options": {"movflags": "faststart"}, "with_audio": True}),
        ("v.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
        ("v.avi", {"codec": "mpeg4"}),
        ("v.mkv", {}),
        ("v.webm", vp9),
        ("v.gif", {"codec": "gif", "pixel_format": "rgb8", "b_frames": 0}),
    ],
)
def test_a_copy_that_was_cut_short(
    numbered_video: NumberedVideo, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    data = numbered_video(f"whole-{name}", 60, **options).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * 0.7)])
    assert "is cut short: " in the_error(tmp_path / name)


def test_a_damaged_header(numbered_video: NumberedVideo, tmp_path: Path) -> None:
    data = bytearray(numbered_video().read_bytes())
    at = data.index(b"moov")
    data[at + 4 :] = np.random.default_rng(0).bytes(len(data) - at - 4)
    (tmp_path / "bad.mp4").write_bytes(data)
    assert "damaged" in the_error(tmp_path / "bad.mp4")


def damage(path: Path, position: int, content: Callable[[int], bytes]) -> Path:
    """Overwrite the second half of the packet at `position` in decoding order."""
    with av.open(path) as container:
        packet = next(itertools.islice(container.demux(video=0), position, None))
        assert packet.pos is not None
        start, stop = packet.pos + packet.size // 2, packet.pos + packet.size
    data = bytearray(path.read_bytes())
    data[start:stop] = content(stop - start)
    path.write_bytes(data)
    return path


def read_or_none(video: VideoReader, index: int) -> np.ndarray | None:
    """The frame, or None if the reader says in one line that it is damaged."""
    try:
        return video.read([index])[0]
    except VideoError as error:
        assert f"frame {index} can't be decoded" in str(error)
        assert str(video.path) in str(error)
        assert "\n" not in str(error)
        return None


def noise(size: int) -> bytes:
    return np.random.default_rng(3).bytes(size)


# Large packets, a keyframe every ten frames, and a coding in which noise soon makes no sense.
DAMAGEABLE: dict[str, dict[str, Any]] = {
    "h264": {"codec_options": {"x264-params": "scenecut=0:cabac=0:keyint=10"}},
    "mpeg4": {"codec": "mpeg4", "codec_options": {"sc_threshold": "1000000000"}},
    "hevc": {"codec": "libx265", "codec_options": HEVC_CLOSED},
}
for options in DAMAGEABLE.values():
    options |= {"size": (192, 256), "b_frames": 0, "gop": 10, "grain": 40}


@pytest.mark.parametrize(
    ("name", "content"),
    [("h264", noise), ("mpeg4", noise), ("h264", bytes), ("hevc", bytes)],
    ids=["noise in h264", "noise in mpeg4", "a hole in h264", "a hole in hevc"],
)
@pytest.mark.parametrize("reader", ["auto", "pyav"])
def test_no_frame_is_made_of_damaged_data(
    numbered_video: NumberedVideo, name: str, content: Callable[[int], bytes], reader: str
) -> None:
    path = numbered_video("v.mp4", 40, **DAMAGEABLE[name])
    with VideoReader(path, reader="pyav") as video:
        truth = video.read(range(40))
    damage(path, 13, content)
    orders = [list(range(40)), random.Random(4).choices(range(40), k=60), [39, 13, 12], [14]]
    for order in orders:
        with VideoReader(path, reader=reader) as video:
            for index in order:
                frame = read_or_none(video, index)
                assert (frame is None) == (13 <= index < 20), index
                if frame is not None:
                    np.testing.assert_array_equal(frame, truth[index])
            assert video.info.reader == "pyav"  # also where decord began


def test_frames_made_from_a_damaged_one_that_is_shown_later(
    numbered_video: NumberedVideo,
) -> None:
    path = numbered_video("v.mp4", 40, **DAMAGEABLE["mpeg4"] | {"b_frames": 2, "gop": 12})
    with VideoReader(path) as video:
        truth = video.read(range(40))
    with av.open(path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    pts = [packet.pts or 0 for packet in packets]
    # A P-frame from which two B-frames before it were made.
    late = next(k for k in range(13, 40) if pts[k + 1] < pts[k] and not packets[k].is_keyframe)
    shown = sorted(pts).index(pts[late])
    damage(path, late, noise)
    with VideoReader(path) as video:
        frames = [read_or_none(video, i) for i in range(40)]
    assert [frame is None for frame in frames[shown - 3 : shown + 1]] == [False, True, True, True]
    assert sum(frame is None for frame in frames) <= 12
    for frame, right in zip(frames, truth, strict=True):
        assert frame is None or np.array_equal(frame, right)


def test_damage_in_a_file_that_is_decoded_in_order(numbered_video: NumberedVideo) -> None:
    path = numbered_video("v.avi", 40, **DAMAGEABLE["mpeg4"] | {"b_frames": 2, "gop": 12})
    with VideoReader(path) as video:
        truth = video.read(range(40))
    damage(path, 16, noise)
    with VideoReader(path) as video:
        assert video.info.frame_count == 40
        frames = [read_or_none(video, i) for i in range(40)]
    assert 3 <= sum(frame is None for frame in frames) <= 16
    for frame, right in zip(frames, truth, strict=True):
        assert frame is None or np.array_equal(frame, right)


@needs_decord
def test_decord_prints_nothing_on_damaged_data(
    numbered_video: NumberedVideo, capfd: pytest.CaptureFixture[str]
) -> None:
    path = damage(numbered_video("v.mp4", 40, **DAMAGEABLE["h264"]), 13, noise)
    capfd.readouterr()
    with VideoReader(path) as video:
        assert read_or_none(video, 15) is None
    assert capfd.readouterr() == ("", "")


def test_both_readers_agree_on_real_videos(shared_data: Path) -> None:
    paths = sorted((shared_data / "video").glob("*.mp4"))
    assert paths
    for path in paths:
        with av.open(path) as container:
            stream = container.streams.video[0]
            decoded = [float(frame.time) for frame in container.decode(stream)]  # type: ignore
        with VideoReader(path) as video, VideoReader(path, reader="pyav") as other:
            assert video.info.reader == ("decord" if needs_decord.args == (False,) else "pyav")
            assert video.info.frame_count == len(decoded)
            np.testing.assert_allclose(
                video.times_seconds, np.array(decoded) - decoded[0], atol=1e-9
            )
            some = random.Random(5).sample(range(len(decoded)), k=12)
            np.testing.assert_array_equal(video.read(some), other.read(some))


def _number_in_child(path: Path, index: int, answer: Any) -> None:
    with VideoReader(path) as video:
        answer.put((video.info.reader, int(video.read([index]).sum())))


@pytest.mark.skipif(sys.platform != "linux", reason="loaders fork on Linux")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_reads_while_its_parent_does(numbered_video: NumberedVideo) -> None:
    path = numbered_video()
    with VideoReader(path) as video:
        expected = (video.info.reader, int(video.read([14]).sum()))
        context = multiprocessing.get_context("fork")
        answer = context.Queue()
        child = context.Process(target=_number_in_child, args=(path, 14, answer))
        child.start()
        assert answer.get(timeout=20) == expected
        child.join(20)
        assert child.exitcode == 0
        assert len(video.read([15])) == 1
