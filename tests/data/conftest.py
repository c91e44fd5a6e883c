"""Videos whose pixels say which frame they are: the truth that the readers are held against."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

GRID = 4  # cells a side: 13 bits of the frame's number, then red, green and blue
BITS = GRID * GRID - 3
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=np.uint8)
MILLISECOND = Fraction(1, 1000)

NumberedVideo = Callable[..., Path]


def draw_number(number: int, size: tuple[int, int]) -> np.ndarray:
    """A frame (height, width, 3) of black and white cells, and three coloured ones at the end.

    The coloured cells sit in the last row, so a turned, mirrored or BGR frame does not read at all.
    """
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    cells = np.concatenate([np.repeat(np.array(bits, np.uint8) * 255, 3).reshape(-1, 3), COLOURS])
    rows = np.arange(size[0]) * GRID // size[0]
    columns = np.arange(size[1]) * GRID // size[1]
    return cells.reshape(GRID, GRID, 3)[rows[:, None], columns[None, :]]


def number_in(frame: np.ndarray) -> int:
    """The number that `draw_number` drew, read from the middles of the cells."""
    assert frame.dtype == np.uint8
    assert frame.shape[2:] == (3,)
    height, width = frame.shape[:2]
    rows = ((np.arange(GRID) + 0.5) * height / GRID).astype(int)
    columns = ((np.arange(GRID) + 0.5) * width / GRID).astype(int)
    cells = frame[rows[:, None], columns[None, :]].reshape(-1, 3).astype(int)
    assert np.abs(cells[BITS:] - COLOURS).max() < 90, f"not upright RGB: {cells[BITS:].tolist()}"
    grey = cells[:BITS].mean(axis=1)
    assert np.all((grey < 80) | (grey > 175)), f"no clear number: {grey.tolist()}"
    return sum(int(value > 127) << bit for bit, value in enumerate(grey))


def write_numbered_video(
    path: Path,
    frame_count: int = 20,
    *,
    size: tuple[int, int] = (48, 64),
    codec: str = "libx264",
    container: str | None = None,
    fps: int = 25,
    gop: int = 8,
    b_frames: int = 2,
    pixel_format: str = "yuv420p",
    codec_options: dict[str, str] | None = None,
    times_ms: Sequence[int] | None = None,
    rotation: int = 0,
    mirrored: bool = False,
    grain: int = 0,
    with_audio: bool = False,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode frames 0 … frame_count − 1.

    Args:
        path: The file to write; its ending chooses the container unless `container` names one.
        size: (height, width) of the coded picture; a player turns it by `rotation`.
        gop: Frames from one keyframe to the next.
        b_frames: Consecutive B-frames, where the codec has them.
        times_ms: Presentation time of each frame in milliseconds: a variable frame rate.
        rotation: Degrees, counter-clockwise, written as a display matrix. The numbers are drawn so
            that they read upright *after* a player has turned the picture.
        mirrored: The display matrix also mirrors left and right, after it turned.
        grain: Amplitude of noise on the picture, seeded: it makes packets large.
    """
    quarter_turns = rotation // 90 % 4
    noise = np.random.default_rng(frame_count)
    shown = size if quarter_turns % 2 == 0 else size[::-1]
    options = {"libx264": {"x264-params": "scenecut=0", "crf": "12"}}.get(codec, {})
    with av.open(path, "w", format=container, options=container_options or {}) as output:
        stream = output.add_stream(codec, rate=fps, options=options | (codec_options or {}))
        stream.height, stream.width = size
        stream.pix_fmt = pixel_format
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.thread_count = 1
        if codec in ("mpeg4", "mpeg2video", "mjpeg"):
            stream.bit_rate = 4_000_000
        if times_ms is not None:
            stream.codec_context.time_base = MILLISECOND
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        sound = output.add_stream("aac", rate=16_000, layout="mono") if with_audio else None
        for number in range(frame_count):
            drawn = draw_number(number, shown)
            drawn = np.rot90(drawn[:, ::-1] if mirrored else drawn, -quarter_turns)
            if grain:
                drawn = np.clip(drawn + noise.integers(-grain, grain + 1, drawn.shape), 0, 255)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(drawn, np.uint8), "rgb24")
            frame.pts = number if times_ms is None else times_ms[number]
            frame.time_base = Fraction(1, fps) if times_ms is None else MILLISECOND
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            for packet in _silence(sound, frame_count / fps):
                output.mux(packet)
    return path


def _silence(stream: av.AudioStream, seconds: float) -> Iterator[av.Packet]:
    for start in range(0, int(seconds * 16_000), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 16_000, start
        yield from stream.encode(frame)
    yield from stream.encode(None)


@pytest.fixture
def numbered_video(tmp_path: Path) -> NumberedVideo:
    """`numbered_video("drive.mp4", 20, codec=…)` writes such a file and gives its path."""

    def write(name: str = "drive.mp4", frame_count: int = 20, **options: object) -> Path:
        return write_numbered_video(tmp_path / name, frame_count, **options)

    return write


@pytest.fixture
def numbered_frames() -> Callable[..., Path]:
    """`numbered_frames(folder, names)` writes pictures; the one of place i shows the number i."""

    def write(folder: Path, names: Sequence[str], size: tuple[int, int] = (48, 64)) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names):
            Image.fromarray(draw_number(number, size)).save(folder / name)
        return folder

    return write


@pytest.fixture
def read_number() -> Callable[[np.ndarray], int]:
    """`read_number(frame)` is the number that the frame shows."""
    return number_in
