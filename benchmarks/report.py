"""What a run found, as JSON for programs and as a Markdown table for people."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from caf_video.files import written_whole


@dataclass(frozen=True)
class Target:
    """A bound that a measured number should keep: "<=" or ">=" of `bound`."""

    sense: str
    bound: float
    unit: str = ""

    def reached(self, value: float) -> bool:
        return value <= self.bound if self.sense == "<=" else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.sense == '<=' else '≥'} {self.bound:g}{self.unit}"


def at_most(bound: float, unit: str = "") -> Target:
    return Target("<=", bound, unit)


def at_least(bound: float, unit: str = "") -> Target:
    return Target(">=", bound, unit)


@dataclass(frozen=True)
class Row:
    """One line of the table: a ratio or an error, of every repeat or of every problem.

    Attributes:
        case: What was measured on.
        what: The number's meaning.
        values: As measured. The row's value is their median or, for an error, the worst of them.
        target: What it should keep, judged by the row's value; None where nothing was promised.
        unit: "×" for a speed-up.
        worst: Whether the worst of the values stands for them, rather than the median.
        note: How it was measured, where that is not plain.
    """

    case: str
    what: str
    values: Sequence[float]
    target: Target | None = None
    unit: str = ""
    worst: bool = False
    note: str = ""

    @property
    def value(self) -> float:
        if not self.worst:
            return statistics.median(self.values)
        smallest_is_worst = self.target is not None and self.target.sense == ">="
        return min(self.values) if smallest_is_worst else max(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles, or the extremes where the worst counts."""
        if self.worst:
            return min(self.values), max(self.values)
        return quartiles(self.values)

    @property
    def reached(self) -> bool | None:
        return None if self.target is None else self.target.reached(self.value)


@dataclass(frozen=True)
class Timing:
    """How long one contender took, each repeat in seconds.

    Attributes:
        case: What it ran on.
        contender: Its name.
        process: CPU time of the process.
        wall: Time on the wall.
        calls: Runs behind each number, which is their mean.
        share: What the time of a run was multiplied by: above 1 where it is a sample of the work.
    """

    case: str
    contender: str
    process: Sequence[float]
    wall: Sequence[float]
    calls: int
    share: float


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The lower and the upper quartile."""
    if len(values) == 1:
        return values[0], values[0]
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, upper


def to_markdown(
    rows: Sequence[Row], timings: Sequence[Timing], about: dict[str, Any], notes: Sequence[str]
) -> str:
    """The table of ratios, the times behind them, and what they were measured on."""
    lines = [
        "# Benchmarks",
        "",
        *(f"* {key.replace('_', ' ')}: {value}" for key, value in about.items()),
        "",
        "Ratios and times: median (quartiles) of the repeats. Errors: the worst (extremes).",
        "",
        "| case | what | found | spread | target | reached |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row.spread
        target = "–" if row.target is None else str(row.target)
        reached = {None: "–", True: "yes", False: "**no**"}[row.reached]
        what = f"{row.what} ({row.note})" if row.note else row.what
        lines.append(
            f"| {row.case} | {escaped(what)} | {_number(row.value)}{row.unit} | "
            f"{_number(low)} … {_number(high)} | {target} | {reached} |"
        )
    lines += [
        "",
        "| case | contender | process, ms | wall, ms |",
        "|---|---|---|---|",
    ]
    for timing in timings:
        process, wall = (
            f"{_number(1e3 * statistics.median(values))} "
            f"({' … '.join(_number(1e3 * q) for q in quartiles(values))})"
            for values in (timing.process, timing.wall)
        )
        share = f", {timing.share:.3g}× a sample" if timing.share != 1 else ""
        lines.append(f"| {timing.case} | {timing.contender}{share} | {process} | {wall} |")
    lines += ["", *(f"* {note}" for note in notes), ""]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text for a cell of a Markdown table, which a bare | would end."""
    return text.replace("|", r"\|")


def write(
    folder: Path,
    rows: Sequence[Row],
    timings: Sequence[Timing],
    about: dict[str, Any],
    notes: Sequence[str],
) -> None:
    """`benchmarks.json` and `benchmarks.md`, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    everything = {
        "about": about,
        "rows": [
            {
                **asdict(row),
                "target": None if row.target is None else str(row.target),
                "value": row.value,
                "spread": row.spread,
                "reached": row.reached,
            }
            for row in rows
        ],
        "timings": [asdict(timing) for timing in timings],
        "notes": list(notes),
    }
    for name, text in (
        ("benchmarks.json", json.dumps(everything, indent=1, ensure_ascii=False)),
        ("benchmarks.md", to_markdown(rows, timings, about, notes)),
    ):
        with written_whole(folder / name) as part:
            part.write_text(text, encoding="utf-8")


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
