"""Names of clips as names of files: bounded, told apart, readable, and no device's."""

from urllib.parse import unquote

import pytest

from caf_video.file_names import file_name
from caf_video.files import temporary_beside

ODD = [
    "左" * 27, "左" * 28, "x" * 300, "x" * 299 + "y", "caf\udce9", "caf\udcea", "\udcff" * 100,
    "a/b", "a\\b", "../../etc/passwd", "..", ".", ".hidden", ".x.1.part", "", "con", "CON", "nul.1",
    "com1", "LPT9.x", "console", "a\0b", "a\nb", "a:b*?\"<>|", " a", "a ", "a.", "%2F",
    "é", "e\u0301", "Left", "left", "-rf", "~", "x" * 160, "x" * 161,
]  # fmt: skip


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_a_file_name_is_one_that_any_file_system_takes(name: str, tmp_path) -> None:
    made = file_name(name)
    assert made.isascii() and len(made) <= 177
    assert not set(made) & set('/\\:*?"<>|\0\n') and not made.startswith(".")
    assert made.split(".")[0].casefold() not in ("con", "nul", "com1", "lpt9")
    file = temporary_beside(tmp_path / f"{made}.safetensors")
    file.write_bytes(b"")
    assert file.parent == tmp_path


def test_names_that_differ_have_file_names_that_differ() -> None:
    assert len({file_name(name) for name in ODD}) == len(ODD)


def test_what_is_not_cut_short_can_be_read_back() -> None:
    for name in ODD:
        if len(made := file_name(name)) <= 160:
            assert unquote(made, errors="surrogateescape") == name


def test_a_long_name_begins_as_it_did_and_no_escape_is_cut() -> None:
    for many in range(17, 40):
        made = file_name("left turn " + "左" * many)
        assert made.startswith("left turn %E5%B7%A6%E5")
        assert unquote(made.rpartition("-")[0]).startswith("left turn 左左")
        whole = made.rpartition("-")[0] if len(made) > 160 else made
        assert all(len(part) in (2, 3) for part in whole.split("%")[1:]), made
