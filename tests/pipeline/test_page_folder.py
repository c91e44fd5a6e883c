"""The folder of a page: what an ended process left in it, and what is not ours."""

from pathlib import Path

import pytest

from caf_video.errors import CafVideoError
from caf_video.files import temporary_beside
from caf_video.pipeline import page_folder
from caf_video.pipeline.page_folder import PageFolder

ENDED = "00000000.4294967295.0123abcd"  # another machine's process, whose files stay for a day


@pytest.mark.parametrize("begun", [False, True])
def test_what_an_ended_process_was_writing_stands_in_nobodys_way(
    tmp_path: Path, begun: bool
) -> None:
    if begun:
        PageFolder(tmp_path, "caf-video report")
        (tmp_path / "frames" / "0a.jpg").write_bytes(b"old")
    (tmp_path / "frames").mkdir(exist_ok=True)
    left = tmp_path / "frames" / f".0b.{ENDED}.part.jpg"
    left.write_bytes(b"half")
    PageFolder(tmp_path, "caf-video report")
    assert sorted(path.name for path in (tmp_path / "frames").glob("[!.]*")) == ["frames.json"]
    assert left.is_file()


def test_a_picture_that_goes_while_it_is_cleared_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PageFolder(tmp_path, "caf-video report")
    picture = tmp_path / "frames" / "0a.jpg"
    picture.write_bytes(b"old")

    def written(*_: object) -> None:
        picture.unlink()

    monkeypatch.setattr(page_folder, "write_json", written)
    PageFolder(tmp_path, "caf-video report")
    assert not picture.exists()


def test_files_of_somebody_else_are_named_and_stay(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    theirs = tmp_path / "frames" / "holiday.jpg"
    theirs.write_bytes(b"mine")
    with pytest.raises(CafVideoError, match="frames holds files that are not caf_video's"):
        PageFolder(tmp_path, "caf-video report")
    assert theirs.read_bytes() == b"mine"


def test_temporary_names_are_hidden(tmp_path: Path) -> None:
    assert temporary_beside(tmp_path / "a.jpg").name.startswith(".a.")
