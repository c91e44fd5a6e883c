"""What a protocol shows the network of an image, and where the image's boxes are then.

A heatmap under a protocol has the size of its view. Here is only what a view is, in numbers, and
what it does to boxes; the pixels are resized and cropped elsewhere.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caf_video.errors import InputError
from caf_video.localization.boxes import require_boxes


@dataclass(frozen=True)
class Geometry:
    """What is shown of an image: the whole or its centre, after a resize that does not keep aspect.

    Attributes:
        name: For people.
        resized: (height, width) that the image is resized to first; None leaves it as it is.
        cropped: (height, width) of the centre that is cut out then; None is all of it.
    """

    name: str
    resized: tuple[int, int] | None = None
    cropped: tuple[int, int] | None = None

    def size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the view of an image of that size."""
        return self.cropped or self.resized or image_size

    def offset(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Rows above and columns left of the centre that is cut out of the resized image."""
        whole, (height, width) = self.resized or image_size, self.size(image_size)
        return (whole[0] - height) // 2, (whole[1] - width) // 2

    def boxes(self, boxes: ArrayLike, image_size: tuple[int, int]) -> NDArray[np.float64]:
        """Boxes (n, 4) of an image of size (height, width), in pixels of the view.

        Moved as the published evaluators do: corners are scaled, moved, and cut to whole pixels,
        towards 0. A box that the crop cuts is not cut: it ends outside the view, and one beyond the
        crop lies outside. The view that shows the image as it is changes no corner.

        Raises:
            InputError: The boxes are malformed, or a side of the image is not positive.
        """
        if min(image_size) < 1:
            raise InputError(f"image of size {image_size}: wanted a positive height and width")
        array = require_boxes(boxes)
        if self.resized is None:
            return array
        new, old = np.array(self.resized[::-1] * 2), np.array(image_size[::-1] * 2)
        if self.cropped is None:
            return np.trunc(array * new / old)
        # That evaluator multiplies in another order, which can be seen where a product is whole.
        return np.trunc(array * (new / old) - np.array(self.offset(image_size)[::-1] * 2))


WHOLE_IMAGE = Geometry("whole image")
SQUARE_224 = Geometry("224 x 224", resized=(224, 224))
CENTER_OF_256 = Geometry("centre 224 x 224 of 256 x 256", resized=(256, 256), cropped=(224, 224))
