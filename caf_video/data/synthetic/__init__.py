"""Synthetic driving clips: road scenes in which one object decides the class of an event.

Imports nothing of ours but errors and the clip manifest; its foreign doors are cv2 and av.
Law: with its evidence painted out a clip does not depend on the class, and differs only in the box.
"""

from caf_video.data.synthetic.clips import SyntheticClipsError, read_boxes, write_driving_clips
from caf_video.data.synthetic.events import EVENT_CLASSES, OPPOSITES
from caf_video.data.synthetic.render import RenderedClip, render_clip

__all__ = [
    "EVENT_CLASSES",
    "OPPOSITES",
    "RenderedClip",
    "SyntheticClipsError",
    "read_boxes",
    "render_clip",
    "write_driving_clips",
]
