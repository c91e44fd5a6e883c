"""Files that appear whole or not at all, and only where nothing of a user's own is replaced.

FOLDER/.caf_video.sha256 says which files of a folder are ours: their digests, as `sha256sum` lists
them. A file that is not in it, or is not as it was written, is never replaced.
"""

import errno
import hashlib
import os
import platform
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

from caf_video.errors import CafVideoError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

Failure = TypeVar("Failure", bound=CafVideoError)

_LONGEST_STEM = 40  # characters of a temporary name: with the rest below the 255 bytes of any name
_OLD = 24 * 3600  # seconds after which nobody writes to a temporary file any more
_TEMPORARY = re.compile(r"\..*\.([0-9a-f]{8})\.(\d+)\.[0-9a-f]{8}\.part(\.[^.]*)?")


def temporary_beside(path: Path) -> Path:
    """A hidden name in the same folder, so that a rename stays inside one file system.

    It says which process of which machine writes; what dead ones left in the folder is removed.
    """
    _sweep(path.parent)
    process = f"{_machine()}.{os.getpid()}.{secrets.token_hex(4)}"
    return path.with_name(f".{path.stem[:_LONGEST_STEM]}.{process}.part{path.suffix}")


@cache
def _machine() -> str:
    """What tells the processes of this machine, or of this container, from others of their number.

    Of machines that share a disk.
    """
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{platform.node()}|{space}".encode()).hexdigest()[:8]


@cache
def _sweep(folder: Path) -> None:
    """Remove the temporary files of dead processes from a folder, once in the life of this one."""
    with suppress(OSError):  # a folder that is not there yet, or that others own, stays as it is
        for entry in os.scandir(folder):
            written_by = _TEMPORARY.fullmatch(entry.name)
            if written_by is None:
                continue
            here = written_by[1] == _machine()
            old = time.time() - entry.stat(follow_symlinks=False).st_mtime > _OLD
            if old or (here and not lives(int(written_by[2]))):
                os.unlink(entry.path)


def lives(process: int) -> bool:
    """Whether there is a process of this number; on Windows, where to ask would end it, True."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def written_whole(
    path: Path,
    failure: type[CafVideoError] = CafVideoError,
    *,
    again: str = "try again",
    ours: bool = False,
    synced: bool = False,
) -> Iterator[Path]:
    """A hidden name beside `path` to write to, of the same suffix; `path` takes it over at the end.

    The folder is made if it is missing. After an error what stood at `path` is untouched.

    Args:
        path: Of the file.
        failure: What is raised where it cannot be written.
        again: See `unwritable`.
        ours: Note the new file as ours; who replaces one asks `require_ours` first.
        synced: It is on the disk before it takes the name: a power cut leaves the one or the other.

    Raises:
        CafVideoError: A `failure`: the file cannot be written.
    """
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            if synced:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            take_place(temporary, path, failure, ours=ours)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    except OSError as error:
        raise unwritable(path, error, failure, again=again) from error


def take_place(
    temporary: Path, path: Path, failure: type[CafVideoError] = CafVideoError, *, ours: bool = False
) -> None:
    """Rename a whole file to its name, noted as ours if it is.

    It is noted first and renamed then: a process that dies in between leaves the old file, which is
    ours as well; after the rename it would leave a file that is nobody's, and never replaced.

    Raises:
        OSError: It cannot be renamed.
        CafVideoError: A `failure`: the note cannot be written.
    """
    if ours:
        _note(path.parent, f"{_sha256(temporary)}  {path.name}", failure)
    os.replace(temporary, path)


def require_writable(*paths: Path, failure: type[CafVideoError] = CafVideoError) -> None:
    """Find out before the work that its results can be written: nothing of a user's is touched.

    The folders are made.

    Raises:
        CafVideoError: A `failure`: a file is there that is not ours, or cannot be written.
    """
    for path in paths:
        if path.is_dir():
            raise failure(f"{path} is a folder, not a file to write to")
    require_ours(*paths, failure=failure)
    for path in paths:
        try:
            make_writable_folder(path.parent)
        except OSError as error:
            raise unwritable(path, error, failure) from error


def make_writable_folder(folder: Path) -> None:
    """Make a folder, and see that a file can be written to it.

    Raises:
        OSError: It cannot be made, or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    probe = temporary_beside(folder / "probe")
    try:
        probe.write_bytes(b"0")
    finally:
        probe.unlink(missing_ok=True)


LOCK = ".caf_video.lock"


@contextmanager
def only_one(folder: Path, failure: type[CafVideoError], refusal: str) -> Iterator[None]:
    """Keep other processes out of a folder while the context lasts; a dead one keeps nobody out.

    Not on Windows. The folder is made.

    Args:
        folder: In which to be alone.
        failure: What is raised.
        refusal: What to say if another process is there.

    Raises:
        CafVideoError: A `failure`: another process is there, or the folder cannot be written.
    """
    file = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = file.open("ab")
    except OSError as error:
        raise unwritable(folder, error, failure) from error
    with held:
        if fcntl is not None:
            try:
                # A lock of the process itself: those that it forks do not inherit it.
                fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise failure(f"cannot lock {file}: {reason(error)}") from error
                raise failure(refusal) from error
        yield


RECORD = ".caf_video.sha256"


def require_ours(*paths: Path, failure: type[CafVideoError] = CafVideoError) -> None:
    """Refuse to replace what is not a file as we wrote it; where nothing is, there is no obstacle.

    Raises:
        CafVideoError: A `failure`: names the file, of which nothing is touched.
    """
    for path in paths:
        if os.path.lexists(path) and not is_ours(path):
            raise failure(
                f"{path} is there already, and is not as caf_video wrote it: "
                "choose another place for the results, or move it away"
            )


def is_ours(path: Path) -> bool:
    """Whether a file is as we wrote it."""
    if not path.is_file():
        return False
    line = _line(path)  # first, for it was noted before the file took its name
    return _record(path.parent).holds(line)


def was_ours(path: Path) -> bool:
    """Whether we wrote a file of this name, whatever became of it since."""
    known = _record(path.parent)
    return any(line.partition("  ")[2] == path.name for line in (*known.lines, known.half))


def remember_ours(path: Path, failure: type[CafVideoError] = CafVideoError) -> None:
    """Note that a file is ours, as it is now.

    Raises:
        CafVideoError: A `failure`: the note cannot be written.
    """
    _note(path.parent, _line(path), failure)


def _note(folder: Path, line: str, failure: type[CafVideoError]) -> None:
    known = _record(folder)
    if known.holds(line):
        return
    record = folder / RECORD
    # After a full disk the last line may be half a line.
    begin = "\n" if known.half else ""
    try:
        with record.open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f"{begin}{line}\n")
    except OSError as error:
        raise unwritable(record, error, failure) from error


def _line(path: Path) -> str:
    return f"{_sha256(path)}  {path.name}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class _Record:
    """What a record said when it was last read: it grows, and only what is new is read."""

    file: tuple[int, int] = (0, 0)
    size: int = 0  # of its whole lines
    end: bytes = b""  # of them
    lines: set[str] = field(default_factory=set)
    half: str = ""  # what follows them

    def holds(self, line: str) -> bool:
        return line in self.lines or line == self.half


_records: dict[Path, _Record] = {}
_END = 200  # bytes by which a record that has grown is told from another of its place


def _record(folder: Path) -> _Record:
    known = _records.setdefault(folder, _Record())
    try:
        file = (folder / RECORD).open("rb")
    except FileNotFoundError:
        _records[folder] = _Record()
        return _records[folder]
    with file:
        stat = os.fstat(file.fileno())
        file.seek(known.size - len(known.end))
        if known.file != (stat.st_dev, stat.st_ino) or file.read(len(known.end)) != known.end:
            known = _records[folder] = _Record(file=(stat.st_dev, stat.st_ino))
        file.seek(known.size)
        whole, _, half = file.read().rpartition(b"\n")
    if whole:
        known.lines.update(_as_text(whole).split("\n"))
        known.size += len(whole) + 1
        known.end = (known.end + whole + b"\n")[-_END:]
    known.half = _as_text(half)
    return known


def _as_text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def unwritable(
    path: Path, error: BaseException, failure: type[Failure], *, again: str = "try again"
) -> Failure:
    """The failure to raise: 'cannot write X: reason', and after a full disk what to do.

    Args:
        path: What was to be written, a file or a folder.
        error: What the system or a library said.
        failure: What to make of it.
        again: What to do once there is space: "free some and …".
    """
    why = reason(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        files = [place for place in (path, *path.parents) if place.is_file()]
        why = f"{files[0]} is a file, not a folder" if files else why
    elif getattr(error, "errno", None) in _FULL:
        why = f"{why}; free some and {again}"
    place = getattr(error, "filename", None)
    if isinstance(place, str) and _is_temporary(Path(place)) and not _is_temporary(path):
        return failure(f"cannot write to TMPDIR, {tempfile.gettempdir()}: {why}")
    return failure(f"cannot write {path}: {why}")


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # EFBIG: of a limit of the user's own


def is_of_the_system(error: OSError) -> bool:
    """Whether an error is the machine's and not ours: a full disk, or what may not be touched."""
    return error.errno in (*_FULL, errno.EACCES, errno.EPERM, errno.EROFS)


def _is_temporary(path: Path) -> bool:
    """Whether a path lies in the folder of temporary files."""
    return Path(tempfile.gettempdir()) in path.absolute().parents


def reason(error: BaseException) -> str:
    """The system's words for an error, without the path, which the message names already."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
