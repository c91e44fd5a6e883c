"""Frames through PyAV: exact to the frame in all that FFmpeg decodes, and strict about damage."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from caf_video.data.video.files import (
    DECODER_FAILURES,
    VideoError,
    decode_in_order,
    decode_packet,
    failure_words,
    open_video,
    packets_of,
)
from caf_video.data.video.index import Packets, VideoIndex

_BEFORE_ALL = -(2**63)


class PyavReader:
    """Reads frames by index: fast for rising indices, exact for all. Not for several threads."""

    name = "pyav"

    def __init__(self, index: VideoIndex) -> None:
        self._index = index
        if index.packets is None:
            self._source: _CountedFrames | _SoughtFrames = _CountedFrames(index.path)
        else:
            self._source = _SoughtFrames(index, index.packets)

    def frame(self, frame_index: int) -> NDArray[np.uint8]:
        """Frame `frame_index`, upright, RGB uint8 (height, width, 3)."""
        frame = None if self._index.damaged[frame_index] else self._source.get(frame_index)
        if frame is None:
            raise VideoError(
                f"{self._index.path}: frame {frame_index} can't be decoded, its data are damaged"
            )
        try:
            return upright_rgb(frame, self._index)
        except DECODER_FAILURES as error:
            raise VideoError(
                f"{self._index.path}: frame {frame_index} can't be made RGB: {failure_words(error)}"
            ) from None

    def close(self) -> None:
        self._source.close()


def upright_rgb(frame: VideoFrame, index: VideoIndex) -> NDArray[np.uint8]:
    """The picture of a decoded frame as it is meant to be seen, uint8 (height, width, 3)."""
    turn = index.orientation
    height, width = (index.width, index.height) if turn.transposed else (index.height, index.width)
    # One thread: swscale would otherwise start one per core for every frame.
    rgb = frame.reformat(width, height, "rgb24", threads=1).to_ndarray()
    if turn.transposed:
        rgb = rgb.transpose(1, 0, 2)
    rgb = rgb[:: -1 if turn.mirrored_y else 1, :: -1 if turn.mirrored_x else 1]
    return np.ascontiguousarray(rgb)


class _CountedFrames:
    """Frames found by decoding from the start and counting, as the index was made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open = ExitStack()
        self._frames: Iterator[VideoFrame | None] = iter(())
        self._count = 0
        self._last: VideoFrame | None = None

    def get(self, frame_index: int) -> VideoFrame | None:
        if self._last is None or frame_index < self._count - 1:
            self.close()
            self._frames = decode_in_order(*self._open.enter_context(open_video(self._path)))
        while self._count <= frame_index:
            try:
                frame = next(self._frames)
            except StopIteration:
                return None
            if frame is not None:
                self._last = frame
                self._count += 1
        return self._last

    def close(self) -> None:
        self._open.close()
        self._count = 0
        self._last = None


class _SoughtFrames:
    """Frames found by going to a keyframe and decoding from there.

    A frame is given only if everything that it may have been made from came out whole: each frame
    from its keyframe to itself, in decoding order. Seeking is never trusted: packets are compared
    with the index, and decoding starts at the very packet of the keyframe.
    """

    def __init__(self, index: VideoIndex, packets: Packets) -> None:
        self._path = index.path
        self._packets = packets
        self._frame_packet = index.frame_packet
        keys = np.flatnonzero(packets.is_key)
        self._keys = keys[np.argsort(packets.pts[keys])]
        self._open = ExitStack()
        self._source: tuple[InputContainer, VideoStream] | None = None
        self._to_feed: Iterator[av.Packet] = iter(())
        # The run under way: packets from position `start` on, `next` to be decoded now.
        self._start, self._next = 0, -1
        self._at_end = False
        self._whole = np.zeros(len(packets.pts), dtype=bool)  # came out of the decoder undamaged
        self._latest = self._floor = _BEFORE_ALL  # latest time that came out; earliest one kept
        self._kept: dict[int, VideoFrame] = {}

    def get(self, frame_index: int) -> VideoFrame | None:
        position = int(self._frame_packet[frame_index])
        pts = int(self._packets.pts[position])
        while True:
            usable = self._keys[: np.searchsorted(self._packets.pts[self._keys], pts, side="right")]
            key = int(usable[-1])
            if self._decode(key, position):
                return self._kept[pts]
            if self._whole[key] or len(usable) == 1:
                return None
            # Decoding can't start there (periodic intra refresh, or damage): go further back.
            self._keys = self._keys[self._keys != key]

    def _decode(self, key: int, position: int) -> bool:
        """Decode from keyframe `key` up to `position`; whether all in between came out whole."""
        pts = self._packets.pts
        if not (self._start <= key <= self._next and pts[position] >= self._floor):
            self._restart(key)
        self._floor = int(pts[position])
        self._kept = {time: frame for time, frame in self._kept.items() if time >= self._floor}
        # Frames shown before the keyframe but decoded after it don't come out, and are not used.
        between = np.arange(key, position + 1)
        between = between[pts[between] >= pts[key]]
        last_pts = pts[between].max()
        while not self._whole[between].all():
            if self._latest > last_pts or self._at_end:
                return False
            self._feed()
        return True

    def _feed(self) -> None:
        """Decode the next packet, or at the end what the decoder still holds."""
        packet = next(self._to_feed, None)
        frames, went_well = decode_packet(self._opened()[1].codec_context, packet)
        if packet is None:
            self._at_end = True
        else:
            if self._packets.position(packet.pts) != self._next:
                raise VideoError(f"{self._path} has changed while it was read")
            if self._packets.is_hidden[self._next]:
                self._whole[self._next] = went_well and not self._packets.is_damaged[self._next]
            self._next += 1
        for frame in frames:
            position = self._packets.position(frame.pts)
            if position is None:
                continue
            pts = int(self._packets.pts[position])
            self._whole[position] = not (frame.is_corrupt or self._packets.is_damaged[position])
            self._latest = max(self._latest, pts)
            if pts >= self._floor:
                self._kept[pts] = frame

    def _restart(self, key: int) -> None:
        """Begin a new run at a keyframe."""
        if not (self._seek(key) and self._skip_to(key)):
            self.close()
            self._to_feed = self._read_packets()
            if not self._skip_to(key):
                raise VideoError(f"{self._path} has changed while it was read")
        self._start = self._next = key
        self._at_end = False
        self._whole[:] = False
        self._latest = self._floor = _BEFORE_ALL
        self._kept.clear()

    def _seek(self, key: int) -> bool:
        container, stream = self._opened()
        try:
            container.seek(int(self._packets.dts[key]), stream=stream)
        except DECODER_FAILURES:
            return False
        stream.codec_context.flush_buffers()
        self._to_feed = self._read_packets()
        return True

    def _skip_to(self, key: int) -> bool:
        """Drop packets up to the keyframe; false if it does not come, or was passed."""
        for packet in self._to_feed:
            position = self._packets.position(packet.pts)
            if position is None or position > key:
                return False
            if position == key:
                self._to_feed = chain([packet], self._to_feed)
                return True
        return False

    def _read_packets(self) -> Iterator[av.Packet]:
        container, stream = self._opened()
        try:
            yield from packets_of(container, [stream])
        except DECODER_FAILURES as error:
            raise VideoError(f"{self._path} can't be read: {failure_words(error)}") from None

    def _opened(self) -> tuple[InputContainer, VideoStream]:
        if self._source is None:
            self._source = self._open.enter_context(open_video(self._path))
        return self._source

    def close(self) -> None:
        self._open.close()
        self._source = None
        self._next = -1  # no run under way
