"""Nested inputs and outputs: their tensors, and zeros that stand in for tensors nobody reads."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

SMALL = 16  # elements of a tensor whose values control flow may read: always kept


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """A tree with each leaf replaced: tuples, lists, mappings (of any class) and dataclasses.

    What no leaf of changed is handed back as it is.
    """
    if isinstance(tree, tuple | list):
        new = [map_leaves(function, item) for item in tree]
        if all(a is b for a, b in zip(new, tree, strict=True)):
            return tree
        if hasattr(tree, "_fields"):  # a namedtuple
            return type(tree)(*new)
        return tuple(new) if isinstance(tree, tuple) else new
    if isinstance(tree, Mapping):
        return _with_items(tree, {key: map_leaves(function, value) for key, value in tree.items()})
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return _with_fields(tree, function)
    return function(tree)


def leaves_in(tree: Any) -> list[Any]:
    """The leaves of a tree, in order."""
    found: list[Any] = []

    def keep(leaf: Any) -> Any:
        found.append(leaf)
        return leaf

    map_leaves(keep, tree)
    return found


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors in a tree, in order."""
    if isinstance(tree, Tensor):  # nearly always, and much quicker
        return [tree]
    return [leaf for leaf in leaves_in(tree) if isinstance(leaf, Tensor)]


def map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """A tree with each tensor replaced."""
    if isinstance(tree, Tensor):
        return function(tree)
    return map_leaves(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, tree)


def stand_in(tree: Any) -> Any:
    """The same with zeros in place of tensors, the values of small ones excepted."""

    def zeros(tensor: Tensor) -> Tensor:
        if tensor.numel() <= SMALL:
            return tensor
        return torch.zeros((), dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)

    return map_tensors(zeros, tree)


def map_in(output: Any) -> Tensor | None:
    """The feature map that a layer returned: its only floating tensor of three axes or more.

    Whole numbers and small tensors beside it (a token grid, a pooled vector) do not count.
    """
    found = [t for t in tensors_in(output) if t.dtype.is_floating_point and t.dim() >= 3]
    return found[0] if len(found) == 1 else None


def put_in(output: Any, new: Tensor) -> Any:
    """What a layer returned, with another feature map in it."""
    old = map_in(output)
    return map_tensors(lambda tensor: new if tensor is old else tensor, output)


def _with_items(tree: Mapping[Any, Any], new: dict[Any, Any]) -> Any:
    if all(new[key] is value for key, value in tree.items()):
        return tree
    if type(tree) is dict:
        return new
    made: Any = copy.copy(tree)  # of its own class, with what else that keeps
    for key, value in new.items():
        made[key] = value
    return made


def _with_fields(tree: Any, function: Callable[[Any], Any]) -> Any:
    new = {
        field.name: map_leaves(function, getattr(tree, field.name))
        for field in dataclasses.fields(tree)
        if hasattr(tree, field.name)
    }
    if all(getattr(tree, name) is value for name, value in new.items()):
        return tree
    made = copy.copy(tree)
    for name, value in new.items():
        object.__setattr__(made, name, value)
    return made
