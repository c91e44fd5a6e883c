"""What a video file holds: the list of frames that both readers agree on."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Orientation:
    """How a stored picture is made upright: transposed, then mirrored left-right, top-bottom."""

    transposed: bool = False
    mirrored_x: bool = False
    mirrored_y: bool = False

    @property
    def is_rotation(self) -> bool:
        """Whether it is a rotation (by 0, 90, 180 or 270 degrees), without a mirror."""
        return (self.mirrored_x != self.mirrored_y) == self.transposed


@dataclass(frozen=True)
class Packets:
    """The packets of a video in decoding order, m of them.

    Attributes:
        pts: Presentation time in ticks, unique, int64 (m,).
        dts: Decoding time in ticks, the time that containers seek by, int64 (m,).
        is_key: Whether decoding can start here, bool (m,).
        is_hidden: Decoded but not shown, bool (m,): what lies before the start of an edit list.
        is_damaged: Holds what no sound packet can hold, bool (m,); most damage does not show so.
    """

    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    is_key: NDArray[np.bool_]
    is_hidden: NDArray[np.bool_]
    is_damaged: NDArray[np.bool_]

    @cached_property
    def by_time(self) -> NDArray[np.int64]:
        """Positions in order of presentation, (m,)."""
        return np.argsort(self.pts, kind="stable")

    @cached_property
    def _rising_pts(self) -> NDArray[np.int64]:
        return self.pts[self.by_time]

    def position(self, pts: int | None) -> int | None:
        """The position of the packet shown at `pts`, if there is one."""
        if pts is None:
            return None
        rank = int(np.searchsorted(self._rising_pts, pts))
        found = rank < len(self.pts) and self._rising_pts[rank] == pts
        return int(self.by_time[rank]) if found else None


@dataclass(frozen=True)
class VideoIndex:
    """The frames of a file in presentation order, n of them, and what it takes to reach them.

    Attributes:
        container, codec, pixel_format: FFmpeg's short names: "mov", "h264", "yuv420p".
        height, width: Of an upright frame, in pixels.
        times_seconds: When each frame is shown, the first at 0.0, float64 (n,).
        duration_seconds: Of all frames, the last one's own duration included.
        packets: None when frames can only be found by decoding and counting from the start.
        frame_packet: The position in `packets` of each frame's packet, int64 (n,).
        damaged: Frames known not to decode whole, bool (n,).
        starts_clean: Every keyframe starts afresh: no frame decoded after it is shown before it
            or needs anything before it (closed GOPs, no periodic intra refresh).
        video_streams: How many there are; the index is of FFmpeg's choice among them.
        has_clock: Whether the file says when a frame is shown. Raw streams and folders of pictures
            do not: the times are then those of a rate that is given, or of a guess.
    """

    path: Path
    container: str
    codec: str
    pixel_format: str
    height: int
    width: int
    orientation: Orientation
    times_seconds: NDArray[np.float64]
    duration_seconds: float
    packets: Packets | None
    frame_packet: NDArray[np.int64]
    damaged: NDArray[np.bool_]
    starts_clean: bool
    video_streams: int
    has_clock: bool = True

    @property
    def frame_count(self) -> int:
        return len(self.times_seconds)
