"""One of several processes that divide a work: which it is, as its scheduler says."""

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from caf_video.errors import InputError

Item = TypeVar("Item")

# Where schedulers say a process's number and how many there are, the most deliberate first.
_SAID = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("RANK", "WORLD_SIZE"),
)
# Every one of these is 0, or not there, in the first process of a training.
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")


@dataclass(frozen=True)
class Shard:
    """One of `count` equal parts of a work, by its number from 0 on."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


WHOLE = Shard(0, 1)


def shard_of(text: str | None, environment: Mapping[str, str] = os.environ) -> Shard:
    """The shard that "I/N", from 1/N to N/N, names; of None what the scheduler says, or all.

    A job array counts from SLURM_ARRAY_TASK_MIN on.

    Raises:
        InputError: It is no shard; or the scheduler's numbers are none.
    """
    if text is not None:
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise InputError(f"shard {text}: wanted I/N, from 1/N to N/N, such as 3/8")
        return Shard(int(index) - 1, int(count))
    for number, total in _SAID:
        if number in environment and total in environment:
            first = "SLURM_ARRAY_TASK_MIN" if number == "SLURM_ARRAY_TASK_ID" else ""
            index = environment[number]
            start = environment.get(first, "0")
            count = environment[total]
            if not (index.isdecimal() and start.isdecimal() and count.isdecimal()):
                raise InputError(f"{number}={index} of {total}={count} is no shard")
            shard = Shard(int(index) - int(start), int(count))
            if not 0 <= shard.index < shard.count:
                raise InputError(
                    f"{number}={index} of {total}={count} is no shard: number the tasks without "
                    "gaps, or say --shard I/N"
                )
            return shard
    return WHOLE


def items_of(
    items: Sequence[Item],
    shard: Shard,
    *,
    together: Callable[[Item], Hashable],
    cost: Callable[[Item], float],
) -> list[Item]:
    """A shard's items, in their order: all that belong together are on one shard.

    The dearest group first, each to the shard that has least so far; of equal ones the first. So
    every process that is given the same items divides them alike.

    Args:
        items: All there are.
        shard: Whose are wanted.
        together: What an item belongs to, such as its session.
        cost: Of an item, such as its seconds.
    """
    costs: dict[Hashable, float] = {}
    for item in items:
        costs[together(item)] = costs.get(together(item), 0.0) + cost(item)
    order = {group: number for number, group in enumerate(costs)}
    loads = [0.0] * shard.count
    owner: dict[Hashable, int] = {}
    for group in sorted(costs, key=lambda group: (-costs[group], order[group])):
        owner[group] = min(range(shard.count), key=lambda number: (loads[number], number))
        loads[owner[group]] += costs[group]
    return [item for item in items if owner[together(item)] == shard.index]


def is_first_process(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is the process of a training that writes; where there is one, it is."""
    return all(environment.get(name, "0") == "0" for name in _RANKS)
