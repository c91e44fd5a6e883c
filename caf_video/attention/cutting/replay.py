"""Run a network again from one layer on: everything before the layer is replayed, not computed.

While a network runs, every call of a module and of a torch function is noted in order, up to the
*cut*, the call whose output a filter multiplies. A call that finished before the cut stands for all
calls inside it. To run the rest of the network, its own Python code is run once more, but each call
before the cut returns at once what it returned then, and the cut returns the replaced map. Code
after the layer, residual branches, skip connections and several inputs need no special care: the
code is the network's own. Only what is read after the cut is kept; the rest is stood in for by
zeros of the right shape that take no memory.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from caf_video.attention.cutting.pytrees import map_in, map_tensors, put_in, tensors_in
from caf_video.attention.cutting.record import RELUS, Call, Forward, Recording, patched
from caf_video.attention.cutting.until import Until


class Diverged(Exception):
    """The network took another path than the one recorded."""


# What a network's own code raises when it is replayed on stand-ins and needs more than those.
NOT_REPLAYABLE = (Diverged, RuntimeError, ValueError, TypeError, IndexError, KeyError)


@dataclass(frozen=True)
class Taken:
    """One call of a torch function behind the cut: its name, tensors it was given, its output."""

    name: str
    given: list[Tensor]
    output: Any


class Rerun(TorchFunctionMode):
    """Runs a recorded network again, with another map at the cut, as often as wanted.

    Args:
        recording: The run to repeat.
        skip: Whether calls before the cut return what they returned; else all is computed anew.
        until: Where the network may stop.
    """

    def __init__(self, recording: Recording, *, skip: bool, until: Until | None = None) -> None:
        super().__init__()
        self._recording, self._skip, self._until = recording, skip, until
        self._tape: list[Taken] | None = None

    @contextmanager
    def installed(self) -> Iterator["Rerun"]:
        """The network is prepared for `run` inside, and is as it was afterwards."""
        targets = [call.target for call in self._recording.calls] if self._skip else []
        targets.append(self._recording.layer)
        with patched((t for t in targets if isinstance(t, nn.Module)), self._wrapped):
            yield self

    def run(
        self, network: Callable[[], Any], calls: Sequence[Call], at_cut: Callable[[Tensor], Tensor]
    ) -> Any:
        """What the network returns; its gradient reaches what `at_cut` returns.

        Args:
            network: Calls the network, on stand-ins perhaps.
            calls: Those recorded, their outputs perhaps for fewer samples.
            at_cut: From the map at the cut (a stand-in, when skipping) to the one to go on with.

        Raises:
            Diverged: If the calls come in another order than recorded.
        """
        self._calls, self._at_cut = calls, at_cut
        self._position, self._past, self._relu_of, self._runs = 0, False, None, 0
        with torch.no_grad(), self:
            outputs = network()
        if not self._past:
            raise Diverged("the layer was not reached again")
        return outputs

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._past:
            return self._behind(func, args, kwargs)
        if self._relu_of is not None and func in RELUS and args and args[0] is self._relu_of:
            output = self._recording.cut_output if self._skip else func(*args, **kwargs)
            replaced = self._replace(output)
            return args[0].copy_(replaced) if self._recording.in_place else replaced
        if self._skip and self._position < len(self._calls):
            call = self._calls[self._position]
            if call.finished and call.target == func:
                return self._replay(call)
        return func(*args, **kwargs)

    def _wrapped(self, module: nn.Module, forward: Forward) -> Forward:
        def rerun(*args: Any, **kwargs: Any) -> Any:
            if self._past:
                return forward(*args, **kwargs)
            output = None
            if self._skip and self._position < len(self._calls):
                call = self._calls[self._position]
                if call.target is not module:
                    raise Diverged(f"{type(module).__name__} was called out of turn")
                if not call.finished:
                    self._position += 1
                    return forward(*args, **kwargs)
                output = self._replay(call)
            elif not self._skip:
                output = forward(*args, **kwargs)
            if module is not self._recording.layer:
                return output
            self._runs += 1
            if self._runs != self._recording.run + 1:
                return output
            if self._recording.cut is module:
                return self._replace(self._recording.cut_output if self._skip else output)
            if self._skip and self._recording.in_place:
                output = map_tensors(torch.zeros_like, output)  # written to at the cut
            self._relu_of = output
            return output

        return rerun

    @contextmanager
    def taped(self) -> "Iterator[list[Taken]]":
        """Inside, what every torch function behind the cut is given and gives is kept."""
        self._tape = []
        try:
            yield self._tape
        finally:
            self._tape = None

    def _behind(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func is torch._C._set_grad_enabled:
            return None
        if self._until is not None:
            self._until.see(func, args, kwargs)
        output = func(*args, **kwargs)
        if self._tape is not None:
            self._tape.append(
                Taken(getattr(func, "__name__", ""), tensors_in([args, kwargs]), output)
            )
        return output

    def _replay(self, call: Call) -> Any:
        self._position += 1
        return map_tensors(torch.clone, call.output) if call.changed_later else call.output

    def _replace(self, output: Any) -> Any:
        with torch.enable_grad():
            new = self._at_cut(_map(output))
        torch.set_grad_enabled(new.requires_grad)  # until `run` leaves its no_grad
        self._past = True
        if self._until is not None:
            self._until.arm()
        return put_in(output, new)


def _map(output: Any) -> Tensor:
    found = map_in(output)
    if found is None:
        raise Diverged("the layer returned no feature map this time")
    return found
