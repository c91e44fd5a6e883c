"""What a user sees while a command runs and when it fails: tables, a progress bar, one line."""

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

from caf_video.errors import CafVideoError

Item = TypeVar("Item")

EXIT_EXPECTED_FAILURE = 2
EXIT_PARTLY = 3  # done, but for what the output names
EXIT_INTERRUPTED = 130

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
    with _bar() as progress:
        yield from progress.track(items, total=total, description=description)


@contextmanager
def one_line_failures() -> Iterator[None]:
    """Expected failures are one line on stderr and exit code 2."""
    try:
        yield
    except CafVideoError as error:
        err.print(f"caf-video: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(EXIT_EXPECTED_FAILURE) from error
