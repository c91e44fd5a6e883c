"""Masks in place of boxes: from the benchmark's lists to PxAP, by all pixels at once."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from caf_video.data.images import read_image
from caf_video.errors import InputError
from caf_video.models.preprocessing import IMAGENET, Preprocessing
from caf_video.pipeline.localize.explained_network import ExplainedNetwork
from caf_video.pipeline.localize.stage import localize

SIDE = 224


class Averaged(nn.Module):
    """An embedding that is the mean of a map of 16 pixels a cell."""

    def __init__(self) -> None:
        super().__init__()
        self.tail = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def features(self, images: Tensor) -> Tensor:
        return functional.avg_pool2d(images, 16).relu()

    def preprocessing(self, size, resized=None) -> Preprocessing:
        return Preprocessing(size, IMAGENET, resized)


@pytest.fixture
def network() -> ExplainedNetwork:
    return ExplainedNetwork(
        halves=Averaged(), backbone="eye", trained="by hand", kind="embedding", classes=None,
        label_names=None, normalize=True, size=(SIDE, SIDE), protocol="classification", source={},
    )  # fmt: skip


@pytest.fixture
def benchmark(tmp_path: Path) -> tuple[Path, Path]:
    """Six images with a bright patch, a mask of it, and an ignored strip; of one the mask broke."""
    random = np.random.default_rng(2)
    root, lists = tmp_path / "images", tmp_path / "metadata"
    (root / "test").mkdir(parents=True)
    (lists / "test").mkdir(parents=True)
    names = [f"test/{number}.png" for number in range(6)]
    for name in names:
        height, width = random.integers(40, 90, size=2)
        y, x = random.integers(0, 20, size=2)
        pixels = random.integers(0, 90, (height, width, 3)).astype(np.uint8)
        pixels[y : y + 18, x : x + 15] = 220
        mask, ignored = np.zeros((2, height, width), np.uint8)
        mask[y : y + 18, x : x + 15] = ignored[:5] = 255
        Image.fromarray(pixels).save(root / name)
        Image.fromarray(mask).save(root / f"{name}_mask.png")
        Image.fromarray(ignored).save(root / f"{name}_ignore.png")
    (root / f"{names[5]}_mask.png").write_bytes(b"no mask")
    (lists / "test" / "image_ids.txt").write_text("\n".join(names))
    (lists / "test" / "class_labels.txt").write_text(
        "\n".join(f"{n},{i % 2}" for i, n in enumerate(names))
    )
    rows = [f"{name},{name}_mask.png,{name}_ignore.png" for name in names]
    (lists / "test" / "localization.txt").write_text("\n".join(rows))
    return root, lists


def test_pxap_of_the_norm_by_all_pixels_at_once(
    benchmark: tuple[Path, Path], network: ExplainedNetwork, tmp_path: Path
) -> None:
    root, lists = benchmark
    done = localize(
        "wsol", root, network, metadata=lists, protocols=["pxap"], workers=1,
        methods=["feature-norm", "uniform", "retrieval-grad-cam"], json=tmp_path / "out.json",
    )  # fmt: skip
    scores, kinds = [], []
    for name in [f"test/{number}.png" for number in range(5)]:
        prepared = network.halves.preprocessing((SIDE, SIDE))(read_image(root / name)[None])
        grid = network.halves.features(prepared)[0].norm(dim=0).double().numpy()
        heat = cv2.resize(grid, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        scores.append((heat - heat.min()) / (heat - heat.min()).max())
        mask, ignored = (
            cv2.resize(np.asarray(Image.open(root / f"{name}_{what}.png")), (SIDE, SIDE),
                       interpolation=cv2.INTER_NEAREST) > 0
            for what in ("mask", "ignore")
        )  # fmt: skip
        kinds.append(np.where(mask, 1, np.where(ignored, 255, 0)))
    score, kind = np.stack(scores), np.stack(kinds)
    area, recalled = 0.0, 0.0
    for threshold in [1.0, *np.arange(0, 1, 0.001)[::-1]]:
        hits, misses = (((score >= threshold) & (kind == k)).sum() for k in (1, 0))
        recall = hits / (kind == 1).sum()
        area += hits / max(hits + misses, 1) * (recall - recalled)
        recalled = recall
    figures = {row.method: row.figures["pxap"] for row in done.scores.rows}
    assert figures["feature-norm"].value == pytest.approx(area, abs=1e-9)
    assert figures["uniform"].value == pytest.approx((kind == 1).sum() / (kind != 255).sum())
    deltas = {row.method: row.delta for row in done.scores.rows}
    assert deltas["retrieval-grad-cam"] is None and deltas["uniform"] is not None
    assert [one.image_id for one in done.skipped] == ["test/5.png"]
    assert (
        "| protocol | method | backbone | trained | NMI | R@1 | PxAP | Δ PxAP |" in done.markdown()
    )
    assert "5 images of wsol, split test, 5 with a mask." in done.markdown()
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["rows"][0]["pxap"]["value"] == figures["feature-norm"].value


def test_boxes_are_not_masks(
    benchmark: tuple[Path, Path], network: ExplainedNetwork, tmp_path: Path
) -> None:
    root, lists = benchmark
    with pytest.raises(InputError, match="protocol cam compares with boxes, and split 'test' of"):
        localize("wsol", root, network, metadata=lists, protocols=["cam", "pxap"])
    with pytest.raises(InputError, match="pictures show boxes, and protocol pxap has none"):
        localize("wsol", root, network, metadata=lists, protocols=["pxap"], pictures=tmp_path / "p")
    (root / "images.csv").write_text("image,label,x1,y1,x2,y2\ntest/0.png,a,1,1,9,9\n")
    with pytest.raises(InputError, match="protocol pxap compares with masks, and split 'test' of"):
        localize("folder", root, network, protocols=["pxap"])
