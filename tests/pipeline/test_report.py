"""The pages of runs: what they say is what was measured, and their pictures are theirs alone."""

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from caf_video.data.manifest import write_manifest
from caf_video.errors import CafVideoError, InputError
from caf_video.models.image_network import ImageNetwork
from caf_video.pipeline.evaluate import evaluate
from caf_video.pipeline.report.parts import drawn
from caf_video.pipeline.report.stage import report
from caf_video.retrieval import neighbor_plane, principal_plane
from caf_video.training.checkpoint import KEY, RunRecord, plain_record
from caf_video.training.image_description import ImageDescription

LOSS = {"_target_": "caf_video.metric_learning.NPairLoss"}
HOSTILE = "</script><script>alert('x')</script>"


def data_of(page) -> dict:
    (block,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL
    )
    return json.loads(block)


def values_of(page) -> list[float]:
    return [float(value) for value in re.findall(r'<data value="([^"]+)">', page.read_text())]


def test_the_page_of_a_run_of_clips_says_what_was_measured(known_run, tmp_path) -> None:
    done = report(known_run.folder, tmp_path / "page")
    evaluation = evaluate(known_run.folder)
    assert (done.shown, done.total) == (7, 7)
    data = data_of(done.page)
    assert [clip["id"] for clip in data["clips"]] == list(known_run.nearest)
    for row, clip in enumerate(data["clips"]):
        nearest, distance = clip["near"][0][1:]
        counted = bool(evaluation.gate.counted[row])
        assert nearest == known_run.nearest[clip["id"]] and clip["distance"] == distance
        assert clip["verdict"] == ((clip["id"] in known_run.right) if counted else None)
        assert data["clips"][clip["near"][0][0]]["id"] == nearest
        assert [index / 10 for index in known_run.frames] == clip["times_seconds"]
        assert sum(clip["influence"]) == pytest.approx(1, abs=0.01)
        distances = [other[2] for other in clip["near"]]
        assert distances == sorted(distances) and len(distances) == 5
    values = values_of(done.page)
    for figures in (evaluation.all_others, evaluation.other_sessions):
        if figures is not None:
            for value in (*figures.result.recall.values(), figures.nmi, figures.chance):
                assert value in values
            for recall in figures.baselines.values():
                assert recall[1] in values


def test_films_show_the_frames_of_their_clip_in_order_and_warm_where_it_looked(
    known_run, tmp_path
) -> None:
    done = report(known_run.folder, tmp_path / "page")
    for clip in data_of(done.page)["clips"]:
        heated, bare = (tmp_path / "page" / name for name in clip["films"])
        width, height = clip["size"]
        with Image.open(bare) as picture:
            assert picture.size == (3 * width, height)
            pixels = np.asarray(picture.convert("L")).astype(int)
        for step, frame in enumerate(known_run.frames):
            shade = pixels[:, step * width + 9 : (step + 1) * width - 9].mean()
            assert abs(shade - known_run.shade(clip["id"], frame)) < 6
        with Image.open(heated) as picture:
            colours = np.asarray(picture).astype(int)
        warmth = np.abs(colours[..., 0] - colours[..., 2])[:, :width]
        assert warmth[:, : width // 4].mean() > 4 * warmth[:, width // 2 :].mean()


def test_a_part_of_many_clips_is_drawn_the_same_every_time(known_run, tmp_path) -> None:
    assert drawn(5, 9) == [0, 1, 2, 3, 4]
    some = drawn(1000, 10)
    assert some == drawn(1000, 10) == sorted(set(some)) and len(some) == 10
    done = report(known_run.folder, tmp_path / "page", gallery=3)
    data = data_of(done.page)
    assert (done.shown, done.total, len(data["clips"])) == (3, 7, 3)
    assert "3 of 7 clips" in done.page.read_text()
    ids = [clip["id"] for clip in data["clips"]]
    for clip in data["clips"]:
        for place, name, _ in clip["near"]:
            assert (ids[place] == name) if place >= 0 else (name not in ids)


@pytest.mark.parametrize("kind", ["pca", "tsne"])
def test_the_map_is_the_one_that_was_asked_for(kind, known_run, tmp_path) -> None:
    if kind == "tsne":
        pytest.importorskip("sklearn", reason="no scikit-learn: pip install 'caf_video[maps]'")
    done = report(known_run.folder, tmp_path / "page", gallery=5, map_kind=kind)
    embeddings = evaluate(known_run.folder).search.queries.embeddings
    rows = drawn(len(embeddings), 5)
    if kind == "pca":  # of all, of which five are shown
        plane = principal_plane(embeddings)[0][rows]
    else:
        plane = neighbor_plane(embeddings[rows])
    points = np.array([clip["point"] for clip in data_of(done.page)["clips"]])
    np.testing.assert_allclose(points, plane / np.abs(plane).max(), atol=1e-4)
    assert ("t-SNE" in done.page.read_text(), "(PCA)" in done.page.read_text()) == (
        kind == "tsne",
        kind == "pca",
    )


def test_a_map_that_cannot_be_drawn_is_refused_before_the_work(
    known_run, tmp_path, monkeypatch
) -> None:
    with pytest.raises(InputError, match="no map 'umap': choose pca, tsne"):
        report(known_run.folder, tmp_path / "page", map_kind="umap")
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(InputError, match="scikit-learn"):
        report(known_run.folder, tmp_path / "page", map_kind="tsne")
    assert not (tmp_path / "page").exists()


def test_names_that_are_markup_end_nothing(make_known_run, tmp_path) -> None:
    known = make_known_run()
    clips = [replace(clip, label=clip.label.replace("stop_sign", HOSTILE)) for clip in known.clips]
    write_manifest(clips, known.store.manifest_path)
    done = report(known.folder, tmp_path / "page")
    assert HOSTILE not in done.page.read_text()
    assert HOSTILE in {clip["label"] for clip in data_of(done.page)["clips"]}


def test_a_page_replaces_its_own_pictures_and_nobody_elses(known_run, tmp_path) -> None:
    folder = tmp_path / "page"
    report(known_run.folder, folder)
    report(known_run.folder, folder, gallery=2)
    assert len(list((folder / "frames").glob("*.jpg"))) == 4
    (folder / "index.html").write_text("mine")
    with pytest.raises(CafVideoError, match="not as caf_video wrote it"):
        report(known_run.folder, folder)
    other = tmp_path / "other"
    (other / "frames").mkdir(parents=True)
    (other / "frames" / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(CafVideoError, match="not caf_video's"):
        report(known_run.folder, other)
    assert (other / "frames" / "holiday.jpg").read_bytes() == b"mine"


def write_image_run(folder, root, kind: str):
    """A run of untrained images: twelve of three colours, and one that cannot be mistaken."""
    rows = ["image,label,split"]
    random = np.random.default_rng(0)
    for number in range(13):
        label = number % 3
        pixels = random.integers(0, 60, (50, 70, 3))
        pixels[10:40, 10:40, label] += 180
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"{number}.png")
        rows.append(f"{number}.png,{('red', 'green', HOSTILE)[label]},test")
    (root / "images.csv").write_text("\n".join(rows) + "\n")
    torch.manual_seed(0)
    network = ImageNetwork("resnet18", outputs=3 if kind == "classifier" else 8, weights="none")
    record = RunRecord(
        kind=kind,
        hyperparameters=network.hyperparameters,
        normalize=kind == "retrieval",
        description=ImageDescription("folder", str(root), "classification", (64, 64), "0 (x)"),
        label_names=[HOSTILE, "green", "red"],
        config={
            "kind": kind,
            "seed": 0,
            "loss": {"_target_": "caf_video.metric_learning.NPairLoss"},
        },
    )
    weights = {f"model.{name}": values for name, values in network.state_dict().items()}
    (folder / "checkpoints").mkdir(parents=True)
    torch.save(
        {KEY: plain_record(record), "state_dict": weights, "global_step": 7},
        folder / "checkpoints" / "best.ckpt",
    )
    return network.eval()


@pytest.mark.parametrize("kind", ["retrieval", "classifier"])
def test_the_page_of_a_run_of_images_says_what_was_measured(kind, tmp_path, known_run) -> None:
    root, run = tmp_path / "set", tmp_path / "run"
    root.mkdir()
    network = write_image_run(run, root, kind)
    done = report(run, tmp_path / "page")
    clips = data_of(done.page)["clips"]
    assert len(clips) == 13 and done.page.read_text().count(HOSTILE) == 0
    preprocess, outputs = network.preprocessing((64, 64)), []
    for clip in clips:
        with Image.open(root / clip["facts"]["file"]) as picture, torch.no_grad():
            outputs.append(network(preprocess(np.asarray(picture)[None]))[0])
    if kind == "classifier":
        names = [HOSTILE, "green", "red"]
        answers = [names[int(output.argmax())] for output in outputs]
        assert [clip["found"] for clip in clips] == answers
        right = [answer == clip["label"] for answer, clip in zip(answers, clips, strict=True)]
    else:
        rows = torch.nn.functional.normalize(torch.stack(outputs).double(), dim=1)
        apart = torch.cdist(rows, rows).fill_diagonal_(torch.inf)
        nearest = apart.argmin(dim=1).tolist()
        assert [clip["near"][0][0] for clip in clips] == nearest
        right = [clips[place]["label"] == clip["label"]
                 for place, clip in zip(nearest, clips, strict=True)]  # fmt: skip
    assert [clip["verdict"] for clip in clips] == right
    assert sum(right) / 13 in values_of(done.page)
    with pytest.raises(InputError, match="of images"):
        report(run, tmp_path / "page", videos=tmp_path)
    with pytest.raises(InputError, match="of clips"):
        report(known_run.folder, tmp_path / "page", root=root)
