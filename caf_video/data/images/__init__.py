"""Labelled images with boxes: one picture from disk, and data sets in the layouts of their users.

Law: pictures are upright uint8 RGB; what is listed and cannot be used is counted and named.
"""

from caf_video.data.images.image import Box, ImageError, image_size, read_image, read_mask
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
    "Box",
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
    "read_mask",
]
