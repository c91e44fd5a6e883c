"""Any file where a checkpoint, weights or a stored clip is wanted: one line, and soon."""

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from caf_video.data.features import FeatureStore
from caf_video.data.session_store import SessionStore, sessions_file
from caf_video.data.store_files import fanned_out
from caf_video.errors import CafVideoError
from caf_video.models.weights import network_with_weights
from caf_video.pipeline.localize.parts import Parts
from caf_video.reading import require_file, require_regular
from caf_video.training import CheckpointError, load_run
from caf_video.training.checkpoint import KEY


class Trap:
    """Whose pickle touches a file when it is opened."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.file,))


def archive(**records: bytes) -> bytes:
    """A zip with such records below `archive/`, as `torch.save` lays them out."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, record in {"version": b"3\n", "byteorder": b"little", **records}.items():
            file.writestr(f"archive/{name}", record)
    return content.getvalue()


def bomb() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(1 << 24))
    return content.getvalue()


CONTENTS = {
    "empty": b"",
    "one byte": b"\x80",
    "text": b"epoch,loss\n1,0.5\n" * 50,
    "a word": b"hello",
    "numbers": bytes(range(256)) * 4,
    "pickle of a list": pickle.dumps([1, 2], protocol=2),
    "pickle cut short": pickle.dumps({"a": list(range(99))}, protocol=2)[:40],
    "magic of the old format": pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + b"(lp0",
    "half a zip": b"PK\x03\x04 half a zip",
    "an empty zip": b"PK\x05\x06" + bytes(18),
    "a zip without a pickle": archive(),
    "a zip with a wrong pickle": archive(**{"data.pkl": b"(dp0\nS'a'\nQ."}),
    "a zip with an empty pickle": archive(**{"data.pkl": b""}),
    "a zip bomb": bomb(),
    "safetensors of 2**60": struct.pack("<Q", 1 << 60) + b"{}",
    "safetensors of nothing": struct.pack("<Q", 2) + b"{}",
    "deep json": struct.pack("<Q", 200_000) + b'{"a":' * 40_000,
}


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory, store_folder: Path) -> dict:
    """By what is wanted, where the file lies, and what reads it."""
    root = tmp_path_factory.mktemp("readers")
    store = FeatureStore.create(root / "store", FeatureStore.open(store_folder).description)
    clip = fanned_out(root / "store" / "clips", "a", ".safetensors")
    clip.parent.mkdir(parents=True)
    sessions = sessions_file(root / "sessions")
    sessions.parent.mkdir()
    return {
        "checkpoint": (root / "a.ckpt", load_run),
        "weights": (root / "a.pth", lambda file: network_with_weights("resnet18", str(file))),
        "safetensors": (
            root / "a.safetensors",
            lambda file: network_with_weights("resnet18", str(file)),
        ),
        "clip": (clip, lambda _: store.read("a")),
        "sessions": (sessions, lambda _: SessionStore.open(sessions.parent)),
        "part": (root / ".a.parts", lambda file: refuse_part(file)),
    }


def refuse_part(file: Path) -> None:
    """A part that cannot be read is made again, so there is nothing to refuse."""
    parts = Parts(file.parent / "a", {})
    parts._folder = file.parent
    parts._path = lambda number: file  # type: ignore[method-assign]
    if parts.read(0) is None:
        raise CafVideoError(f"{file} is made again")


@pytest.mark.parametrize(
    "wanted", ["checkpoint", "weights", "safetensors", "clip", "sessions", "part"]
)
def test_a_file_of_something_else_is_refused_in_one_line(readers: dict, wanted: str) -> None:
    file, read = readers[wanted]
    for name, content in CONTENTS.items():
        file.write_bytes(content)
        with pytest.raises(CafVideoError, match=r"^[^\n]*$") as refused:
            read(file)
        assert file.name in str(refused.value), name
    file.unlink()


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("wanted", ["checkpoint", "weights", "safetensors", "clip", "sessions"])
def test_a_pipe_a_folder_and_a_device_are_refused_at_once(
    readers: dict, wanted: str, make: Callable[[Path], object]
) -> None:
    file, read = readers[wanted]
    make(file)
    with pytest.raises(CafVideoError, match=r"^[^\n]*$") as refused:
        read(file)
    assert file.name in str(refused.value) or str(file.parent) in str(refused.value)
    file.rmdir() if file.is_dir() and not file.is_symlink() else file.unlink()


def test_what_may_not_be_read_is_not_called_damaged(
    readers: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    for wanted in ("checkpoint", "weights", "safetensors", "clip", "sessions"):
        file, read = readers[wanted]
        file.write_bytes(b"whole")
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", denied)
            with pytest.raises(CafVideoError, match=r"^cannot read .*: Permission denied$"):
                read(file)
        file.unlink()


def test_no_code_is_run(readers: dict, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    for wanted in ("checkpoint", "weights"):
        file, read = readers[wanted]
        for content in (
            pickle.dumps(Trap(trap)),
            archive(**{"data.pkl": pickle.dumps(Trap(trap), protocol=2)}),
        ):
            file.write_bytes(content)
            with pytest.raises(CafVideoError, match=r"^[^\n]*$"):
                read(file)
        file.unlink()
    assert not trap.exists()


def changed(checkpoint: dict, *path: str, to: object) -> dict:
    """The checkpoint with another value at a place."""
    copy = dict(checkpoint)
    if len(path) == 1:
        copy[path[0]] = to
    else:
        copy[path[0]] = changed(checkpoint[path[0]], *path[1:], to=to)
    return copy


RECORD_CHANGES: list[tuple[tuple[str, ...], object]] = [
    (("state_dict",), []),
    (("state_dict",), {"model.projection.weight": 3}),
    (("global_step",), "7"),
    ((KEY,), ["a list"]),
    ((KEY, "hyperparameters"), []),
    ((KEY, "hyperparameters", "hidden"), 1 << 20),
    ((KEY, "hyperparameters", "hidden"), 1 << 19),
    ((KEY, "hyperparameters", "hidden"), "6"),
    ((KEY, "hyperparameters", "grid"), [1 << 19, 1 << 19]),
    ((KEY, "hyperparameters", "grid"), 7),
    ((KEY, "hyperparameters", "spatial_kernel"), (1 << 19) + 1),
    ((KEY, "hyperparameters", "embedding_dim"), None),
    ((KEY, "hyperparameters", "cell"), []),
    ((KEY, "description"), []),
    ((KEY, "description", "size"), [64]),
    ((KEY, "description", "grid"), {"h": 2, "w": 3}),
    ((KEY, "description", "channels"), 1 << 40),
    ((KEY, "label_names"), "left"),
    ((KEY, "label_names"), [1, 2]),
    ((KEY, "training_clips"), ["a"]),
    ((KEY, "config"), 3),
    ((KEY, "config", "seed"), "0"),
    ((KEY, "kind"), ["recurrent"]),
]


@pytest.mark.parametrize(("path", "value"), RECORD_CHANGES, ids=str)
def test_a_record_of_another_shape_is_refused_in_one_line(
    checkpoint: dict, tmp_path: Path, path: tuple[str, ...], value: object
) -> None:
    file = tmp_path / "a.ckpt"
    torch.save(checkpoint, file)
    load_run(file)
    torch.save(changed(checkpoint, *path, to=value), file)
    with pytest.raises(CheckpointError, match=r"^[^\n]*$") as refused:
        load_run(file)
    assert str(file) in str(refused.value)


def test_weights_that_are_not_finite_name_the_file_and_the_entry(
    checkpoint: dict, tmp_path: Path
) -> None:
    file = tmp_path / "a.ckpt"
    name = "model.projection.bias"
    values = torch.tensor([0.0, float("nan"), 0.0, 0.0])
    torch.save(changed(checkpoint, "state_dict", name, to=values), file)
    with pytest.raises(CheckpointError, match=rf"a\.ckpt holds values in {name} that are not fin"):
        load_run(file)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(CafVideoError, match=r"^there is no file .*nowhere$"):
        require_file(tmp_path / "nowhere")
    with pytest.raises(CafVideoError, match="^cannot read .*no file can have such a name"):
        require_file(Path("a\0b"))


def test_what_is_no_file_is_told_in_the_same_words_everywhere(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"12345")
    require_file(tmp_path / "large", most=5)
    for name, why in (
        ("", "Is a directory"),
        ("pipe", "it is a pipe or a device, not a file"),
        ("large", "it has 5 bytes, more than such a file can have"),
    ):
        with pytest.raises(CafVideoError, match=rf"^cannot read {tmp_path / name}: {why}$"):
            require_file(tmp_path / name, most=4)
        with pytest.raises(OSError) as raised:
            require_regular(tmp_path / name, most=4)
        assert raised.value.strerror == why
