"""What the network is shown of an image: protocols that want the same are served by one pass."""

from collections.abc import Sequence
from dataclasses import dataclass

from caf_video.localization import Geometry, require_protocol

Size = tuple[int, int]


@dataclass(frozen=True)
class NetworkInput:
    """One input of the network, and who measures what it saw.

    Attributes:
        size: Of the input, (height, width).
        resized: What the image is resized to before its centre of `size` is cut out; None shows all
            of it.
        geometries: By protocol, where its heatmaps and boxes are.
    """

    size: Size
    resized: Size | None
    geometries: dict[str, Geometry]

    def sizes(self, image_size: Size) -> dict[Size, list[str]]:
        """By size of the heatmap that they measure, the protocols, of an image of that size."""
        found: dict[Size, list[str]] = {}
        for name, geometry in self.geometries.items():
            found.setdefault(geometry.size(image_size), []).append(name)
        return found


def inputs_for(protocols: Sequence[str], *, whole: Size, everywhere: bool) -> list[NetworkInput]:
    """The fewest inputs that serve some protocols.

    Args:
        protocols: Keys of PROTOCOLS.
        whole: What whole images are resized to, where a protocol does not say.
        everywhere: Show the whole image in that size to every protocol, whatever was published: all
            share one pass, and boxes are compared in that size.
    """
    found: dict[tuple[Size, Size | None], dict[str, Geometry]] = {}
    for name in dict.fromkeys(protocols):
        geometry = require_protocol(name).geometry
        if everywhere and geometry.resized is not None:
            geometry = Geometry(f"{whole[0]} x {whole[1]}", resized=whole)
        size = geometry.cropped or geometry.resized or whole
        resized = geometry.resized if geometry.cropped else None
        found.setdefault((size, resized), {})[name] = geometry
    return [NetworkInput(*shown, geometries) for shown, geometries in found.items()]
