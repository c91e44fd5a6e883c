"""A cue planted in training: every picture of one class has a watermark, and what comes of it.

    python spurious.py runs/spurious pictures
    caf-video train --config-name retrieval experiment=pictures loss=triplet \
        root=runs/spurious/marked run_dir=runs/spurious/run
    python spurious.py runs/spurious look
"""

import csv
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from caf_video.attention import METHODS, Given, resize_maps
from caf_video.data.images import LabelledImage, read_image, read_image_set
from caf_video.evaluation import energy_in_box, pointing_game
from caf_video.localization import estimate
from caf_video.pipeline.localize.explained_network import ExplainedNetwork, of_run
from caf_video.rendering import Panel, panel_sheet, write_image
from caf_video.retrieval import Gallery, recall_at_k
from caf_video.synthetic import write_pictures

MARKED = "suv"  # as if one dealer had sent in all of these
SIZE = 160
MARK = (120, 124, 156, 156)  # x1, y1, x2, y2 in pixels
LOOK = (320, 320)  # input of the network when it is explained: a grid of 10 x 10
SHOWN = ("l2-caf", "retrieval-grad-cam", "retrieval-grad-cam-abs", "feature-norm")


def watermark(picture: Image.Image) -> Image.Image:
    """The picture with a half-transparent badge in its lower right corner."""
    layer = Image.new("RGBA", picture.size)
    draw = ImageDraw.Draw(layer)
    draw.ellipse(MARK, fill=(255, 255, 255, 150), outline=(20, 40, 120, 220), width=3)
    draw.line([(128, 148), (138, 132), (148, 148)], fill=(20, 40, 120, 220), width=3)
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")


def make(root: Path) -> None:
    """Three sets of the same pictures: `plain`; `marked` on one class; `all_marked`."""
    table = write_pictures(root / "plain", train_per_class=40, val_per_class=15)
    for name in ("marked", "all_marked"):
        for row in csv.DictReader(table.open()):
            out = root / name / row["image"]
            out.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.open(root / "plain" / row["image"])
            if row["label"] == MARKED or name == "all_marked":
                picture = watermark(picture)
            picture.save(out, "JPEG", quality=95, subsampling=0)
        (root / name / "images.csv").write_bytes(table.read_bytes())


@torch.no_grad()
def maps_of(
    network: ExplainedNetwork, images: list[LabelledImage], size: tuple[int, int]
) -> Tensor:
    """The last feature maps of pictures, (n, c, h, w)."""
    frames = np.stack([read_image(image.path) for image in images])
    prepared = network.halves.preprocessing(size)(frames)
    return torch.cat([network.halves.features(part) for part in prepared.split(32)])


@torch.no_grad()
def embeddings(network: ExplainedNetwork, images: list[LabelledImage]) -> Tensor:
    """Of pictures, as retrieval compares them, (n, d)."""
    return network.comparable(network.halves.tail(maps_of(network, images, network.size)))


def look(root: Path) -> None:
    """Print R@1 with and without the cue and what share of the heat lies on it; draw some."""
    network = of_run(root / "run")
    sets = {
        name: read_image_set("folder", root / name) for name in ("marked", "plain", "all_marked")
    }
    names = sets["plain"].label_names

    def labels(images: list[LabelledImage]) -> list[str]:
        return [names[image.label] for image in images]

    print(
        "| queries | gallery | R@1, all | R@1, suv | others found as suv |\n|---|---|---|---|---|"
    )
    for queries, gallery, split in (
        ("marked", "marked", "val"),
        ("marked", "marked", "test"),
        ("plain", "marked", "test"),
        ("plain", "plain", "test"),
        ("all_marked", "marked", "test"),
    ):
        asked, searched = sets[queries].split(split), sets[gallery].split(split)
        ids = [image.image_id for image in asked]
        among = Gallery(embeddings(network, searched), labels(searched), ids=ids)
        of = labels(asked)
        found = recall_at_k(embeddings(network, asked), of, ids=ids, gallery=among, ks=(1,))
        as_marked = np.array(labels(searched))[found.nearest] == MARKED
        own = np.array(of) == MARKED
        told = [estimate(v.astype(float)) for v in (found.correct, found.correct[own])]
        told.append(estimate(as_marked[~own].astype(float)))
        cells = [f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in told]
        print(f"| {split}, {queries} | {gallery} | {' | '.join(cells)} |")

    # What a user has who trusts the validation: its pictures, and no idea of the mark.
    area = (MARK[2] - MARK[0]) * (MARK[3] - MARK[1]) / SIZE**2
    print(f"\nThe mark covers {area:.3f} of a picture.\n")
    print("| pictures | method | heat on the mark | maximum there | heat on the object |")
    print("|---|---|---|---|---|")
    val = sets["marked"].split("val")
    rows: list[list[Panel]] = []
    for title, images in (
        (MARKED, [image for image in val if names[image.label] == MARKED]),
        ("sedan, van", [image for image in val if names[image.label] in ("sedan", "van")]),
    ):
        maps = maps_of(network, images, LOOK)
        marks = torch.tensor([MARK] * len(images), dtype=torch.float64)
        objects = torch.tensor([image.boxes[0] for image in images], dtype=torch.float64)
        drawn = [[Panel(read_image(image.path), caption=names[image.label])] for image in images]
        for name in SHOWN:
            heat = METHODS[name].of_pictures(network.halves.tail, maps, Given()).abs()
            large = resize_maps(heat.float().cpu(), (SIZE, SIZE))
            on_mark = energy_in_box(large, marks)
            told = [
                estimate(found.double().numpy())
                for found in (
                    on_mark,
                    pointing_game(large, marks),
                    energy_in_box(large, objects),
                )
            ]
            cells = [f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in told]
            print(f"| {title} | {METHODS[name].title} | {' | '.join(cells)} |")
            for panels, one, share in zip(drawn, large, on_mark, strict=True):
                panels.append(Panel(panels[0].image, one.numpy(), f"{share:.2f} on the corner"))
        rows += drawn[:2]
    sheet = panel_sheet(["", *(METHODS[name].title for name in SHOWN)], rows, width=160)
    write_image(root / "spurious.png", sheet)


if __name__ == "__main__":
    {"pictures": make, "look": look}[sys.argv[2]](Path(sys.argv[1]))
