"""Labelled images with boxes: one picture from disk, and data sets in the layouts of their users.

Imports nothing of ours but errors; its foreign doors are PIL and scipy, for MATLAB files.
Law: pictures are upright uint8 RGB; what is listed and cannot be used is counted and named.
"""

from caf_video.data.images.image import ImageError, image_size, read_image
from caf_video.data.images.image_set import (
    BOX_TOLERANCE_PIXELS,
    ImageSet,
    ImageSetError,
    LabelledImage,
    SkippedImage,
)
from caf_video.data.images.read import IMAGE_SETS, PROTOCOLS, read_image_set

__all__ = [
    "BOX_TOLERANCE_PIXELS",
    "IMAGE_SETS",
    "PROTOCOLS",
    "ImageError",
    "ImageSet",
    "ImageSetError",
    "LabelledImage",
    "SkippedImage",
    "image_size",
    "read_image",
    "read_image_set",
]
