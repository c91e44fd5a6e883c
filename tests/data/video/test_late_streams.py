"""Dashcams write a GPS stream into .TS files that begins late and stands in no table."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from caf_video.data.video import files
from caf_video.data.video.files import packets_of
from caf_video.data.video.reader import VideoError, VideoReader

PACKET = 188
PES = b"\0\0\1\xbf" + (176).to_bytes(2, "big") + b"GPS " * 44  # a private stream's packet


def with_a_late_stream(source: Path, target: Path, *, after: int) -> Path:
    """Put packets of PID 0x300 between the others, from packet `after` on."""
    data = source.read_bytes()
    out = bytearray()
    for number in range(len(data) // PACKET):
        out += data[number * PACKET : (number + 1) * PACKET]
        if number >= after and number % 20 == 0:
            late = bytes([0x47, 0x43, 0x00, 0x10 | number // 20 % 16]) + PES
            out += late[:PACKET].ljust(PACKET, b"\xff")
    target.write_bytes(out)
    return target


@pytest.fixture
def late(numbered_video: Callable[..., Path], tmp_path: Path) -> Path:
    source = numbered_video("drive.ts", 60, grain=40)
    packets = source.stat().st_size // PACKET
    return with_a_late_stream(source, tmp_path / "late.TS", after=packets * 2 // 3)


def test_every_frame_of_it_is_read(late: Path, read_number: Callable[[np.ndarray], int]) -> None:
    with VideoReader(late) as video:
        assert video.info.frame_count == 60
        assert [read_number(frame) for _, frame in video.frames()] == list(range(60))
        assert [read_number(frame) for frame in video.read([59, 3, 31])] == [59, 3, 31]


class _Container:
    """One whose demuxing does what it is told, a turn a call."""

    name = "drive.ts"

    def __init__(self, *turns: list[object]) -> None:
        self.turns = list(turns)

    def demux(self, _streams: object) -> object:
        for step in self.turns.pop(0):
            if isinstance(step, Exception):
                raise step
            yield step


class _Packet:
    size = 1


def test_reading_goes_on_where_a_late_stream_stopped_it() -> None:
    packets = [_Packet() for _ in range(4)]
    container = _Container([*packets[:1], IndexError()], [*packets[1:3], IndexError()], packets[3:])
    assert list(packets_of(container, [])) == packets  # type: ignore[arg-type]


def test_reading_that_cannot_go_on_is_no_end_of_the_file() -> None:
    container = _Container([_Packet(), IndexError()], [IndexError()])
    with pytest.raises(IndexError):
        list(packets_of(container, []))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "failure",
    [
        IndexError("list index out of range"),
        ValueError("bad\nsize"),
        MemoryError(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        OverflowError("too large"),
        av.error.InvalidDataError(1094995529, "Invalid data found", "x"),
    ],
    ids=lambda failure: type(failure).__name__,
)
@pytest.mark.parametrize("place", ["open", "demux"])
def test_whatever_a_decoder_raises_is_one_line(
    failure: Exception,
    place: str,
    numbered_video: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    video = numbered_video("drive.mp4", 6)

    def fail(*_: object, **__: object) -> object:
        raise failure

    if place == "open":
        monkeypatch.setattr(files.av, "open", fail)
    else:
        monkeypatch.setattr("caf_video.data.video.scan.packets_of", fail)
    with pytest.raises(VideoError) as caught:
        VideoReader(video)
    assert "drive.mp4" in str(caught.value) and "\n" not in str(caught.value)
