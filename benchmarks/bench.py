"""Contenders timed in turns, A B C, C B A, A B C …: what disturbs one disturbs all.

Every other turn goes backwards, for whoever comes second finds memory mapped and caches warm.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.report import Row, Target, Timing

SHORTEST_SECONDS = 0.02  # of a measurement; quicker contenders run several times for one


@dataclass(frozen=True)
class Contender:
    """Something to time.

    Attributes:
        name: What the table calls it.
        run: Does it; is told the number of the repeat.
        share: What its time is multiplied by, where a run is a sample of the whole work.
    """

    name: str
    run: Callable[[int], object]
    share: float = 1.0


@dataclass
class Bench:
    """A run of benchmarks: its settings, and what was found so far.

    Attributes:
        repeats: Turns of every contender.
        device: Where networks and inputs are.
        weights: Of ResNet-50: a file, "default" (torchvision's) or "none" (random).
        images: A folder of photographs, or None for synthetic ones.
        video: A video of the benchmarks of drawing, or None for a synthetic one.
        tick: Called after every turn.
    """

    repeats: int
    device: torch.device
    weights: str = "none"
    images: Path | None = None
    video: Path | None = None
    tick: Callable[[str], None] = lambda _: None
    rows: list[Row] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)

    def time(self, case: str, contenders: Sequence[Contender]) -> dict[str, list[float]]:
        """Seconds of every repeat by contender: process time on a CPU, wall time on a GPU."""
        calls = {}
        for contender in contenders:
            for _ in range(2):  # first allocators, caches and libraries warm up
                _, seconds = self._one(contender, 0, 1)
                self.tick(case)
                if seconds > contender.share:  # a second: warm enough
                    break
            quick = SHORTEST_SECONDS * contender.share / seconds
            calls[contender.name] = max(1, math.ceil(quick))
        process: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        wall: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        for repeat in range(self.repeats):
            for contender in contenders if repeat % 2 == 0 else reversed(contenders):
                cpu, real = self._one(contender, repeat, calls[contender.name])
                process[contender.name].append(cpu)
                wall[contender.name].append(real)
                self.tick(case)
        for contender in contenders:
            name = contender.name
            self.timings.append(
                Timing(case, name, process[name], wall[name], calls[name], contender.share)
            )
        return wall if self.device.type == "cuda" else process

    def row(
        self,
        case: str,
        what: str,
        values: Sequence[float],
        target: Target | None = None,
        *,
        unit: str = "",
        worst: bool = False,
        note: str = "",
    ) -> None:
        """Add a line to the table."""
        self.rows.append(Row(case, what, list(values), target, unit, worst, note))

    def _one(self, contender: Contender, repeat: int, calls: int) -> tuple[float, float]:
        self._wait()
        process, wall = time.process_time(), time.perf_counter()
        for _ in range(calls):
            contender.run(repeat)
        self._wait()
        process, wall = time.process_time() - process, time.perf_counter() - wall
        return process / calls * contender.share, wall / calls * contender.share

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def ratios(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """first / second of each repeat: the two ran in the same turn."""
    return [a / b for a, b in zip(first, second, strict=True)]
