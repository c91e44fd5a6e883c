"""A file appears whole, or what was there stays and one line says why."""

import errno
import os
from pathlib import Path

import pytest

from caf_video.errors import CafVideoError, InputError
from caf_video.files import (
    RECORD,
    is_ours,
    remember_ours,
    require_ours,
    unwritable,
    was_ours,
    written_whole,
)


class TableError(CafVideoError):
    """What a room of its own says."""


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    with written_whole(path) as part:
        part.write_text("half")
        assert part.parent == path.parent and part.suffix == ".csv" and part.name[0] == "."
        assert not path.exists()
    assert path.read_text() == "half"
    assert list(path.parent.iterdir()) == [path]


def test_after_an_error_what_was_there_stays_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), written_whole(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path in (file / "table.csv", file / "below" / "table.csv"):
        with pytest.raises(TableError) as caught, written_whole(path, TableError):
            pass
        assert str(caught.value) == f"cannot write {path}: {file} is a file, not a folder"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_what_to_do_and_leaves_what_was_there(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", full)
    line = f"cannot write {path}: {os.strerror(number)}; free some and "
    with pytest.raises(CafVideoError) as caught, written_whole(path) as part:
        part.write_text("new")
    assert str(caught.value) == line + "try again"
    with pytest.raises(TableError) as caught, written_whole(path, TableError, again="begin anew"):
        pass
    assert str(caught.value) == line + "begin anew"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_of_the_writer_itself_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^no rows$"), written_whole(tmp_path / "a.csv"):
        raise InputError("no rows")
    assert not list(tmp_path.iterdir())


def test_other_reasons_are_the_systems_words_or_the_errors_own(tmp_path: Path) -> None:
    for error, words in (
        (PermissionError(errno.EACCES, "Permission denied", "x"), "Permission denied"),
        (ValueError("odd\tthings"), "odd\tthings"),
        (RuntimeError(), "RuntimeError"),
        (FileExistsError(errno.EEXIST, "File exists"), "File exists"),
    ):
        assert str(unwritable(tmp_path, error, TableError)) == f"cannot write {tmp_path}: {words}"


def test_what_is_not_there_or_is_as_we_wrote_it_may_be_written(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    require_ours(file)
    file.write_text("ours")
    remember_ours(file)
    remember_ours(file)
    require_ours(file)
    assert is_ours(file) and was_ours(file)
    assert len((tmp_path / RECORD).read_text().splitlines()) == 1
    tmp_path.joinpath("moved").mkdir()
    for path in (file, tmp_path / RECORD):
        path.rename(tmp_path / "moved" / path.name)
    require_ours(tmp_path / "moved" / "table.csv")  # the note goes with the folder


def test_what_we_did_not_write_or_is_changed_since_may_not_be_replaced(tmp_path: Path) -> None:
    file, other = tmp_path / "table.csv", tmp_path / "other.csv"
    file.write_text("a user's")
    with pytest.raises(TableError) as caught:
        require_ours(other, file, failure=TableError)
    assert str(caught.value) == (
        f"{file} is there already, and is not as caf_video wrote it: "
        "choose another place for the results, or move it away"
    )
    file.write_text("ours")
    remember_ours(file)
    file.write_text("ours, with a word of the user's")
    assert was_ours(file) and not is_ours(file)
    with pytest.raises(CafVideoError, match=r"table\.csv is there already"):
        require_ours(file)
    assert file.read_text() == "ours, with a word of the user's"


def test_a_record_can_be_checked_with_sha256sum(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"abc")
    remember_ours(file)
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (tmp_path / RECORD).read_text() == f"{digest}  a.csv\n"


def test_a_record_that_others_write_to_is_read_as_it_is_now(tmp_path: Path) -> None:
    import hashlib

    def noted(name: str) -> str:
        (tmp_path / name).write_text(name)
        return f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n"

    record = tmp_path / RECORD
    lines = {name: noted(name) for name in "abcd"}
    assert not is_ours(tmp_path / "a")
    record.write_text(lines["a"] + lines["b"][:-1])  # the last line lacks its end
    assert is_ours(tmp_path / "a") and is_ours(tmp_path / "b") and not is_ours(tmp_path / "c")
    with record.open("a") as file:
        file.write("\n" + lines["c"])
    assert all(is_ours(tmp_path / name) for name in "abc")
    remember_ours(tmp_path / "d")
    assert record.read_text() == "".join(lines.values())
    record.write_text(lines["d"] + lines["c"] + lines["b"])  # another one, shorter
    assert not is_ours(tmp_path / "a") and is_ours(tmp_path / "d")
    record.unlink()
    assert not is_ours(tmp_path / "d")
    record.write_text(lines["a"][:30])  # half a line, after a full disk
    remember_ours(tmp_path / "b")
    assert record.read_text() == lines["a"][:30] + "\n" + lines["b"] and is_ours(tmp_path / "b")
