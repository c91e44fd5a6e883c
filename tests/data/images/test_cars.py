"""CARS196: tiny trees with real .mat files, and the real annotations where a machine has them."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from caf_video.data.images import ImageSetError, read_image_set
from caf_video.data.images.cars import read_annotations, read_class_names

NAMES = ("AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Audi S4 2007", "BMW M3 Coupe 2012")
CORNERS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
Row = dict[str, object]


def write_mat(path: Path, variable: str, value: np.ndarray, **others: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {variable: value, **others}, format="5")


def struct(rows: list[Row]) -> np.ndarray:
    """A MATLAB struct array (1, n)."""
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for i, row in enumerate(rows):
        array[0, i] = tuple(row.values())
    return array


def cells(names: tuple[str, ...]) -> np.ndarray:
    array = np.empty((1, len(names)), dtype=object)
    array[0, :] = names
    return array


def rows_of(folder: str, count: int = 8) -> list[Row]:
    """Annotations of images 40 high and 60 wide, two of each class."""
    return [
        {
            **dict(zip(CORNERS, (np.uint8(i + 1), np.uint8(2), np.uint16(60), np.uint8(40)),
                       strict=True)),
            "class": np.uint8(i // 2 + 1),
            "fname": f"{i + 1:05d}.jpg",
        }
        for i in range(count)
    ]  # fmt: skip


def write_images(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (60, 40)).save(folder / name)


def without(rows: list[Row], field: str) -> list[Row]:
    return [{name: value for name, value in row.items() if name != field} for row in rows]


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """The devkit as it is distributed: the test images have no classes."""
    for split in ("train", "test"):
        rows = rows_of(split)
        write_images(tmp_path / f"cars_{split}", [str(row["fname"]) for row in rows])
        annotations = struct(rows if split == "train" else without(rows, "class"))
        write_mat(tmp_path / "devkit" / f"cars_{split}_annos.mat", "annotations", annotations)
    write_mat(tmp_path / "devkit" / "cars_meta.mat", "class_names", cells(NAMES))
    return tmp_path


@pytest.fixture
def labelled(devkit: Path) -> Path:
    """The devkit with the test classes, a file of their own."""
    write_mat(devkit / "cars_test_annos_withlabels.mat", "annotations", struct(rows_of("test")))
    return devkit


@pytest.fixture
def single(tmp_path: Path) -> Path:
    """The older layout: one file, one folder."""
    rows = [
        {
            "relative_im_path": f"car_ims/{i + 1:06d}.jpg",
            **{name: row[name] for name in CORNERS},
            "class": row["class"],
            "test": np.uint8(i % 2),
        }
        for i, row in enumerate(rows_of(""))
    ]
    write_images(tmp_path / "car_ims", [f"{i + 1:06d}.jpg" for i in range(8)])
    write_mat(tmp_path / "cars_annos.mat", "annotations", struct(rows), class_names=cells(NAMES))
    return tmp_path


def test_the_official_split_is_read_from_the_devkit(labelled: Path) -> None:
    found = read_image_set("cars", labelled)
    assert (found.name, found.label_names, found.skipped) == ("cars", NAMES, ())
    assert Counter(image.split for image in found.images) == {"train": 8, "test": 8}
    assert [image.label for image in found.images] == [0, 0, 1, 1, 2, 2, 3, 3] * 2
    assert found.images[2].image_id == "cars_train/00003.jpg"
    assert found.images[2].path == labelled / "cars_train" / "00003.jpg"
    assert found.images[2].boxes == ((3.0, 2.0, 60.0, 40.0),)


def test_without_test_classes_the_test_images_are_skipped_and_listed(devkit: Path) -> None:
    found = read_image_set("cars", devkit)
    assert {image.split for image in found.images} == {"train"}
    assert [image.image_id for image in found.skipped] == [
        f"cars_test/{i:05d}.jpg" for i in range(1, 9)
    ]
    assert found.skipped[0].reason == "its class is in cars_test_annos_withlabels.mat only"
    with pytest.raises(ImageSetError, match="no image in split 'test': 8 in 'train'; 8 skipped"):
        found.split("test")


def test_zero_shot_splits_the_classes_over_both_folders(labelled: Path) -> None:
    found = read_image_set("cars", labelled, protocol="zero_shot")
    assert {image.label for image in found.split("train")} == {0, 1}
    assert {image.label for image in found.split("test")} == {2, 3}
    folders = Counter((image.split, image.image_id.split("/")[0]) for image in found.images)
    assert set(folders.values()) == {4}


def test_zero_shot_without_test_classes_names_the_file_to_get(devkit: Path) -> None:
    with pytest.raises(ImageSetError, match="8 images have none: put cars_test_annos_withlabels"):
        read_image_set("cars", devkit, protocol="zero_shot")


def test_the_older_layout_of_one_file_is_read(single: Path) -> None:
    found = read_image_set("cars", single)
    assert found.label_names == NAMES
    assert [image.split for image in found.images] == ["train", "test"] * 4
    assert found.images[1].image_id == "car_ims/000002.jpg"
    assert found.images[1].boxes == ((2.0, 2.0, 60.0, 40.0),)
    zero_shot = read_image_set("cars", single, protocol="zero_shot")
    assert [image.split for image in zero_shot.images] == ["train"] * 4 + ["test"] * 4


@pytest.mark.parametrize("nested", ["stanford_cars", "cars_train/cars_train", "loose"])
def test_usual_unpackings_are_found(nested: str, labelled: Path, tmp_path: Path) -> None:
    before = [(image.image_id, image.boxes) for image in read_image_set("cars", labelled).images]
    if nested == "stanford_cars":
        (tmp_path / nested).mkdir()
        for path in list(labelled.iterdir()):
            if path.name != nested:
                path.rename(tmp_path / nested / path.name)
    elif nested == "loose":
        for path in list((labelled / "devkit").iterdir()):
            path.rename(labelled / path.name)
    else:
        (labelled / "cars_train").rename(tmp_path / "inner")
        (labelled / "cars_train").mkdir()
        (tmp_path / "inner").rename(labelled / nested)
    after = read_image_set("cars", labelled)
    assert [(image.image_id, image.boxes) for image in after.images] == before


def test_one_car_is_a_set_too(tmp_path: Path) -> None:
    write_mat(tmp_path / "one.mat", "annotations", struct(rows_of("train", 1)))
    write_mat(tmp_path / "meta.mat", "class_names", cells(NAMES[:1]))
    (row,) = read_annotations(tmp_path / "one.mat", 1)
    assert (row.name, row.label, row.box, row.test) == ("00001.jpg", 0, (1, 2, 60, 40), None)
    assert read_class_names(tmp_path / "meta.mat") == [NAMES[0]]


@pytest.mark.parametrize("name", ["cars_meta.mat", "cars_train_annos.mat", "cars_test_annos.mat"])
def test_a_missing_file_is_named_with_where_it_was_looked_for(name: str, devkit: Path) -> None:
    (devkit / "devkit" / name).unlink()
    with pytest.raises(ImageSetError, match=f"looked for .*devkit/{name}"):
        read_image_set("cars", devkit)


def test_a_missing_folder_of_images_is_skipped_and_listed(labelled: Path) -> None:
    for path in (labelled / "cars_test").iterdir():
        path.unlink()
    (labelled / "cars_test").rmdir()
    found = read_image_set("cars", labelled)
    assert len(found.images) == len(found.skipped) == 8
    assert found.skipped[0].reason == f"no image at {labelled / 'cars_test' / '00001.jpg'}"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("class", np.uint8(5), r"annotation 3: class 5 is not one of 1 to 4"),
        ("class", np.uint8(0), r"annotation 3: class 0 is not one of 1 to 4"),
        ("class", np.zeros((1, 2)), r"annotation 3: class is not one value"),
        ("bbox_x1", np.nan, r"annotation 3: nan is not a finite number"),
        ("bbox_y2", "wide", r"annotation 3: 'wide' is not a number"),
        ("fname", None, r"annotation 3: fname is not one value"),
        ("fname", "00001.jpg", r"annotation 3: 00001\.jpg is annotation 1 too"),
    ],
)
def test_a_malformed_row_is_named(field: str, value: object, message: str, devkit: Path) -> None:
    rows = rows_of("train")
    rows[2][field] = np.array([]) if value is None else value
    write_mat(devkit / "devkit" / "cars_train_annos.mat", "annotations", struct(rows))
    with pytest.raises(ImageSetError, match=f"cars_train_annos.mat {message}"):
        read_image_set("cars", devkit)


def test_a_file_of_another_kind_is_one_clear_line(devkit: Path) -> None:
    path = devkit / "devkit" / "cars_train_annos.mat"
    content = path.read_bytes()
    write_mat(path, "others", struct(rows_of("train")))
    with pytest.raises(ImageSetError, match="no variable 'annotations'"):
        read_image_set("cars", devkit)
    write_mat(path, "annotations", struct(without(rows_of("train"), "bbox_x2")))
    with pytest.raises(ImageSetError, match="its annotations have no field 'bbox_x2'"):
        read_image_set("cars", devkit)
    for broken in (b"", b"not MATLAB at all, but long enough " * 20, content[:150], content[:-40]):
        path.write_bytes(broken)
        with pytest.raises(ImageSetError, match=r"cars_train_annos\.mat is not a MATLAB file"):
            read_image_set("cars", devkit)


def test_the_real_annotations_are_read(shared_data: Path) -> None:
    folder = shared_data / "cars196_devkit"
    names = read_class_names(folder / "cars_meta.mat")
    assert len(names) == 196 and names[1] == "Acura RL Sedan 2012"
    train = read_annotations(folder / "cars_train_annos.mat", len(names))
    assert len(train) == 8144
    assert (train[0].name, train[0].label, train[0].box) == ("00001.jpg", 13, (39, 116, 569, 375))
    assert {row.label for row in train} == set(range(196))
    test = read_annotations(folder / "cars_test_annos.mat", len(names))
    assert len(test) == 8041 and {row.label for row in test} == {None}
    assert test[0].box == (30, 52, 246, 147)


def test_the_real_devkit_with_stand_ins_for_its_images(shared_data: Path, tmp_path: Path) -> None:
    """Every image is one file, large enough for all boxes."""
    (tmp_path / "devkit").symlink_to(shared_data / "cars196_devkit")
    Image.new("L", (8000, 6000)).save(tmp_path / "car.png")
    for split in ("train", "test"):
        (tmp_path / f"cars_{split}").mkdir()
        for row in read_annotations(tmp_path / "devkit" / f"cars_{split}_annos.mat", 196):
            os.link(tmp_path / "car.png", tmp_path / f"cars_{split}" / row.name)
    found = read_image_set("cars", tmp_path)
    assert len(found.images) == len(found.split("train")) == 8144
    assert len(found.skipped) == 8041
    assert found.labels_without_images() == ()
