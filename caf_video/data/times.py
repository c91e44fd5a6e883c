"""Times as people write them, in seconds."""

import math
import re
from fractions import Fraction

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,3}):(\d{1,2}(?:\.\d*)?)")
_RATE = re.compile(r"[\d.,/]{1,40}")
_THOUSANDS = re.compile(r"[+-]?\d{1,3},\d{3}")


def seconds_of(cell: str, unit: str, fps: float | None, *, thousands: bool = True) -> float:
    """The seconds that a cell stands for.

    Args:
        cell: A number, with a decimal point or comma; or a clock's `h:mm:ss.s` or `m:ss.s`.
        unit: Of a number: "seconds", "milliseconds" or "frames"; frame i is shown from i / fps on.
        fps: Frames a second.
        thousands: Whether "1,234" could be 1234 as well as 1.234: then it is refused.

    Raises:
        ValueError: What is wrong with it, in words that go behind the cell.
    """
    clock = ":" in cell
    value = _clock_seconds(cell) if clock else _number(cell, unit, thousands=thousands)
    if not math.isfinite(value) or value < 0:
        raise ValueError("is not a time from 0 s on")
    if clock:
        return value
    if unit == "milliseconds":
        return value / 1000
    if unit == "frames":
        if fps is None:
            raise ValueError("counts frames: say how many a second in a column 'fps', or --fps")
        return value / fps
    return value


def frame_rate(cell: str) -> float:
    """Frames a second: `25`, `29.97` or `30000/1001`.

    Raises:
        ValueError: It is none.
    """
    if _RATE.fullmatch(cell) is None:  # 1e999999999 would take for ever
        raise ValueError("is not a number of frames a second")
    try:
        rate = float(Fraction(cell.replace(",", ".")))
    except (ValueError, ZeroDivisionError, OverflowError):
        rate = 0.0
    if rate <= 0:
        raise ValueError("is not a number of frames a second")
    return rate


def _number(cell: str, unit: str, *, thousands: bool) -> float:
    if "," in cell and thousands and _THOUSANDS.fullmatch(cell):
        raise ValueError("may be thousands or decimals: write it with a point or without")
    pointed = cell.replace(",", ".")
    if cell.casefold().lstrip("+-") in ("nan", "inf", "infinity"):
        return float(cell)
    if pointed.count(".") > 1 or _NUMBER.fullmatch(pointed) is None:
        raise ValueError(f"is not a number of {unit}")
    return float(pointed)


def _clock_seconds(cell: str) -> float:
    match = _CLOCK.fullmatch(cell.replace(",", "."))
    if match is None:
        raise ValueError("is not a time h:mm:ss.s")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    if seconds >= 60 or (match[1] is not None and minutes >= 60):
        raise ValueError("is not a time h:mm:ss.s")
    return math.fsum((3600 * hours, 60 * minutes, seconds))
