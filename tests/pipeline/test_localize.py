"""The table of localisation: by loops over images, and what a long pass over bad files does."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from caf_video.attention import explain, grad_cam
from caf_video.cli import main
from caf_video.data.images import read_image
from caf_video.errors import CafVideoError, InputError
from caf_video.files import RECORD
from caf_video.models.backbones import load_backbone
from caf_video.models.image_network import ImageNetwork
from caf_video.pipeline.localize.explained_network import ExplainedNetwork, of_backbone, of_run
from caf_video.pipeline.localize.inputs import inputs_for
from caf_video.pipeline.localize.stage import localize
from caf_video.pipeline.train import compose_config, train
from caf_video.shards import Shard
from caf_video.training import CheckpointError

SIZE = (96, 96)
CLASSES = ("bird", "cat", "dog")


def write_images(root: Path, count: int = 12) -> None:
    """A folder set: a bright patch of a class's colour on noise; the last image has no box."""
    random = np.random.default_rng(5)
    rows = []
    for i in range(count):
        label = i % len(CLASSES)
        height, width = random.integers(60, 80, size=2)
        pixels = random.integers(0, 60, size=(height, width, 3))
        x1, y1 = random.integers(0, 10, size=2)
        x2, y2 = min(x1 + random.integers(16, 58), width), min(y1 + random.integers(16, 58), height)
        pixels[y1:y2, x1:x2, label] += 180
        name = f"{i:02d}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(root / name)
        box = ["", "", "", ""] if i == count - 1 else [x1, y1, x2, y2]
        rows.append([name, CLASSES[label], "test", *box])
    with (root / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "label", "split", "x1", "y1", "x2", "y2"], *rows])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    folder.mkdir()
    write_images(folder)
    return folder


def explained_of(network: ImageNetwork, *, classes: bool) -> ExplainedNetwork:
    return ExplainedNetwork(
        halves=network,
        backbone="resnet18",
        trained="random",
        kind="classifier" if classes else "embedding",
        classes=len(CLASSES) if classes else None,
        label_names=CLASSES,
        normalize=not classes,
        size=SIZE,
        protocol="classification",
        source={"seed": "0"},
    )


@pytest.fixture(scope="module")
def embedder() -> ExplainedNetwork:
    torch.manual_seed(0)
    return explained_of(ImageNetwork("resnet18", outputs=8, weights="none").eval(), classes=False)


@pytest.fixture(scope="module")
def classifier() -> ExplainedNetwork:
    torch.manual_seed(1)
    network = ImageNetwork("resnet18", outputs=len(CLASSES), weights="none").eval()
    return explained_of(network, classes=True)


class Calls:
    """How often the trunk of a network ran."""

    def __init__(self, explained: ExplainedNetwork) -> None:
        self.images = 0
        self._module = explained.halves.trunk  # type: ignore[attr-defined]

    def __enter__(self) -> "Calls":
        def note(module: object, args: tuple[Tensor]) -> None:
            self.images += len(args[0])

        self._hook = self._module.register_forward_pre_hook(note)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


def slow_box(heatmap: np.ndarray, share: float = 0.2) -> tuple[int, int, int, int]:
    """The box around the largest 8-connected segment at a share of the maximum, by flood fill."""
    left = {(int(r), int(c)) for r, c in np.argwhere(heatmap >= share * heatmap.max())}
    best: list[tuple[int, int]] = []
    while left:
        queue = [left.pop()]
        segment = list(queue)
        while queue:
            r, c = queue.pop()
            near = {(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            queue += near
            segment += near
        best = segment if len(segment) > len(best) else best
    rows, columns = [r for r, _ in best], [c for _, c in best]
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


def slow_iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    across = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    down = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return across * down / (sum(areas) - across * down)


def one_by_one(
    root: Path, explained: ExplainedNetwork, method: str
) -> Iterator[tuple[str, Tensor, float | None]]:
    """Label, outputs and IoU (None without a box) of each image, the whole network each time."""
    network = explained.halves
    with (root / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        frame = read_image(root / row["image"])
        x = network.preprocessing(SIZE)(frame[None])
        size, target = frame.shape[:2], CLASSES.index(row["label"])
        if method == "l2-caf":
            heat = explain(network, x, layer="trunk", size=size).heatmaps[0]
        elif method == "l2-caf-class-centered":
            heat = explain(
                network, x, layer="trunk", size=size, target=target, center_logits=True
            ).heatmaps[0]
        elif method == "grad-cam":
            heat = grad_cam(network, x, layer="trunk", size=size, target=target)[0]
        else:
            heat = grad_cam(network, x, layer="trunk", size=size)[0]
        with torch.no_grad():
            outputs = network(x)[0]
        iou = None
        if row["x1"]:
            box = tuple(float(row[name]) for name in ("x1", "y1", "x2", "y2"))
            iou = (
                slow_iou(slow_box(heat.numpy()), box)
                if heat.max() > 0
                else slow_iou((0, 0, size[1], size[0]), box)
            )
        yield row["label"], outputs, iou


def test_gated_localisation_by_a_loop(root: Path, embedder: ExplainedNetwork) -> None:
    methods = ["l2-caf", "retrieval-grad-cam"]
    done = localize("folder", root, embedder, methods=methods)
    right: dict[str, list[float]] = {}
    for method in methods:
        found = list(one_by_one(root, embedder, method))
        embeddings = torch.stack([outputs / outputs.norm() for _, outputs, _ in found])
        gated, known, correct_all = [], [], []
        for i, (label, _, iou) in enumerate(found):
            distances = (embeddings - embeddings[i]).norm(dim=1)
            distances[i] = torch.inf
            correct = found[int(distances.argmin())][0] == label
            correct_all.append(correct)
            if iou is not None:
                known.append(iou >= 0.5)
                gated.append(iou >= 0.5 and correct)
        right[method] = [float(hit) for hit in gated]
        row = next(row for row in done.scores.rows if row.method == method)
        assert row.figures["gt_known"].value == pytest.approx(np.mean(known))
        assert row.figures["gated_loc"].value == pytest.approx(np.mean(gated))
        assert done.scores.retrieval["simple"].recall[1] == pytest.approx(np.mean(correct_all))
    delta = np.mean(right["l2-caf"]) - np.mean(right["retrieval-grad-cam"])
    first, second = done.scores.rows
    assert first.delta is not None and first.delta.value == pytest.approx(delta)
    assert second.delta is None
    assert 0 < np.mean(right["l2-caf"]) < 1  # a gate that is always shut or open shows nothing


@pytest.mark.parametrize("method", ["l2-caf-like", "l2-caf-like-mean", "grad-cam-cosine"])
def test_methods_of_pairs_compare_an_image_with_its_nearest_other_by_a_loop(
    method: str, root: Path, embedder: ExplainedNetwork, tmp_path: Path
) -> None:
    done = localize(
        "folder", root, embedder, methods=[method], pictures=tmp_path / "p", picture_count=1
    )
    assert (tmp_path / "p" / "sheet-01.png").exists()
    network = embedder.halves
    with (root / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    frames = [read_image(root / row["image"]) for row in rows]
    inputs = [network.preprocessing(SIZE)(frame[None]) for frame in frames]
    with torch.no_grad():
        raw = torch.cat([network(x) for x in inputs])
    units = raw / raw.norm(dim=1, keepdim=True)
    known = []
    for i, row in enumerate(rows):
        if not row["x1"]:
            continue
        distances = [
            (units[i] - unit).norm() if j != i else torch.inf for j, unit in enumerate(units)
        ]
        nearest, size = raw[int(np.argmin(distances))], frames[i].shape[:2]
        if method == "grad-cam-cosine":
            heat = grad_cam(network, inputs[i], layer="trunk", size=size, reference=nearest)[0]
        else:
            heat = explain(
                network, inputs[i], layer="trunk", size=size, reference=nearest,
                center="map" if method == "l2-caf-like" else raw.mean(dim=0),
            ).heatmaps[0]  # fmt: skip
        box = tuple(float(row[name]) for name in ("x1", "y1", "x2", "y2"))
        known.append(slow_iou(slow_box(heat.numpy()), box))
    assert done.found.overlaps["simple", method][:, 0] == pytest.approx(known, abs=1e-6)
    assert len({round(iou, 3) for iou in known}) > 3


def test_class_gates_by_a_loop(root: Path, classifier: ExplainedNetwork) -> None:
    methods = ["l2-caf-class-centered", "grad-cam"]
    done = localize("folder", root, classifier, methods=methods)
    for method in methods:
        known, gated, top1 = [], [], []
        for label, logits, iou in one_by_one(root, classifier, method):
            correct = int(logits.argmax()) == CLASSES.index(label)
            top1.append(correct)
            if iou is not None:
                known.append(iou >= 0.5)
                gated.append(iou >= 0.5 and correct)
        row = next(row for row in done.scores.rows if row.method == method)
        assert row.figures["gt_known"].value == pytest.approx(np.mean(known))
        assert row.figures["top1_loc"].value == pytest.approx(np.mean(gated))
        assert row.figures["top5_loc"].value == row.figures["gt_known"].value  # of 3 classes
        assert done.scores.top["simple"]["top1"].value == pytest.approx(np.mean(top1))


def test_methods_and_protocols_share_one_pass(root: Path, classifier: ExplainedNetwork) -> None:
    protocols = ["simple", "cam", "adl", "maxboxacc", "maxboxacc_v2"]
    with Calls(classifier) as calls:
        done = localize("folder", root, classifier, protocols=protocols, size=SIZE)
    assert calls.images == 12
    assert {row.protocol for row in done.scores.rows} == set(protocols)
    assert len({row.method for row in done.scores.rows}) == 7
    with Calls(classifier) as calls:  # as published: the whole in two sizes, and a centre crop
        localize("folder", root, classifier, protocols=protocols, methods=["l2-caf"])
    assert calls.images == 3 * 12


def test_protocols_with_one_input_share_an_input() -> None:
    shared = inputs_for(["cam", "simple", "maxboxacc", "adl"], whole=(224, 224), everywhere=False)
    assert [list(one.geometries) for one in shared] == [["cam", "simple", "maxboxacc"], ["adl"]]
    assert (shared[1].size, shared[1].resized) == ((224, 224), (256, 256))
    (alone,) = inputs_for(["cam", "adl"], whole=(96, 64), everywhere=True)
    assert alone.size == (96, 64) and alone.resized is None
    assert alone.geometries["adl"].boxes([[0, 0, 50, 30]], (30, 50)).tolist() == [[0, 0, 64, 96]]


def test_an_interrupted_pass_goes_on_where_it_stopped(
    root: Path, embedder: ExplainedNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caf_video.pipeline.localize.measure.IMAGES_AT_ONCE", 3)
    whole = localize("folder", root, embedder, json=tmp_path / "whole.json")

    def stops(items: Iterator[object], *, description: str, total: int) -> Iterator[object]:
        for number, item in enumerate(items):
            yield item
            if number == 6:  # two parts of three are kept
                raise KeyboardInterrupt

    path = tmp_path / "out.json"
    with pytest.raises(KeyboardInterrupt):
        localize("folder", root, embedder, json=path, track=stops)
    assert not path.exists()
    with Calls(embedder) as calls:
        localize("folder", root, embedder, json=path)
    assert calls.images == 6
    expected, found = (json.loads(p.read_text()) for p in (tmp_path / "whole.json", path))
    for record in (expected, found):
        record.pop("seconds")
    assert found == expected
    assert path.with_suffix(".md").read_text() == whole.markdown()
    assert [path.name for path in tmp_path.glob(".*")] == [RECORD]  # no part is left


def test_a_pass_that_stopped_before_its_table_ends_and_damaged_parts_are_made_again(
    root: Path, embedder: ExplainedNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caf_video.pipeline.localize.measure.IMAGES_AT_ONCE", 3)
    path = tmp_path / "out.json"

    def stops(*_: object) -> None:
        raise KeyboardInterrupt

    def stopped() -> list[Path]:
        with monkeypatch.context() as patch:
            patch.setattr("caf_video.pipeline.localize.stage.write_json", stops)
            with pytest.raises(KeyboardInterrupt):
                localize("folder", root, embedder, json=path, methods=["l2-caf"])
        return sorted(tmp_path.glob(".*.parts/*.safetensors"))

    def images_of_the_rest() -> int:
        with Calls(embedder) as calls:
            localize("folder", root, embedder, json=path, methods=["l2-caf"])
        return calls.images

    assert len(stopped()) == 4
    assert images_of_the_rest() == 0
    wanted = json.loads(path.read_text())
    spoils: list[Callable[[list[Path]], object]] = [
        lambda parts: parts[1].write_bytes(b""),
        lambda parts: parts[1].write_bytes(parts[1].read_bytes()[:-1]),
        lambda parts: parts[1].write_bytes(parts[3].read_bytes()),  # fewer of its images have boxes
    ]
    for spoil in spoils:
        path.unlink()
        path.with_suffix(".md").unlink()
        spoil(stopped())
        assert images_of_the_rest() == 3
        found = json.loads(path.read_text())
        assert found | {"seconds": 0} == wanted | {"seconds": 0}
    path.unlink()
    stopped()
    (root / "04.png").touch()  # another file now: nothing of the pass before is used
    assert images_of_the_rest() == 12


def test_other_processes_measure_the_same(
    root: Path, classifier: ExplainedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = localize("folder", root, classifier, protocols=["simple", "maxboxacc"])
    monkeypatch.setattr("caf_video.pipeline.localize.measure.FEWEST_FOR_PROCESSES", 1)
    several = localize("folder", root, classifier, protocols=["simple", "maxboxacc"], workers=2)
    assert alone.found.overlaps.keys() == several.found.overlaps.keys()
    for key, overlaps in alone.found.overlaps.items():
        np.testing.assert_array_equal(several.found.overlaps[key], overlaps)


def test_what_cannot_be_read_is_counted_and_named(root: Path, embedder: ExplainedNetwork) -> None:
    (root / "03.png").unlink()
    whole = (root / "05.png").read_bytes()
    (root / "05.png").write_bytes(whole[: len(whole) // 2])
    done = localize("folder", root, embedder, methods=["l2-caf"])
    assert {image.image_id for image in done.skipped} == {"03.png", "05.png"}
    assert len(done.found.images) == 10 and int(done.found.localized.sum()) == 9
    assert any(note.startswith("2 listed images were skipped: ") for note in done.notes)
    assert "03.png" in done.markdown() and "05.png" in done.markdown()


def test_choices_that_cannot_be_are_one_line(root: Path, embedder: ExplainedNetwork) -> None:
    with pytest.raises(InputError, match="unknown method 'heat': it is one of l2-caf, "):
        localize("folder", root, embedder, methods=["heat"])
    with pytest.raises(InputError, match="method l2-caf-joint explains clips, not images"):
        localize("folder", root, embedder, methods=["l2-caf-joint"])
    with pytest.raises(InputError, match="unknown protocol 'voc'"):
        localize("folder", root, embedder, protocols=["voc"])
    with pytest.raises(InputError, match="method cam shows a class, .* has none"):
        localize("folder", root, embedder, methods=["cam"])
    backbone = of_backbone(load_backbone("resnet18", weights="none"))
    with pytest.raises(InputError, match="has other classes than the 3 of the images"):
        localize("folder", root, backbone, methods=["grad-cam"])
    done = localize("folder", root, backbone, size=SIZE)  # what fits is all that needs no class
    assert [row.method for row in done.scores.rows] == ["l2-caf", "feature-norm", "uniform"]
    assert done.scores.headline == "gt_known" and not done.scores.top
    with pytest.raises(InputError, match="method acol is of networks tuned by ACoL"):
        localize("folder", root, _known(root), methods=["acol"])


def _known(root: Path) -> ExplainedNetwork:
    torch.manual_seed(2)
    return explained_of(ImageNetwork("resnet18", outputs=3, weights="none").eval(), classes=True)


def test_images_without_boxes_are_no_table(tmp_path: Path, embedder: ExplainedNetwork) -> None:
    write_images(tmp_path, count=4)
    table = tmp_path / "images.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(",".join(line.split(",")[:3]) for line in lines))
    with pytest.raises(InputError, match="no image of split 'test' of .* has a box"):
        localize("folder", tmp_path, embedder)


def test_pictures_show_boxes_and_curves(
    root: Path, classifier: ExplainedNetwork, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    done = localize(
        "folder", root, classifier, methods=["l2-caf", "cam"], protocols=["maxboxacc", "simple"],
        size=SIZE, pictures=folder, picture_count=7,
    )  # fmt: skip
    assert sorted(p.name for p in folder.iterdir()) == [
        RECORD,
        "curves.png",
        "sheet-01.png",
        "sheet-02.png",
    ]
    with Image.open(folder / "sheet-01.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    for colour in ((48, 232, 120), (70, 130, 255)):  # ground truth, answer
        assert (pixels == colour).all(axis=1).sum() > 500
    curves = {(row.protocol, row.method): row.curve for row in done.scores.rows}
    assert all(curve is not None for curve in curves.values())
    at_20 = curves["simple", "cam"].accuracies[
        0, list(curves["simple", "cam"].thresholds).index(0.2)
    ]
    row = next(r for r in done.scores.rows if (r.protocol, r.method) == ("simple", "cam"))
    assert at_20 == pytest.approx(row.figures["gt_known"].value)


def test_where_nothing_can_be_written_nothing_is_begun(
    root: Path, embedder: ExplainedNetwork
) -> None:
    def begun(*_: object, **__: object) -> Iterator[object]:
        raise AssertionError

    file = root / "images.csv"
    with pytest.raises(CafVideoError, match=r"images\.csv is a file, not a folder"):
        localize("folder", root, embedder, pictures=file, track=begun)
    with pytest.raises(CafVideoError, match=r"images\.csv is a file, not a folder"):
        localize("folder", root, embedder, json=file / "out.json", track=begun)
    with pytest.raises(InputError, match="is a folder, not a file to write to"):
        localize("folder", root, embedder, json=root, track=begun)


def test_the_command_writes_the_table_and_the_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "imagenet"
    (root / "val").mkdir(parents=True)
    rows = ["image,label,x1,y1,x2,y2"]
    for i in range(1, 4):
        name = f"ILSVRC2012_val_{i:08d}.JPEG"
        Image.new("L", (50 + i, 40), 90 * i % 256).save(root / "val" / name)
        rows.append(f"{name},{i},5,6,30,31")
    (root / "boxes.csv").write_text("\n".join(rows))
    record = tmp_path / "out.json"
    arguments = f"localize --dataset imagenet --root {root} --backbone resnet18 --weights none"
    methods = ("l2-caf", "grad-cam", "l2-caf-class-centered")
    arguments += f" --method {','.join(methods)} --protocol cam,maxboxacc_v2 --json {record}"
    monkeypatch.setattr("sys.argv", ["caf-video", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    found = json.loads(record.read_text())
    assert len(found["rows"]) == 6 and len(found["images"]) == 3
    assert found["images"][0]["iou"]["cam"].keys() == set(methods)
    header = record.with_suffix(".md").read_text().splitlines()[0]
    assert header == (
        "| protocol | method | backbone | trained | GT-known LOC | top-1 LOC | top-5 LOC | "
        "Δ top-1 LOC |"
    )
    (table,) = found["tables"]
    assert f"| {' | '.join(table['columns'])} |" == header and len(table["rows"]) == 6
    assert table["title"] == "Localisation: imagenet, split test"
    shown = capsys.readouterr().out  # 80 columns wide
    assert {"GT-known", "maxboxacc_v2", "(oracle)", *methods} <= set(shown.split())


def test_a_run_of_images_is_localised_and_one_of_clips_is_not(
    store_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    write_images(root, count=24)
    table = root / "images.csv"
    lines = table.read_text().splitlines()
    for i, row in enumerate(lines[1:13], start=1):  # the first half is to train on
        lines[i] = row.replace(",test,", ",train,")
    table.write_text("\n".join(lines))
    common = (
        f"data=folder root={root} backbone=resnet18 model.weights=none data.protocol=classification"
        " data.size=[64,64] data.batch_size=6 data.batches_per_epoch=1 data.workers=0"
        " trainer.max_epochs=1 progress_bar=false"
    )
    expected = {
        "loss=triplet data.samples_per_class=2": ("retrieval", "triplet (semi-hard)", "embedding"),
        "loss=n_pair": ("retrieval", "N-pair", "embedding"),
        "loss=library data.samples_per_class=2": (
            "retrieval",
            "TripletMarginLoss with MultiSimilarityMiner",
            "embedding",
        ),
        "tuning=gap optimizer=adam": ("classifier", "gap", "classifier"),
        "tuning=acol model.erase_channels=8": ("classifier", "acol", "acol"),
    }
    for number, (overrides, (name, trained, kind)) in enumerate(expected.items()):
        run = tmp_path / f"run{number}"
        train(compose_config([*common.split(), *overrides.split(), f"run_dir={run}"], name))
        explained = of_run(run)
        assert (explained.trained, explained.kind, explained.size) == (trained, kind, (64, 64))
        done = localize("folder", root, explained)
        methods = [row.method for row in done.scores.rows]
        assert ("acol" in methods) == (trained == "acol")
        assert ("cam" in methods) == (trained == "gap")
        assert bool(done.scores.retrieval) == (kind == "embedding")
        assert len(done.found.images) == 12  # those of the test split
    clips = tmp_path / "clips"
    train(
        compose_config(
            f"features={store_folder} run_dir={clips} model.channels=4 trainer.max_epochs=1 "
            "data.batches_per_epoch=1 progress_bar=false".split()
        )
    )
    with pytest.raises(CheckpointError, match="caf-video evaluate"):
        of_run(clips)


def test_shards_share_the_parts_of_a_pass_and_the_last_one_writes_the_table(
    root: Path, embedder: ExplainedNetwork, tmp_path: Path, monkeypatch
) -> None:
    from caf_video.pipeline.localize import measure

    monkeypatch.setattr(measure, "IMAGES_AT_ONCE", 4)  # 12 images: three parts

    def part(index: int, count: int):
        return localize(
            "folder", root, embedder, methods=["l2-caf"], json=path, shard=Shard(index, count)
        )

    path = tmp_path / "whole.json"
    part(0, 1)
    whole, path = path, tmp_path / "shared.json"
    waiting = part(1, 2)
    assert isinstance(waiting, measure.Waiting)
    assert (waiting.parts, waiting.total) == ([0, 2], 3) and not path.exists()
    with Calls(embedder) as calls:
        part(0, 2)
    assert calls.images == 8
    one, other = (json.loads(file.read_text()) for file in (whole, path))
    for record in (one, other):
        record.pop("seconds")
    assert one == other
    assert (tmp_path / "whole.md").read_text() == (tmp_path / "shared.md").read_text()
    with Calls(embedder) as calls:
        part(0, 1)  # a run of all takes the parts, and takes them away
    assert calls.images == 0 and not list(tmp_path.glob(".*.parts"))
    with pytest.raises(InputError, match="the same --json"):
        localize("folder", root, embedder, shard=Shard(0, 2))
