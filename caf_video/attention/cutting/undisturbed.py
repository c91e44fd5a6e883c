"""The process-wide switches that attention needs, set for as long as anybody needs them."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from caf_video.errors import InputError

_LOCK = threading.Lock()
_HELD: dict[str, tuple[int, bool]] = {}  # switch: how many hold it off, and what it was before


@contextmanager
def undisturbed(model: object) -> Iterator[None]:
    """Inside, a network computes the same with and without a gradient, and can be differentiated.

    cuDNN refuses the backward pass of a recurrent network in eval mode: where there is one, cuDNN
    is off inside. Fused attention kernels are off too: they skip submodules and their hooks, and
    only when no gradient is wanted, so the two halves of a cut network would differ. Autocast is
    off as well: it would round the solver's own products. Threads that are inside together come
    out with every switch as it was.

    Raises:
        InputError: The network checkpoints its activations in the way that knows only `backward`.
    """
    recurrent = isinstance(model, nn.Module) and any(
        isinstance(module, nn.RNNBase) for module in model.modules()
    )
    with ExitStack() as stack:
        stack.enter_context(_off("fastpath"))
        if recurrent:
            stack.enter_context(_off("cudnn"))
        stack.enter_context(torch.autocast("cpu", enabled=False))
        stack.enter_context(torch.autocast("cuda", enabled=False))
        try:
            yield
        except RuntimeError as error:
            if "use_reentrant=True" not in str(error):
                raise
            raise InputError(
                "the network checkpoints its activations re-entrantly, which gives no gradient by "
                "its feature maps: use checkpoint(…, use_reentrant=False), or none"
            ) from error


@contextmanager
def _off(switch: str) -> Iterator[None]:
    with _LOCK:
        holders, before = _HELD.get(switch, (0, _get(switch)))
        _HELD[switch] = (holders + 1, before)
        _set(switch, False)
    try:
        yield
    finally:
        with _LOCK:
            holders, before = _HELD.pop(switch)
            if holders > 1:
                _HELD[switch] = (holders - 1, before)
            else:
                _set(switch, before)


def _get(switch: str) -> bool:
    if switch == "cudnn":
        return bool(torch.backends.cudnn.enabled)
    return bool(torch.backends.mha.get_fastpath_enabled())


def _set(switch: str, value: bool) -> None:
    if switch == "cudnn":
        torch.backends.cudnn.enabled = value
    else:
        torch.backends.mha.set_fastpath_enabled(value)
