"""Tell the axes of a feature map from what a run has shown, or list the readings that are left."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from caf_video.attention.cutting.axes import Axis, Layout, bind_axes, parse_axes
from caf_video.attention.cutting.evidence import Evidence, Reading
from caf_video.errors import InputError

PREFIXES = (0, 1, 2, 4, 5, 8)  # class tokens, one to distil with, registers
_CELLS = {1: ("l",), 2: ("h", "w"), 3: ("t", "h", "w")}
_COLOURS = (1, 2, 3, 4)
_SMALLEST_IMAGE = 8  # pixels a side: what has fewer and ends in a few cells is a feature map


@dataclass(frozen=True)
class Tokens:
    """Tokens of one sample as a grid of cells: how many stand before it, and its sizes."""

    before: int
    grid: tuple[int, ...]


def declared_layout(
    axes: str, shape: Sequence[int], *, samples: int, sizes: Mapping[str, int], evidence: Evidence
) -> Layout:
    """The layout that a user wrote; sizes that are left open come from the run.

    Raises:
        InputError: The map has other axes, or sizes are still open.
    """
    parsed = parse_axes(axes)
    what = "the layer's output"
    known: dict[str, int] = {"n": samples}
    for axis, length in zip(parsed, shape, strict=False):
        left = [name for name in axis.names if name not in dict(axis.sizes)]
        if len(left) > 1 and "n" not in axis.names:
            found = _grids(length, sizes, evidence, axes=len(left), before=axis.before + axis.after)
            if len(found) == 1:
                known |= dict(zip(left, found[0].grid, strict=True))
    layout = bind_axes(parsed, shape, known, what=what)
    if not layout.cell_names:
        raise InputError(f'axes="{axes}": no axis is left for the filter')
    if layout.samples != samples:
        raise InputError(
            f'{what} is {tuple(shape)}: with axes="{axes}" it has {layout.samples} samples, the '
            f"network's output has {samples}"
        )
    return layout


def inferred_layouts(
    shape: Sequence[int], *, samples: int, sizes: Mapping[str, int], evidence: Evidence, layer: str
) -> list[Layout]:
    """Every layout of a map that the run's evidence allows, at least one.

    Several differ only in the order of what lies on the samples' axis, or in which of two axes
    that is: running the network tells those apart.

    Args:
        shape: The map's.
        samples: How many the network's output has.
        sizes: Of the input, by the names t, h, w and l.
        evidence: What the run has shown.
        layer: What errors call the layer.

    Raises:
        InputError: None or several fit; shows the readings and what to write for each.
    """
    reading = evidence.reading
    if reading is None:
        raise _unclear(shape, samples, sizes, layer, "nothing that reads it tells its axes")
    places = _sample_axes(shape, samples, reading)
    if not places:
        raise _unclear(
            shape, samples, sizes, layer, f"no axis of it is a whole number of {samples} samples"
        )
    layouts: list[Layout] = []
    for place in places:
        layouts += _layouts(shape, samples, sizes, evidence, reading.channels, place)
    if not layouts:
        raise _unclear(shape, samples, sizes, layer, "its tokens make no grid of the input")
    spaces = {layout.space for layout in layouts}
    if len(spaces) > 1 and len(places) == 1:
        raise _several(shape, layer, layouts)
    return layouts


def input_sizes(
    shapes: Sequence[tuple[int, ...]], first_read: tuple[int, tuple[int, ...]] | None
) -> list[tuple[int, dict[str, int]]]:
    """Sizes of t, h, w or l of each input tensor that has them, from what the network reads first.

    Args:
        shapes: Of the input tensors.
        first_read: Channels and cells' sizes of the first convolution's input.

    Returns:
        The number of each such tensor, and its sizes by name.
    """
    found = [(number, _sizes_of_input(shape, first_read)) for number, shape in enumerate(shapes)]
    return [(number, sizes) for number, sizes in found if sizes]


def declared_sizes(axes: str, shape: Sequence[int]) -> tuple[int, dict[str, int]]:
    """The sizes of an input whose axes a user wrote.

    Raises:
        InputError: The input has other axes.
    """
    layout = bind_axes(parse_axes(axes), shape, {}, what="the input")
    return 0, {name: size for name, size in layout.sizes.items() if name not in ("n", "c")}


def _sizes_of_input(
    shape: tuple[int, ...], first_read: tuple[int, tuple[int, ...]] | None
) -> dict[str, int]:
    channels = None
    if first_read is not None:
        channels, read = first_read
        inner = shape[1:]
        named = dict(zip(_CELLS[len(read)], read, strict=True))
        if len(inner) == len(read) + 1 and _without(inner, channels) == read:
            return named
        if len(inner) == len(read) + 2 and len(read) == 2:  # frames beside the channels
            rest = _without(inner, channels)
            if rest is not None and len(rest) == 3 and rest[1:] == read:
                return {"t": rest[0], **named}
            if rest is not None and len(rest) == 3 and rest[:2] == read:
                return {"t": rest[2], **named}
        if len(inner) == len(read) and inner == read:  # no axis of channels
            return named
    colours = (channels,) if channels in _COLOURS else _COLOURS
    if len(shape) == 2:
        return {"l": shape[1]}
    if len(shape) == 3:
        return {"l": shape[2]} if first_read is not None else {"l": shape[1]}
    if len(shape) == 4:
        last = shape[1] not in colours and shape[3] in colours and shape[2] >= _SMALLEST_IMAGE
        return dict(zip("hw", shape[1:3] if last else shape[2:4], strict=True))
    if len(shape) == 5:
        if shape[1] not in colours and shape[2] in colours:
            return {"t": shape[1], "h": shape[3], "w": shape[4]}
        if shape[1] not in colours and shape[4] in colours:
            return dict(zip("thw", shape[1:4], strict=True))
        return dict(zip("thw", shape[2:5], strict=True))
    return {}


def _without(sizes: tuple[int, ...], channels: int) -> tuple[int, ...] | None:
    """Sizes less the channels' axis, which stands first, last or, for clips, second."""
    for place in (0, 1, len(sizes) - 1):
        if sizes[place] == channels and (place != 1 or len(sizes) > 3):
            return sizes[:place] + sizes[place + 1 :]
    return None


def _sample_axes(shape: Sequence[int], samples: int, reading: Reading) -> list[int]:
    """Where the samples can be."""
    if reading.samples is not None:
        return [reading.samples] if shape[reading.samples] % samples == 0 else []
    if reading.channels == 1:
        return [0] if shape[0] % samples == 0 else []
    places = [i for i in range(min(2, reading.channels)) if shape[i] == samples]
    if places:
        return places
    return [0] if shape[0] % samples == 0 else []


def _layouts(
    shape: Sequence[int],
    samples: int,
    sizes: Mapping[str, int],
    evidence: Evidence,
    channels: int,
    place: int,
) -> list[Layout]:
    """The layouts with the samples' axis at a place."""
    cells = [i for i in range(len(shape)) if i not in (channels, place)]
    rows = shape[place] // samples
    folded = rows > 1
    if folded and not _may_fold(rows, samples, sizes, evidence, channels, shape):
        return []
    image = [name for name in ("t", "h", "w") if name in sizes and not (folded and name == "t")]
    # Of one sample, too: it is run several times at once, each time filtered otherwise.
    orders = [("n", "t"), ("t", "n")] if folded else [("n",)]
    options: list[tuple[tuple[str, ...], int, tuple[int, ...]]] = []
    if len(cells) == 1 and len(image) > 1:
        for tokens in _grids(shape[cells[0]], sizes, evidence, axes=len(image)):
            options.append((tuple(image), tokens.before, tokens.grid))
    elif len(cells) in _CELLS:
        options.append((_CELLS[len(cells)], 0, tuple(shape[i] for i in cells)))
    found = []
    for names, before, grid in options:
        for order in orders:
            axes: list[Axis] = []
            for i in range(len(shape)):
                if i == channels:
                    axes.append(Axis(("c",)))
                elif i == place:
                    axes.append(Axis(order))
                elif len(cells) == 1:
                    axes.append(Axis(names, before))
                else:
                    axes.append(Axis((names[cells.index(i)],)))
            known = dict(zip(names, grid, strict=True)) | {"n": samples, "c": shape[channels]}
            if folded:
                known["t"] = rows
            found.append(Layout(tuple(axes), known))
    return found


def _may_fold(
    rows: int,
    samples: int,
    sizes: Mapping[str, int],
    evidence: Evidence,
    channels: int,
    shape: Sequence[int],
) -> bool:
    """Whether rows beyond the samples can be frames or views, and not the windows of one image."""
    if channels == 1 and len(shape) > 3:
        return True  # convolutions know no other reason
    return sizes.get("t") == rows


def _grids(
    tokens: int,
    sizes: Mapping[str, int],
    evidence: Evidence,
    *,
    axes: int,
    before: int | None = None,
) -> list[Tokens]:
    """The grids that so many tokens can make, from the surest evidence that has any.

    Sizes the layer itself returned, then the grids of convolutions, then what has the input's
    proportions, if need be only such as some other tensor had.
    """
    prefixes = PREFIXES if before is None else (before,)

    def fits(grid: tuple[int, ...]) -> list[Tokens]:
        left = tokens - math.prod(grid)
        return [Tokens(left, grid)] if left in prefixes and math.prod(grid) > 1 else []

    if len(evidence.numbers) == axes and fits(evidence.numbers):
        return fits(evidence.numbers)
    seen = [one for grid in evidence.grids if len(grid) == axes for one in fits(grid)]
    if seen:
        return list(dict.fromkeys(seen))[-1:]
    size = tuple(sizes[name] for name in ("t", "h", "w")[-axes:] if name in sizes)
    if len(size) != axes:
        return []
    found = []
    for prefix in prefixes:
        for grid in _factorisations(tokens - prefix, axes):
            if _proportional(grid, size):
                found.append(Tokens(prefix, grid))
    seen = [tokens for tokens in found if tokens.grid in evidence.guesses]
    return seen or found


def _factorisations(cells: int, axes: int) -> list[tuple[int, ...]]:
    if cells < 2:
        return []
    if axes == 1:
        return [(cells,)]
    return [
        (first, *rest)
        for first in range(1, cells + 1)
        if cells % first == 0
        for rest in (_factorisations(cells // first, axes - 1) or [(1,) * (axes - 1)])
        if math.prod(rest) == cells // first
    ]


def _proportional(grid: Sequence[int], size: Sequence[int]) -> bool:
    """Whether square patches of one stride make these rows and columns; time has its own stride."""
    grid, size = tuple(grid), tuple(size)
    if any(cells > length for cells, length in zip(grid, size, strict=True)):
        return False
    if len(grid) == 3 and size[0] % grid[0]:
        return False
    grid, size = grid[-2:], size[-2:]
    low = max(cells / length for cells, length in zip(grid, size, strict=True))
    high = min((cells + 1) / length for cells, length in zip(grid, size, strict=True))
    return low < high


def _unclear(
    shape: Sequence[int], samples: int, sizes: Mapping[str, int], layer: str, why: str
) -> InputError:
    grid = " ".join(f"{name}=…" for name in ("t", "h", "w") if name in sizes) or "h=… w=…"
    readings = {
        3: ('"n c l"', '"n l c"', f'"n (1 {grid}) c"', f'"({grid}) n c"'),
        4: ('"n c h w"', '"n h w c"', '"(n t) c h w"', f'"(n t) ({grid}) c"'),
        5: ('"n c t h w"', '"n t h w c"', '"n t c h w"'),
    }.get(len(shape), ('"n c …"',))
    return InputError(
        f"layer {layer} gives {tuple(shape)} for {samples} samples, and {why}: say what its axes "
        f"are, such as axes={', '.join(readings)}"
    )


def _several(shape: Sequence[int], layer: str, layouts: Sequence[Layout]) -> InputError:
    readings = " or ".join(f'axes="{layout}"' for layout in layouts[:4])
    return InputError(
        f"layer {layer} gives {tuple(shape)}, which can be read as {readings}: say which"
    )
