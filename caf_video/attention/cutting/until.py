"""Stop a network early: at a layer, or before one torch function, behind the cut (V' of Eq. 3)."""

from collections.abc import Callable
from typing import Any

from torch import nn

from caf_video.attention.cutting.pytrees import tensors_in
from caf_video.errors import InputError


class Reached(BaseException):
    """The network came to where it is to stop. No error: code that catches errors lets it pass."""

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found = found


class Until:
    """The other endpoint of a cut: what a network computes there is what it answers.

    Attributes:
        name: What it is called in a result.
    """

    name: str

    def arm(self) -> None:
        """The cut was passed: from now on it counts."""

    def disarm(self) -> None:
        """A new run begins."""

    def see(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A torch function is about to be called, behind the cut."""

    def run(self, network: Callable[[], Any]) -> Any:
        """What the network has computed when it is there.

        Raises:
            InputError: It never came there.
        """
        self.disarm()
        try:
            network()
        except Reached as reached:
            return reached.found
        raise InputError(f"until={self.name}: the network does not come there behind the layer")


class UntilLayer(Until):
    """The output of a layer.

    Args:
        name: Its name.
        layer: The layer, a module of the twin.
        always: Whether it counts from the start: nothing is cut.
    """

    def __init__(self, name: str, layer: nn.Module, *, always: bool = False) -> None:
        self.name = f'"{name}"'
        self._armed = self._always = always
        layer.register_forward_hook(self._seen)

    def arm(self) -> None:
        self._armed = True

    def disarm(self) -> None:
        self._armed = self._always

    def _seen(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._armed:
            raise Reached(output)


class UntilCall(Until):
    """A tensor that a certain torch function behind the cut is given.

    Args:
        name: What to call it.
        position: The function's number among those called behind the cut, from 0.
        argument: The tensor's number among those it is given.
    """

    def __init__(self, name: str, position: int, argument: int) -> None:
        self.name = name
        self._position, self._argument = position, argument
        self._count = -1  # not armed

    def arm(self) -> None:
        self._count = 0

    def disarm(self) -> None:
        self._count = -1

    def see(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._count == self._position:
            raise Reached(tensors_in([args, kwargs])[self._argument])
        self._count += self._count >= 0
