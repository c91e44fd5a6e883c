"""Opening a video file, and saying in one line why it can't be opened."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from caf_video.errors import CafVideoError

# FFmpeg opens these as if they were videos: pictures, and text as the screen of a terminal.
NOT_VIDEO_FORMATS = frozenset({"image2", "tty"})
PICTURE_FORMAT_ENDING = "_pipe"
# What the first bytes of a video container look like: (offset, bytes).
SIGNATURES = (
    (4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (4, b"wide"), (4, b"free"),  # MP4, MOV
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (0, b"RIFF"), (0, b"FLV"), (0, b"GIF8"), (0, b"OggS"), (0, b"\x00\x00\x01\xba"),
)  # fmt: skip
MP4_SIGNATURES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free"})
# What PyAV raises on files that FFmpeg, or its own wrapping, can't take: codes of FFmpeg, and
# Python's errors for streams that appear late, names that are not UTF-8 and sizes out of range.
DECODER_FAILURES = (av.FFmpegError, IndexError, ValueError, OverflowError, MemoryError)


class VideoError(CafVideoError):
    """A video that can't be read, or a frame of it. One line, which names the file."""


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and choose its video stream, decoding in this thread alone.

    Raises:
        VideoError: If there is no such file, or it is a folder, empty, unreadable, not a video, a
            picture, sound alone, or of a codec that is not supported.
    """
    _check_is_file(path)
    try:
        # Absolute, so that FFmpeg takes no part of a name ("a:b.mp4") for a protocol.
        container = av.open(str(path.absolute()), metadata_errors="ignore")
    except DECODER_FAILURES as error:
        raise VideoError(_why_unreadable(path, error)) from None
    with container:
        yield container, _choose_stream(path, container)


def decode_packet(
    context: VideoCodecContext, packet: av.Packet | None
) -> tuple[list[VideoFrame], bool]:
    """Frames that come out on feeding a packet (None: the end), and whether it went well."""
    try:
        return list(context.decode(packet)), True
    except DECODER_FAILURES:
        return [], False


def packets_of(container: InputContainer, streams: Sequence[Stream]) -> Iterator[av.Packet]:
    """The packets of streams that were there when the file was opened, in the file's order.

    In a transport stream others may begin late, such as a dashcam's GPS. PyAV ends on them with an
    IndexError; FFmpeg has lost nothing then, and reading goes on where it stopped.
    """
    while True:
        went_on = False
        try:
            for packet in container.demux(streams):
                if packet.size:
                    went_on = True
                    yield packet
            return
        except IndexError:
            if not went_on:
                raise


def failure_words(error: BaseException) -> str:
    """What a decoder says of its failure, in one line, without FFmpeg's number and the path."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(words.split())


def decode_in_order(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame | None]:
    """All frames in order of presentation; None where something would not decode."""
    try:
        for packet in packets_of(container, [stream]):
            frames, went_well = decode_packet(stream.codec_context, packet)
            yield from frames
            if not went_well:
                yield None
    except DECODER_FAILURES as error:
        raise VideoError(f"{container.name} can't be read: {failure_words(error)}") from None
    yield from decode_packet(stream.codec_context, None)[0]


def _check_is_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise VideoError(f"{path} is a folder, not a video file")
        if not path.exists():
            raise VideoError(f"{path}: there is no such file")
        if not path.is_file():
            raise VideoError(f"{path} is not a regular file")
        if path.stat().st_size == 0:
            raise VideoError(f"{path} is empty (0 bytes)")
    except (OSError, ValueError) as error:  # no permission, a name too long, a null character
        raise VideoError(f"{path!s} can't be opened: {error}") from None


def _choose_stream(path: Path, container: InputContainer) -> VideoStream:
    name = container.format.name
    if name.endswith(PICTURE_FORMAT_ENDING):
        raise VideoError(f"{path} is a picture, not a video")
    if name in NOT_VIDEO_FORMATS:
        raise VideoError(f"{path} is not a video")
    videos = video_streams(container)
    if not videos:
        if container.streams.audio:
            raise VideoError(f"{path} has sound but no video")
        kinds = sorted({stream.type for stream in container.streams})
        if (kinds and name.startswith("mov")) or _is_mp4_without_tracks(path):
            raise VideoError(
                f"{path} has no video track (its tracks are: {', '.join(kinds) or 'none'})"
            )
        raise VideoError(_why_unreadable(path, None))
    best = container.streams.best("video")
    stream = next((video for video in videos if video is best), videos[0])
    if stream.codec_context is None:
        raise VideoError(f"{path}: its video codec is not supported")
    stream.codec_context.thread_count = 1  # loaders run one process a core
    return stream


def video_streams(container: InputContainer) -> list[VideoStream]:
    """The video streams that are more than the cover picture of a song."""
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]


def _why_unreadable(path: Path, error: Exception | None) -> str:
    """What is wrong with a file that FFmpeg does not open or finds nothing in."""
    if isinstance(error, PermissionError):
        return f"{path} can't be opened: permission denied"
    if isinstance(error, MemoryError):
        return f"{path} can't be opened: out of memory"
    with path.open("rb") as file:
        start = file.read(12)
    if start[4:8] in MP4_SIGNATURES and _whole_moov(path) is None:
        return (
            f"{path} is cut short: its index (moov) is missing, "
            "the recording or the copy was never finished"
        )
    if start[0:1] == b"\x47" or any(start[at:].startswith(mark) for at, mark in SIGNATURES):
        return f"{path} is damaged: its header can't be read"
    return f"{path} is not a video"


def _is_mp4_without_tracks(path: Path) -> bool:
    """Whether FFmpeg finds nothing in an MP4 file because its whole index names nothing."""
    at = _whole_moov(path)
    with path.open("rb") as file:
        file.seek(at or 0)
        moov = file.read(64 * 1024)
    return at is not None and moov[12:16] == b"mvhd" and b"trak" not in moov


def _whole_moov(path: Path) -> int | None:
    """Where the box `moov` of an MP4 file begins; None where the file does not hold all of it."""
    file_size = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at + 8 <= file_size:
            file.seek(at)
            header = file.read(16)
            size, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if size == 1:  # a 64-bit size follows
                size = int.from_bytes(header[8:16], "big")
            if kind == b"moov":
                return at if size == 0 or at + size <= file_size else None
            if size < 8:  # 0 means up to the end of the file; anything else is damage
                return None
            at += size
    return None
