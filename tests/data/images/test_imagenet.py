"""ImageNet's validation images: every layout that users have, with the official XML or a table."""

import json
from pathlib import Path

import pytest
from PIL import Image

from caf_video.data.images import ImageSet, ImageSetError, SkippedImage, read_image_set

WNIDS = [f"n{10_000_000 + 7 * i:08d}" for i in range(1000)]
IDS = [f"ILSVRC2012_val_{i:08d}" for i in (1, 2, 3)]
LABELS = (972, 0, 30)
BOXES = ((10.0, 20.0, 60.0, 50.0), (0.0, 0.0, 64.0, 51.0), (1.0, 1.0, 2.0, 2.0))
Box = tuple[float, float, float, float]


def write_image(path: Path, size: tuple[int, int] = (51, 64), orientation: int = 1) -> None:
    """A JPEG of a stored (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (size[1], size[0])).save(path, "JPEG", exif=exif)


def write_xml(
    path: Path, wnids: list[str], boxes: list[Box], size: tuple[int, int] = (51, 64)
) -> None:
    """An annotation as it is distributed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = "".join(
        f"\t<object>\n\t\t<name>{wnid}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0"
        "</truncated>\n\t\t<difficult>0</difficult>\n\t\t<bndbox>\n"
        f"\t\t\t<xmin>{box[0]:g}</xmin>\n\t\t\t<ymin>{box[1]:g}</ymin>\n"
        f"\t\t\t<xmax>{box[2]:g}</xmax>\n\t\t\t<ymax>{box[3]:g}</ymax>\n"
        "\t\t</bndbox>\n\t</object>\n"
        for wnid, box in zip(wnids, boxes, strict=True)
    )
    path.write_text(
        f"<annotation>\n\t<folder>val</folder>\n\t<filename>{path.stem}</filename>\n\t<source>\n"
        "\t\t<database>ILSVRC_2012</database>\n\t</source>\n\t<size>\n"
        f"\t\t<width>{size[1]}</width>\n\t\t<height>{size[0]}</height>\n\t\t<depth>3</depth>\n"
        f"\t</size>\n\t<segmented>0</segmented>\n{objects}</annotation>\n"
    )


def write_classes(root: Path, name: str = "LOC_synset_mapping.txt") -> None:
    root.mkdir(parents=True, exist_ok=True)
    if name.endswith(".json"):
        content = json.dumps({str(i): [wnid, f"name_{i}"] for i, wnid in enumerate(WNIDS)})
    elif name == "synsets.txt":
        content = "\n".join(WNIDS)
    else:
        content = "".join(f"{wnid} a name, another name of {wnid}\n" for wnid in reversed(WNIDS))
    (root / name).write_text(content)


def write_flat(
    root: Path, images: str, boxes: str, *, classes: str = "LOC_synset_mapping.txt"
) -> Path:
    """Three images in a folder, their annotations in another; the first has two boxes."""
    write_classes(root, classes)
    for image_id, label in zip(IDS, LABELS, strict=True):
        write_image(root / images / f"{image_id}.JPEG")
        several = list(BOXES[:2]) if image_id == IDS[0] else [BOXES[2]]
        write_xml(root / boxes / f"{image_id}.xml", [WNIDS[label]] * len(several), several)
    return root


def require_the_three(found: ImageSet) -> None:
    assert found.name == "imagenet" and found.skipped == ()
    assert [image.image_id for image in found.images] == IDS
    assert tuple(image.label for image in found.images) == LABELS
    assert found.images[0].boxes == BOXES[:2] and found.images[1].boxes == BOXES[2:]
    assert {image.split for image in found.images} == {"test"}
    assert all(image.path.is_file() and image.path.is_absolute() for image in found.images)


@pytest.mark.parametrize(
    ("images", "boxes"),
    [
        ("ILSVRC/Data/CLS-LOC/val", "ILSVRC/Annotations/CLS-LOC/val"),
        ("Data/CLS-LOC/val", "Annotations/CLS-LOC/val"),
        ("ILSVRC2012_img_val", "ILSVRC2012_bbox_val_v3/val"),
        ("val", "val"),
        ("images", "annotations"),
        ("", ""),
        ("", "val"),
    ],
)
def test_usual_unpackings_are_found(images: str, boxes: str, tmp_path: Path) -> None:
    found = read_image_set("imagenet", write_flat(tmp_path, images, boxes))
    require_the_three(found)
    assert found.label_names == tuple(WNIDS)
    assert len(found.labels_without_images()) == 997


@pytest.mark.parametrize(
    "classes", ["synset_words.txt", "synsets.txt", "imagenet_class_index.json"]
)
def test_every_list_of_classes_gives_the_same_numbers(classes: str, tmp_path: Path) -> None:
    require_the_three(
        read_image_set("imagenet", write_flat(tmp_path, "val", "val", classes=classes))
    )


def write_class_folders(root: Path, count: int) -> Path:
    """The three images in class folders among so many."""
    for wnid in WNIDS[:count]:
        (root / "val" / wnid).mkdir(parents=True)
    for i, wnid in enumerate(WNIDS[:count]):
        write_image(root / "val" / wnid / f"ILSVRC2012_val_{i + 101:08d}.JPEG")
        write_xml(root / "bbox" / "val" / f"ILSVRC2012_val_{i + 101:08d}.xml", [wnid], [BOXES[0]])
    return root


def test_a_thousand_class_folders_are_the_list_of_classes(tmp_path: Path) -> None:
    found = read_image_set("imagenet", write_class_folders(tmp_path, 1000))
    assert [image.label for image in found.images] == list(range(1000))
    assert found.label_names == tuple(WNIDS) and found.labels_without_images() == ()


def test_fewer_class_folders_need_a_list_of_all(tmp_path: Path) -> None:
    write_class_folders(tmp_path, 12)
    message = "its place among all 1000, and .* has no list of them: put LOC_synset_mapping.txt"
    with pytest.raises(ImageSetError, match=message):
        read_image_set("imagenet", tmp_path)
    write_classes(tmp_path, "synsets.txt")
    found = read_image_set("imagenet", tmp_path)
    assert [image.label for image in found.images] == list(range(12))


def write_table(root: Path, rows: str, name: str = "boxes.csv") -> None:
    (root / name).write_text(f"image,label,x1,y1,x2,y2\n{rows}")


def test_a_table_gives_boxes_and_labels_and_comes_before_the_xml(tmp_path: Path) -> None:
    write_flat(tmp_path, "images", "annotations")
    write_table(tmp_path, f"{IDS[2]}.JPEG,7,0.5,1.5,20,30\n{IDS[2]}.JPEG,7,1,2,3,4\n")
    found = read_image_set("imagenet", tmp_path)
    (image,) = found.images
    assert (image.image_id, image.label, image.split) == (IDS[2], 7, "test")
    assert image.boxes == ((0.5, 1.5, 20.0, 30.0), (1.0, 2.0, 3.0, 4.0))
    assert image.path == tmp_path / "images" / f"{IDS[2]}.JPEG"


def test_a_table_needs_no_list_of_classes(tmp_path: Path) -> None:
    write_image(tmp_path / "val" / f"{IDS[0]}.JPEG")
    write_table(tmp_path, f"{IDS[0]}.JPEG,999,0,0,9,9\n", "mine.csv")
    (tmp_path / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n")
    found = read_image_set("imagenet", tmp_path)
    assert found.images[0].label == 999
    assert found.label_names == tuple(str(label) for label in range(1000))
    write_table(tmp_path, f"{IDS[0]}.JPEG,998,0,0,9,9\n", "other.csv")
    message = "two tables of boxes in .*, mine.csv and other.csv: name the one to read boxes.csv"
    with pytest.raises(ImageSetError, match=message):
        read_image_set("imagenet", tmp_path)


def test_a_table_finds_images_in_class_folders_and_agrees_with_them(tmp_path: Path) -> None:
    write_classes(tmp_path)
    write_image(tmp_path / "val" / WNIDS[5] / f"{IDS[0]}.JPEG")
    write_table(tmp_path, f"{IDS[0]}.JPEG,5,0,0,9,9\n")
    assert read_image_set("imagenet", tmp_path).images[0].label == 5
    write_table(tmp_path, f"{IDS[0]}.JPEG,6,0,0,9,9\n")
    message = f"boxes.csv line 2: .* has label 6, {WNIDS[6]}, but is in class folder {WNIDS[5]}"
    with pytest.raises(ImageSetError, match=message):
        read_image_set("imagenet", tmp_path)


@pytest.mark.parametrize("label", ["1000", "-1", "tench", "1.0"])
def test_a_label_of_a_table_is_the_number_of_a_class(label: str, tmp_path: Path) -> None:
    write_image(tmp_path / f"{IDS[0]}.JPEG")
    write_table(tmp_path, f"{IDS[0]}.JPEG,{label},0,0,9,9\n")
    with pytest.raises(ImageSetError, match=rf"boxes\.csv line 2: label '{label}' is not the num"):
        read_image_set("imagenet", tmp_path)


def test_what_has_no_image_or_no_boxes_is_skipped_and_listed(tmp_path: Path) -> None:
    write_flat(tmp_path, "val", "annotations")
    (tmp_path / "val" / f"{IDS[0]}.JPEG").unlink()
    (tmp_path / "annotations" / f"{IDS[1]}.xml").unlink()
    found = read_image_set("imagenet", tmp_path)
    assert [image.image_id for image in found.images] == [IDS[2]]
    assert found.skipped == (
        SkippedImage(IDS[0], "its .xml is there, but no image"),
        SkippedImage(IDS[1], "no .xml with its boxes"),
    )
    write_table(
        tmp_path,
        f"{IDS[0]}.JPEG,1,0,0,9,9\n{IDS[1]}.JPEG,1,,,,\n{IDS[2]}.JPEG,1,0,0,9,9\n",
    )
    found = read_image_set("imagenet", tmp_path)
    assert [image.image_id for image in found.images] == [IDS[2]]
    assert found.skipped == (
        SkippedImage(IDS[0], f"no image {IDS[0]}.JPEG (boxes.csv line 2)"),
        SkippedImage(IDS[1], "no box (boxes.csv line 3)"),
    )


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, (10, 20, 60, 50)),
        (3, (4, 1, 54, 31)),  # 64 - 60, 51 - 50, 64 - 10, 51 - 20
        (6, (1, 10, 31, 60)),  # 51 - 50, 10, 51 - 20, 60
        (8, (20, 4, 50, 54)),  # 20, 64 - 60, 50, 64 - 10
    ],
)
def test_boxes_of_the_stored_picture_are_turned_with_it(
    orientation: int, expected: Box, tmp_path: Path
) -> None:
    write_classes(tmp_path)
    write_image(tmp_path / "val" / f"{IDS[0]}.JPEG", orientation=orientation)
    write_xml(tmp_path / "val" / f"{IDS[0]}.xml", [WNIDS[0]], [BOXES[0]])
    (image,) = read_image_set("imagenet", tmp_path).images
    assert image.boxes == (expected,)


def test_boxes_of_the_upright_picture_stay(tmp_path: Path) -> None:
    write_classes(tmp_path)
    write_image(tmp_path / "val" / f"{IDS[0]}.JPEG", size=(64, 51), orientation=6)
    write_xml(tmp_path / "val" / f"{IDS[0]}.xml", [WNIDS[0]], [BOXES[0]], size=(51, 64))
    (image,) = read_image_set("imagenet", tmp_path).images
    assert image.boxes == (BOXES[0],)


def test_boxes_of_another_size_of_the_picture_are_skipped(tmp_path: Path) -> None:
    write_flat(tmp_path, "val", "val")
    write_image(tmp_path / "val" / f"{IDS[0]}.JPEG", size=(227, 227))
    found = read_image_set("imagenet", tmp_path)
    reason = "its boxes are of an image 51 high and 64 wide, but it is 227 high and 227 wide"
    assert found.skipped == (SkippedImage(IDS[0], reason),)


def test_what_is_missing_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ImageSetError, match=r"no ILSVRC2012_val_.*JPEG in .*: looked in val/, im"):
        read_image_set("imagenet", tmp_path)
    write_image(tmp_path / "val" / f"{IDS[0]}.JPEG")
    with pytest.raises(ImageSetError, match=r"no boxes in .*: no boxes\.csv, and no ILSVRC2012_va"):
        read_image_set("imagenet", tmp_path)
    with pytest.raises(ImageSetError, match="no folder at .*: it should hold ILSVRC2012_val_XXXX"):
        read_image_set("imagenet", tmp_path / "absent")


def test_an_image_of_two_classes_is_refused(tmp_path: Path) -> None:
    write_flat(tmp_path, "val", "val")
    write_xml(tmp_path / "val" / f"{IDS[0]}.xml", WNIDS[:2], list(BOXES[:2]))
    with pytest.raises(ImageSetError, match=f"{IDS[0]}.xml: two labels, {WNIDS[0]} and {WNIDS[1]}"):
        read_image_set("imagenet", tmp_path)
    write_xml(tmp_path / "val" / f"{IDS[0]}.xml", [WNIDS[0]], [BOXES[0]])
    (tmp_path / "val" / WNIDS[1]).mkdir()
    (tmp_path / "val" / f"{IDS[0]}.JPEG").rename(tmp_path / "val" / WNIDS[1] / f"{IDS[0]}.JPEG")
    message = f"class {WNIDS[0]}, but the image is in class folder {WNIDS[1]}"
    with pytest.raises(ImageSetError, match=message):
        read_image_set("imagenet", tmp_path)


def test_an_image_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    write_flat(tmp_path, "val", "val")
    write_image(tmp_path / "val" / WNIDS[0] / f"{IDS[0]}.JPEG")
    with pytest.raises(ImageSetError, match=rf"{IDS[0]}\.JPEG is there twice: "):
        read_image_set("imagenet", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</annotation>", "", "is not XML: no element found: line 26"),
        ("<size>", "<scale>", "is not XML: mismatched tag"),
        ("<xmin>10</xmin>", "", "no <bndbox/xmin> in <object>"),
        ("<xmin>10</xmin>", "<xmin>left</xmin>", "'left' is not a number"),
        ("<xmin>10</xmin>", "<xmin>nan</xmin>", "'nan' is not a finite number"),
        (f"<name>{WNIDS[972]}</name>", "<name></name>", "no <name> in <object>"),
        ("<width>64</width>", "", "no <size/width> in <annotation>"),
        (f"<name>{WNIDS[972]}</name>", "<name>n00000001</name>", "n00000001 is none of the 1000"),
    ],
)
def test_a_malformed_annotation_is_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    write_flat(tmp_path, "val", "val")
    path = tmp_path / "val" / f"{IDS[0]}.xml"
    write_xml(path, [WNIDS[972]], [BOXES[0]])
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
    with pytest.raises(ImageSetError, match=rf"{IDS[0]}\.xml.*{message}"):
        read_image_set("imagenet", tmp_path)


def test_an_annotation_without_objects_is_named(tmp_path: Path) -> None:
    write_flat(tmp_path, "val", "val")
    write_xml(tmp_path / "val" / f"{IDS[0]}.xml", [], [])
    with pytest.raises(ImageSetError, match="no <object> in it"):
        read_image_set("imagenet", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("synsets.txt", "n01440764\nn01440764\n", "1 classes, not 1000"),
        ("synsets.txt", "tench\n", "'tench' is not a WordNet id such as n01440764"),
        ("imagenet_class_index.json", "[1, 2]", "is not a list of classes: wanted"),
        ("imagenet_class_index.json", '{"0": "tench"}', "is not a list of classes: wanted"),
        ("imagenet_class_index.json", "{", "is not a list of classes: wanted"),
    ],
)
def test_a_malformed_list_of_classes_is_named(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    write_flat(tmp_path, "val", "val")
    (tmp_path / "LOC_synset_mapping.txt").unlink()
    (tmp_path / name).write_text(content)
    with pytest.raises(ImageSetError, match=f"{name}.*{message}"):
        read_image_set("imagenet", tmp_path)


def test_the_shared_photographs_are_read(shared_data: Path) -> None:
    found = read_image_set("imagenet", shared_data / "ilsvrc_val")
    assert len(found.images) == 650 and found.skipped == ()
    rows = (shared_data / "ilsvrc_val" / "boxes.csv").read_text().splitlines()[1:]
    assert sum(len(image.boxes) for image in found.images) == len(rows)
    first = found.images[0]
    assert (first.image_id, first.label) == ("ILSVRC2012_val_00000347", 472)
    assert first.boxes[0] == (9.08, 105.93, 50.39, 176.76) and len(first.boxes) == 8
