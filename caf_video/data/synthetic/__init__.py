"""Synthetic driving clips, and still pictures: road scenes in which one object decides the class.

Imports nothing of ours but errors, the manifest and the image sets; doors: cv2, av and PIL.
Law: with its evidence painted out a clip does not depend on the class, and differs only in the box.
"""

from caf_video.data.synthetic.clips import SyntheticClipsError, read_boxes, write_driving_clips
from caf_video.data.synthetic.events import EVENT_CLASSES, OPPOSITES
from caf_video.data.synthetic.picture_scene import (
    PICTURE_CLASSES,
    RenderedPicture,
    render_picture,
)
from caf_video.data.synthetic.pictures import PicturesError, write_pictures
from caf_video.data.synthetic.render import RenderedClip, render_clip

__all__ = [
    "EVENT_CLASSES",
    "OPPOSITES",
    "PICTURE_CLASSES",
    "PicturesError",
    "RenderedClip",
    "RenderedPicture",
    "SyntheticClipsError",
    "read_boxes",
    "render_clip",
    "render_picture",
    "write_driving_clips",
    "write_pictures",
]
