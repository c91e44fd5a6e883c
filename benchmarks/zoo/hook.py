"""A filter applied by a plain forward hook: Eq. 1 stated again without this package's code."""

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

RELUS = ("relu", "relu_")


def axes_of(text: str) -> list[tuple[int, list[str], dict[str, int], int]]:
    """Each axis of "n (1 h=2 w=3) c": what stands before its cells, names, sizes, what after."""
    axes = []
    for group in re.findall(r"\([^)]*\)|\S+", text):
        words = group.strip("()").split()
        names = [word for word in words if not word.isdigit()]
        first = next((i for i, word in enumerate(words) if not word.isdigit()), len(words))
        before = sum(int(word) for word in words[:first] if word.isdigit())
        after = sum(int(word) for word in words[first:] if word.isdigit())
        sizes = {
            name.partition("=")[0]: int(name.partition("=")[2]) for name in names if "=" in name
        }
        axes.append((before, [name.partition("=")[0] for name in names], sizes, after))
    return axes


def sizes_of(axes: str, shape: tuple[int, ...], samples: int) -> dict[str, int]:
    """The length of every named axis."""
    sizes = {"n": samples}
    for (before, names, written, after), length in zip(axes_of(axes), shape, strict=True):
        sizes |= written
        left = [name for name in names if name not in sizes]
        if left:
            (name,) = left
            known = math.prod(sizes[other] for other in names if other != name)
            sizes[name] = (length - before - after) // known
    return sizes


def multiplier(axes: str, shape: tuple[int, ...], filters: Tensor) -> Tensor:
    """What a map of that shape is multiplied by, for filters (n, *rows, *cells)."""
    parsed = axes_of(axes)
    sizes = sizes_of(axes, shape, len(filters))
    of_rows = next(names for _, names, _, _ in parsed if "n" in names)
    rows = [name for name in of_rows if name != "n"]
    cells = [name for _, names, _, _ in parsed for name in names if name not in (*of_rows, "c")]
    order = ["n", *rows, *cells]
    factors = torch.ones(shape)
    for index in torch.cartesian_prod(*(torch.arange(size) for size in filters.shape)).tolist():
        at = dict(zip(order, index, strict=True))
        place: list[Any] = []
        for before, names, _, _ in parsed:
            if not names:
                place.append(0)
                continue
            if names == ["c"]:
                place.append(slice(None))
                continue
            position = 0
            for name in names:
                position = position * sizes[name] + at[name]
            place.append(before + position)
        factors[tuple(place)] = filters[tuple(index)]
    return factors


class _BehindRelu(TorchFunctionMode):
    """Multiplies behind the functional ReLU that follows a layer, where there is one."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change, self.waiting, self.came = change, None, False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if self.waiting is not None and args and args[0] is self.waiting:
            if getattr(func, "__name__", "") in RELUS:
                self.waiting, self.came = None, True
                return self.change(output)
        return output


def filtered_outputs(
    model: nn.Module,
    call: Callable[[], Any],
    layer: str,
    change: Callable[[Tensor], Tensor],
    *,
    behind_relu: bool = False,
) -> tuple[Any, bool]:
    """What the model returns when the map that a layer gives is changed, and whether it was."""
    mode = _BehindRelu(change)
    came = False

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        nonlocal came
        tensor = map_of(output)
        if behind_relu:
            mode.waiting = tensor
            return output
        came = True
        return replaced(output, tensor, change(tensor))

    handle = model.get_submodule(layer).register_forward_hook(hook)
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it skips hooks
    try:
        with torch.no_grad():
            if behind_relu:
                with mode:
                    outputs = call()
            else:
                outputs = call()
    finally:
        handle.remove()
        torch.backends.mha.set_fastpath_enabled(fastpath)
    return outputs, came or mode.came


def map_of(output: Any) -> Tensor:
    """The one floating tensor of three axes or more in what a layer returns."""
    if isinstance(output, Tensor):
        return output
    parts = list(output.values()) if isinstance(output, dict) else list(output)
    (found,) = (t for t in parts if isinstance(t, Tensor) and t.is_floating_point() and t.dim() > 2)
    return found


def replaced(output: Any, old: Tensor, new: Tensor) -> Any:
    """What a layer returns with another map in it."""
    if isinstance(output, Tensor):
        return new
    if isinstance(output, dict):
        for key, value in output.items():
            if value is old:
                output[key] = new
        return output
    return type(output)(new if part is old else part for part in output)
