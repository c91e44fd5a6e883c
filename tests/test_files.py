"""A file appears whole, or what was there stays and one line says why."""

import errno
import os
from pathlib import Path

import pytest

from caf_video.errors import CafVideoError, InputError
from caf_video.files import unwritable, written_whole


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
