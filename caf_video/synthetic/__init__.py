"""Synthetic driving clips, and still pictures: road scenes in which one object decides the class.

world/ is what there is, and where the evidence is; painting/ is how it looks, and the only one of
the two that knows of the other.

Imports: data, for the manifest, boxes and image sets; cv2, av and PIL from outside.
Law: with its evidence painted out a clip does not depend on the class, and differs only in the box.
"""

from caf_video.synthetic.clips import CLIP_SETS, SyntheticClipsError, write_driving_clips
from caf_video.synthetic.picture_scene import (
    PICTURE_CLASSES,
    RenderedPicture,
    render_picture,
)
from caf_video.synthetic.pictures import PicturesError, write_pictures
from caf_video.synthetic.render import RenderedClip, render_clip
from caf_video.synthetic.world.events import EVENT_CLASSES, OPPOSITES
from caf_video.synthetic.world.two_events import TWO_EVENT_CLASSES

__all__ = [
    "CLIP_SETS",
    "EVENT_CLASSES",
    "OPPOSITES",
    "PICTURE_CLASSES",
    "TWO_EVENT_CLASSES",
    "PicturesError",
    "RenderedClip",
    "RenderedPicture",
    "SyntheticClipsError",
    "render_clip",
    "render_picture",
    "write_driving_clips",
    "write_pictures",
]
