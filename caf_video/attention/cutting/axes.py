"""What the axes of a feature map are, in the notation of einops: "n c h w", "(t n) c h w"."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from caf_video.errors import InputError

SAMPLES, CHANNELS = "n", "c"
_TOKEN = re.compile(r"\(|\)|\d+|[a-z][a-z0-9_]*(?:=\d+)?")


@dataclass(frozen=True)
class Axis:
    """One axis of a tensor as it lies in memory: several that were made one, or one alone.

    Attributes:
        names: Of the axes that were made one, the slowest first.
        before, after: Positions before and after those that belong to no cell (class tokens).
        sizes: Of the names whose size was given.
    """

    names: tuple[str, ...]
    before: int = 0
    after: int = 0
    sizes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Layout:
    """The axes of a map with all their sizes, and how a filter multiplies it.

    Axes in one group with the samples are rows of their own, each with its own filter (the frames
    of a clip); `c` are the channels; every other axis is one of the filter's.

    Attributes:
        axes: One for each axis of the map.
        sizes: Of every name.
    """

    axes: tuple[Axis, ...]
    sizes: Mapping[str, int]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the map."""
        return tuple(
            axis.before + (math.prod(self._sizes(axis.names)) if axis.names else 0) + axis.after
            for axis in self.axes
        )

    @property
    def row_names(self) -> tuple[str, ...]:
        """The axes that share a group with the samples, slowest first."""
        names = next((axis.names for axis in self.axes if SAMPLES in axis.names), ())
        return tuple(name for name in names if name != SAMPLES)

    @property
    def cell_names(self) -> tuple[str, ...]:
        """The axes of a filter."""
        apart = {SAMPLES, CHANNELS, *self.row_names}
        return tuple(name for axis in self.axes for name in axis.names if name not in apart)

    @property
    def space(self) -> tuple[int, ...]:
        """The shape of a filter."""
        return self._sizes(self.cell_names)

    @property
    def rows_each(self) -> int:
        """Rows, each with its own filter, that one sample has."""
        return math.prod(self._sizes(self.row_names))

    @property
    def samples(self) -> int:
        return self.sizes.get(SAMPLES, 1)

    def cells(self, feature_map: Tensor) -> Tensor:
        """The map as (samples * rows_each, c, *space), sample by sample."""
        order = (SAMPLES, *self.row_names, CHANNELS, *self.cell_names)
        apart = self._apart(feature_map)
        present = self._names
        apart = apart.permute([present.index(name) for name in order if name in present])
        if CHANNELS not in present:
            apart = apart.unsqueeze(1 + len(self.row_names))
        if SAMPLES not in present:
            apart = apart.unsqueeze(0)
        return apart.flatten(0, len(self.row_names))

    def filtered(self, feature_map: Tensor, filters: Tensor) -> Tensor:
        """A * f: each cell's channels times the filter (samples * rows_each, *space) of its row.

        Tokens that are no cells stay as they are.
        """
        return feature_map * self._spread(filters.to(feature_map.dtype))

    def of(self, samples: int) -> "Layout":
        """The same for another number of samples."""
        return replace(self, sizes={**self.sizes, SAMPLES: samples})

    def rows(self, samples: Tensor) -> Tensor | None:
        """Positions along the map's samples' axis of some samples, or None if it has no such axis.

        In the order of the map, with only those samples in it.
        """
        names = next((axis.names for axis in self.axes if SAMPLES in axis.names), None)
        if names is None:
            return None
        numbers = torch.arange(math.prod(self._sizes(names)), device=samples.device)
        return (
            numbers.view(self._sizes(names)).index_select(names.index(SAMPLES), samples).flatten()
        )

    @property
    def sample_axis(self) -> int | None:
        """The position of the samples' axis in the map."""
        return next((i for i, axis in enumerate(self.axes) if SAMPLES in axis.names), None)

    def __str__(self) -> str:
        return " ".join(map(self._written, self.axes))

    @property
    def _names(self) -> list[str]:
        return [name for axis in self.axes for name in axis.names]

    def _sizes(self, names: Sequence[str]) -> tuple[int, ...]:
        return tuple(self.sizes[name] for name in names)

    def _apart(self, feature_map: Tensor) -> Tensor:
        """The map with every name an axis of its own, a view."""
        for position in reversed(range(len(self.axes))):
            axis = self.axes[position]
            if not axis.names:
                feature_map = feature_map.squeeze(position)
                continue
            length = feature_map.shape[position] - axis.before - axis.after
            feature_map = feature_map.narrow(position, axis.before, length)
            feature_map = feature_map.unflatten(position, self._sizes(axis.names))
        return feature_map

    def _spread(self, filters: Tensor) -> Tensor:
        """What the map is multiplied by, of the map's axes; the channels' is 1 long."""
        present = [SAMPLES, *self.row_names, *self.cell_names]
        samples = len(filters) // self.rows_each
        spread = filters.unflatten(0, (samples, *self._sizes(self.row_names)))
        order = [name for name in self._names if name != CHANNELS]
        if SAMPLES not in order:
            spread, present = spread.squeeze(0), present[1:]
        spread = spread.permute([present.index(name) for name in order])
        for position, axis in enumerate(self.axes):
            if axis.names in ((), (CHANNELS,)):
                spread = spread.unsqueeze(position)
                continue
            if len(axis.names) > 1:
                spread = spread.flatten(position, position + len(axis.names) - 1)
            for count, side in ((axis.before, 0), (axis.after, 1)):
                if count:
                    ones = torch.ones_like(spread.narrow(position, 0, 1))
                    ones = ones.repeat_interleave(count, dim=position)
                    parts = (spread, ones) if side else (ones, spread)
                    spread = torch.cat(parts, dim=position)
        return spread

    def _written(self, axis: Axis) -> str:
        many = len(axis.names) > 1 and SAMPLES not in axis.names
        parts = [str(axis.before)] if axis.before else []
        parts += [f"{name}={self.sizes[name]}" if many else name for name in axis.names]
        parts += [str(axis.after)] if axis.after else []
        return parts[0] if len(parts) == 1 else f"({' '.join(parts)})"


def parse_axes(text: str) -> tuple[Axis, ...]:
    """The axes that a text like "n (1 h=14 w=14) c" names.

    A number in brackets counts tokens that are no cells; `name=size` says a size.

    Raises:
        InputError: If it is no such text; says where.
    """
    if not isinstance(text, str):
        raise InputError(f'axes={text!r}: wanted a text such as "n c h w"')
    left = _TOKEN.sub("", text).strip()
    if left:
        raise InputError(f'axes="{text}": {left!r} is not a name, a number or a bracket')
    axes: list[Axis] = []
    group: list[str] | None = None
    for token in _TOKEN.findall(text):
        if token == "(":
            if group is not None:
                raise InputError(f'axes="{text}": a bracket inside a bracket')
            group = []
        elif token == ")":
            if group is None:
                raise InputError(f'axes="{text}": a bracket ends that never began')
            axes.append(_axis(group, text))
            group = None
        elif group is not None:
            group.append(token)
        else:
            axes.append(_axis([token], text))
    if group is not None:
        raise InputError(f'axes="{text}": a bracket is not closed')
    names = [name for axis in axes for name in axis.names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f'axes="{text}": {", ".join(twice)} stands there twice')
    if not names:
        raise InputError(f'axes="{text}": it names no axis')
    for axis in axes:
        tokens = axis.before + axis.after
        if CHANNELS in axis.names and (len(axis.names) > 1 or tokens):
            raise InputError(f'axes="{text}": c must be an axis of its own')
        if SAMPLES in axis.names and tokens:
            raise InputError(f'axes="{text}": n shares its axis with names only')
    return tuple(axes)


def bind_axes(
    axes: tuple[Axis, ...], shape: Sequence[int], known: Mapping[str, int], *, what: str
) -> Layout:
    """Axes with the sizes that a tensor gives them.

    Args:
        axes: As parsed.
        shape: The tensor's.
        known: Sizes of names, used where a group leaves them open.
        what: The tensor, for errors.

    Raises:
        InputError: The tensor has other axes, or a group's sizes do not follow; says what to add.
    """
    wanted = " ".join(_plain(axis) for axis in axes)
    if len(axes) != len(shape):
        raise InputError(f'{what} is {tuple(shape)}: axes="{wanted}" are {len(axes)} axes')
    sizes: dict[str, int] = {}
    for axis, length in zip(axes, shape, strict=True):
        sizes |= _sizes_of(axis, length, known, f'{what} is {tuple(shape)}: axes="{wanted}"')
    return Layout(axes, sizes)


def _sizes_of(axis: Axis, length: int, known: Mapping[str, int], start: str) -> dict[str, int]:
    if not axis.names:
        if axis.before != length or length != 1:
            raise InputError(f"{start}, but an axis without a name is 1 long, not {length}")
        return {}
    cells = length - axis.before - axis.after
    sizes = dict(axis.sizes)
    open_names = [name for name in axis.names if name not in sizes]
    if len(open_names) > 1:
        for name in open_names:
            if name in known:
                sizes[name] = known[name]
        open_names = [name for name in axis.names if name not in sizes]
    fixed = math.prod(sizes.values())
    if len(open_names) == 1 and fixed and cells > 0 and cells % fixed == 0:
        sizes[open_names[0]] = cells // fixed
    elif open_names:
        missing = " ".join(f"{name}=…" for name in open_names)
        raise InputError(f"{start}, but the sizes in {_plain(axis)} do not follow: write {missing}")
    if math.prod(sizes.values()) != cells:
        raise InputError(
            f"{start}, but {_plain(axis)} is {axis.before + axis.after + math.prod(sizes.values())}"
            f" long with {', '.join(f'{name}={size}' for name, size in sizes.items())}"
        )
    return sizes


def _axis(tokens: Sequence[str], text: str) -> Axis:
    if not tokens:
        raise InputError(f'axes="{text}": an empty bracket; an axis 1 long is written 1')
    numbers = [i for i, token in enumerate(tokens) if token.isdigit()]
    names = [i for i, token in enumerate(tokens) if not token.isdigit()]
    if any(names and names[0] < i < names[-1] for i in numbers):
        raise InputError(f'axes="{text}": tokens that are no cells stand before or after the cells')
    before = sum(int(tokens[i]) for i in numbers if not names or i < names[0])
    after = sum(int(tokens[i]) for i in numbers if names and i > names[-1])
    pairs = [tokens[i].partition("=") for i in names]
    sizes = tuple((name, int(size)) for name, sign, size in pairs if sign)
    if any(size < 1 for _, size in sizes):
        raise InputError(f'axes="{text}": sizes are 1 or more')
    return Axis(tuple(name for name, _, _ in pairs), before, after, sizes)


def _plain(axis: Axis) -> str:
    sizes = dict(axis.sizes)
    parts = [str(axis.before)] if axis.before else []
    parts += [f"{name}={sizes[name]}" if name in sizes else name for name in axis.names]
    parts += [str(axis.after)] if axis.after else []
    return parts[0] if len(parts) == 1 else f"({' '.join(parts)})"
