"""A network that this package did not lay out as a chain: another library's, or one's own.

It has two halves all the same. `features` is the network up to its last map, brought to
(n, c, h, w); `head` is what the network does with that map. Where the head reads what is not in
the map, a class token, there is no honest head: the network then gives feature maps only, and
says so when it is asked for more.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from caf_video.errors import InputError
from caf_video.models.architectures import Halves, Stage, as_sequence
from caf_video.models.layout import Hints, MapLayout, Size, read_layout
from caf_video.models.preprocessing import Normalization

LAST_MAP = 32  # the stride that stands for "the last map", whatever its own


@dataclass(frozen=True)
class Feeding:
    """How a network is fed.

    Attributes:
        normalization: Interpolation, mean and deviation.
        size: Of the images it was trained on, (height, width). The share of an image that a
            library crops for its own benchmarks is left out: here the whole frame is shown.
    """

    normalization: Normalization
    size: Size


class ForeignNetwork(ABC):
    """How a network is built, filled, fed and cut.

    Attributes:
        name: As `load_backbone` takes it; makes the same network again.
        revision: What tells one state of its definition from another, where the name does not.
        advice: What to do where its map cannot be read.
    """

    name: str
    revision: str = ""
    advice: str

    @abstractmethod
    def build(self) -> nn.Module:
        """The network with weights at random."""

    @abstractmethod
    def pretrained(self) -> nn.Module:
        """The network with its own weights; raises WeightsError where they cannot be had."""

    def filled(self, state: Mapping[str, Tensor]) -> nn.Module | None:
        """The network with weights of other names that its library converts; None if it cannot."""
        return None

    @abstractmethod
    def feeding(self, net: nn.Module | None = None) -> Feeding:
        """How the network is fed; `net` is it, if it is there already."""

    @abstractmethod
    def features(self, net: nn.Module, images: Tensor) -> Any:
        """What the network makes of images, before its head; a map, if it is of use."""

    def has_head(self, net: nn.Module) -> bool:
        """Whether there is something behind that."""
        return False

    def head(self, net: nn.Module, output: Tensor) -> Tensor:
        """What the network makes of the output of `features`, where it has a head."""
        raise NotImplementedError

    def hints(self, net: nn.Module) -> Hints:
        """What is known of the map beforehand."""
        return Hints()

    def without_head(self, net: nn.Module) -> nn.Module:
        """The network less what only its head uses, where that can be dropped; in place."""
        return net

    @torch.no_grad()
    def halves(self, net: nn.Module, stride: int = LAST_MAP, *, head: bool = True) -> Halves:
        """The network in two, after one image has been through it.

        Args:
            net: From `build`, `pretrained` or `filled`; put in eval mode.
            stride: LAST_MAP, or that of the map.
            head: Whether the network's own head is wanted.

        Raises:
            InputError: It gives no map, or one of another stride.
        """
        net.eval()
        if not head:
            net = self.without_head(net)
        size = self.feeding(net).size
        # An image that is no constant, so that no two cells are equal by chance.
        image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
        output = self.features(net, image)
        layout = read_layout(output, size, self.hints(net), name=self.name, advice=self.advice)
        if stride not in (LAST_MAP, layout.stride):
            raise InputError(
                f"no stride {stride} of {self.name}: its map has {layout.stride} pixels a cell, "
                f"and {LAST_MAP} stands for that, too"
            )
        trunk = ForeignTrunk(self, net, layout, size)
        _require_upright(trunk, image, self.name)
        reason = self._why_no_head(net, image, output, layout) if head else "it was dropped"
        tail: nn.Module = NoHead(self.name, reason) if reason else ForeignHead(self, net, layout)
        return Halves(
            trunk=as_sequence([("features", trunk)]),
            tail=as_sequence([("head", tail)]),
            stages={layout.stride: Stage("features", layout.channels)},
            stride=layout.stride,
        )

    def _why_no_head(self, net: nn.Module, image: Tensor, output: Tensor, layout: MapLayout) -> str:
        """Why the network has no head that reads its map alone; empty if it has."""
        if not self.has_head(net):
            return "it comes without a head"
        whole = self.head(net, output)
        maps = layout.to_maps(output, (image.shape[2], image.shape[3]))
        ours = self.head(net, layout.from_maps(maps))
        blank = self.head(net, layout.from_maps(torch.zeros_like(maps)))
        if layout.prefix_tokens and (not _same(ours, whole) or _same(blank, whole)):
            return (
                f"its head reads its {layout.prefix_tokens} class or register tokens, and a "
                "feature map has none"
            )
        if not _same(ours, net(image)):
            return "head(features(x)) is not what the network itself gives for x"
        return ""


class ForeignTrunk(nn.Module):
    """Images (n, 3, height, width) to feature maps (n, c, h, w)."""

    def __init__(self, network: ForeignNetwork, net: nn.Module, layout: MapLayout, size: Size):
        super().__init__()
        self.net = net
        self.layout = layout
        self._network, self._size = network, size

    def forward(self, images: Tensor) -> Tensor:
        """Raises InputError for a size that the network does not take."""
        size = (images.shape[2], images.shape[3])
        try:
            output = self._network.features(self.net, images)
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, IndexError, RuntimeError, ValueError) as error:
            if size == self._size:  # it took one of this size before: not the size's fault
                raise
            reason = " ".join(str(error).split())[:120].rstrip(".")
            raise self._refused(size, reason) from error
        try:
            return self.layout.to_maps(output, size)
        except InputError as error:
            raise self._refused(size, str(error)) from error

    def _refused(self, size: Size, reason: str) -> InputError:
        height, width = self._size
        return InputError(
            f"{self._network.name} does not take images of {size[0]}x{size[1]} ({reason}): give "
            f"multiples of {self.layout.stride}, or the size it was trained on, {height}x{width}"
        )


class ForeignHead(nn.Module):
    """Feature maps (n, c, h, w) to what the network's own head makes of them.

    The network is the trunk's: its weights are saved and counted there.
    """

    def __init__(self, network: ForeignNetwork, net: nn.Module, layout: MapLayout):
        super().__init__()
        self.net = net
        self.layout = layout
        self._network = network

    def forward(self, feature_maps: Tensor) -> Tensor:
        """Logits, or what stands in their place, (n, d)."""
        return self._network.head(self.net, self.layout.from_maps(feature_maps))


class NoHead(nn.Module):
    """In the place of a head that there is not."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__()
        self.message = (
            f"{name} gives feature maps only ({reason}): train on them (`caf-video extract`, "
            "`train`) and explain that; or explain the network itself with "
            "`caf_video.explain(net, images, layer=…)`"
        )

    def forward(self, feature_maps: Tensor) -> Tensor:
        """Raises InputError."""
        raise InputError(self.message)


def _require_upright(trunk: nn.Module, image: Tensor, name: str) -> None:
    """Raise InputError if a change of the image's top right shows in another corner of its map.

    That cells come in the order of the image's rows is what every layout assumes; tokens that come
    column by column would give a map that is transposed, and looks as good as any.
    """
    changed = image.clone()
    middle, centre = image.shape[2] // 2, image.shape[3] // 2
    changed[:, :, :middle, centre:] += 1
    moved = (trunk(changed) - trunk(image)).abs().mean(dim=(0, 1))  # (h, w)
    h, w = moved.shape
    if min(h, w) < 4:  # a cell of so few sees the whole image
        return
    rows = {"top": slice(0, h // 2), "bottom": slice(-(h // 2), None)}
    columns = {"left": slice(0, w // 2), "right": slice(-(w // 2), None)}
    corners = {
        f"{row} {column}": float(moved[rows[row], columns[column]].mean())
        for row in rows
        for column in columns
    }
    strongest = max(corners, key=corners.__getitem__)
    if corners[strongest] > 1.5 * corners["top right"]:
        raise InputError(
            f"{name} does not give its cells in the order of the image's rows: a change at the top "
            f"right of the image moves the {strongest} of its map most. Return them in that order"
        )


def _same(one: Tensor, other: object) -> bool:
    """Whether two outputs are the same but for rounding."""
    if not isinstance(other, Tensor) or one.shape != other.shape:
        return False
    scale = float(other.abs().max())
    return bool(torch.allclose(one, other, rtol=1e-3, atol=1e-4 * scale + 1e-12))
