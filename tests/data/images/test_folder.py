"""A folder of images with a CSV table, and what all sets of images share."""

from pathlib import Path

import pytest
from PIL import Image

from caf_video.data.images import (
    IMAGE_SETS,
    ImageSetError,
    SkippedImage,
    read_image_set,
)
from caf_video.errors import CafVideoError, InputError

BOXED = """image,label,split,x1,y1,x2,y2
a/1.jpg,cat,train,2,3,20,15
a/1.jpg,cat,train,0,0,32,24
2.png,dog,test,1.5,2.5,30,20
3.png,dog,val,,,,
"""


def folder_with(root: Path, table: str, *, name: str = "images.csv") -> Path:
    """A folder with a table, and images 24 high and 32 wide of the names in its rows."""
    (root / name).write_text(table, encoding="utf-8")
    for row in table.split("\n")[1:]:
        if path := row.split(",")[0]:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 24)).save(root / path)
    return root


def test_rows_of_a_table_become_images_with_boxes_and_splits(tmp_path: Path) -> None:
    found = read_image_set("folder", folder_with(tmp_path, BOXED))
    assert (found.name, found.root, found.skipped) == ("folder", tmp_path, ())
    assert found.label_names == ("cat", "dog")
    first, second, third = found.images
    assert first.image_id == "a/1.jpg" and first.path == tmp_path / "a" / "1.jpg"
    assert first.boxes == ((2.0, 3.0, 20.0, 15.0), (0.0, 0.0, 32.0, 24.0))
    assert [image.label for image in found.images] == [0, 1, 1]
    assert second.boxes == ((1.5, 2.5, 30.0, 20.0),) and third.boxes == ()
    assert found.split("train") == (first,) and found.split("test") == (second,)
    assert found.split("val") == (third,)


def test_rows_of_an_image_need_not_stand_together(tmp_path: Path) -> None:
    table = "image,label,x1,y1,x2,y2\na.png,x,0,0,1,1\nb.png,y,0,0,2,2\n./a.png,x,0,0,3,3\n"
    found = read_image_set("folder", folder_with(tmp_path, table))
    assert [image.boxes for image in found.images] == [
        ((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 3.0, 3.0)),
        ((0.0, 0.0, 2.0, 2.0),),
    ]


def test_without_splits_or_boxes_all_is_to_test(tmp_path: Path) -> None:
    table = "image,note,label\na.png,a column of yours,x\nb.png,,y\n"
    found = read_image_set("folder", folder_with(tmp_path, table))
    assert [found.label_names[image.label] for image in found.images] == ["x", "y"]
    assert [image.split for image in found.images] == ["test", "test"]
    assert [image.boxes for image in found.images] == [(), ()]


def test_labels_are_sorted_by_number_where_all_are_numbers(tmp_path: Path) -> None:
    table = "image,label\na.png,10\nb.png,9\nc.png,-1\n"
    found = read_image_set("folder", folder_with(tmp_path, table))
    assert found.label_names == ("-1", "9", "10")
    assert [image.label for image in found.images] == [2, 1, 0]
    found = read_image_set("folder", folder_with(tmp_path, table + "d.png,x\n"))
    assert found.label_names == ("-1", "10", "9", "x")


def test_the_only_table_of_a_folder_may_have_any_name(tmp_path: Path) -> None:
    table = "image,label\na.png,x\n"
    folder_with(tmp_path, table, name="mine.csv")
    assert len(read_image_set("folder", tmp_path).images) == 1
    (tmp_path / "other.csv").write_text(table)
    with pytest.raises(ImageSetError, match=r"no images\.csv in .*: it has 2: mine\.csv, …"):
        read_image_set("folder", tmp_path)
    (tmp_path / "images.csv").write_text(table)
    assert len(read_image_set("folder", tmp_path).images) == 1


def test_what_cannot_be_used_is_skipped_and_says_why(tmp_path: Path) -> None:
    table = (
        "image,label,x1,y1,x2,y2\ngood.png,x,0,0,32,24\nabsent.png,x,0,0,9,9\n"
        "empty.png,x,0,0,9,9\nwide.png,x,0,0,33.1,24\nhigh.png,x,0,0,9,9\nhigh.png,x,0,-1.5,9,9\n"
        "flat.png,x,5,5,9,5\nmirrored.png,y,9,5,5,9\n"
    )
    folder_with(tmp_path, table)
    (tmp_path / "absent.png").unlink()
    (tmp_path / "empty.png").write_bytes(b"")
    found = read_image_set("folder", tmp_path)
    assert [image.image_id for image in found.images] == ["good.png"]
    assert found.skipped == (
        SkippedImage("absent.png", f"no image at {tmp_path / 'absent.png'}"),
        SkippedImage("empty.png", f"{tmp_path / 'empty.png'} is empty"),
        SkippedImage(
            "wide.png",
            "its box (0, 0, 33.1, 24) reaches 1.1 pixels beyond the image, 24 high and 32 wide",
        ),
        SkippedImage(
            "high.png",
            "its box (0, -1.5, 9, 9) reaches 1.5 pixels beyond the image, 24 high and 32 wide",
        ),
        SkippedImage("flat.png", "its box (5, 5, 9, 5) is empty"),
        SkippedImage("mirrored.png", "its box (9, 5, 5, 9) is empty"),
    )
    assert found.labels_without_images() == ("y",)


@pytest.mark.parametrize("box", ["-1,-1,33,25", "0,0,32.9,24", "31,23,33,25"])
def test_a_box_may_reach_one_pixel_beyond_and_is_kept_as_annotated(
    box: str, tmp_path: Path
) -> None:
    table = f"image,label,x1,y1,x2,y2\na.png,x,{box}\n"
    (image,) = read_image_set("folder", folder_with(tmp_path, table)).images
    assert image.boxes == (tuple(float(number) for number in box.split(",")),)


def test_a_box_is_measured_on_the_upright_image(tmp_path: Path) -> None:
    folder_with(tmp_path, "image,label,x1,y1,x2,y2\na.png,x,0,0,24,32\n")
    assert_reason(tmp_path, "reaches 8 pixels beyond the image, 24 high and 32 wide")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (32, 24)).save(tmp_path / "a.png", exif=exif)
    assert len(read_image_set("folder", tmp_path).images) == 1


def assert_reason(root: Path, reason: str) -> None:
    with pytest.raises(ImageSetError, match=reason):
        read_image_set("folder", root)


def test_a_set_of_which_nothing_is_left_is_an_error_with_the_first_reason(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("image,label\na.png,x\nb.png,x\n")
    assert_reason(
        tmp_path, r"no image that can be used: 2 skipped, the first of them a\.png: no image at"
    )


def test_labels_without_images_are_named_for_each_split(tmp_path: Path) -> None:
    found = read_image_set("folder", folder_with(tmp_path, BOXED))
    assert found.labels_without_images() == ()
    assert found.labels_without_images("train") == ("dog",)
    assert found.labels_without_images("test") == ("cat",)


def test_a_split_without_images_says_which_there_are(tmp_path: Path) -> None:
    table = "image,label,split\na.png,x,train\nb.png,x,train\nc.png,x,val\nd.png,x,test\n"
    folder_with(tmp_path, table)
    (tmp_path / "d.png").unlink()
    found = read_image_set("folder", tmp_path)
    message = (
        r"folder in .* has no image in split 'test': 2 in 'train', 1 in 'val'; 1 skipped, "
        r"the first of them d\.png: no image at"
    )
    with pytest.raises(ImageSetError, match=message):
        found.split("test")


def test_zero_shot_needs_classes_that_were_not_trained_on(tmp_path: Path) -> None:
    folder_with(tmp_path, "image,label,split\na.png,x,train\nb.png,y,test\nc.png,z,val\n")
    found = read_image_set("folder", tmp_path, protocol="zero_shot")
    assert [image.split for image in found.images] == ["train", "test", "val"]
    folder_with(tmp_path, "image,label,split\na.png,x,train\nb.png,y,test\nc.png,x,val\n")
    assert len(read_image_set("folder", tmp_path).images) == 3
    message = r"images\.csv line 4: class 'x' is in split 'val', but in 'train' on line 2"
    with pytest.raises(ImageSetError, match=message):
        read_image_set("folder", tmp_path, protocol="zero_shot")
    folder_with(tmp_path, "image,label\na.png,x\n")
    with pytest.raises(ImageSetError, match="no image in split 'train'"):
        read_image_set("folder", tmp_path, protocol="zero_shot")


def test_other_columns_and_one_small_box_are_left_alone(tmp_path: Path) -> None:
    folder_with(tmp_path, "image,label,width,height,x,maximum\na.png,x,9,9,1,2\n")
    (image,) = read_image_set("folder", tmp_path).images
    assert image.boxes == ()
    folder_with(tmp_path, "image,label,x1,y1,x2,y2\na.png,x,0,0,1,1\na.png,x,0,0,2,2\n")
    (image,) = read_image_set("folder", tmp_path).images
    assert image.boxes == ((0, 0, 1, 1), (0, 0, 2, 2))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", r"line 1: no column 'image': it has nothing, wanted image,label"),
        ("image;label\na.png;x\n", "line 1: no column 'image': it has image;label"),
        ("file,label\n", "line 1: no column 'image': it has file,label"),
        ("image,label,label\n", "line 1: two columns are named 'label'"),
        ("image,label,x1,y1,x2\n", "line 1: a box needs the column 'y2', too"),
        ("image,label,xmin,ymin,xmax,ymax\n", "line 1: column 'xmin' seems to say where an object"),
        ("image,label,X1,Y1,X2,Y2\n", "line 1: column 'X1' seems to say where"),
        ("image,label,x,y,width,height\n", "line 1: column 'x' seems to say where"),
        ("image,label,Left,Top,w,h\n", "line 1: column 'Left' seems to say where"),
        ("image,label,bounding box\n", "line 1: column 'bounding box' seems to say where"),
        ("image,label,bbox_x\n", "line 1: column 'bbox_x' seems to say where"),
        ("image,label,Split\n", "line 1: column 'Split': a split is called 'split'"),
        ("image,label,subset\n", "line 1: column 'subset': a split is called 'split'"),
        (
            "image,label,x1,y1,x2,y2\na.png,x,0.1,0,0.5,1\nb.png,x,,,,\n",
            "all boxes lie between 0 and 1: corners are in pixels",
        ),
        ("image,label\n", "lists no image"),
        ("image,label\na.png\n", "line 2: 1 cells, but the header has 2"),
        ("image,label\n\na.png,\n", "line 3: label is empty"),
        ("image,label\n,x\n", "line 2: image is empty"),
        ('image,label\n"a.png,x\n', "line 2: not CSV"),
        ("image,label,split\na.png,x,dev\n", "line 2: unknown split 'dev': it is one of train"),
        ("image,label,x1,y1,x2,y2\na.png,x,1,2,3,\n", "line 2: '' is not a number"),
        ("image,label,x1,y1,x2,y2\na.png,x,1,2,3,four\n", "line 2: 'four' is not a number"),
        ("image,label,x1,y1,x2,y2\na.png,x,1,2,3,nan\n", "line 2: 'nan' is not a finite number"),
        ("image,label,x1,y1,x2,y2\na.png,x,1,2,inf,4\n", "line 2: 'inf' is not a finite number"),
        (
            "image,label,x1,y1,x2,y2\na.png,x,0,0,9,9\nb.png,y,0,0,9,9\na.png,y,0,0,9,9\n",
            r"line 4: a\.png has label 'y', but 'x' on line 2: an image has one label",
        ),
        (
            "image,label,split,x1,y1,x2,y2\na.png,x,train,0,0,9,9\na.png,x,test,0,0,9,9\n",
            r"line 3: a\.png has split 'test', but 'train' on line 2",
        ),
        ("image,label\na.png,x\na.png,x\n", r"line 3: a\.png is on line 2 too"),
        (
            "image,label,x1,y1,x2,y2\na.png,x,,,,\na.png,x,0,0,9,9\n",
            r"line 3: a\.png is on line 2 too",
        ),
    ],
)
def test_a_malformed_table_names_the_line(table: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text(table)
    with pytest.raises(ImageSetError, match=f"images.csv.*{message}") as caught:
        read_image_set("folder", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_no_text_or_not_there_is_one_clear_line(tmp_path: Path) -> None:
    assert_reason(tmp_path, r"no images\.csv in .*: it has none")
    (tmp_path / "images.csv").write_bytes(b"image,label\ncaf\xe9.png,x\n")
    assert_reason(tmp_path, r"images\.csv line 2: byte 0xe9 is not UTF-8")
    assert_reason(tmp_path / "images.csv", "no folder at")
    assert_reason(tmp_path / "absent", "no folder at .*: it should hold images and a CSV table")


def test_an_unknown_set_or_protocol_says_what_there_is(tmp_path: Path) -> None:
    assert IMAGE_SETS == ("imagenet", "cub", "cars", "folder", "wsol")
    with pytest.raises(InputError, match="no image set 'coco'; there are imagenet, cub, cars"):
        read_image_set("coco", tmp_path)
    with pytest.raises(InputError, match="no protocol 'few_shot'; there are classification, zero"):
        read_image_set("cub", tmp_path, protocol="few_shot")
    with pytest.raises(InputError, match="imagenet has no zero-shot split"):
        read_image_set("imagenet", tmp_path, protocol="zero_shot")
    assert issubclass(ImageSetError, CafVideoError)
