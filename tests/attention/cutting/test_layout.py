"""Which axes of a feature map are cells, and how a filter multiplies them."""

import pytest
import torch

from caf_video.attention.cutting.layout import Layout, find_layout
from caf_video.errors import InputError


@pytest.mark.parametrize(
    ("shape", "input_size", "kind", "space", "prefix"),
    [
        ((2, 512, 7, 7), (224, 224), "channels_first", (7, 7), 0),
        ((2, 512, 7, 7), None, "channels_first", (7, 7), 0),
        ((2, 7, 7, 768), (224, 224), "channels_last", (7, 7), 0),
        ((2, 8, 14, 384), (256, 448), "channels_last", (8, 14), 0),
        ((2, 64, 8, 14), (256, 448), "channels_first", (8, 14), 0),
        ((2, 512, 2, 4, 4), (64, 64), "channels_first", (2, 4, 4), 0),
        ((2, 197, 768), (224, 224), "tokens", (14, 14), 1),
        ((2, 196, 768), (224, 224), "tokens", (14, 14), 0),
        ((2, 261, 384), (224, 224), "tokens", (16, 16), 5),
        ((2, 16 * 28 + 1, 192), (256, 448), "tokens", (16, 28), 1),
        ((2, 64, 30), None, "channels_first", (30,), 0),
    ],
)
def test_the_layout_follows_from_the_shapes(shape, input_size, kind, space, prefix) -> None:
    found = find_layout(torch.empty(shape), input_size=input_size)
    assert found == Layout(kind, space, prefix)


def test_it_can_be_declared() -> None:
    assert find_layout(torch.empty(2, 30, 5), layout="channels_last").space == (30,)
    assert find_layout(torch.empty(2, 13, 5), grid=(3, 4)) == Layout("tokens", (3, 4), 1)
    with pytest.raises(InputError, match=r"13 tokens make no grid of \(4, 4\)"):
        find_layout(torch.empty(2, 13, 5), grid=(4, 4))
    with pytest.raises(InputError, match="say grid="):
        find_layout(torch.empty(2, 13, 5), layout="tokens")
    with pytest.raises(InputError, match="tokens are"):
        find_layout(torch.empty(2, 13, 5, 5), layout="tokens")
    with pytest.raises(InputError, match="wanted one of"):
        find_layout(torch.empty(2, 13, 5), layout="rows")


def test_every_channel_of_a_cell_is_multiplied_and_nothing_else(generator) -> None:
    filters = torch.randn(2, 3, 4, generator=generator)
    first = torch.randn(2, 5, 3, 4, generator=generator)
    expected = torch.stack([first[:, c] * filters for c in range(5)], dim=1)
    layout = Layout("channels_first", (3, 4))
    torch.testing.assert_close(layout.filtered(first, filters), expected)
    torch.testing.assert_close(layout.cells(first), first)

    last = first.permute(0, 2, 3, 1)
    layout = Layout("channels_last", (3, 4))
    torch.testing.assert_close(layout.filtered(last, filters), expected.permute(0, 2, 3, 1))
    torch.testing.assert_close(layout.cells(last), first)

    special = torch.randn(2, 2, 5, generator=generator)
    tokens = torch.cat([special, last.flatten(1, 2)], dim=1)
    layout = Layout("tokens", (3, 4), 2)
    filtered = layout.filtered(tokens, filters)
    torch.testing.assert_close(filtered[:, :2], special)
    torch.testing.assert_close(filtered[:, 2:].unflatten(1, (3, 4)), expected.permute(0, 2, 3, 1))
    torch.testing.assert_close(layout.cells(tokens), first)
