"""Forward hooks: those that belong to a network's function are kept, mere lookers are not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode

from caf_video.attention.cutting.pytrees import tensors_in
from caf_video.attention.cutting.twin import OwnHook

_OF_TORCH = "torch.nn.utils"  # weight norm and spectral norm compute their weights in hooks


class Noting(TorchFunctionMode):
    """A mode that notes calls; what a mere looker has called is taken out again."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []


@dataclass
class Lookers:
    """The hooks of a twin that changed nothing that they saw.

    Attributes:
        found: Of each, the module's hooks, its key there and the hook.
    """

    found: list[tuple[dict[int, Any], int, Any]] = field(default_factory=list)

    def remove(self) -> None:
        for hooks, key, _ in self.found:
            hooks.pop(key, None)

    def restore(self) -> None:
        for hooks, key, hook in self.found:
            hooks[key] = hook


@contextmanager
def lookers_of(twin: nn.Module) -> Iterator[Lookers]:
    """Inside, a twin's hooks run as ever, and are watched; afterwards it is known who only looked.

    What comes then are runs with stand-ins and filtered maps, which nobody asked to see. Some that
    only look belong to the network all the same: those that gather what it returns.
    """
    used: set[tuple[int, int]] = set()
    wrapped: list[tuple[dict[int, Any], int, Any]] = []
    lookers = Lookers()
    for module in twin.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key, hook in list(hooks.items()):
                if isinstance(hook, OwnHook):
                    continue
                # Copies of a module share the keys of their hooks.
                hooks[key] = _watched(hook, (id(hooks), key), used)
                wrapped.append((hooks, key, hook))
    yield lookers
    for hooks, key, hook in wrapped:
        if key not in hooks:
            continue
        hooks[key] = hook
        if (id(hooks), key) not in used and not type(hook).__module__.startswith(_OF_TORCH):
            lookers.found.append((hooks, key, hook))


def _watched(
    hook: Callable[..., Any], key: tuple[int, int], used: set[tuple[int, int]]
) -> Callable[..., Any]:
    def watched(module: nn.Module, *args: Any) -> Any:
        tensors = tensors_in(args)
        versions = [tensor._version for tensor in tensors]
        mode = _get_current_function_mode()
        calls = mode.calls if isinstance(mode, Noting) else []
        start = len(calls)
        result = hook(module, *args)
        if result is not None or versions != [tensor._version for tensor in tensors]:
            used.add(key)
        else:
            del calls[start:]
        return result

    return watched
