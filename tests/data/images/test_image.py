"""One picture from disk: what comes out of every kind of file, and one clear line for the rest."""

import io
import itertools
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from caf_video.data.images import ImageError, image_size, read_image
from caf_video.data.images.image import ImageHeader, read_header

ORIENTATION = 0x0112


@pytest.fixture
def pixels() -> np.ndarray:
    """A picture 24 high and 32 wide, smooth enough for JPEG, with no symmetry."""
    y, x = np.mgrid[0:24, 0:32]
    return np.stack([x * 7, y * 9, 200 - x * 3 - y * 4], axis=-1).astype(np.uint8)


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def upright_by_loops(stored: np.ndarray, orientation: int) -> np.ndarray:
    """EXIF 2.32, table 6: where the 0th row and the 0th column of the stored picture are seen."""
    rows = {1: "top", 2: "top", 3: "bottom", 4: "bottom", 5: "left", 6: "right", 7: "right",
            8: "left"}[orientation]  # fmt: skip
    columns = {1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom",
               8: "bottom"}[orientation]  # fmt: skip
    height, width = stored.shape[:2]
    seen = np.zeros((height, width, 3) if orientation < 5 else (width, height, 3), np.uint8)
    for i, j in itertools.product(range(height), range(width)):
        place = {}
        for side, distance in ((rows, i), (columns, j)):
            axis = "y" if side in ("top", "bottom") else "x"
            length = seen.shape[0 if axis == "y" else 1]
            place[axis] = distance if side in ("top", "left") else length - 1 - distance
        seen[place["y"], place["x"]] = stored[i, j]
    return seen


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_every_orientation_is_turned_upright(
    orientation: int, suffix: str, pixels: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / f"turned{suffix}"
    Image.fromarray(pixels).save(path, exif=with_orientation(orientation), lossless=True)
    upright = upright_by_loops(pixels, orientation)
    np.testing.assert_array_equal(read_image(path), upright)
    assert image_size(path) == upright.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_is_turned_with_its_picture(orientation: int) -> None:
    stored = np.zeros((24, 32, 3), np.uint8)
    stored[3:10, 5:20] = 255
    upright = upright_by_loops(stored, orientation)
    rows, columns = np.nonzero(upright[..., 0])
    expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    header = ImageHeader(24, 32, orientation)
    assert header.turned((5.0, 3.0, 20.0, 10.0)) == expected
    assert header.upright_size == upright.shape[:2]


def test_a_photograph_turned_by_exif_reads_upright(pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    exif = with_orientation(6)  # a phone held upright: the 0th row is the right-hand side
    Image.fromarray(pixels).save(path, quality=95, exif=exif)
    assert image_size(path) == (32, 24)
    error = read_image(path).astype(float) - upright_by_loops(pixels, 6)
    assert np.abs(error).mean() < 3
    assert read_header(path) == ImageHeader(24, 32, 6)


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_does_not_exist_is_as_stored(
    orientation: int, pixels: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "odd.png"
    Image.fromarray(pixels).save(path, exif=with_orientation(orientation))
    np.testing.assert_array_equal(read_image(path), pixels)


@pytest.mark.parametrize("keep", [0, 3, 9, 17])
def test_damaged_exif_data_is_as_stored_and_says_nothing(
    keep: int, pixels: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.jpg"
    exif = with_orientation(6).tobytes()
    Image.fromarray(pixels).save(path, exif=exif[: 6 + keep])
    assert read_image(path).shape == (24, 32, 3)
    assert image_size(path) == (24, 32)


def test_greyscale_and_bilevel_become_three_equal_channels(
    pixels: np.ndarray, tmp_path: Path
) -> None:
    grey = pixels[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.stack([grey] * 3, -1))
    Image.fromarray(grey).save(tmp_path / "grey.jpg", quality=95)
    read = read_image(tmp_path / "grey.jpg")
    assert read.shape == (24, 32, 3) and (read[..., 0] == read[..., 2]).all()
    Image.fromarray(grey > 100).save(tmp_path / "bilevel.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bilevel.png")[..., 1], (grey > 100) * 255)


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    expected = [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 255, 0]]]
    for name in ("palette.png", "palette.gif"):
        image.save(tmp_path / name)
        assert read_image(tmp_path / name).tolist() == expected


def test_what_is_transparent_lies_over_white(tmp_path: Path) -> None:
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 51]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    # a fifth of the colour and four fifths of white
    expected = [[[200, 100, 50], [255, 255, 255], [244, 224, 214]]]
    assert read_image(tmp_path / "rgba.png").tolist() == expected
    grey_alpha = np.array([[[100, 255], [100, 0], [100, 51]]], np.uint8)
    Image.fromarray(grey_alpha).save(tmp_path / "la.png")
    assert read_image(tmp_path / "la.png").tolist() == [[[100] * 3, [255] * 3, [224] * 3]]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "hole.png", transparency=1)
    assert read_image(tmp_path / "hole.png").tolist() == [[[10, 20, 30], [255] * 3]]
    key = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    key.save(tmp_path / "key.png", transparency=(4, 5, 6))
    assert read_image(tmp_path / "key.png").tolist() == [[[1, 2, 3], [255] * 3]]


def test_of_sixteen_bits_the_upper_eight_are_kept(tmp_path: Path) -> None:
    grey = np.array([[0, 255, 256, 0x1234, 0xFFFF]], np.uint16)
    colour = np.stack([grey, grey[:, ::-1], grey], axis=-1)
    for suffix in ("png", "tif"):
        cv2.imwrite(str(tmp_path / f"grey.{suffix}"), grey)
        assert read_image(tmp_path / f"grey.{suffix}")[..., 0].tolist() == [[0, 0, 1, 0x12, 0xFF]]
    cv2.imwrite(str(tmp_path / "colour.png"), colour)
    assert read_image(tmp_path / "colour.png")[..., 1].tolist() == [[0xFF, 0x12, 1, 0, 0]]


def test_the_four_inks_become_their_colours(tmp_path: Path) -> None:
    inks = np.zeros((16, 64, 4), np.uint8)
    for i in range(4):
        inks[:, 16 * i : 16 * (i + 1), i] = 255
    Image.frombytes("CMYK", (64, 16), inks.tobytes()).save(tmp_path / "inks.jpg", quality=100)
    read = read_image(tmp_path / "inks.jpg")[8, 8::16].astype(int)
    cyan, magenta, yellow, black = [0, 255, 255], [255, 0, 255], [255, 255, 0], [0, 0, 0]
    assert np.abs(read - [cyan, magenta, yellow, black]).max() <= 4


def test_the_first_frame_of_an_animation_is_read(pixels: np.ndarray, tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 6), value, np.uint8)) for value in (10, 200)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "moving.gif").tolist() == np.full((4, 6, 3), 10).tolist()


def test_what_comes_out_is_writable_memory_of_its_own(pixels: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    first = read_image(tmp_path / "a.png")
    assert first.dtype == np.uint8 and first.flags.writeable and first.flags.c_contiguous
    first[:] = 0
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.png")), pixels)


def test_the_size_needs_no_pixels(pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "half.jpg"
    Image.fromarray(pixels).resize((640, 480)).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:3000])
    assert image_size(path) == (480, 640)
    with pytest.raises(ImageError, match="cannot read .*half.jpg: .*truncated"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tif"])
def test_a_picture_cut_anywhere_is_one_clear_line(
    suffix: str, pixels: np.ndarray, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    names = {"jpg": "JPEG", "tif": "TIFF"}
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, names.get(suffix, suffix.upper()))
    content = buffer.getvalue()
    path = tmp_path / f"cut.{suffix}"
    for share in np.linspace(0, 0.9, 19):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ImageError, match=f"cut.{suffix}") as caught:
            read_image(path)
        assert "\n" not in str(caught.value)


def test_what_is_no_picture_is_one_clear_line(tmp_path: Path) -> None:
    for read in (read_image, image_size):
        with pytest.raises(ImageError, match=r"no image at .*absent\.jpg"):
            read(tmp_path / "absent.jpg")
        with pytest.raises(ImageError, match="is a folder, not an image"):
            read(tmp_path)
        (tmp_path / "empty.jpg").touch()
        with pytest.raises(ImageError, match=r"empty\.jpg is empty"):
            read(tmp_path / "empty.jpg")
        (tmp_path / "page.jpg").write_text("<html>404 Not Found</html>")
        with pytest.raises(ImageError, match=r"page\.jpg is not an image"):
            read(tmp_path / "page.jpg")


def test_values_without_a_known_range_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "float.tif"), np.ones((4, 4), np.float32))
    with pytest.raises(ImageError, match=r"float\.tif has floating-point values: save it with 8"):
        read_image(tmp_path / "float.tif")
    Image.fromarray(np.array([[0, 70_000]], np.int32)).save(tmp_path / "int.tif")
    with pytest.raises(ImageError, match=r"int\.tif has values of 32 bits"):
        read_image(tmp_path / "int.tif")


def test_a_picture_that_claims_to_be_vast_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vast.bmp"
    Image.new("RGB", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    content[18:26] = struct.pack("<ii", 60_000, 60_000)
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"vast\.bmp has too many pixels"):
        image_size(path)


def test_real_photographs_read_as_another_decoder_reads_them(shared_data: Path) -> None:
    for path in sorted((shared_data / "ilsvrc_val" / "images").iterdir())[:20]:
        ours = read_image(path)
        other = cv2.imread(str(path))[..., ::-1]
        assert image_size(path) == ours.shape[:2] == (227, 227)
        assert np.abs(ours.astype(int) - other).mean() < 0.5  # decoders may round apart
