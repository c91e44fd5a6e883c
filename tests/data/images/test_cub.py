"""CUB-200-2011: tiny trees in the format as it is distributed."""

from pathlib import Path

import pytest
from PIL import Image

from caf_video.data.images import ImageSetError, SkippedImage, read_image_set

NAMES = (
    "001.Black_footed_Albatross",
    "002.Laysan_Albatross",
    "003.Sooty_Albatross",
    "010.Red_Bird",
)


@pytest.fixture
def cub(tmp_path: Path) -> Path:
    """Four classes of two images, 40 high and 50 wide, the second a test image."""
    root = tmp_path / "CUB_200_2011"
    lines: dict[str, list[str]] = {
        "classes.txt": [f"{i} {name}" for i, name in enumerate(NAMES, start=1)],
        "images.txt": [],
        "image_class_labels.txt": [],
        "bounding_boxes.txt": [],
        "train_test_split.txt": [],
    }
    for number in range(8):
        name = f"{NAMES[number // 2]}/Bird_{number:04d}.jpg"
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L" if number == 3 else "RGB", (50, 40)).save(path)
        lines["images.txt"].append(f"{number + 1} {name}")
        lines["image_class_labels.txt"].append(f"{number + 1} {number // 2 + 1}")
        lines["bounding_boxes.txt"].append(f"{number + 1} {number}.0 2.0 30.0 38.0")
        lines["train_test_split.txt"].append(f"{number + 1} {1 - number % 2}")
    for name, rows in lines.items():
        (root / name).write_text("".join(f"{row}\n" for row in rows))
    return root


def replace_line(path: Path, number: int, line: str | None) -> None:
    rows = path.read_text().splitlines()
    rows[number - 1 : number] = [] if line is None else [line]
    path.write_text("\n".join(rows))


def test_the_official_split_boxes_and_names_are_read(cub: Path) -> None:
    found = read_image_set("cub", cub)
    assert (found.name, found.root, found.label_names) == ("cub", cub, NAMES)
    assert [image.label for image in found.images] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [image.split for image in found.images] == ["train", "test"] * 4
    third = found.images[2]
    assert third.image_id == "002.Laysan_Albatross/Bird_0002.jpg"
    assert third.path == cub / "images" / third.image_id
    assert third.boxes == ((2.0, 2.0, 32.0, 40.0),)  # x, y, x + width, y + height
    assert found.skipped == ()


def test_zero_shot_trains_on_the_first_half_of_the_classes(cub: Path) -> None:
    found = read_image_set("cub", cub, protocol="zero_shot")
    assert {image.label for image in found.split("train")} == {0, 1}
    assert {image.label for image in found.split("test")} == {2, 3}
    assert len(found.split("train")) == len(found.split("test")) == 4


def test_the_folder_above_will_do(cub: Path) -> None:
    assert read_image_set("cub", cub.parent) == read_image_set("cub", cub)


def test_the_lists_may_be_in_any_order(cub: Path) -> None:
    before = read_image_set("cub", cub)
    for name in ("classes.txt", "image_class_labels.txt", "bounding_boxes.txt"):
        rows = (cub / name).read_text().splitlines()
        (cub / name).write_text("\n".join(reversed(rows)))
    assert read_image_set("cub", cub) == before


def test_missing_images_and_boxes_outside_are_skipped_and_listed(cub: Path) -> None:
    gone = cub / "images" / NAMES[0] / "Bird_0000.jpg"
    gone.unlink()
    replace_line(cub / "bounding_boxes.txt", 3, "3 2.0 2.0 49.1 38.0")
    replace_line(cub / "bounding_boxes.txt", 4, "4 2.0 2.0 49.0 39.0")
    found = read_image_set("cub", cub)
    assert found.skipped == (
        SkippedImage(f"{NAMES[0]}/Bird_0000.jpg", f"no image at {gone}"),
        SkippedImage(
            f"{NAMES[1]}/Bird_0002.jpg",
            "its box (2, 2, 51.1, 40) reaches 1.1 pixels beyond the image, 40 high and 50 wide",
        ),
    )
    assert found.images[1].boxes == ((2.0, 2.0, 51.0, 41.0),)


@pytest.mark.parametrize(
    "name",
    ["images.txt", "classes.txt", "image_class_labels.txt", "bounding_boxes.txt",
     "train_test_split.txt"],
)  # fmt: skip
def test_a_missing_list_is_named(name: str, cub: Path) -> None:
    (cub / name).unlink()
    with pytest.raises(ImageSetError, match=f"no {name} in .*it should hold CUB-200-2011: images"):
        read_image_set("cub", cub)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("images.txt", "2", "images.txt line 2: '2' is not a number and a value"),
        ("images.txt", f"2 {NAMES[0]}/Bird_0000.jpg", "images.txt line 2: .* is on line 1 too"),
        ("images.txt", f"1 {NAMES[0]}/Bird_0001.jpg", "images.txt line 2: 1 is on line 1 too"),
        ("image_class_labels.txt", "2 5", "line 2: '5' is no class of classes.txt"),
        ("image_class_labels.txt", "2 a", "line 2: 'a' is no class of classes.txt"),
        ("image_class_labels.txt", "1 2", "image_class_labels.txt line 2: 1 is on line 1 too"),
        ("image_class_labels.txt", "9 1", "image_class_labels.txt has no line for image 2, 001"),
        ("bounding_boxes.txt", "2 1 2 3", "line 2: '2 1 2 3' is not a number and 4 values"),
        ("bounding_boxes.txt", "2 1 2 3 x", "bounding_boxes.txt line 2: 'x' is not a number"),
        ("bounding_boxes.txt", "2 1 2 3 nan", "line 2: 'nan' is not a finite number"),
        ("train_test_split.txt", "2 2", "line 2: '2' is neither 1, to train, nor 0, to test"),
        ("train_test_split.txt", None, "train_test_split.txt has no line for image 2"),
        ("images.txt", None, "image_class_labels.txt line 2: image 2 is not in images.txt"),
        ("classes.txt", None, "image_class_labels.txt line 3: '2' is no class of classes.txt"),
    ],
)
def test_a_malformed_line_is_named(name: str, line: str | None, message: str, cub: Path) -> None:
    replace_line(cub / name, 2, line)
    with pytest.raises(ImageSetError, match=message):
        read_image_set("cub", cub)


def test_an_empty_list_is_named(cub: Path) -> None:
    (cub / "classes.txt").write_text("\n")
    with pytest.raises(ImageSetError, match=r"classes\.txt is empty"):
        read_image_set("cub", cub)
