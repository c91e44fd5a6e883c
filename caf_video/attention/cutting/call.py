"""What a user hands over (a model, its inputs, a layer, one of its outputs), looked at once."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from caf_video.attention.cutting.pytrees import map_tensors, tensors_in
from caf_video.attention.cutting.until import Until
from caf_video.errors import InputError

Output = str | int | Callable[[Any], Tensor] | None


@dataclass(frozen=True)
class Network:
    """A model and how it is called.

    Attributes:
        model: Any module.
        inputs: A tensor; a tuple of positional arguments; a mapping of keyword arguments; anything
            else that holds tensors (a list, a dataclass) is the only argument.
        output: What to look at in what the model returns: its index or key, or a function.
        until: Where it stops before it returns; `output` then picks among what it has there.
    """

    model: nn.Module
    inputs: Any
    output: Output = None
    until: Until | None = None

    @classmethod
    def checked(
        cls, model: nn.Module, inputs: Any, output: Output = None, until: Until | None = None
    ) -> "Network":
        """With inputs on the model's device, finite, and free of inference mode.

        Raises:
            InputError: Naming the input, or the sample, that is wrong.
        """
        named = _named_inputs(inputs)
        if not named:
            raise InputError(f"inputs hold no tensor: {type(inputs).__name__}")
        state = next(chain(model.parameters(), model.buffers()), None)
        for name, tensor in named:
            if state is not None and tensor.device != state.device:
                raise InputError(f"{name} is on {tensor.device}, the model on {state.device}")
            check_finite(tensor, name)
        network = cls(model, map_tensors(_usable, inputs), output, until)
        if not network.samples:
            name, tensor = named[0]
            raise InputError(f"{name} holds no sample: {tuple(tensor.shape)}")
        return network

    @property
    def samples(self) -> int:
        """How many samples the inputs seem to hold: a list of images holds one in each."""
        inputs = self.inputs
        if isinstance(inputs, tuple) and len(inputs) == 1:
            inputs = inputs[0]
        if isinstance(inputs, list) and all(isinstance(i, Tensor) and i.dim() == 3 for i in inputs):
            return len(inputs)
        first = tensors_in(inputs)[0]
        return first.shape[0] if first.dim() else 1

    def run(self, inputs: Any) -> Any:
        """All that the model returns, or has when it is stopped."""
        if self.until is not None:
            return self.until.run(lambda: self._call(inputs))
        return self._call(inputs)

    def _call(self, inputs: Any) -> Any:
        if isinstance(inputs, Mapping):
            return self.model(**inputs)
        if isinstance(inputs, tuple) and not hasattr(inputs, "_fields"):
            return self.model(*inputs)
        return self.model(inputs)

    def pick(self, outputs: Any, samples: int | None = None) -> Tensor:
        """NT(x) (samples, …), at least float32 and of two axes, in what the model returned.

        Args:
            outputs: What it returned.
            samples: How many it was run for, if not for all.
        """
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
            found = tensors_in(outputs)
            if len(found) != 1:
                raise InputError(
                    f"the network returns {_kind(outputs)}: say which with output= (a key, an index"
                    " or a function)"
                )
            chosen = found[0]
        if not isinstance(chosen, Tensor) or not chosen.dtype.is_floating_point:
            raise InputError(
                f"the output is {_kind(chosen)}, wanted a floating tensor (samples, …)"
            )
        if chosen.dim() < 2:
            chosen = self._with_samples(chosen, samples or self.samples)
        return chosen.to(torch.promote_types(chosen.dtype, torch.float32))

    def _with_samples(self, chosen: Tensor, samples: int) -> Tensor:
        """One number a sample as (samples, 1), all numbers of the only sample as (1, d)."""
        count = chosen.numel()
        if chosen.dim() == 1 and count and samples % count == 0:
            return chosen[:, None]
        if samples == 1:
            return chosen.reshape(1, count)
        raise InputError(
            f"the output is {_kind(chosen)} for {samples} samples, wanted one or more numbers for "
            "each"
        )


def find_layer(
    model: nn.Module, layer: str | nn.Module, twin: Callable[[nn.Module], nn.Module]
) -> str:
    """The name that a layer of a model has in its twin.

    Raises:
        InputError: If the model has no such layer; a wrong name is answered with those near it.
    """
    if isinstance(layer, nn.Module):
        if not any(module is layer for module in model.modules()):
            raise InputError(f"layer is a {type(layer).__name__} that is not part of the model")
        return _name_in(twin(model), twin(layer))
    wanted = _plain(layer)
    for name, module in model.named_modules():
        if name and (name == wanted or ("_orig_mod" in name and _plain(name) == wanted)):
            return _name_in(twin(model), twin(module))
    names = [_plain(name) for name, _ in model.named_modules() if _plain(name)]
    near = difflib.get_close_matches(layer, names, n=5, cutoff=0.4)
    top = [name for name in names if "." not in name]
    raise InputError(
        f'no layer "{layer}" in {type(model).__name__}; '
        + (f"near it: {', '.join(near)}" if near else f"it has: {', '.join(top[:12])}")
    )


def _name_in(model: nn.Module, layer: nn.Module) -> str:
    return next(name for name, module in model.named_modules() if module is layer)


def _plain(name: str) -> str:
    """A layer's name without what compiling adds to it."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


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


def _named_inputs(inputs: Any) -> list[tuple[str, Tensor]]:
    """Every tensor of the inputs, with what an error calls it."""
    if isinstance(inputs, Tensor):
        return [("the input", inputs)]
    if isinstance(inputs, Mapping):
        parts = [(f'input "{key}"', value) for key, value in inputs.items()]
    elif isinstance(inputs, Sequence) and not isinstance(inputs, str):
        parts = [(f"input {i}", value) for i, value in enumerate(inputs)]
    else:
        parts = [("the input", inputs)]
    return [(name, tensor) for name, part in parts for tensor in tensors_in(part)]


def _usable(leaf: Any) -> Any:
    """Tensors born in inference mode cannot be differentiated through; their copies can."""
    return leaf.clone() if isinstance(leaf, Tensor) and leaf.is_inference() else leaf


def _kind(outputs: Any) -> str:
    if isinstance(outputs, Tensor):
        return f"a {outputs.dtype} tensor {tuple(outputs.shape)}"
    if isinstance(outputs, Mapping):
        return f"a {type(outputs).__name__} of {', '.join(map(repr, outputs))}"
    if isinstance(outputs, tuple | list):
        return f"a {type(outputs).__name__} of {len(outputs)}"
    return f"a {type(outputs).__name__}"
