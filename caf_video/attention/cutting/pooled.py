"""Watch a network from the map on: was it averaged over its cells, and multiplied once?"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caf_video.attention.cutting.pytrees import tensors_in

MEANS = (functional.adaptive_avg_pool2d, torch.mean, Tensor.mean)
RESHAPES: tuple[Any, ...] = (
    torch.flatten,
    Tensor.flatten,
    Tensor.view,
    Tensor.reshape,
    torch.squeeze,
    Tensor.squeeze,
    functional.dropout,  # which in eval mode is none
)


class PooledLinear:
    """Follows a map (n, c, *cells) through the torch functions that use it, in the order of calls.

    Global average pooling and one linear layer are known by seeing them: a head that is seen to be
    nothing else is affine without any test of its answers.

    Attributes:
        end: What the map has become so far; None once it met anything else.
        linear: Weight and bias of the linear layer, if the mean went through one.
    """

    def __init__(self, feature_map: Tensor) -> None:
        self.end: Tensor | None = feature_map
        self.linear: tuple[Tensor, Tensor | None] | None = None
        self._samples, self._channels = feature_map.shape[:2]
        self._is_mean = False
        if self._channels in feature_map.shape[2:]:  # a mean over the wrong axis could look alike
            self.end = None

    def see(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """A call of a torch function."""
        if self.end is None or not any(t is self.end for t in tensors_in([args, kwargs])):
            return
        if not isinstance(output, Tensor):
            return  # a look at its shape
        first = bool(args) and args[0] is self.end and self.linear is None
        self.end = output if first and self._keeps(func, args, kwargs, output) else None

    def _keeps(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> bool:
        if func is functional.linear and self._is_mean and args[0].dim() == 2:
            self.linear = weight_and_bias(*args, **kwargs)
            return True
        if output.numel() != self._samples * self._channels:
            return False
        if func in MEANS and not self._is_mean:
            self._is_mean = tuple(output.shape[:2]) == (self._samples, self._channels)
            return self._is_mean
        if func is functional.dropout and kwargs.get("training", True):
            return False
        return self._is_mean and func in RESHAPES


def weight_and_bias(
    input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Those of a call of `functional.linear`, without gradient."""
    return weight.detach(), None if bias is None else bias.detach()
