"""Nested tuples, lists and dicts of tensors, and zeros that stand in for tensors nobody reads."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

SMALL = 16  # elements of a tensor whose values control flow may read: always kept


def stand_in(tree: Any) -> Any:
    """The same with zeros in place of tensors, the values of small ones excepted."""

    def zeros(tensor: Tensor) -> Tensor:
        if tensor.numel() <= SMALL:
            return tensor
        return torch.zeros((), dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)

    return map_tensors(zeros, tree)


def select_samples(tree: Any, samples: Tensor, *, count: int, rows_each: int) -> Any:
    """The same for some of the `count` samples, where a tensor has them on its first axis.

    That axis is `count` or, sample by sample, `count * rows_each` long; any other is left alone.
    """

    def selected(tensor: Tensor) -> Tensor:
        if tensor.dim() == 0:
            return tensor
        rows, rest = divmod(tensor.shape[0], count)
        if rest or rows not in (1, rows_each):
            return tensor
        if not any(tensor.stride()):  # a stand-in
            return tensor[:1].expand(rows * len(samples), *tensor.shape[1:])
        if rows == 1:
            return tensor[samples]
        return tensor.unflatten(0, (count, rows))[samples].flatten(0, 1)

    return map_tensors(selected, tree)


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(tree, Tensor):  # nearly always, and much quicker
        return [tree]
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """Nested tuples, lists and dicts with each tensor replaced."""
    if isinstance(tree, Tensor):
        return function(tree)
    return tree_map(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, tree)


def is_map(output: Any) -> bool:
    """Whether a layer returned a feature map: one tensor, floating, of three axes or more."""
    found = tensors_in(output)
    return len(found) == 1 and found[0].dim() >= 3 and found[0].dtype.is_floating_point


def put_in(output: Any, new: Tensor) -> Any:
    """What a layer returned, with another tensor in place of its only one."""
    return map_tensors(lambda _: new, output)
