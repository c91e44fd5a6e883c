"""Frames cut out of a video as they are: no picture is coded anew, or nothing is cut."""

from pathlib import Path

import av
import numpy as np

from caf_video.data.video.files import DECODER_FAILURES, open_video, packets_of
from caf_video.data.video.index import Orientation, VideoIndex
from caf_video.data.video.scan import index_video
from caf_video.files import written_whole

_CODECS = ("h264", "hevc", "av1", "mpeg4")  # that players take in an mp4


def copy_frames(path: Path, first: int, stop: int, out: Path) -> bool:
    """Copy the frames [first, stop) of a video into an mp4, if their packets alone make them.

    They do where the first is a keyframe that starts afresh and no packet among theirs is of
    another frame. What was written is looked at: it has as many frames, or it is not kept.

    Returns:
        Whether it could be done exactly; else nothing is written, and the frames must be coded
        anew.

    Raises:
        VideoError: The video cannot be read.
        CafVideoError: The file cannot be written.
    """
    index = index_video(path)
    wanted = _packets_of(index, first, stop)
    if wanted is None or index.packets is None:
        return False
    start = int(index.packets.pts[index.frame_packet[first]])
    try:
        with written_whole(out) as part:
            try:
                _copy(index, wanted, start, part)
                count = index_video(part).frame_count
            except DECODER_FAILURES as error:
                raise _NotExact from error
            if count != stop - first:
                raise _NotExact
    except _NotExact:
        return False
    return True


class _NotExact(Exception):
    """What was copied is not what was wanted."""


def _packets_of(index: VideoIndex, first: int, stop: int) -> set[int] | None:
    """The times of the packets of some frames, if they can stand alone."""
    packets = index.packets
    if packets is None or index.codec not in _CODECS or index.orientation != Orientation():
        return None
    positions = np.sort(index.frame_packet[first:stop])
    key = int(index.frame_packet[first])
    alone = positions[0] == key and positions[-1] - positions[0] + 1 == len(positions)
    if not (alone and packets.is_key[key] and index.starts_clean):
        return None
    if index.damaged[first:stop].any() or packets.is_hidden[positions].any():
        return None
    return set(packets.pts[positions].tolist())


def _copy(index: VideoIndex, wanted: set[int], start: int, out: Path) -> None:
    left = len(wanted)
    with open_video(index.path) as (source, stream), av.open(str(out), "w", format="mp4") as made:
        copied = made.add_stream_from_template(stream)
        for packet in packets_of(source, [stream]):
            if packet.pts not in wanted:
                continue
            packet.pts -= start
            if packet.dts is not None:
                packet.dts -= start
            packet.stream = copied
            made.mux(packet)
            left -= 1
            if not left:
                break
