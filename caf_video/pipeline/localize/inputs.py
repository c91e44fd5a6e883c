"""What the network is shown of an image: protocols that want the same are served by one pass."""

from collections.abc import Sequence
from dataclasses import dataclass

from caf_video.localization import View, require_protocol

Size = tuple[int, int]


@dataclass(frozen=True)
class Look:
    """One input of the network, and who measures what it saw.

    Attributes:
        size: Of the input, (height, width).
        resized: What the image is resized to before its centre of `size` is cut out; None shows all
            of it.
        views: By protocol, where its heatmaps and boxes are.
    """

    size: Size
    resized: Size | None
    views: dict[str, View]

    def sizes(self, image_size: Size) -> dict[Size, list[str]]:
        """By size of the heatmap that they measure, the protocols, of an image of that size."""
        found: dict[Size, list[str]] = {}
        for name, view in self.views.items():
            found.setdefault(view.size(image_size), []).append(name)
        return found


def looks(protocols: Sequence[str], *, whole: Size, everywhere: bool) -> list[Look]:
    """The fewest inputs that serve some protocols.

    Args:
        protocols: Keys of PROTOCOLS.
        whole: What whole images are resized to, where a protocol does not say.
        everywhere: Show the whole image in that size to every protocol, whatever was published: all
            share one pass, and boxes are compared in that size.
    """
    found: dict[tuple[Size, Size | None], dict[str, View]] = {}
    for name in dict.fromkeys(protocols):
        view = require_protocol(name).view
        if everywhere and view.resized is not None:
            view = View(f"{whole[0]} x {whole[1]}", resized=whole)
        size = view.cropped or view.resized or whole
        resized = view.resized if view.cropped else None
        found.setdefault((size, resized), {})[name] = view
    return [Look(size, resized, views) for (size, resized), views in found.items()]
