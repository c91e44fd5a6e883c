"""The benchmark's lists: tiny folders in the format as it is published."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caf_video.data.images import ImageSetError, SkippedImage, read_image_set, read_mask
from caf_video.errors import InputError

LISTS = {
    "val/image_ids.txt": "val2/0/a.jpeg\nval2/1/b.jpeg\n",
    "val/class_labels.txt": "val2/0/a.jpeg,0\nval2/1/b.jpeg,1\n",
    "val/image_sizes.txt": "val2/0/a.jpeg,50,40\nval2/1/b.jpeg,50,40\n",
    "val/localization.txt": (
        "val2/0/a.jpeg,1,2,30,20\nval2/1/b.jpeg,0,0,49,39\nval2/1/b.jpeg,5,6,7,8\n"
    ),
    "test/image_ids.txt": "val/ILSVRC2012_val_00000001.JPEG\nval/ILSVRC2012_val_00000002.JPEG\n",
    "test/class_labels.txt": (
        "val/ILSVRC2012_val_00000001.JPEG,65\nval/ILSVRC2012_val_00000002.JPEG,970\n"
    ),
    "test/image_sizes.txt": (
        "val/ILSVRC2012_val_00000001.JPEG,50,40\nval/ILSVRC2012_val_00000002.JPEG,500,400\n"
    ),
    "test/localization.txt": (
        "val/ILSVRC2012_val_00000001.JPEG,11,8,44,19\nval/ILSVRC2012_val_00000002.JPEG,1,1,9,9\n"
    ),
}


def write_lists(folder: Path, lists: dict[str, str]) -> Path:
    for name, text in lists.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def write_images(root: Path, lists: dict[str, str]) -> Path:
    """Pictures 40 high and 50 wide of all ids."""
    for name, text in lists.items():
        for image_id in text.split() if name.endswith("image_ids.txt") else []:
            (root / image_id).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (50, 40)).save(root / image_id)
    return root


@pytest.fixture
def ilsvrc(tmp_path: Path) -> tuple[Path, Path]:
    """The root and the lists: two images of val, and of test two, one of them of another size."""
    return (
        write_images(tmp_path / "images", LISTS),
        write_lists(tmp_path / "metadata" / "ILSVRC", LISTS),
    )


def test_splits_labels_and_boxes_are_those_of_the_lists(ilsvrc: tuple[Path, Path]) -> None:
    root, lists = ilsvrc
    found = read_image_set("wsol", root, metadata=lists)
    assert [(image.image_id, image.label, image.split) for image in found.images] == [
        ("val2/0/a.jpeg", 0, "val"),
        ("val2/1/b.jpeg", 1, "val"),
        ("val/ILSVRC2012_val_00000001.JPEG", 65, "test"),
    ]
    assert found.images[1].boxes == ((0, 0, 49, 39), (5, 6, 7, 8))
    assert found.images[2].path == root / "val" / "ILSVRC2012_val_00000001.JPEG"
    assert found.label_names == tuple(str(label) for label in range(1000))  # ImageNet's


def test_an_image_of_another_size_than_listed_is_skipped(ilsvrc: tuple[Path, Path]) -> None:
    found = read_image_set("wsol", ilsvrc[0], metadata=ilsvrc[1])
    assert found.skipped == (
        SkippedImage(
            "val/ILSVRC2012_val_00000002.JPEG",
            "its boxes are of an image 400 high and 500 wide, but it is 40 high and 50 wide",
        ),
    )


def test_classes_with_a_folder_each_are_called_by_it(tmp_path: Path) -> None:
    lists = {
        "train/image_ids.txt": "001.Albatross/1.jpg\n003.Wren/3.jpg\n",
        "train/class_labels.txt": "001.Albatross/1.jpg,0\n003.Wren/3.jpg,2\n",
    }
    root = write_images(tmp_path / "images", lists)
    found = read_image_set("wsol", root, metadata=write_lists(tmp_path / "CUB", lists))
    assert found.label_names == ("001.Albatross", "1", "003.Wren")
    assert {image.split for image in found.images} == {"train"}
    assert all(not image.boxes for image in found.images)  # the train split lists none


def test_masks_and_the_ignored_region_are_files_below_the_root(tmp_path: Path) -> None:
    lists = {
        "test/image_ids.txt": "test/x/1.jpg\ntest/x/2.jpg\n",
        "test/class_labels.txt": "test/x/1.jpg,0\ntest/x/2.jpg,0\n",
        "test/localization.txt": (
            "test/x/1.jpg,test/x/1_m1.png,test/x/1_ignore.png\ntest/x/1.jpg,test/x/1_m2.png,\n"
            "test/x/2.jpg,test/x/2_m1.png,test/x/2_ignore.png\n"
        ),
    }
    root = write_images(tmp_path / "images", lists)
    one, _ = read_image_set("wsol", root, metadata=write_lists(tmp_path / "m", lists)).images
    assert one.masks == (root / "test/x/1_m1.png", root / "test/x/1_m2.png")
    assert one.ignored == root / "test/x/1_ignore.png" and not one.boxes


@pytest.mark.parametrize("mode", ["1", "L"])
def test_a_mask_is_where_the_grey_is_not_black(tmp_path: Path, mode: str) -> None:
    pixels = np.array([[0, 255], [255, 0]], np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("class_labels.txt", "val2/0/a.jpeg,0\n", "class_labels.txt has no label of val2/1/b.jpeg"),
        ("class_labels.txt", "val2/0/a.jpeg,zero\n", "val/class_labels.txt line 1: label 'zero'"),
        ("class_labels.txt", "other.jpeg,0\n", "line 1: other.jpeg is not in image_ids.txt"),
        ("class_labels.txt", "val2/0/a.jpeg,0\nval2/0/a.jpeg,3\n", "has label 3, and 0 before"),
        ("image_ids.txt", "val2/0/a.jpeg\nval2/0/a.jpeg\n", "line 2: val2/0/a.jpeg is on line 1"),
        ("localization.txt", "val2/0/a.jpeg,1,2,3\n", "line 1: 3 cells after the image, wanted 4"),
        ("localization.txt", "val2/0/a.jpeg,1,2,3,x\n", "localization.txt line 1: 'x' is not"),
        ("localization.txt", "\n", "localization.txt is empty"),
    ],
)
def test_a_malformed_list_is_named_with_its_line(
    ilsvrc: tuple[Path, Path], name: str, text: str, message: str
) -> None:
    root, lists = ilsvrc
    (lists / "val" / name).write_text(text)
    with pytest.raises(ImageSetError, match=message):
        read_image_set("wsol", root, metadata=lists)


def test_lists_are_of_wsol_and_of_it_alone(ilsvrc: tuple[Path, Path]) -> None:
    root, lists = ilsvrc
    with pytest.raises(InputError, match="give their folder, --metadata"):
        read_image_set("wsol", root)
    with pytest.raises(InputError, match="--metadata is of wsol"):
        read_image_set("folder", root, metadata=lists)
    with pytest.raises(InputError, match="wsol has no zero-shot split: its lists are fixed"):
        read_image_set("wsol", root, metadata=lists, protocol="zero_shot")
    with pytest.raises(ImageSetError, match="no split in .*: it should hold the benchmark's lists"):
        read_image_set("wsol", root, metadata=lists / "val")
