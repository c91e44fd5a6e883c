"""The axes of a map in einops' notation, against loops over every element."""

import itertools
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from caf_video.attention import cam, cut_network, explain, grad_cam
from caf_video.attention.cutting.axes import bind_axes, parse_axes
from caf_video.errors import InputError

SIZES = {"n": 2, "t": 3, "h": 2, "w": 4, "c": 5, "l": 7}
# text: the positions before and after the cells in each axis, the names of a row, of a filter
LAYOUTS: dict[str, tuple[list[tuple[int, str, int]], str, str]] = {
    "n c h w": ([(0, "n", 0), (0, "c", 0), (0, "h", 0), (0, "w", 0)], "", "hw"),
    "n h w c": ([(0, "n", 0), (0, "h", 0), (0, "w", 0), (0, "c", 0)], "", "hw"),
    "n t h w c": ([(0, "n", 0), (0, "t", 0), (0, "h", 0), (0, "w", 0), (0, "c", 0)], "", "thw"),
    "n c t h w": ([(0, "n", 0), (0, "c", 0), (0, "t", 0), (0, "h", 0), (0, "w", 0)], "", "thw"),
    "(n t) c h w": ([(0, "nt", 0), (0, "c", 0), (0, "h", 0), (0, "w", 0)], "t", "hw"),
    "(t n) c h w": ([(0, "tn", 0), (0, "c", 0), (0, "h", 0), (0, "w", 0)], "t", "hw"),
    "n (1 h w) c": ([(0, "n", 0), (1, "hw", 0), (0, "c", 0)], "", "hw"),
    "n (h w 2) c": ([(0, "n", 0), (0, "hw", 2), (0, "c", 0)], "", "hw"),
    "n (1 t h w 3) c": ([(0, "n", 0), (1, "thw", 3), (0, "c", 0)], "", "thw"),
    "(n t) (1 h w) c": ([(0, "nt", 0), (1, "hw", 0), (0, "c", 0)], "t", "hw"),
    "(t n) (h w) c": ([(0, "tn", 0), (0, "hw", 0), (0, "c", 0)], "t", "hw"),
    "(h w) n c": ([(0, "hw", 0), (0, "n", 0), (0, "c", 0)], "", "hw"),
    "(1 h w) n c": ([(1, "hw", 0), (0, "n", 0), (0, "c", 0)], "", "hw"),
    "(h w) (n t) c": ([(0, "hw", 0), (0, "nt", 0), (0, "c", 0)], "t", "hw"),
    "l n c": ([(0, "l", 0), (0, "n", 0), (0, "c", 0)], "", "l"),
    "n l c": ([(0, "n", 0), (0, "l", 0), (0, "c", 0)], "", "l"),
    "n c 1 w": ([(0, "n", 0), (0, "c", 0), (1, "", 0), (0, "w", 0)], "", "w"),
    "n c (h w) 1": ([(0, "n", 0), (0, "c", 0), (0, "hw", 0), (1, "", 0)], "", "hw"),
    "c h w": ([(0, "c", 0), (0, "h", 0), (0, "w", 0)], "", "hw"),
    "n h w": ([(0, "n", 0), (0, "h", 0), (0, "w", 0)], "", "hw"),
}


def places(axes: list[tuple[int, str, int]], at: Mapping[str, int]) -> tuple[int, ...]:
    """Where in the map the element with these indices by name lies."""
    found = []
    for before, names, _ in axes:
        index = 0
        for name in names:
            index = index * SIZES[name] + at[name]
        found.append(before + index if names else 0)
    return tuple(found)


def size_of(axis: tuple[int, str, int]) -> int:
    before, names, after = axis
    return before + (torch.Size(SIZES[name] for name in names).numel() if names else 0) + after


@pytest.mark.parametrize("text", LAYOUTS)
def test_filters_cells_and_rows_are_those_of_loops(text, generator) -> None:
    axes, rows, cells = LAYOUTS[text]
    names = {name for _, part, _ in axes for name in part}
    sizes = {name: SIZES[name] if name in names else 1 for name in "ntchwl"}
    shape = tuple(map(size_of, axes))
    feature_map = torch.randn(shape, generator=generator)
    layout = bind_axes(parse_axes(text), shape, SIZES, what="the map")
    assert layout.shape == shape
    assert layout.row_names == tuple(rows)
    assert layout.space == tuple(sizes[name] for name in cells)
    assert layout.samples == sizes["n"]
    assert layout.rows_each == torch.Size(sizes[name] for name in rows).numel()
    again = bind_axes(parse_axes(str(layout)), shape, SIZES, what="what it is written as")
    assert again.sizes == layout.sizes and again.space == layout.space

    filters = torch.randn(sizes["n"] * layout.rows_each, *layout.space, generator=generator)
    expected = feature_map.clone()
    apart = torch.zeros(len(filters), sizes["c"], *layout.space)
    order = "".join(name for name in "n" + rows + "c" + cells)
    for indices in itertools.product(*(range(sizes[name]) for name in order)):
        at = dict(zip(order, indices, strict=True))
        place = places(axes, at)
        row = at["n"] * layout.rows_each + (at[rows] if rows else 0)
        cell = tuple(at[name] for name in cells)
        expected[place] = feature_map[place] * filters[(row, *cell)]
        apart[(row, at["c"], *cell)] = feature_map[place]
    torch.testing.assert_close(layout.filtered(feature_map, filters), expected)
    torch.testing.assert_close(layout.cells(feature_map), apart)

    axis = next((i for i, (_, part, _) in enumerate(axes) if "n" in part), None)
    assert layout.sample_axis == axis
    if axis is None:
        assert layout.rows(torch.tensor([0])) is None
        return
    picked = layout.rows(torch.tensor([1, 0, 1]))
    part = feature_map.index_select(axis, picked)
    chosen = apart.unflatten(0, (2, -1))[[1, 0, 1]].flatten(0, 1)
    torch.testing.assert_close(layout.of(3).cells(part), chosen)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n c H w", "'H' is not a name, a number or a bracket"),
        ("n c h, w", "',' is not a name"),
        ("n (c (h w))", "a bracket inside a bracket"),
        ("n c h w)", "a bracket ends that never began"),
        ("n (h w c", "a bracket is not closed"),
        ("n c h h", "h stands there twice"),
        ("n (h w) (t c)", "c must be an axis of its own"),
        ("n h (c w)", "c must be an axis of its own"),
        ("n (1 c) h w", "c must be an axis of its own"),
        ("(1 n) c h w", "n shares its axis with names only"),
        ("n (h 1 w) c", "tokens that are no cells stand before or after"),
        ("n (h=0 w) c", "sizes are 1 or more"),
        ("n () h w c", "an empty bracket"),
        (["n", "c"], "wanted a text"),
        ("", "names no axis"),
    ],
)
def test_a_text_that_names_no_axes_says_where(text, message) -> None:
    with pytest.raises(InputError) as error:
        parse_axes(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "shape", "known", "message"),
    [
        ("n c h w", (2, 5, 4), {}, 'it is (2, 5, 4): axes="n c h w" are 4 axes'),
        ("n 1 c", (2, 5, 4), {}, "an axis without a name is 1 long, not 5"),
        ("n (h w) c", (2, 8, 4), {}, "the sizes in (h w) do not follow: write h=… w=…"),
        ("n (h=3 w) c", (2, 8, 4), {}, "the sizes in (h=3 w) do not follow: write w=…"),
        ("n (h=3 w=2) c", (2, 8, 4), {}, "(h=3 w=2) is 6 long with h=3, w=2"),
        ("n (1 h=3 w=2) c", (2, 8, 4), {}, "(1 h=3 w=2) is 7 long with h=3, w=2"),
        ("n (h w) c", (2, 8, 4), {"h": 3, "w": 2}, "(h w) is 6 long with h=3, w=2"),
        ("(n t) c h w", (5, 4, 3, 3), {"n": 2}, "the sizes in (n t) do not follow: write t=…"),
        ("n c=3 h w", (2, 4, 3, 3), {}, "c=3 is 3 long"),
    ],
)
def test_axes_that_the_map_does_not_have_say_what_to_write(text, shape, known, message) -> None:
    with pytest.raises(InputError) as error:
        bind_axes(parse_axes(text), shape, known, what="it")
    assert message in str(error.value)


class Tokens(nn.Module):
    """Tokens of an image with one that is no cell, in any order of axes."""

    def __init__(self, order: str) -> None:
        super().__init__()
        self.patches, self.layer, self.fc = nn.Conv2d(3, 6, 4, 4), nn.Identity(), nn.Linear(6, 5)
        self.extra, self.order = nn.Parameter(torch.randn(1, 1, 6)), order

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.extra.expand(len(x), -1, -1), tokens], dim=1)  # n (1 h w) c
        if self.order == "l n c":
            return self.fc(self.layer(tokens.transpose(0, 1)).transpose(0, 1).tanh().mean(dim=1))
        if self.order == "n c l":
            return self.fc(self.layer(tokens.transpose(1, 2)).transpose(1, 2).tanh().mean(dim=1))
        return self.fc(self.layer(tokens).tanh().mean(dim=1))


@pytest.mark.parametrize(
    ("order", "axes"),
    [("n l c", "n (1 h w) c"), ("l n c", "(1 h w) n c"), ("n c l", "n c (1 h w)"),
     ("n l c", "n (1 h=3 w=4) c"), ("l n c", "(1 h=3 w) n c")],
)  # fmt: skip
def test_declared_axes_serve_everything_that_cuts(order, axes, hooked, generator) -> None:
    torch.manual_seed(0)
    model, x = Tokens(order).eval(), torch.randn(2, 3, 12, 16, generator=generator)
    found = explain(model, x, layer="layer", axes=axes)
    assert found.filters.shape == (2, 3, 4)
    assert found.heatmaps.shape == (2, 12, 16)

    def spread(filters: Tensor) -> Tensor:
        tokens = torch.cat([torch.ones(2, 1), filters.flatten(1)], dim=1)[:, :, None]
        return tokens.permute(*{"n l c": (0, 1, 2), "l n c": (1, 0, 2), "n c l": (0, 2, 1)}[order])

    hooked(model, x, "layer", spread).check(found)
    kept = []
    handle = model.layer.register_forward_hook(lambda m, a, o: kept.append(o))
    answers = model(x)
    handle.remove()
    (gradient,) = torch.autograd.grad(answers[:, 1].sum(), kept[0])
    back = {"n l c": (0, 1, 2), "l n c": (1, 0, 2), "n c l": (0, 2, 1)}[order]
    maps = kept[0].detach().permute(back)[:, 1:]
    weights = gradient.permute(back)[:, 1:].mean(dim=1, keepdim=True)
    expected = (maps * weights).sum(dim=2).view(2, 3, 4)
    heat = grad_cam(model, x, layer="layer", target=1, axes=axes, mode="signed", size=(3, 4))
    torch.testing.assert_close(heat, expected)
    with cut_network(model, x, "layer", axes=axes) as cut:
        assert cut.layout.space == (3, 4)
        torch.testing.assert_close(cut.head(cut.feature_map), cut.outputs)


def test_cam_takes_axes_too(generator) -> None:
    class Last(nn.Module):
        """Channels last, pooled, one linear layer."""

        def __init__(self) -> None:
            super().__init__()
            self.cnn, self.layer, self.fc = nn.Conv2d(3, 4, 3, 2), nn.Identity(), nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.layer(self.cnn(x).permute(0, 2, 3, 1)).mean(dim=(1, 2)))

    model, x = Last().eval(), torch.randn(2, 3, 9, 9, generator=generator)
    with torch.no_grad():
        maps = model.cnn(x)
        expected = torch.einsum("c,nchw->nhw", model.fc.weight[2], maps)
    for axes in (None, "n h w c"):
        found = cam(model, x, layer="layer", target=2, axes=axes, size=(4, 4))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("axes", ["(h w) n c", "n (2 h w) c", "n (h w) c", "n l", "l c n"])
def test_declared_axes_that_are_wrong_are_refused(axes, generator) -> None:
    x = torch.randn(2, 3, 12, 16, generator=generator)
    with pytest.raises(InputError):
        explain(Tokens("n l c"), x, layer="layer", axes=axes)
