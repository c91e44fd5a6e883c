"""The whole chain on networks that this package did not lay out: extract, train, evaluate, explain.

Random weights, a handful of tiny clips; what is checked is that each stage takes what the one
before left, and that a store, a run and an explanation know which network they are of.
"""

import json
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from caf_video.data.features import FeatureStore, FeatureStoreError
from caf_video.data.manifest import Clip, write_manifest
from caf_video.errors import CafVideoError, InputError
from caf_video.models.backbones import Backbone, load_backbone
from caf_video.pipeline.evaluate import evaluate
from caf_video.pipeline.explain import explain_clips
from caf_video.pipeline.explain_files import write_explanations
from caf_video.pipeline.explain_video import explain_video
from caf_video.pipeline.extract import extract
from caf_video.pipeline.localize.explained_network import of_backbone, of_run
from caf_video.pipeline.train import compose_config, train

SIZE = (64, 96)
OWN = '''
from torch import nn


class TwoConvolutions(nn.Module):
    """8 pixels a cell, and a head of its own."""

    mean = std = (0.5, 0.5, 0.5)

    def __init__(self, channels):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, channels, 4, stride=4),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 2, stride=2),
        )
        self.fc = nn.Linear(channels, 7)

    def features(self, images):
        return self.trunk(images)

    def head(self, maps):
        return self.fc(maps.mean(dim=(2, 3)))

    def forward(self, images):
        return self.head(self.features(images))
'''
NAMES = {
    "timm_cnn": "timm/test_resnet",
    "timm_vit": "timm/test_vit",
    "hf": "hf/./network",
    "own": '{"_target_": "my_networks.TwoConvolutions", "channels": 8}',
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of coloured noise, two clips of each in every split."""
    folder = tmp_path_factory.mktemp("clips")
    random = np.random.default_rng(0)
    clips = []
    for split in ("train", "val", "test"):
        for label, colour in (("left", (200, 60, 60)), ("right", (60, 60, 200))):
            for number in range(2):
                name = f"{split}_{label}_{number}"
                frames = random.normal(colour, 40, (6, *SIZE, 3)).clip(0, 255).astype(np.uint8)
                write_video(folder / f"{name}.mp4", frames)
                clips.append(Clip(name, folder / f"{name}.mp4", label, session=name, split=split))
    write_manifest(clips, folder / "manifest.csv")
    return folder / "manifest.csv"


def write_video(path: Path, frames: np.ndarray) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def name_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The name of a backbone, whose package is there or the test skipped."""

    def name(kind: str) -> str:
        if kind.startswith("timm"):
            pytest.importorskip("timm", reason="the extra caf_video[timm] is not installed")
        if kind == "hf":
            transformers = pytest.importorskip(
                "transformers", reason="the extra caf_video[hf] is not installed"
            )
            config = transformers.Dinov2Config(
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                image_size=64,
                patch_size=16,
            )
            transformers.Dinov2Model(config).save_pretrained(tmp_path / "network")
            transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(
                tmp_path / "network"
            )
        return NAMES[kind]

    (tmp_path / "my_networks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield name
    sys.modules.pop("my_networks", None)


def with_weights_in_a_file(name: str, folder: Path) -> Backbone:
    """A network at random whose weights can be had again."""
    torch.manual_seed(0)
    made = load_backbone(name, weights="none")
    file = folder / "weights.safetensors"
    save_file(dict(made.trunk[0].net.state_dict()), file)
    backbone = load_backbone(name, weights=str(file))
    assert backbone.weights_sha256 == made.weights_sha256
    return backbone


@pytest.mark.parametrize("kind", NAMES)
def test_the_whole_chain(kind, name_of, manifest, tmp_path, monkeypatch) -> None:
    backbone = with_weights_in_a_file(name_of(kind), tmp_path)
    store = extract(manifest, tmp_path / "features", backbone=backbone, size=SIZE, workers=0).store
    told = json.loads((store.folder / "store.json").read_text())
    assert told["backbone"] == backbone.name and told["backbone"].startswith(name_of(kind)[:3])
    assert told["weights_sha256"] == backbone.weights_sha256
    assert told["normalization"] == str(backbone.normalization) != ""
    assert told["revision"] == backbone.revision
    h, w = SIZE[0] // backbone.stride, SIZE[1] // backbone.stride
    assert (told["stride"], told["size"], told["grid"]) == (backbone.stride, list(SIZE), [h, w])
    assert FeatureStore.open(store.folder).description == store.description

    config = compose_config(
        [
            f"features={store.folder}", f"run_dir={tmp_path / 'run'}", "trainer.max_epochs=1",
            "data.batches_per_epoch=2", "data.classes_per_batch=2", "data.samples_per_class=2",
            "progress_bar=false",
        ]
    )  # fmt: skip
    run = train(config)
    evaluation = evaluate(run)
    assert 0 <= evaluation.result.recall[1] <= 1

    # A video of no manifest: the network is found again by what the run recorded of it.
    monkeypatch.chdir("/")
    video = manifest.parent / "test_left_0.mp4"
    explained = explain_clips(run, ["test_left_0", str(video)])
    assert [one.filters.shape for one in explained] == [(3, h, w)] * 2
    torch.testing.assert_close(explained[0].filters, explained[1].filters, rtol=1e-3, atol=1e-3)
    norms = explained[0].filters.flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(3))
    assert all(strip.stat().st_size for strip in write_explanations(explained, tmp_path / "out"))


@pytest.mark.parametrize("kind", ["timm_vit", "own"])
def test_a_store_of_another_network_weights_or_size_is_refused(
    kind, name_of, manifest, tmp_path
) -> None:
    name = name_of(kind)
    torch.manual_seed(0)
    first = load_backbone(name, weights="none")
    extract(manifest, tmp_path / "features", backbone=first, size=SIZE, workers=0)
    other = NAMES["own"].replace("8", "6") if kind == "own" else "timm/test_vit2"
    for backbone, size, word in (
        (first, (64, 64), "size"),
        (load_backbone(name, weights="none"), SIZE, "weights_sha256"),
        (load_backbone(other, weights="none"), SIZE, "backbone"),
    ):
        with pytest.raises(FeatureStoreError, match=f"holds other features.*{word} is"):
            extract(manifest, tmp_path / "features", backbone=backbone, size=size, workers=0)
    first.revision = "another"
    with pytest.raises(FeatureStoreError, match="revision is"):
        extract(manifest, tmp_path / "features", backbone=first, size=SIZE, workers=0)


def test_a_size_that_the_network_does_not_take_is_known_before_any_frame(
    name_of, manifest, tmp_path
) -> None:
    backbone = load_backbone(name_of("timm_vit"), weights="none")
    with pytest.raises(InputError, match="multiples of 16"):
        extract(manifest, tmp_path / "features", backbone=backbone, size=(64, 100))
    assert not (tmp_path / "features").exists()


@pytest.mark.parametrize("kind", ["timm_cnn", "own"])
def test_a_network_with_a_head_explains_a_video(kind, name_of, manifest, tmp_path) -> None:
    torch.manual_seed(0)
    backbone = load_backbone(name_of(kind), weights="none")
    video = manifest.parent / "test_left_0.mp4"
    done = explain_video(video, tmp_path / "look", backbone=backbone, size=SIZE, every=3)
    record = json.loads((tmp_path / "look" / "test_left_0.json").read_text())
    assert done.frames == 2 and record["backbone"] == backbone.name
    assert of_backbone(backbone).classes == (1000 if kind == "timm_cnn" else 7)


@pytest.mark.parametrize("kind", ["timm_vit", "hf"])
def test_a_network_without_one_says_so_before_it_writes(kind, name_of, manifest, tmp_path) -> None:
    backbone = load_backbone(name_of(kind), weights="none")
    video = manifest.parent / "test_left_0.mp4"
    for call in (
        lambda: explain_video(video, tmp_path / "look", backbone=backbone),
        lambda: of_backbone(backbone),
    ):
        with pytest.raises(CafVideoError, match="feature maps only.*caf-video extract"):
            call()
    assert not (tmp_path / "look").exists()


@pytest.mark.parametrize("kind", ["timm_cnn", "own"])
@pytest.mark.parametrize("main", ["retrieval", "classifier"])
def test_images_are_trained_on_it_and_localised(kind, main, name_of, tmp_path) -> None:
    name = name_of(kind)
    chosen = f"model.backbone={name}"
    if kind == "own":
        chosen, name = "backbone=own", name.replace("8", "64")  # the example in conf/
    random = np.random.default_rng(0)
    rows = ["image,label,split"]
    for number in range(12):
        pixels = random.integers(256, size=(70, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{'ab'[number % 2]},{'train' if number < 8 else 'val'}")
    (tmp_path / "images.csv").write_text("\n".join(rows) + "\n")
    config = compose_config(
        [
            "data=folder", f"root={tmp_path}", f"run_dir={tmp_path / 'run'}", "model.weights=none",
            chosen, "data.protocol=classification", "data.size=[64,64]", "data.batch_size=4",
            "data.workers=0",
            "trainer.max_epochs=1", "data.batches_per_epoch=2", "progress_bar=false",
            *(["data.samples_per_class=2"] if main == "retrieval" else []),
        ],
        main,
    )  # fmt: skip
    run = train(config)
    subject = of_run(run)
    network = load_backbone(name, weights="none")
    assert subject.backbone == network.name
    frames = random.integers(256, size=(1, 70, 80, 3), dtype=np.uint8)
    images = subject.halves.preprocessing((64, 64))(frames)
    assert torch.equal(images, network.preprocessing((64, 64))(frames))
    maps = subject.halves.features(images)
    assert maps.shape == (1, network.channels, *network.grid((64, 64)))
    assert subject.halves.tail(maps).shape == (1, 128 if main == "retrieval" else 2)
