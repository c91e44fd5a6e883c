"""What an opened clip may do to the process that opens it; imported there by name."""

import os
import signal
import time

from caf_video.data.manifest import Clip
from caf_video.data.video.reader import VideoError, VideoInfo


def misbehave(clip: Clip, timesteps: int, candidates: int) -> VideoInfo:
    """Do what the clip's label says; a good one reports the process as its frame count."""
    if clip.label == "hang":
        time.sleep(600)
    if clip.label == "exit":
        os._exit(3)
    if clip.label == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if clip.label == "refuse":
        raise VideoError(f"{clip.path.name} is truncated")
    return VideoInfo(clip.path, os.getpid(), 25.0, 48, 64, 1.0, "none")
