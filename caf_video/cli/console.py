"""What a user sees while a command runs and when it fails: tables, a progress bar, one line."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from caf_video.clock import ProgressClock
from caf_video.errors import CafVideoError, Interrupted
from caf_video.files import is_of_the_system, reason

Item = TypeVar("Item")

EXIT_EXPECTED_FAILURE = 2
EXIT_PARTLY = 3  # done, but for what the output names
EXIT_INTERRUPTED = 130

_WIDEST = 200  # columns of a table

out = Console()
err = Console(stderr=True)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
    )


def track(items: Iterable[Item], *, description: str, total: int) -> Iterator[Item]:
    """A bar on a terminal; elsewhere, in a log, a line every half minute or 5 %."""
    if err.is_terminal:
        with _bar() as progress:
            yield from progress.track(items, total=total, description=description)
        return
    clock = ProgressClock(description, total)
    for done, item in enumerate(items, start=1):
        yield item
        line = clock.line(done)
        if line is not None:
            print(line, file=sys.stderr, flush=True)


def show(table: Table) -> None:
    """Print a table whole: lines longer than the terminal lose no figure."""
    wide = out.measure(table, options=out.options.update(width=_WIDEST)).maximum
    Console(width=max(out.width, wide)).print(table)


@contextmanager
def _of_the_system() -> Iterator[None]:
    """A full disk or a missing permission is an expected failure, wherever it is met."""
    try:
        yield
    except OSError as error:
        if not is_of_the_system(error):
            raise
        place = "" if error.filename is None else f"{error.filename}: "
        raise CafVideoError(f"{place}{reason(error)}") from error


@contextmanager
def one_line_failures() -> Iterator[None]:
    """Expected failures are one line on stderr and exit code 2; of Ctrl-C, exit code 130."""
    try:
        with _of_the_system():
            yield
    except CafVideoError as error:
        err.print(f"caf-video: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        interrupted = isinstance(error, Interrupted)
        raise SystemExit(EXIT_INTERRUPTED if interrupted else EXIT_EXPECTED_FAILURE) from error
