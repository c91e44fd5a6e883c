import os

import pytest
from PIL import Image

from caf_video.errors import InputError
from caf_video.rendering import RenderingError, write_image

PICTURE = Image.new("RGB", (8, 6), (200, 30, 30))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.JPEG", "new/a.webp", "ünïcode 名.png"])
def test_a_picture_reads_back(tmp_path, name):
    write_image(tmp_path / name, PICTURE)
    with Image.open(tmp_path / name) as back:
        assert back.size == (8, 6)


def test_a_png_keeps_every_pixel(tmp_path):
    write_image(tmp_path / "a.png", PICTURE)
    with Image.open(tmp_path / "a.png") as back:
        assert back.convert("RGB").tobytes() == PICTURE.tobytes()


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"an older picture")

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RenderingError, match=r"cannot write .*a\.png: No space left on device"):
        write_image(path, PICTURE)
    assert path.read_bytes() == b"an older picture"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_a_folder_that_is_a_file_is_an_error_in_one_line(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RenderingError, match="cannot write"):
        write_image(tmp_path / "file" / "a.png", PICTURE)


def test_an_unknown_format_is_an_error_that_names_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"a\.bmp: pictures are written as \.png"):
        write_image(tmp_path / "a.bmp", PICTURE)
