"""What a user hands over (a model, its inputs, a layer, one of its outputs), looked at once."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from caf_video.errors import InputError

Output = str | int | Callable[[Any], Tensor] | None


@dataclass(frozen=True)
class Network:
    """A model and how it is called.

    Attributes:
        model: Any module.
        inputs: A tensor, a tuple of positional or a dict of keyword arguments.
        output: What to look at in a tuple or dict of outputs: its index or key, or a function.
    """

    model: nn.Module
    inputs: Any
    output: Output = None

    @classmethod
    def checked(cls, model: nn.Module, inputs: Any, output: Output = None) -> "Network":
        """With inputs on the model's device, finite, and free of inference mode.

        Raises:
            InputError: Naming the input, or the sample, that is wrong.
        """
        tensors = _named_tensors(inputs)
        if not tensors:
            raise InputError(f"inputs hold no tensor: {type(inputs).__name__}")
        state = next(chain(model.parameters(), model.buffers()), None)
        for name, tensor in tensors.items():
            if state is not None and tensor.device != state.device:
                raise InputError(f"{name} is on {tensor.device}, the model on {state.device}")
            check_finite(tensor, name)
        return cls(model, tree_map(_usable, inputs), output)

    def run(self, inputs: Any) -> Any:
        """All that the model returns."""
        if isinstance(inputs, dict):
            return self.model(**inputs)
        if isinstance(inputs, tuple | list):
            return self.model(*inputs)
        return self.model(inputs)

    def pick(self, outputs: Any) -> Tensor:
        """NT(x) (samples, …), at least float32, in what the model returned."""
        chosen = outputs
        if callable(self.output):
            chosen = self.output(outputs)
        elif self.output is not None:
            try:
                chosen = outputs[self.output]
            except (KeyError, IndexError, TypeError) as error:
                raise InputError(
                    f"output {self.output!r} is not in what the network returns: {_kind(outputs)}"
                ) from error
        elif not isinstance(outputs, Tensor):
            found = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
            if len(found) != 1:
                raise InputError(
                    f"the network returns {_kind(outputs)}: say which with output= (a key, an index"
                    " or a function)"
                )
            chosen = found[0]
        if not isinstance(chosen, Tensor) or not chosen.dtype.is_floating_point or not chosen.dim():
            raise InputError(
                f"the output is {_kind(chosen)}, wanted a floating tensor (samples, …)"
            )
        return chosen.to(torch.promote_types(chosen.dtype, torch.float32))

    def input_size(self, axes: int) -> tuple[int, ...] | None:
        """The last `axes` sizes of the first input that has channels and samples before them."""
        for tensor in _named_tensors(self.inputs).values():
            if tensor.dim() >= axes + 2 and tensor.dtype.is_floating_point:
                return tuple(tensor.shape[-axes:])
        return None


def find_layer(model: nn.Module, layer: str | nn.Module) -> str:
    """The name of a layer of the model.

    Raises:
        InputError: If the model has no such layer; a wrong name is answered with those near it.
    """
    if isinstance(layer, nn.Module):
        for name, module in model.named_modules():
            if module is layer:
                return name
        raise InputError(f"layer is a {type(layer).__name__} that is not part of the model")
    try:
        if layer:
            model.get_submodule(layer)
            return layer
    except AttributeError:
        pass
    names = [name for name, _ in model.named_modules() if name]
    near = difflib.get_close_matches(layer, names, n=5, cutoff=0.4)
    top = [name for name in names if "." not in name]
    raise InputError(
        f'no layer "{layer}" in {type(model).__name__}; '
        + (f"near it: {', '.join(near)}" if near else f"it has: {', '.join(top[:12])}")
    )


def check_finite(tensor: Tensor, name: str) -> None:
    """InputError naming the first sample (row) of a tensor with a NaN or an infinity."""
    if not tensor.dtype.is_floating_point or not tensor.numel():
        return
    if tensor.sum(dtype=torch.promote_types(tensor.dtype, torch.float32)).isfinite():
        return  # one cheap pass: a NaN or an infinity would be left in the sum
    if tensor.dim() == 0:
        raise InputError(f"{name} is not finite")
    finite = tensor.flatten(1).isfinite().all(dim=1) if tensor.dim() > 1 else tensor.isfinite()
    if not finite.all():
        raise InputError(f"{name} of sample {int((~finite).nonzero()[0])} is not finite")


def _named_tensors(inputs: Any) -> dict[str, Tensor]:
    if isinstance(inputs, Tensor):
        return {"the input": inputs}
    if isinstance(inputs, dict):
        named = {f'input "{key}"': value for key, value in inputs.items()}
    elif isinstance(inputs, tuple | list):
        named = {f"input {i}": value for i, value in enumerate(inputs)}
    else:
        named = {}
    return {name: value for name, value in named.items() if isinstance(value, Tensor)}


def _usable(leaf: Any) -> Any:
    """Tensors born in inference mode cannot be differentiated through; their copies can."""
    return leaf.clone() if isinstance(leaf, Tensor) and leaf.is_inference() else leaf


def _kind(outputs: Any) -> str:
    if isinstance(outputs, Tensor):
        return f"a {outputs.dtype} tensor {tuple(outputs.shape)}"
    if isinstance(outputs, dict):
        return f"a dict of {', '.join(map(repr, outputs))}"
    if isinstance(outputs, tuple | list):
        return f"a {type(outputs).__name__} of {len(outputs)}"
    return f"a {type(outputs).__name__}"
