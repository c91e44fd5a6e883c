"""What the packets of H.264 and HEVC in MP4 and Matroska tell without decoding (NAL units)."""

import re
from collections.abc import Iterator

H264_SLICES = range(1, 6)
H264_IDR = 5
HEVC_SLICES = range(0, 32)
# No encoder leaves these bytes in a unit (emulation prevention, ITU-T H.264, 7.4.1). In a slice
# they are a hole in the file, filled with zeros as a rule, and decode to a wrong picture.
FORBIDDEN = re.compile(rb"\0\0[\0-\2]")
MOST_PADDING = 64  # zeros that a writer may leave behind a unit


class NalReader:
    """Looks into packets whose units are preceded by their length."""

    def __init__(self, codec: str, length_size: int) -> None:
        self._is_hevc = codec == "hevc"
        self._length_size = length_size

    @classmethod
    def for_stream(cls, codec: str, extradata: bytes | None) -> "NalReader | None":
        """The reader for a stream, None if it is of another codec or has start codes instead."""
        length_at = {"h264": 4, "hevc": 21}.get(codec)
        if length_at is None or not extradata or len(extradata) <= length_at or extradata[0] != 1:
            return None
        return cls(codec, (extradata[length_at] & 3) + 1)

    def is_restart(self, packet: bytes) -> bool:
        """Whether a keyframe needs nothing before it: in H.264 an IDR, no recovery point."""
        return self._is_hevc or any(kind == H264_IDR for kind, _, _ in self._units(packet))

    def is_damaged(self, packet: bytes) -> bool:
        """Whether the units do not fill the packet, or a slice holds bytes that none can hold."""
        slices = HEVC_SLICES if self._is_hevc else H264_SLICES
        end = 0
        for kind, start, end in self._units(packet):
            if kind in slices:
                unit = packet[start:end]
                filled = unit.rstrip(b"\0")
                if len(unit) - len(filled) > MOST_PADDING or FORBIDDEN.search(filled):
                    return True
        return end != len(packet)

    def _units(self, packet: bytes) -> Iterator[tuple[int, int, int]]:
        """The type, start and end of each unit."""
        at = 0
        while at + self._length_size < len(packet):
            start = at + self._length_size
            end = start + int.from_bytes(packet[at:start], "big")
            header = packet[start]
            yield header >> 1 & 0x3F if self._is_hevc else header & 0x1F, start, end
            at = end
