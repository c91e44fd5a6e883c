"""Note how a network comes to the output of a layer, and what of that is read afterwards."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor
from torch.nn import functional
from torch.overrides import _get_current_function_mode
from torch.utils.weak import TensorWeakRef

from caf_video.attention.cutting.evidence import Evidence, Maker, Reader
from caf_video.attention.cutting.hooks import Noting
from caf_video.attention.cutting.pooled import PooledLinear, weight_and_bias
from caf_video.attention.cutting.pytrees import (
    SMALL,
    map_in,
    map_leaves,
    map_tensors,
    put_in,
    stand_in,
    tensors_in,
)
from caf_video.attention.cutting.until import Until
from caf_video.errors import InputError

RELUS = (functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)
Forward = Callable[..., Any]
INPUTS = -1  # the network's inputs, among the recorded calls


@dataclass(frozen=True)
class Call:
    """A call before the cut: finished, or only entered, with the cut inside it.

    Attributes:
        target: A module or a torch function.
        finished: Whether it returned before the cut.
        output: What it returned; stand-ins for the tensors that nothing reads after the cut.
        changed_later: Code after the cut changes it in place, so that each run needs a copy.
    """

    target: Any
    finished: bool = False
    output: Any = None
    changed_later: bool = False


@dataclass(frozen=True)
class Recording:
    """One run of a network, cut behind a layer.

    Attributes:
        layer: The layer.
        run: Which of its runs was cut, from 0.
        cut: What gave the feature map: the layer, or the function that is the ReLU behind it.
        cut_output: What that returned, with a stand-in for the map.
        in_place: Whether the cut is a ReLU in place: the network may read its argument instead.
        calls: What happened before the cut, in order.
        inputs: What the network was called with; stand-ins where nothing reads it after the cut.
        feature_map: A copy of the map at the cut, which later in-place code did not change.
        outputs: What the network returned.
        linears: Weight and bias of every linear layer behind the cut, in order.
        pooled: What was seen of the map behind the cut.
        evidence: What was seen of the map's axes.
    """

    layer: nn.Module
    run: int
    cut: Any
    cut_output: Any
    in_place: bool
    calls: tuple[Call, ...]
    inputs: Any
    feature_map: Tensor
    outputs: Any
    linears: tuple[tuple[Tensor, Tensor | None], ...]
    pooled: PooledLinear
    evidence: Evidence


def record(
    model: nn.Module,
    network: Callable[[Any], Any],
    inputs: Any,
    layer: str,
    *,
    call: int | None = None,
    after_relu: bool = False,
    leaf: bool = False,
    until: Until | None = None,
) -> Recording:
    """Run a network and note how it came to the output of `layer`.

    Args:
        model: The network.
        network: Calls it on inputs.
        inputs: Its inputs.
        layer: The name of one of its modules.
        call: Which run of the layer, from 0, or from the last (-1); None: it runs once.
        after_relu: Cut behind a ReLU that functional code applies right after the layer.
        leaf: Let the outputs' gradient reach `feature_map`.
        until: Where the network may stop, behind the cut.

    Raises:
        InputError: If the layer does not run, runs more than once and nothing says which run is
            meant, or gives no feature map.
    """
    parts = layer.split(".")
    names = (".".join(parts[:depth]) for depth in range(len(parts) + 1))
    around = dict.fromkeys(model.get_submodule(name) for name in names)
    module = model.get_submodule(layer)
    copied: frozenset[int] = frozenset()
    wanted = call if call is not None and call >= 0 else 0
    makers: nn.Module | None = None  # whose parts are watched for who makes the map
    while True:
        recorder = _Recorder(layer, module, around, after_relu, leaf, copied, wanted, until, makers)
        try:
            recording = recorder.record(network, inputs)
        except _Hidden:  # called by a module it is no part of: look into every module
            around = dict.fromkeys(model.modules())
            continue
        runs = recorder.runs
        if call is None and runs > 1:
            raise _several_runs(model, layer, recorder)
        if call is not None and not -runs <= call < runs:
            raise InputError(f'layer "{layer}" runs {_times(runs)}, there is no call={call}')
        if call is not None and call < 0 and wanted != runs + call:
            wanted, copied = runs + call, frozenset()
            continue
        changed = {i for i, one in enumerate(recording.calls) if one.changed_later}
        # Watching every convolution is not free: only where no reader tells, or tokens make a grid.
        if makers is None and (
            recording.evidence.reading is None or recording.feature_map.dim() == 3
        ):
            makers = model
            continue
        if changed <= copied:
            return recording
        copied |= changed  # only copies made at the cut hold what those calls returned


def _several_runs(model: nn.Module, layer: str, recorder: "_Recorder") -> InputError:
    runs = recorder.runs
    once = [
        name
        for name, module in model.named_modules()
        if name and layer.startswith(f"{name}.") and recorder.runs_of.get(module) == 1
    ]
    around = f'; around it, "{once[-1]}" runs once' if once else ""
    return InputError(
        f'layer "{layer}" runs {_times(runs)}: say which run is meant with call=0 to '
        f'call={runs - 1}, or all of them, a filter for each, with call="each"{around}'
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


class _Hidden(Exception):
    """The layer was called from inside a module that was not looked into."""


class _Recorder(Noting):
    """Looks into the modules that contain the layer; a call of any other is one event.

    What a call returned is held weakly: only what the network itself still holds at the cut can be
    read after it, and memory that it lets go of before should serve again.
    """

    def __init__(
        self,
        name: str,
        layer: nn.Module,
        around: dict[nn.Module, None],
        after_relu: bool,
        leaf: bool,
        copied: frozenset[int],
        wanted: int,
        until: Until | None,
        makers: nn.Module | None,
    ) -> None:
        super().__init__()
        self._makers = makers
        self.runs_of: dict[nn.Module, int] = {}
        self._wanted, self._until = wanted, until
        self._evidence = Evidence()
        self._is_looking = True  # for the first thing that reads the inputs
        self._name, self._layer, self._around = f'"{name}"', layer, around
        self._after_relu, self._leaf, self._copied = after_relu, leaf, copied
        self._is_aside = False  # in a module that is not looked into, or in our own code
        self._cut: Any = None
        self._in_place = False
        self._relu_of: Any = None  # the layer's output, while its ReLU may still come
        self._owners: dict[int, list[int]] = {}  # of a storage: the calls that returned it
        self._versions: list[tuple[int, Tensor, int]] = []
        self._read: set[int] = set()
        self._linears: list[tuple[Tensor, Tensor | None]] = []

    @property
    def runs(self) -> int:
        """How often the layer ran."""
        return self.runs_of.get(self._layer, 0)

    def record(self, network: Callable[[Any], Any], inputs: Any) -> Recording:
        self._inputs = inputs
        modules = dict(self._around)
        for container in self._around:
            modules.update(dict.fromkeys(container.children()))
        maker = self._maker = Maker(self._makers)
        try:
            with torch.no_grad(), patched(modules, self._wrapped), self:
                outputs = network(inputs)
        finally:
            maker.remove()
        if self._cut is None:
            raise InputError(
                f"layer {self._name} did not run"
                if not self.runs
                else f"layer {self._name} runs {_times(self.runs)}, there is no call={self._wanted}"
            )
        self._evidence.reader = self._reader.reading
        changed = {i for i, tensor, version in self._versions if tensor._version != version}
        calls = [
            replace(
                call,
                output=call.output if i in self._read else stand_in(call.output),
                changed_later=i in (changed | self._copied) & self._read,
            )
            for i, call in enumerate(self.calls)
        ]
        return Recording(
            layer=self._layer,
            run=self._wanted,
            cut=self._cut,
            cut_output=self._cut_output,
            in_place=self._in_place,
            calls=tuple(calls),
            inputs=inputs if INPUTS in self._read else stand_in(inputs),
            feature_map=self._map,
            outputs=outputs,
            linears=tuple(self._linears),
            pooled=self._pooled,
            evidence=self._evidence,
        )

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._is_aside:
            output = func(*args, **kwargs)
            self._look(func, args, output)
            return output
        if self._cut is None:
            output = func(*args, **kwargs)
            self._look(func, args, output)
            if _worth_replaying(args, output):
                self.calls.append(Call(func, True, _Weak.hold(output)))
            return output
        if func is torch._C._set_grad_enabled:
            return None  # a network that switches gradients off is explained all the same
        self._note_reads(args, kwargs)
        if func is functional.linear:
            self._linears.append(weight_and_bias(*args, **kwargs))
        output = func(*args, **kwargs)
        self._pooled.see(func, args, kwargs, output)
        self._reader.see(func, args, kwargs, output)
        if self._relu_of is not None:
            if func in RELUS and args and args[0] is self._relu_of:
                self.calls.append(Call(self._layer, True, _Weak.hold(self._relu_of)))
                self._in_place = output is self._relu_of
                return self._cut_behind(func, output)
            if _worth_replaying(args, output):  # anything but a look at the map's shape
                self._relu_of = None
        return output

    def _wrapped(self, module: nn.Module, forward: Forward) -> Forward:
        def noted(*args: Any, **kwargs: Any) -> Any:
            if module in self._around:
                self.runs_of[module] = self.runs_of.get(module, 0) + 1
            if self._cut is not None:
                self._relu_of = None
                with self._aside():
                    self._note_reads(args, kwargs)
                return forward(*args, **kwargs)
            if self._is_aside:
                if module is self._layer:
                    raise _Hidden
                return forward(*args, **kwargs)
            start = len(self.calls)
            self.calls.append(Call(module))
            if module in self._around and module is not self._layer:
                output = forward(*args, **kwargs)
                if self._cut is not None:
                    return output
            with self._aside():
                if module not in self._around or module is self._layer:
                    output = forward(*args, **kwargs)
                del self.calls[start:]
                if module is self._layer and self.runs == self._wanted + 1:
                    output = self._cut_behind(module, output)
                    self._relu_of = output if self._after_relu else None
                else:
                    self.calls.append(Call(module, True, _Weak.hold(output)))
                return output

        return noted

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Nothing is noted inside; torch functions need not even pass by here, if we are on top.

        Those that may be the first to read the inputs do.
        """
        self._is_aside = True
        on_top = not self._is_looking and _get_current_function_mode() is self
        if on_top:
            self.__exit__(None, None, None)
        try:
            yield
        finally:
            if on_top:
                self.__enter__()
            self._is_aside = False

    def _look(self, func: Any, args: tuple[Any, ...], output: Any) -> None:
        """See what reads the inputs first: a convolution tells how images and clips lie."""
        if self._is_looking and (
            self._evidence.note_convolution(func, args, output)
            or func in (functional.linear, functional.embedding)
        ):
            self._is_looking = False

    def _cut_behind(self, target: Any, output: Any) -> Any:
        feature_map = map_in(output)
        if feature_map is None:
            raise InputError(
                f"the output of layer {self._name} is not a feature map: {_describe(output)}, "
                "wanted one floating tensor (n, channels, cells, …)"
            )
        if is_functorch_wrapped_tensor(feature_map):
            raise InputError(
                f"layer {self._name} runs inside a vmap, where samples cannot be told apart: take "
                "a layer outside it"
            )
        if self._leaf:
            torch.set_grad_enabled(True)  # until `record` leaves its no_grad
        self._cut, self._relu_of = target, None
        self._cut_output = _with_stand_in(output, feature_map)
        self._map = feature_map.detach().clone()
        self._is_looking = False
        self._evidence.maker = self._maker.reading(self._layer, feature_map)
        self._evidence.note_output(output)
        self._evidence.grids += self._maker.grids
        for call in self.calls:
            for shape in _Weak.shapes(call.output):
                self._evidence.note_guess(shape)
        self._owners.clear()
        self._versions.clear()
        self._own(INPUTS, self._inputs)
        for i, call in enumerate(self.calls):
            held = _Weak.take(call.output)
            self._own(i, held)
            held = map_tensors(torch.clone, held) if i in self._copied else held
            self.calls[i] = replace(call, output=held)
        if self._leaf:
            self._map.requires_grad_()
            # In-place code may not change a leaf.
            feature_map = feature_map.copy_(self._map) if self._in_place else self._map.clone()
            output = put_in(output, feature_map)
        self._pooled = PooledLinear(feature_map)
        self._reader = Reader(feature_map)
        if self._until is not None:
            self._until.arm()
        return output

    def _own(self, index: int, output: Any) -> None:
        for tensor in tensors_in(output):
            self._owners.setdefault(_storage(tensor), []).append(index)
            self._versions.append((index, tensor, tensor._version))
            if tensor.numel() <= SMALL:
                self._read.add(index)

    def _note_reads(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for argument in (*args, *kwargs.values()):
            for tensor in tensors_in(argument):
                self._read.update(self._owners.get(_storage(tensor), ()))


class _Weak:
    """A tensor held weakly, its kind remembered; small ones strongly."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor if tensor.numel() <= SMALL else None
        self._weak = TensorWeakRef(tensor)
        self._shape, self._dtype, self._device = tensor.shape, tensor.dtype, tensor.device

    @staticmethod
    def hold(output: Any) -> Any:
        """A call's output with its tensors held weakly."""
        return map_tensors(_Weak, output)

    @staticmethod
    def take(held: Any) -> Any:
        """That output again, with zeros for the tensors that the network let go."""
        if isinstance(held, _Weak):
            return held._taken()
        return map_leaves(lambda leaf: leaf._taken() if isinstance(leaf, _Weak) else leaf, held)

    @staticmethod
    def shapes(held: Any) -> list[tuple[int, ...]]:
        """The shapes of the tensors in a call's output."""
        found: list[tuple[int, ...]] = []

        def note(leaf: Any) -> Any:
            if isinstance(leaf, _Weak):
                found.append(tuple(leaf._shape))
            return leaf

        map_leaves(note, held)
        return found

    def _taken(self) -> Tensor:
        tensor = self._tensor if self._tensor is not None else self._weak()
        if tensor is not None:
            return tensor
        return torch.zeros((), dtype=self._dtype, device=self._device).expand(self._shape)


@contextmanager
def patched(
    modules: Iterable[nn.Module], wrap: Callable[[nn.Module, Forward], Forward]
) -> Iterator[None]:
    """Each module's `forward` wrapped inside, and what it was afterwards."""
    found: list[tuple[nn.Module, Forward | None]] = []
    try:
        for module in dict.fromkeys(modules):
            found.append((module, module.__dict__.get("forward")))
            module.__dict__["forward"] = wrap(module, module.forward)
        yield
    finally:
        for module, own in found:
            if own is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = own


def _with_stand_in(output: Any, feature_map: Tensor) -> Any:
    """A layer's output with a stand-in for its map; what else is in it may be read as it was."""

    def kept(tensor: Tensor) -> Any:
        return stand_in(tensor) if tensor is feature_map else tensor.clone()

    return map_tensors(kept, output)


def _worth_replaying(args: tuple[Any, ...], output: Any) -> bool:
    """Whether a function gave tensors, or changed one in place; looks at shapes are run again."""
    if isinstance(output, Tensor):
        return True
    if output is None:
        return bool(args) and isinstance(args[0], Tensor)
    if isinstance(output, tuple | list | dict):
        return bool(tensors_in(output))
    return False


def _storage(tensor: Tensor) -> int:
    while is_functorch_wrapped_tensor(tensor):  # inside a vmap
        tensor = get_unwrapped(tensor)
    return tensor.untyped_storage().data_ptr()


def _describe(output: Any) -> str:
    return " and ".join(f"{tuple(t.shape)} {t.dtype}" for t in tensors_in(output)) or "no tensor"
