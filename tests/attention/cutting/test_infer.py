"""What the axes of maps and inputs are told to be, from runs: filters and heatmaps as they lie."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from caf_video.attention import explain, grad_cam
from caf_video.errors import InputError


class Net(nn.Module):
    """A first convolution, a head behind pooling, any code between."""

    def __init__(self, cnn: nn.Module, forward: Callable[..., Tensor], width: int = 6) -> None:
        super().__init__()
        self.cnn, self._run = cnn, forward
        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(6, 2, 8, norm_first=True)])
        self.fc = nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, 5))

    def forward(self, *args: Any) -> Tensor:
        return self._run(self, *args)


def flat(cnn: int = 2, channels: int = 3, **more: Any) -> nn.Module:
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[cnn]
    return kind(channels, more.pop("out", 6), 3, **{"stride": 4, "padding": 1, **more})


def pooled(maps: Tensor) -> Tensor:
    return maps.mean(dim=tuple(range(2, maps.dim())))


def two_rates(m: Net, slow: Tensor, fast: Tensor) -> Tensor:
    return m.fc(torch.cat([pooled(m.cnn[0](slow)), pooled(m.cnn[1](fast))], dim=1))


def frames_before_colours(m: Net, x: Tensor) -> Tensor:
    return m.fc(pooled(m.cnn(x.transpose(1, 2))))


def sequence_first(m: Net, x: Tensor) -> Tensor:
    return m.fc(m.layers[0](m.cnn(x).flatten(2).permute(2, 0, 1)).tanh().mean(dim=0))


CLIP = (1, 4, 4)
# name: the network, its inputs, the layer, what its axes are told to be, a heatmap's size
SHAPES: dict[str, tuple[Callable[[], Net], Callable[[], Any], str, str, tuple[int, ...]]] = {
    "uint8 images": (
        lambda: Net(flat(), lambda m, x: m.fc(pooled(m.cnn(x.float() / 255)))),
        lambda: torch.randint(256, (2, 3, 16, 24), dtype=torch.uint8), "cnn", "n c h w", (16, 24)),
    "images with channels last": (
        lambda: Net(flat(), lambda m, x: m.fc(pooled(m.cnn(x.permute(0, 3, 1, 2))))),
        lambda: torch.rand(2, 16, 24, 3), "cnn", "n c h w", (16, 24)),
    "images without an axis of channels": (
        lambda: Net(flat(channels=1), lambda m, x: m.fc(pooled(m.cnn(x[:, None])))),
        lambda: torch.rand(2, 16, 24), "cnn", "n c h w", (16, 24)),
    "clips (n, t, c, h, w) into a 3-D network": (
        lambda: Net(flat(3, stride=(2, 4, 4)), frames_before_colours),
        lambda: torch.randn(2, 8, 3, 16, 24), "cnn", "n c t h w", (8, 16, 24)),
    "clips of three frames": (
        lambda: Net(flat(3, stride=CLIP), lambda m, x: m.fc(pooled(m.cnn(x)))),
        lambda: torch.randn(2, 3, 3, 16, 24), "cnn", "n c t h w", (3, 16, 24)),
    "the slow of two rates": (
        lambda: Net(nn.ModuleList([flat(3, stride=CLIP, out=4), flat(3, stride=CLIP, out=2)]),
                    two_rates),
        lambda: (torch.randn(2, 3, 2, 16, 24), torch.randn(2, 3, 8, 16, 24)),
        "cnn.0", "n c t h w", (2, 16, 24)),
    "the fast of two rates": (
        lambda: Net(nn.ModuleList([flat(3, stride=CLIP, out=4), flat(3, stride=CLIP, out=2)]),
                    two_rates),
        lambda: (torch.randn(2, 3, 2, 16, 24), torch.randn(2, 3, 8, 16, 24)),
        "cnn.1", "n c t h w", (8, 16, 24)),
    "a map that ends as wide as it has channels": (
        lambda: Net(flat(stride=(2, 4)), lambda m, x: m.fc(pooled(m.cnn(x)))),
        lambda: torch.randn(2, 3, 12, 24), "cnn", "n c h w", (12, 24)),
    "channels last, by the linear layer that reads": (
        lambda: Net(flat(), lambda m, x: m.fc(m.cnn(x).permute(0, 2, 3, 1)).mean(dim=(1, 2))),
        lambda: torch.randn(2, 3, 16, 24), "cnn", "n c h w", (16, 24)),
    "sound": (
        lambda: Net(flat(1, 2), lambda m, x: m.fc(pooled(m.cnn(x)))),
        lambda: torch.randn(2, 2, 40), "cnn", "n c l", (40,)),
    "tokens first": (
        lambda: Net(flat(), sequence_first),
        lambda: torch.randn(3, 3, 16, 24), "layers.0", "(h=4 w=6) n c", (16, 24)),
    "as many tokens as samples": (
        lambda: Net(flat(), sequence_first),
        lambda: torch.randn(4, 3, 8, 8), "layers.0", "(h=2 w=2) n c", (8, 8)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("name", SHAPES)
def test_time_is_told_from_colour_and_cells_from_channels(name, hooked) -> None:
    torch.manual_seed(0)
    make, inputs, layer, axes, size = SHAPES[name]
    model, x = make().eval(), inputs()
    found = explain(model, x, layer=layer)
    assert found.axes == axes
    assert found.heatmaps.shape[1:] == size

    def spread(filters: Tensor) -> Tensor:
        if axes.endswith("n c"):
            return filters.flatten(1).T[:, :, None]
        return filters[:, None]

    hooked(model, x, layer, spread).check(found, adam=False)
    assert grad_cam(model, x, layer=layer).shape[1:] == size


def test_the_inputs_axes_may_be_said() -> None:
    torch.manual_seed(0)
    # Four frames of four channels: which is time cannot be told from the shape.
    model = Net(flat(3, channels=4, stride=1), lambda m, x: m.fc(pooled(m.cnn(x.transpose(1, 2)))))
    x = torch.randn(1, 8, 4, 5, 6)
    for ask in (
        lambda **more: explain(model, x, layer="cnn", **more).heatmaps,
        lambda **more: grad_cam(model, x, layer="cnn", **more),
    ):
        assert ask(input_axes="n t c h w").shape == (1, 8, 5, 6)
        with pytest.raises(InputError, match="the input is"):
            ask(input_axes="n c h w")


def test_axes_that_nothing_tells_are_asked_for() -> None:
    class Mystery(nn.Module):
        """A map that only a reshape reads."""

        def __init__(self) -> None:
            super().__init__()
            self.layer, self.fc = nn.Tanh(), nn.Linear(2 * 3 * 4, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.layer(x).flatten(1))

    x = torch.randn(2, 2, 3, 4)
    with pytest.raises(InputError) as error:
        explain(Mystery(), x, layer="layer")
    text = str(error.value)
    assert "(2, 2, 3, 4)" in text and 'axes="n c h w"' in text and '"n h w c"' in text
    assert explain(Mystery(), x, layer="layer", axes="n h w c").filters.shape == (2, 2, 3)


def test_an_unbatched_input_is_asked_for_its_axis_of_samples() -> None:
    model = Net(flat(), lambda m, x: m.fc(m.cnn(x).mean(dim=(-2, -1))))
    for ask in (explain, grad_cam):
        with pytest.raises(InputError, match=r"x\[None\]"):
            ask(model, torch.randn(3, 16, 24), layer="cnn")


class Detector(nn.Module):
    """A list of images of several sizes in, a list of dictionaries out."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn, self.boxes, self.scores = flat(), nn.Conv2d(6, 4, 1), nn.Conv2d(6, 2, 1)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        found = []
        maps = self.cnn(torch.stack(images)).tanh()
        for scores, boxes in zip(self.scores(maps), self.boxes(maps), strict=True):
            scores, order = scores.flatten(1).amax(dim=0).sigmoid().sort(descending=True)
            found.append({"boxes": boxes.flatten(1).T[order[:3]], "scores": scores[:3]})
        return found


def test_a_detector_of_one_image_is_explained_by_its_scores(hooked) -> None:
    torch.manual_seed(0)
    model, images = Detector().eval(), [torch.randn(3, 16, 24)]
    found = explain(model, images, layer="cnn", output=lambda out: out[0]["scores"])
    assert found.heatmaps.shape == (1, 16, 24)
    plain = hooked(
        model, images, "cnn", lambda f: f[:, None], pick=lambda out: out[0]["scores"][None]
    )
    torch.testing.assert_close(
        found.losses[0], plain.loss(found.filters, (0,)).detach(), rtol=1e-3, atol=1e-7
    )


@dataclass
class Config:
    id2label: dict[int, str] = field(
        default_factory=lambda: {0: "tench, Tinca", 1: "cat", 2: "Dog"}
    )


@pytest.mark.filterwarnings("ignore:the class-specific filters")
@pytest.mark.parametrize("knows", ["label_names", "id2label"])
def test_targets_may_be_names_of_classes(knows) -> None:
    torch.manual_seed(0)
    model = Net(flat(), lambda m, x: m.fc(pooled(m.cnn(x)))[:, :3]).eval()
    if knows == "id2label":
        model.config = Config()
    else:
        model.label_names = ("tench, Tinca", "cat", "Dog")
    x = torch.randn(2, 3, 16, 24)
    for name, number in (("cat", 1), ("dog", 2), ("tench", 0), (["cat", "Tinca"], [1, 0])):
        for ask in (
            lambda target: explain(model, x, layer="cnn", target=target).losses,
            lambda target: grad_cam(model, x, layer="cnn", target=target),
        ):
            torch.testing.assert_close(ask(name), ask(number))
    with pytest.raises(InputError, match=r"no class is called 'cats'; near it: cat"):
        explain(model, x, layer="cnn", target="cats")
    del model.__dict__["config" if knows == "id2label" else "label_names"]
    with pytest.raises(InputError, match="knows no names of classes"):
        grad_cam(model, x, layer="cnn", target="cat")
