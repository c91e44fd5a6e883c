"""Synthetic driving clips, and still pictures: road scenes in which one object decides the class.

Imports of ours only data, for the manifest, boxes and image sets; doors: cv2, av and PIL.
Law: with its evidence painted out a clip does not depend on the class, and differs only in the box.
"""

from caf_video.synthetic.clips import SyntheticClipsError, write_driving_clips
from caf_video.synthetic.picture_scene import (
    PICTURE_CLASSES,
    RenderedPicture,
    render_picture,
)
from caf_video.synthetic.pictures import PicturesError, write_pictures
from caf_video.synthetic.render import RenderedClip, render_clip
from caf_video.synthetic.world.events import EVENT_CLASSES, OPPOSITES

__all__ = [
    "EVENT_CLASSES",
    "OPPOSITES",
    "PICTURE_CLASSES",
    "PicturesError",
    "RenderedClip",
    "RenderedPicture",
    "SyntheticClipsError",
    "render_clip",
    "render_picture",
    "write_driving_clips",
    "write_pictures",
]
