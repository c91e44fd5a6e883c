"""Any file where another is wanted: one line or what it holds, never a traceback, never a wait.

The readers and the hostile files are those of `make fuzz`, which tries far more of them.
"""

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fuzz.forked import digest
from benchmarks.fuzz.mutators import CANARY, OTHER_FILES, mutated, strange
from benchmarks.fuzz.readers import Reader, readers
from caf_video.errors import CafVideoError

SECONDS = 20
SLOW = ("video", "CARS", "configuration")  # they decode, fork or compose
KINDS = ("missing", "folder", "pipe", "device", "loop")


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Reader]]:
    root = tmp_path_factory.mktemp("fuzz")
    before = os.getcwd()
    os.chdir(root)
    try:
        yield readers(root)
        assert not list(root.rglob(CANARY)), "foreign code was run"
    finally:
        os.chdir(before)


@pytest.fixture(autouse=True)
def time_limit() -> Iterator[None]:
    def too_long(*_: object) -> None:
        raise TimeoutError(f"no answer in {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


NAMES = [
    "manifest", "manifest of others", "path list", "clip boxes", "events elan",
    "events activitynet", "events via", "events label-studio", "events csv", "HDD cfg.py",
    "HDD split JSON", "HDD maps", "HDD labels", "image png", "image jpg", "image webp",
    "image tif", "image bmp", "image gif",
    "folder of frames", "ImageNet XML", "CUB lists", "images.csv", "CARS .mat",
    "CARS .mat compressed", "video h264 mp4", "video mjpeg avi", "video vp9 webm",
    "video mpeg4 mkv", "metrics.csv", "record JSON", "configuration", "localize part",
    "stored clip", "store.json", "sessions.json", "session array", "checkpoint",
    "weights .safetensors", "weights .pth",
]  # fmt: skip


def answer(reader: Reader) -> str:
    """What is read, as a digest, or the words of an expected failure."""
    try:
        return digest(reader.read())
    except CafVideoError as error:
        return str(error)


def put_back(file: Path, content: bytes) -> None:
    if file.is_dir() and not file.is_symlink():
        file.rmdir()
    else:
        file.unlink(missing_ok=True)
    file.write_bytes(content)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*NAMES, "videos.json"])  # of which what is damaged is left out
def test_any_file_is_read_or_is_one_line(name: str, every: dict[str, Reader]) -> None:
    reader = every[name]
    file = reader.files[0]
    whole, content = answer(reader), file.read_bytes()
    hostile = OTHER_FILES[:: 12 if name.startswith(SLOW) else 1]
    try:
        for other in hostile:
            file.write_bytes(other)
            answer(reader)
        for seed in range(3 if name.startswith(SLOW) else 12):
            file.write_bytes(mutated(content, random.Random(seed)))
            answer(reader)
    finally:
        put_back(file, content)
    assert answer(reader) == whole


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_file_is_refused_at_once(name: str, kind: str, every, monkeypatch) -> None:
    reader = every[name]
    file = reader.files[0]
    content = file.read_bytes()
    draw = random.Random()
    monkeypatch.setattr(draw, "choice", lambda kinds: kinds[kinds.index(kind)])
    try:
        strange(file, draw)
        with pytest.raises(CafVideoError):
            reader.read()
    finally:
        put_back(file, content)
