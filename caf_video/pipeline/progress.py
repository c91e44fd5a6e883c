"""What every stage shares: how it shows its progress, and where it computes."""

import os
from collections.abc import Iterable, Iterator, Mapping
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


# Which of the processes of one machine this is, as torchrun and Slurm say.
_LOCAL = ("LOCAL_RANK", "SLURM_LOCALID")


def device(environment: Mapping[str, str] = os.environ) -> torch.device:
    """The GPU where there is one (`CUDA_VISIBLE_DEVICES` chooses), else the CPU.

    Of several GPUs each process of a machine has its own, as long as there are enough.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    said = next((environment[name] for name in _LOCAL if name in environment), None)
    if said is None or not said.isdecimal():
        return torch.device("cuda")
    return torch.device("cuda", int(said) % torch.cuda.device_count())
