"""Photographs by a network that is known to look at one quarter for each class."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from caf_video.cli import app
from caf_video.errors import InputError
from caf_video.models.backbones import Backbone, load_backbone
from caf_video.pipeline.explain_images import explain_images
from caf_video.rendering import LookCell, LookRow, look_sheet
from caf_video.rendering.look_sheet import GAP, HEADING_HEIGHT, LINE_HEIGHT, MARGIN

NETWORK = '''
import torch
from torch import nn

class Net(nn.Module):
    """Logit k reads cell k of a map of 2 x 2 cells of 128 pixels."""

    label_names = ("upper left", "upper right, north-east", "lower left", "lower right")
    input_size = (256, 256)
    mean, std = (0, 0, 0), (1, 1, 1)

    def __init__(self):
        super().__init__()
        self.map = nn.Conv2d(3, 1, 128, 128, bias=False)
        nn.init.constant_(self.map.weight, 8 / (3 * 128**2))
        self.flat = nn.Flatten()
        self.linear = nn.Linear(4, 4, bias=False)
        self.linear.weight = nn.Parameter(torch.eye(4))

    def features(self, images):
        return self.map(images)

    def head(self, maps):
        return self.linear(self.flat(maps))

    def forward(self, images):
        return self.head(self.features(images))
'''


@pytest.fixture(autouse=True)
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quarters_net.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "quarters_net", raising=False)


@pytest.fixture
def backbone() -> Backbone:
    return load_backbone("quarters_net.Net")


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    """Bright in one quarter, a little in another: 64 x 64 and 128 x 128."""
    paths = []
    for number, (bright, dim, side) in enumerate([(1, 2, 32), (3, 0, 64)]):
        quarters = np.full(4, 20, np.uint8)
        quarters[bright], quarters[dim] = 220, 120
        picture = quarters.reshape(2, 2).repeat(side, 0).repeat(side, 1)
        paths.append(tmp_path / f"photo {number}.png")
        Image.fromarray(picture).convert("RGB").save(paths[-1])
    return paths


def warm_quarter(sheet: np.ndarray, row: int, cell: int) -> int:
    """The quarter of a cell's picture that is reddest, all grey before."""
    top = MARGIN + row * (HEADING_HEIGHT + 256 + 2 * LINE_HEIGHT + GAP) + HEADING_HEIGHT
    left = MARGIN + cell * (256 + GAP)
    picture = sheet[top : top + 256, left : left + 256].astype(int)
    red = (picture[..., 0] - picture[..., 2]).reshape(2, 128, 2, 128).sum(axis=(1, 3))
    return int(red.argmax()) if red.any() else -1


def test_a_row_is_the_photograph_where_it_looked_and_each_class(
    backbone, photographs, tmp_path
) -> None:
    out = tmp_path / "out"
    done = explain_images(photographs, out, backbone=backbone, classes=["lower left"], top=1)
    assert done.sheet == out / "photo 0 and 1 more.png"
    assert [name for name, _ in done.predictions] == ["upper right, north-east", "lower right"]
    with Image.open(done.sheet) as picture:
        sheet = np.asarray(picture)
    assert sheet.shape[1] == 2 * MARGIN + 4 * 256 + 3 * GAP
    # photograph, oblivious, the class asked for, the first class
    assert [warm_quarter(sheet, 0, cell) for cell in range(4)] == [-1, 1, 2, 1]
    # Of the second, nothing speaks for the class asked for: |f| is what speaks against it.
    assert [warm_quarter(sheet, 1, cell) for cell in range(4)] == [-1, 3, 3, 3]
    assert done.against == 1
    record = json.loads((out / "photo 0 and 1 more.json").read_text())
    arrays = np.load(out / "photo 0 and 1 more.npz")
    told = [picture for image in record["images"] for picture in image["pictures"]]
    assert [picture["class"] for picture in told] == [None, 2, 1, None, 2, 3]
    for picture in told:
        filters = arrays[picture["array"]]
        assert filters.shape == (2, 2) and np.square(filters).sum() == pytest.approx(1, rel=1e-5)
    assert abs(arrays[told[2]["array"]]).argmax() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["left"]}, "near it: upper left, lower left"),
        ({"classes": ["4"]}, "has 4 classes, no class 4"),
        ({"classes": ["0"], "methods": ["l2-caf"]}, "no method of a class|is of a class"),
        ({"methods": ["l3-caf"]}, "unknown method 'l3-caf'"),
    ],
)
def test_a_class_or_method_that_is_none_is_an_error(
    backbone, photographs, tmp_path, options, message
) -> None:
    with pytest.raises(InputError, match=message):
        explain_images(photographs, tmp_path / "out", backbone=backbone, **options)
    assert not list((tmp_path / "out").glob("*"))


def test_names_of_classes_are_the_networks_own_or_imagenets() -> None:
    assert load_backbone("quarters_net.Net").label_names[2] == "lower left"
    names = load_backbone("resnet18", weights="none").label_names
    assert len(names) == 1000 and names[281] == "tabby"


def test_one_command_for_photographs_by_name_or_number(photographs, tmp_path) -> None:
    out = tmp_path / "out"
    options = ["--backbone", "quarters_net.Net", "--out", str(out)]
    more = ["--class", "north-east", "--class", "0", "--method", "l2-caf,l2-caf-class,grad-cam"]
    done = CliRunner().invoke(app, ["explain", *map(str, photographs), *options, *more])
    assert done.exit_code == 0, done.output
    assert "2 photographs explained; open" in done.output
    record = json.loads((out / "photo 0 and 1 more.json").read_text())
    told = [(one["method"], one["class"]) for one in record["images"][0]["pictures"]]
    of_class = [(name, number) for name in ("l2-caf-class", "grad-cam") for number in (1, 0)]
    assert told == [("l2-caf", None), *of_class]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["drive.mp4", "--class", "a", "--class", "b"], "one class at most"),
        (["drive.mp4", "--class", "a", "--method", "cam"], "method of a video's class is one of"),
        (["drive.mp4", "--every", "2", "--fps", "3"], "--every and --fps exclude each other"),
        ([], "give a photograph or a video"),
    ],
)
def test_options_that_contradict_each_other_are_said_before_anything_is_read(
    arguments, message
) -> None:
    done = CliRunner().invoke(app, ["explain", *arguments, "--backbone", "quarters_net.Net"])
    assert isinstance(done.exception, InputError) and message in str(done.exception)


def test_a_sheet_is_as_large_as_its_pictures_and_their_words() -> None:
    wide, tall = np.zeros((10, 40, 3), np.uint8), np.zeros((40, 20, 3), np.uint8)
    rows = [LookRow([LookCell(wide), LookCell(tall, title="b")]), LookRow([LookCell(wide)], "row")]
    sheet = look_sheet(rows, width=20)
    assert sheet.width == 2 * MARGIN + 2 * 20 + GAP
    pixels = np.asarray(sheet)
    black = (pixels == 0).all(axis=2)
    assert black[MARGIN : MARGIN + 5, MARGIN : MARGIN + 20].all()
    assert black[MARGIN : MARGIN + 40, MARGIN + 20 + GAP : MARGIN + 40 + GAP].all()
    second = MARGIN + 40 + LINE_HEIGHT + GAP + HEADING_HEIGHT
    assert black[second : second + 5, MARGIN : MARGIN + 20].all()
    with pytest.raises(InputError, match="no pictures"):
        look_sheet([LookRow([])])
