"""What a run shows of how a feature map lies: who made it, who reads it, what came before."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from caf_video.attention.cutting.pytrees import leaves_in

_CONVOLUTION = re.compile(r"conv(?:_transpose|_tbc)?([123])d")
_POOL = re.compile(r"(?:adaptive_|fractional_)?(?:avg|max|lp)_pool([123])d(?:_with_indices)?")
_CHANNELS_FIRST = ("batch_norm", "group_norm", "instance_norm", "interpolate", "pixel_shuffle")
_RECURRENT = {"lstm": 8, "gru": 8, "rnn_tanh": 8, "rnn_relu": 8}  # where `batch_first` stands
_KEY = -1  # of our hooks among a module's, whose own begin at 0
_REDUCTIONS = ("mean", "sum", "amax", "max", "logsumexp")
_CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
_OF_CHANNELS_FIRST = (
    *_CONVOLUTIONS,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.InstanceNorm1d,
    nn.InstanceNorm2d, nn.InstanceNorm3d,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
)  # fmt: skip
_OF_CHANNELS_LAST = (nn.Linear, nn.LayerNorm, nn.Embedding)
_TYPED = frozenset(_OF_CHANNELS_FIRST + _OF_CHANNELS_LAST)


@dataclass(frozen=True)
class Reading:
    """What one use of a map says of its axes.

    Attributes:
        channels: Position of the channels' axis.
        samples: Position of the samples' axis, where the use tells it.
    """

    channels: int
    samples: int | None = None


@dataclass
class Evidence:
    """What a run has shown.

    Attributes:
        maker: What the last convolution, linear layer or norm says that gave a tensor of the map's
            shape before the cut.
        reader: What the first telling use of the map says.
        grids: Shapes of the cells of convolutions' outputs before the cut, in order.
        guesses: Shapes of what may be cells of other tensors before the cut, in order.
        numbers: Whole numbers that the layer returned beside its map.
        first_read: Of the first convolution of the network: its input channels and cells' sizes.
        is_unbatched: Whether that convolution's input had no axis of samples.
    """

    maker: Reading | None = None
    reader: Reading | None = None
    grids: list[tuple[int, ...]] = field(default_factory=list)
    guesses: list[tuple[int, ...]] = field(default_factory=list)
    numbers: tuple[int, ...] = ()
    first_read: tuple[int, tuple[int, ...]] | None = None
    is_unbatched: bool = False

    @property
    def reading(self) -> Reading | None:
        """Whoever reads a map knows how it lies; else its maker does."""
        return self.reader or self.maker

    def note_convolution(self, func: Any, args: tuple[Any, ...], output: Any) -> bool:
        """Keep a convolution's sizes; whether the call is one."""
        found = _CONVOLUTION.fullmatch(getattr(func, "__name__", ""))
        if found is None or len(args) < 2 or not isinstance(output, Tensor):
            return False
        axes = int(found[1])
        if args[0].dim() <= axes:
            return False
        if self.first_read is None:
            self.first_read = (args[0].shape[-axes - 1], tuple(args[0].shape[-axes:]))
        self.is_unbatched = self.is_unbatched or args[0].dim() == axes + 1
        self.grids.append(tuple(output.shape[-axes:]))
        return True

    def note_guess(self, shape: tuple[int, ...]) -> None:
        """A tensor of that shape was made before the cut: its cells, if channels come first."""
        if len(shape) in (4, 5) and shape[2:] not in self.guesses:
            self.guesses.append(shape[2:])

    def note_output(self, output: Any) -> None:
        """The layer returned this."""
        self.numbers = tuple(
            leaf
            for leaf in leaves_in(output)
            if isinstance(leaf, int) and not isinstance(leaf, bool)
        )


class Maker:
    """Watches convolutions, linear layers and norms, to know which of them gave the map.

    Without a model only the layer itself can say.
    """

    def __init__(self, model: nn.Module | None) -> None:
        self._outputs: list[tuple[nn.Module, tuple[int, ...]]] = []
        self._watched = [
            module
            for module in (model.modules() if model is not None else ())
            if type(module) in _TYPED or isinstance(module, _CONVOLUTIONS)
        ]
        # Of a twin: no handle each, and only shapes are noted, for every explanation pays for it.
        for module in self._watched:
            module._forward_hooks[_KEY] = self._seen

    @property
    def grids(self) -> list[tuple[int, ...]]:
        """Shapes of the cells that convolutions gave, in order."""
        return [tuple(shape[2:]) for module, shape in self._outputs if _is_convolved(module, shape)]

    def reading(self, layer: nn.Module, feature_map: Tensor) -> Reading | None:
        """Of the layer, or of the last of them before that gave a tensor of the map's shape."""
        wanted = feature_map.shape
        for module, shape in reversed([*self._outputs, (layer, wanted)]):
            if shape == wanted:
                if _is_convolved(module, shape) or type(module) in _OF_CHANNELS_FIRST:
                    return Reading(1, 0)
                if type(module) in _OF_CHANNELS_LAST:
                    return Reading(len(shape) - 1)
        return None

    def remove(self) -> None:
        for module in self._watched:
            module._forward_hooks.pop(_KEY, None)

    def _seen(self, module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            self._outputs.append((module, output.shape))


def _is_convolved(module: nn.Module, shape: tuple[int, ...]) -> bool:
    return isinstance(module, _CONVOLUTIONS) and shape[1:2] == (module.out_channels,)


class Reader:
    """Follows a map through code that keeps its shape to a use that tells where channels are."""

    def __init__(self, feature_map: Tensor) -> None:
        self.reading: Reading | None = None
        self._shape = tuple(feature_map.shape)
        # Tensors that lie as the map does: each with the map's axis at each of its own.
        self._alike: dict[int, tuple[Tensor, tuple[int, ...]]] = {}
        self._add(feature_map, tuple(range(feature_map.dim())))

    def see(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """A call of a torch function."""
        if self.reading is not None:
            return
        tensor = next((a for a in (*args, *kwargs.values()) if id(a) in self._alike), None)
        if tensor is None:
            return
        _, order = self._alike[id(tensor)]
        name = getattr(func, "__name__", "")
        moved = _moved(name, args, kwargs, len(order)) if args and tensor is args[0] else None
        if moved is not None and isinstance(output, Tensor):
            self._add(output, tuple(order[axis] for axis in moved))
            return
        read = _read(name, tensor, args, kwargs)
        if read is not None:
            self.reading = Reading(
                order[read.channels], None if read.samples is None else order[read.samples]
            )
        elif isinstance(output, Tensor) and output.shape == tensor.shape:
            self._add(output, order)

    def _add(self, tensor: Tensor, order: tuple[int, ...]) -> None:
        self._alike[id(tensor)] = (tensor, order)


class Watching(TorchFunctionMode):
    """While it is on, torch functions are shown to the reader of a map."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader = reader

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        self._reader.see(func, args, kwargs or {}, output)
        return output


def _moved(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], axes: int
) -> tuple[int, ...] | None:
    """Which axis of the tensor stands at each place afterwards, if the call only moves axes."""
    if name == "permute":
        dims: Any = args[1:] or (kwargs.get("dims", ()),)
        dims = dims[0] if len(dims) == 1 and isinstance(dims[0], Sequence) else dims
        return tuple(int(dim) % axes for dim in dims) if len(dims) == axes else None
    if name in ("transpose", "swapaxes", "swapdims") and len(args) == 3:
        order = list(range(axes))
        first, second = int(args[1]) % axes, int(args[2]) % axes
        order[first], order[second] = second, first
        return tuple(order)
    if name in ("movedim", "moveaxis") and len(args) == 3 and isinstance(args[1], int):
        order = list(range(axes))
        order.insert(int(args[2]) % axes, order.pop(int(args[1]) % axes))
        return tuple(order)
    return None


def _read(
    name: str, tensor: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Reading | None:
    """What a call says of the axes of a tensor that it is given."""
    axes = tensor.dim()
    is_first = bool(args) and args[0] is tensor or kwargs.get("input") is tensor
    if not is_first:
        return None
    found = _CONVOLUTION.fullmatch(name) or _POOL.fullmatch(name)
    if found is not None:
        return Reading(1, 0) if axes == int(found[1]) + 2 else None
    if name in _CHANNELS_FIRST:
        return Reading(1, 0) if axes > 2 else None
    if name == "linear":
        return Reading(axes - 1)
    if name == "layer_norm":
        shape = args[1] if len(args) > 1 else kwargs.get("normalized_shape", ())
        return Reading(axes - 1) if len(shape) == 1 else None
    if name == "multi_head_attention_forward":
        return Reading(2, 1) if axes == 3 else None
    if name in _RECURRENT and axes == 3:
        batch_first = args[_RECURRENT[name]] if len(args) > _RECURRENT[name] else False
        return Reading(2, 0 if batch_first else 1)
    if name in ("matmul", "__matmul__") and len(args) > 1 and args[1].dim() == 2:
        return Reading(axes - 1)
    if name == "__getitem__" and axes == 3 and _is_token_read(args[1]):
        return Reading(2, 0)
    if name in _REDUCTIONS:
        return _of_reduction(axes, args, kwargs)
    return None


def _is_token_read(index: Any) -> bool:
    """x[:, 0] or x[:, 0, :]: one token of every sample."""
    return (
        isinstance(index, tuple)
        and len(index) >= 2
        and index[0] == slice(None)
        and isinstance(index[1], int)
        and all(part == slice(None) for part in index[2:])
    )


def _of_reduction(axes: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Reading | None:
    """A mean over the cells: what is left are samples and channels, perhaps frames between them."""
    dims = args[1] if len(args) > 1 else kwargs.get("dim")
    dims = (dims,) if isinstance(dims, int) and not isinstance(dims, bool) else dims
    if not isinstance(dims, Sequence) or not dims or not all(isinstance(d, int) for d in dims):
        return None
    reduced = {dim % axes for dim in dims}
    left = sorted(set(range(axes)) - reduced)
    if len(left) == 2:
        return Reading(left[1], left[0])
    trailing = reduced == set(range(axes - len(reduced), axes)) and len(reduced) > 1
    return Reading(left[-1], left[0]) if trailing and len(left) > 1 else None
