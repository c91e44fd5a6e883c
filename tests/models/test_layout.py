"""How a last map lies, from shapes that were worked out by hand."""

import pytest
import torch

from caf_video.errors import InputError
from caf_video.models.layout import CHANNELS_FIRST, CHANNELS_LAST, TOKENS, Hints, read_layout


def read(shape: tuple[int, ...], size: tuple[int, int], **hints):
    return read_layout(torch.zeros(shape), size, Hints(**hints), name="net", advice="say so")


@pytest.mark.parametrize(
    ("shape", "size", "axes", "stride", "prefix"),
    [
        ((1, 512, 7, 7), (224, 224), CHANNELS_FIRST, 32, 0),
        ((1, 7, 7, 768), (224, 224), CHANNELS_LAST, 32, 0),
        ((1, 96, 2, 3), (64, 96), CHANNELS_FIRST, 32, 0),
        ((1, 2, 3, 96), (64, 96), CHANNELS_LAST, 32, 0),
        ((1, 197, 192), (224, 224), TOKENS, 16, 1),  # a class token and 14 x 14
        ((1, 198, 192), (224, 224), TOKENS, 16, 2),  # a distillation token, too
        ((1, 196, 192), (224, 224), TOKENS, 16, 0),
        ((1, 1374, 384), (518, 518), TOKENS, 14, 5),  # four registers; 37 x 37
        ((1, 50, 768), (224, 224), TOKENS, 32, 1),
        ((1, 25, 8), (64, 96), TOKENS, 16, 1),  # 4 x 6
    ],
)
def test_a_shape_that_has_one_reading_is_read(shape, size, axes, stride, prefix) -> None:
    layout = read(shape, size)
    assert (layout.axes, layout.stride, layout.prefix_tokens) == (axes, stride, prefix)
    assert layout.channels == (shape[1] if axes == CHANNELS_FIRST else shape[-1])


@pytest.mark.parametrize(
    ("shape", "size", "words"),
    [
        ((1, 8, 8, 8), (64, 64), 'may be "n c h w" or "n h w c"'),
        ((1, 5, 8), (64, 64), "at stride 32 after 1 tokens or .* at stride 64 after 4 tokens"),
        ((1, 1000), (224, 224), r"returned \(1, 1000\) .* is no map"),
        ((1, 111, 8), (64, 64), "no map"),
        ((1, 3, 5, 9), (64, 64), "no map"),
    ],
)
def test_a_shape_of_several_readings_or_none_is_refused_and_says_how_to_say_it(
    shape, size, words
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(shape, size)
    assert str(caught.value).endswith("say so") and "\n" not in str(caught.value)


def test_what_a_network_says_settles_what_its_shape_does_not() -> None:
    assert read((1, 8, 8, 8), (64, 64), axes=CHANNELS_LAST).axes == CHANNELS_LAST
    assert read((1, 5, 8), (64, 64), prefix_tokens=1).stride == 32
    assert read((1, 5, 8), (64, 64), stride=64).prefix_tokens == 4
    # 224 / 64 is 3.5 cells; the border was padded, so they are four.
    assert read((1, 16, 384), (224, 224), stride=64).prefix_tokens == 0
    with pytest.raises(InputError, match="no map"):
        read((1, 7, 7, 768), (224, 224), channels=767)
    with pytest.raises(InputError, match="has axes 'c n h w': wanted one of n c h w"):
        read((1, 7, 7, 768), (224, 224), axes="c n h w")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ([torch.zeros(1, 2), None], r"a list of 2 \(\(1, 2\), NoneType\)"),
        ({"out": torch.zeros(1)}, "a dict of out"),
        ("map", "a str"),
    ],
)
def test_what_is_no_tensor_is_told(output, words) -> None:
    with pytest.raises(InputError, match=words):
        read_layout(output, (64, 64), Hints(), name="net", advice="say so")


def test_every_cell_goes_to_its_place_and_back(generator: torch.Generator) -> None:
    h, w, c = 2, 3, 4
    maps = torch.randn(5, c, h, w, generator=generator)
    for shape, prefix in (((5, c, h, w), 0), ((5, h, w, c), 0), ((5, 2 + h * w, c), 2)):
        layout = read(shape, (64, 96), channels=c, stride=32)
        output = torch.full(shape, 7.0)
        for y in range(h):  # as the layout says it, cell by cell
            for x in range(w):
                cell = maps[:, :, y, x]
                if layout.axes == CHANNELS_FIRST:
                    output[:, :, y, x] = cell
                elif layout.axes == CHANNELS_LAST:
                    output[:, y, x] = cell
                else:
                    output[:, prefix + y * w + x] = cell
        assert torch.equal(layout.to_maps(output, (64, 96)), maps)
        back = layout.from_maps(maps)
        assert back.shape == shape
        assert torch.equal(back[:, prefix:], output[:, prefix:])
        if prefix:
            assert not back[:, :prefix].any()


def test_tokens_that_do_not_fill_the_grid_of_another_size_are_an_error() -> None:
    layout = read((1, 25, 8), (64, 96))
    with pytest.raises(InputError, match="25 tokens, 1 of them before the cells"):
        layout.to_maps(torch.zeros(1, 25, 8), (64, 64))
