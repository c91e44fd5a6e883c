"""What is measured of each image, by loops over images: a network whose maps are known.

Each image is black but for a red, a green and a blue patch; a channel of the map sees one of them,
and the image's box is around the one of its label. Sizes, places and labels are all different, one
image cannot be read and one has no box: whatever is taken from another place gives other numbers.
"""

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from caf_video.attention import Given
from caf_video.data.images import LabelledImage
from caf_video.localization import PROTOCOLS
from caf_video.pipeline.localize import measure
from caf_video.pipeline.localize.explained_network import ExplainedNetwork
from caf_video.pipeline.localize.inputs import inputs_for
from caf_video.pipeline.localize.measure import Measurements, measure_images
from caf_video.pipeline.localize.parts import Parts
from caf_video.pipeline.localize.pictures import answer

WHOLE = (32, 48)
# (height, width), label, and the corners x1, y1, x2, y2 of the red, green and blue patch.
SCENES = (
    ((40, 64), 0, ((4, 4, 24, 20), (40, 4, 60, 12), (44, 24, 60, 36))),
    ((64, 40), 1, ((2, 2, 14, 12), (20, 30, 38, 60), (22, 4, 34, 14))),
    ((48, 48), 2, ((4, 30, 14, 44), (4, 4, 20, 20), (28, 6, 46, 26))),  # cannot be read
    ((36, 72), 2, ((2, 2, 22, 12), (30, 20, 40, 34), (46, 4, 70, 30))),
    ((72, 36), 0, ((4, 44, 30, 68), (4, 4, 16, 14), (20, 4, 32, 20))),  # has no box
    ((50, 60), 1, ((2, 2, 30, 30), (36, 28, 56, 46), (40, 4, 56, 16))),
    ((44, 56), 0, ((34, 4, 52, 24), (4, 28, 14, 40), (4, 4, 12, 12))),
)
UNREADABLE, UNBOXED = 2, 4
READ = [i for i in range(len(SCENES)) if i != UNREADABLE]
BOXED = [i for i in READ if i != UNBOXED]


def shown(frames: NDArray[np.uint8], size: tuple[int, int], resized: tuple[int, int] | None):
    """Frames (n, height, width, 3) as the network sees them, (n, 3, *size)."""
    x = torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float() / 255
    x = functional.interpolate(x, size=resized or size, mode="bilinear")
    top, left = ((have - want) // 2 for have, want in zip(x.shape[2:], size, strict=True))
    return x[:, :, top : top + size[0], left : left + size[1]]


class ColourSeer:
    """Its map has a channel for each colour; its logits are how much there is of each."""

    def __init__(self) -> None:
        self.tail: nn.Module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def features(self, images: Tensor) -> Tensor:
        return functional.avg_pool2d(images, 4)

    def preprocessing(self, size, resized=None) -> Callable:
        return lambda frames: shown(frames, size, resized)


@dataclass(frozen=True)
class Stub:
    """A method, as the pass uses one."""

    name: str
    maps: Callable[[nn.Module, Tensor, Tensor], Tensor]
    filters: bool = False
    of_class: bool = False

    def of_pictures(self, tail: nn.Module, maps: Tensor, given: Given) -> Tensor:
        return self.maps(tail, maps, given.classes)


def own_channel(tail: nn.Module, maps: Tensor, labels: Tensor) -> Tensor:
    return maps[torch.arange(len(maps)), labels]


METHODS = (
    Stub("red", lambda tail, maps, labels: maps[:, 0]),
    Stub("own", own_channel, of_class=True),
    # |f| is the blue channel; the red images' filters alone are more negative than positive.
    Stub(
        "signed",
        lambda tail, maps, labels: maps[:, 2] * (1 - 2 * (labels == 0).float())[:, None, None],
        filters=True,
        of_class=True,
    ),
)


@pytest.fixture
def images(tmp_path: Path) -> list[LabelledImage]:
    made = []
    for number, (size, label, patches) in enumerate(SCENES):
        pixels = np.zeros((*size, 3), np.uint8)
        for channel, (x1, y1, x2, y2) in enumerate(patches):
            rows, columns = np.indices((y2 - y1, x2 - x1))
            pixels[y1:y2, x1:x2, channel] = 255 - 1.3 * columns - 0.7 * rows  # so that none tie
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path)
        boxes = () if number == UNBOXED else (tuple(map(float, patches[label])),)
        made.append(LabelledImage(path.name, path, label, boxes, "test"))
    made[UNREADABLE].path.write_bytes(b"no picture")
    return made


def explained(*, classes: bool) -> ExplainedNetwork:
    return ExplainedNetwork(
        halves=ColourSeer(),  # type: ignore[arg-type]
        backbone="eye",
        trained="by hand",
        kind="classifier" if classes else "embedding",
        classes=3 if classes else None,
        label_names=("red", "green", "blue"),
        normalize=not classes,
        size=WHOLE,
        protocol="classification",
        source={},
    )


def found_of(images: list[LabelledImage], protocols: list[str], **settings) -> Measurements:
    classes = settings.pop("classes", True)
    return measure_images(
        images,
        explained(classes=classes),
        settings.pop("methods", METHODS),
        inputs_for(protocols, whole=WHOLE, everywhere=False),
        classes_known=classes,
        parts=Parts(None, {}),
        workers=settings.pop("workers", 1),
        **settings,
    )


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caf_video.pipeline.localize.measure.IMAGES_AT_ONCE", 2)


def heat_of(image: LabelledImage, method: str, protocol: str) -> NDArray[np.float32]:
    """The heatmap of one image in the size it is measured in."""
    with Image.open(image.path) as picture:
        frame = np.asarray(picture.convert("RGB"))
    geometry = PROTOCOLS[protocol].geometry
    size = geometry.cropped or geometry.resized or WHOLE
    maps = functional.avg_pool2d(
        shown(frame[None], size, geometry.resized if geometry.cropped else None), 4
    )
    channel = {"red": 0, "own": image.label, "signed": 2}[method]
    height, width = geometry.cropped or geometry.resized or frame.shape[:2]
    heat = functional.interpolate(maps[:, [channel]], size=(height, width), mode="bilinear")
    return heat[0, 0].numpy()


def box_of(heat: NDArray[np.float32], share: float = 0.2) -> tuple[int, int, int, int]:
    """A patch alone is one segment: the box around all pixels that reach the share."""
    rows, columns = np.nonzero(heat >= np.float32(share) * heat.max())
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def iou_of(one: tuple[float, ...], other: tuple[float, ...], extra: float = 0.0) -> float:
    across = max(0.0, min(one[2], other[2]) - max(one[0], other[0]) + extra)
    down = max(0.0, min(one[3], other[3]) - max(one[1], other[1]) + extra)
    areas = [(b[2] - b[0] + extra) * (b[3] - b[1] + extra) for b in (one, other)]
    return across * down / (sum(areas) - across * down)


def test_every_image_is_compared_with_its_own_box_by_loops(images: list[LabelledImage]) -> None:
    found = found_of(images, ["simple", "cam"])
    assert found.overlaps.keys() == {
        (protocol, method.name) for protocol in ("simple", "cam") for method in METHODS
    }
    for method in METHODS:
        overlaps = found.overlaps["simple", method.name]
        expected = [
            iou_of(box_of(heat_of(images[i], method.name, "simple")), images[i].boxes[0])
            for i in BOXED
        ]
        assert overlaps[:, 0].tolist() == pytest.approx(expected)
    own, red = (found.overlaps["simple", name][:, 0] for name in ("own", "red"))
    assert (own > 0.5).all()
    assert [bool(iou > 0.5) for iou in red] == [images[i].label == 0 for i in BOXED]
    assert (found.overlaps["cam", "own"][:, 0] > 0.4).all()


def test_every_threshold_of_a_sweep_by_loops(images: list[LabelledImage]) -> None:
    found = found_of(images, ["cam", "simple"], sweeps=["simple"])
    assert {protocol for protocol, _ in found.sweeps} == {"simple"}
    for method in ("own", "red"):
        for row, i in zip(found.sweeps["simple", method], BOXED, strict=True):
            heat = heat_of(images[i], method, "simple")
            assert row.tolist() == pytest.approx(
                [
                    iou_of(box_of(heat, threshold), images[i].boxes[0])
                    for threshold in PROTOCOLS["simple"].thresholds
                ]
            )


def test_protocols_of_different_size_get_heatmaps_and_boxes_of_their_own(
    images: list[LabelledImage],
) -> None:
    """In a square of 224 and in a crop everything lies elsewhere, and every patch is found."""
    together = found_of(images, ["simple", "maxboxacc", "adl"])
    for protocol in ("simple", "maxboxacc", "adl"):
        alone = found_of(images, [protocol])
        for method in METHODS:
            np.testing.assert_array_equal(
                together.overlaps[protocol, method.name], alone.overlaps[protocol, method.name]
            )
    for row, i in zip(together.overlaps["maxboxacc", "own"], BOXED, strict=True):
        height, width = SCENES[i][0]
        scales = (224 / width, 224 / height) * 2
        corners = zip(images[i].boxes[0], scales, strict=True)
        truth = tuple(int(corner * scale) for corner, scale in corners)
        assert row.shape == (255,)
        share = 0.5
        x1, y1, x2, y2 = box_of(heat_of(images[i], "own", "maxboxacc"), share)
        level = int(share * 255)
        expected = iou_of((x1, y1, x2, y2), truth, extra=1.0)
        assert row[level] == pytest.approx(expected, abs=0.02)  # heat of 8 bits there
    assert (together.overlaps["adl", "own"][:, 0] > 0.5).sum() >= 4


def test_ranks_are_those_of_each_images_own_class(images: list[LabelledImage]) -> None:
    found = found_of(images, ["simple", "maxboxacc"])
    for protocol in ("simple", "maxboxacc"):
        expected = []
        for i in READ:
            logits = [heat_of_channel(images[i], channel) for channel in range(3)]
            own = logits[images[i].label]
            expected.append(sum(value > own for value in logits))
        assert found.ranks[protocol].tolist() == expected
    assert len(set(expected)) > 1


def heat_of_channel(image: LabelledImage, channel: int) -> float:
    with Image.open(image.path) as picture:
        return float(np.asarray(picture)[:, :, channel].mean())


def test_embeddings_are_those_of_each_image(images: list[LabelledImage]) -> None:
    found = found_of(images, ["simple"], classes=False, methods=METHODS[:1])
    assert not found.ranks
    for row, i in zip(found.embeddings["simple"], READ, strict=True):
        raw = np.array([heat_of_channel(images[i], channel) for channel in range(3)])
        np.testing.assert_allclose(row, raw / np.sqrt((raw**2).sum()), atol=0.02)


def test_what_was_read_what_has_a_box_and_which_filters_are_negative(
    images: list[LabelledImage],
) -> None:
    found = found_of(images, ["simple", "maxboxacc"])  # two inputs, counted once
    assert [image.image_id for image in found.images] == [images[i].image_id for i in READ]
    assert [skipped.image_id for skipped in found.skipped] == [images[UNREADABLE].image_id]
    assert found.localized.tolist() == [i in BOXED for i in READ]
    assert found.negative == {"signed": sum(images[i].label == 0 for i in READ)}


def test_a_classifier_of_other_classes_has_neither_ranks_nor_embeddings(
    images: list[LabelledImage],
) -> None:
    found = measure_images(
        images,
        explained(classes=True),
        METHODS[:1],
        inputs_for(["simple"], whole=WHOLE, everywhere=False),
        classes_known=False,
        parts=Parts(None, {}),
        workers=1,
    )
    assert not found.ranks and not found.embeddings


def test_progress_has_a_step_for_every_image(images: list[LabelledImage]) -> None:
    seen = []

    def track(steps, *, description: str, total: int):
        for step in steps:
            seen.append(total)
            yield step

    found_of(images, ["simple"], methods=METHODS[:1], track=track)
    assert seen == [len(SCENES)] * len(SCENES)


def test_the_heat_of_one_cell_is_neither_mirrored_nor_turned(images: list[LabelledImage]) -> None:
    """It lies right of the centre and above it, in an image twice as wide as high."""
    (image,) = [image for image in images if image.image_id == "3.png"]
    grid = np.zeros((8, 12), np.float32)
    grid[1, 9] = 1

    def one_cell(tail: nn.Module, maps: Tensor, labels: Tensor) -> Tensor:
        return torch.from_numpy(grid)[None].repeat(len(maps), 1, 1)

    def iou(x1: float, y1: float, x2: float, y2: float) -> float:
        moved = LabelledImage(image.image_id, image.path, image.label, ((x1, y1, x2, y2),), "test")
        found = found_of([moved], ["simple"], methods=[Stub("cell", one_cell)])
        return float(found.overlaps["simple", "cell"][0, 0])

    # The cell is 4.5 rows by 6 columns of the 36 x 72 pixels, and its blur 0.8 cells each way.
    assert iou(51, 1, 63, 10) > 0.6
    assert iou(9, 1, 21, 10) == iou(51, 26, 63, 35) == iou(1, 51, 10, 63) == 0


@pytest.fixture
def heat() -> NDArray[np.float32]:
    heat = np.zeros((30, 60), np.float32)
    heat[4:14, 30:50] = 0.6
    heat[4:14, 40:50] = 1.0
    return heat


def test_an_answer_is_the_box_and_its_overlap(heat: NDArray[np.float32]) -> None:
    """The whole patch at the protocol's own threshold, its hot half at a threshold above 0.6."""
    truth = np.array([[40.0, 4.0, 50.0, 14.0], [0.0, 20.0, 5.0, 25.0]])
    cold = answer(heat, truth, "simple", None)
    assert cold.boxes.tolist() == [[30, 4, 50, 14]]
    assert (cold.iou, cold.right) == (0.5, True)
    hot = answer(heat, truth, "simple", 0.8)
    assert hot.boxes.tolist() == [[40, 4, 50, 14]]
    assert (hot.iou, hot.right) == (1.0, True)
    missed = answer(heat, truth[1:], "simple", None)
    assert (missed.iou, missed.right) == (0.0, False)
    thresholds = PROTOCOLS["maxboxacc"].thresholds
    oracle = answer(heat, truth, "maxboxacc", thresholds[200])
    assert oracle.boxes.tolist() == [[40, 4, 50, 14]]
    assert oracle.iou == pytest.approx(iou_of((40, 4, 50, 14), (40, 4, 50, 14), 1.0), abs=0.2)
    assert oracle.iou > answer(heat, truth, "maxboxacc", thresholds[100]).iou


def test_protocols_that_share_an_input_are_parted_by_the_size_they_measure_in() -> None:
    (shared,) = inputs_for(["cam", "maxboxacc", "simple"], whole=(224, 224), everywhere=False)
    assert shared.sizes((40, 64)) == {(40, 64): ["cam", "simple"], (224, 224): ["maxboxacc"]}


def same_numbers(one: Measurements, other: Measurements) -> bool:
    """All that is measured, but for the time."""
    assert one.images == other.images and one.skipped == other.skipped
    assert one.negative == other.negative
    for name in ("overlaps", "sweeps", "ranks", "embeddings"):
        left, right = getattr(one, name), getattr(other, name)
        assert left.keys() == right.keys()
        for key in left:
            np.testing.assert_array_equal(left[key], right[key])
    return True


class OnThisMachine(str):
    """A device that says it is a GPU, and is none."""

    type = "cuda"


@pytest.mark.parametrize("at_once", [1, 3, 7])
def test_batches_explained_ahead_end_with_the_last_and_give_the_same(
    images: list[LabelledImage], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    whole = found_of(images, ["simple"])
    monkeypatch.setattr(measure, "IMAGES_AT_ONCE", at_once)
    assert same_numbers(found_of(images, ["simple"]), whole)
    monkeypatch.setattr(measure, "device", lambda: OnThisMachine("cpu"))
    order: list[str] = []
    finished, explained_ = measure._Pass._finished, measure._Pass._explain

    def noted(work, number, *arguments, **settings):
        order.append(f"measured {number}")
        yield from finished(work, number, *arguments, **settings)

    def explain(*arguments):
        order.append("explained")
        return explained_(*arguments)

    monkeypatch.setattr(measure._Pass, "_finished", noted)
    monkeypatch.setattr(measure._Pass, "_explain", explain)
    assert same_numbers(found_of(images, ["simple"]), whole)
    last = (len(images) - 1) // at_once
    wanted = ["explained"]
    for number in range(last):
        wanted += ["explained", f"measured {number}"]
    assert order == [*wanted, f"measured {last}"]


def test_filters_are_counted_as_negative_by_the_first_input_and_of_a_class_alone(
    images: list[LabelledImage],
) -> None:
    inputs = inputs_for(["simple", "maxboxacc"], whole=WHOLE, everywhere=False)
    assert len(inputs) == 2
    widths = [one.size[1] // 4 for one in inputs]
    assert widths[0] != widths[1]

    def signed_by_width(tail: nn.Module, maps: Tensor, labels: Tensor) -> Tensor:
        return maps[:, 0] * (-1 if maps.shape[-1] == widths[0] else 1)

    methods = [
        Stub("signed", signed_by_width, filters=True, of_class=True),
        Stub("of no class", signed_by_width, filters=True),
        Stub("no filters", signed_by_width, of_class=True),
    ]
    found = found_of(images, ["simple", "maxboxacc"], methods=methods)
    assert found.negative == {"signed": len(READ)}


def test_each_process_gets_an_eighth_of_a_batch_and_never_nothing() -> None:
    for count, wanted in ((0, 1), (3, 1), (8, 1), (17, 2), (64, 8)):
        assert measure._Jobs(list(range(count)), [], [], [], [], []).chunk == wanted


@pytest.mark.parametrize(("fewest", "several"), [(len(SCENES), True), (len(SCENES) + 1, False)])
def test_processes_measure_from_so_many_images_on(
    images: list[LabelledImage], monkeypatch: pytest.MonkeyPatch, fewest: int, several: bool
) -> None:
    began: list[int] = []

    def noted(workers: int):
        began.append(workers)
        return nullcontext()

    monkeypatch.setattr(measure, "FEWEST_FOR_PROCESSES", fewest)
    monkeypatch.setattr(measure, "worker_pool", noted)
    settings = {"methods": METHODS[:1], "workers": 2}
    found_of(images, ["simple"], **settings)
    assert began == ([2] if several else [])


def test_seconds_are_those_between_begin_and_end_of_each_stage(
    images: list[LabelledImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that is a second further whenever it is asked: each stage took as many seconds as it
    was begun."""
    clock = itertools.count(100)
    told = SimpleNamespace(perf_counter=lambda: float(next(clock)))
    monkeypatch.setattr(measure, "time", told)
    monkeypatch.setattr(measure, "IMAGES_AT_ONCE", len(SCENES))
    found = found_of(images, ["simple"], methods=METHODS[:1])
    assert found.seconds == {
        "read": 2.0,  # of the pictures, and as the network's input
        "forward": 1.0,
        "attention": 1.0,
        "measure": 1.0,
        "total": 11.0,
    }


def test_a_part_of_images_with_masks_is_found_again(
    images: list[LabelledImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.zeros((*SCENES[0][0], 3), np.uint8)
    mask[4:20, 4:24] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    masked = replace(images[0], boxes=(), masks=(tmp_path / "mask.png",))
    inputs = inputs_for(["pxap"], whole=WHOLE, everywhere=False)

    def measured() -> Measurements:
        return measure_images(
            [masked],
            explained(classes=True),
            METHODS[:1],
            inputs,
            classes_known=True,
            parts=Parts(tmp_path / "out.json", {}),
            workers=1,
        )

    first = measured()
    assert first.localized.tolist() == [True]
    monkeypatch.setattr(measure._Pass, "_explain", None)
    assert same_numbers(measured(), first)
