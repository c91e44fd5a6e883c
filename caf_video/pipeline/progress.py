"""What every stage shares: how it shows its progress, and where it computes."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

import torch

Item = TypeVar("Item")


class Track(Protocol):
    """Shows how far a loop is: passes the items on, one by one."""

    def __call__(
        self, items: Iterable[Item], *, description: str, total: int
    ) -> Iterator[Item]: ...


def quietly(items: Iterable[Item], *, description: str, total: int) -> Iterator[Item]:
    """Pass the items on and show nothing."""
    yield from items


def device() -> torch.device:
    """The GPU where there is one (`CUDA_VISIBLE_DEVICES` chooses), else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
