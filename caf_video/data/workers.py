"""Things made ahead of their use, in processes that leave Ctrl-C to their parent."""

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from torch.utils.data import DataLoader, Dataset

from caf_video.errors import CafVideoError

Made = TypeVar("Made")


class NothingMadeError(CafVideoError):
    """Nothing came of the next number in the time that it had."""


def made_in_order(
    make: Callable[[int], Made],
    numbers: Sequence[int],
    *,
    workers: int,
    lost: CafVideoError,
    seconds: float = 0,
) -> Iterator[Made]:
    """What `make` makes of each number, in order.

    Args:
        make: What it makes depends on the number alone.
        workers: Processes that work ahead; 0 makes each when it is asked for.
        lost: Raised where such a process was ended from outside; says what then helps.
        seconds: How long to wait for any of the processes, all of which are then ended; 0, and
            without processes, for ever.

    Raises:
        NothingMadeError: Nothing came in that time: of the next number, which is the one that its
            process was at, and has been for as long or longer.
        CafVideoError: As `make`, in one line: a loader would wrap it in the traceback of its worker
            process. Or `lost`.
    """
    if not workers:
        yield from map(make, numbers)
        return
    loader = DataLoader(
        _ErrorsAsData(make, numbers),
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_ignore_interrupts,
        timeout=seconds,
    )
    try:
        for made in loader:
            if isinstance(made, CafVideoError):
                raise made
            yield made
        return
    except (ConnectionError, EOFError) as error:  # it died while it handed a tensor over
        raise lost from error
    except RuntimeError as error:
        if not str(error).startswith("DataLoader timed out"):
            if not str(error).startswith("DataLoader worker (pid"):
                raise
            raise lost from error
    # Not within: the cause of an error keeps the processes, and the one that hangs is to end now.
    raise NothingMadeError(f"nothing was made in {seconds:g} s")


class _ErrorsAsData(Dataset[Made | CafVideoError]):
    """What is made of each number, where an expected failure is returned, not raised."""

    def __init__(self, make: Callable[[int], Made], numbers: Sequence[int]) -> None:
        self._make, self._numbers = make, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: int) -> Made | CafVideoError:
        try:
            return self._make(self._numbers[place])
        except CafVideoError as error:
            return error


def _as_it_is(made: Made) -> Made:
    return made


def _ignore_interrupts(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # else what Ctrl-C lets end never comes
