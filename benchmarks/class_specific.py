"""What Eq. 2 does on trained weights, with and without `center_logits` (maths 1.5).

    python -m benchmarks.class_specific --weights resnet50.safetensors --root ILSVRC --out runs/eq2

Eq. 2 changes when one vector is added to every row of the last layer, while the softmax does not.
Here the trained rows are taken as they are, centred, and with twice their mean subtracted, which
turns the mean over.
"""

import argparse
import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from benchmarks.report import escaped
from caf_video import explain, grad_cam
from caf_video.attention import AttentionWarning
from caf_video.data.images import LabelledImage, read_image, read_image_set
from caf_video.models.preprocessing import IMAGENET, Preprocessing
from caf_video.models.weights import network_with_weights
from caf_video.pipeline.results import output_folder, write_json, write_text
from caf_video.rendering import SheetRow, contact_sheet, overlay, write_image
from caf_video.synthetic import render_clip

BATCH = 16
SCENES = (2, 7, 8)  # of sessions that no other set of clips uses; all have a signal and a car
FIRST_SESSION = 7_000_000
CLASSES = {"traffic light": 920, "minivan": 656}
TURNED = "Eq. 2, the rows' mean turned over (same softmax)"
VARIANTS = ("Eq. 2", "Eq. 2, centred logits", TURNED)


def main() -> None:
    """Measure on photographs, draw on synthetic scenes."""
    options = _options()
    warnings.simplefilter("ignore", AttentionWarning)
    torch.set_num_threads(options.threads)
    model, _ = network_with_weights("resnet50", options.weights)
    networks = {"Eq. 2": model.eval(), TURNED: turned(model)}
    networks["Eq. 2, centred logits"] = networks["Eq. 2"]
    images = read_image_set("imagenet", options.root).images
    found = {name: measure(networks[name], images, name) for name in VARIANTS}
    found["Eq. 2"]["mean logit"] = mean_logit(model, images)
    folder = output_folder(options.out)
    write_json(folder / "class_specific.json", {"images": len(images), "variants": found})
    write_text(folder / "class_specific.md", table(found, len(images)))
    write_image(folder / "class_specific.jpg", picture(networks))
    print(table(found, len(images)))


def turned(model: nn.Module) -> nn.Module:
    """The same classifier with twice the mean row subtracted from every row of its last layer."""
    other = deepcopy(model)
    with torch.no_grad():
        other.fc.weight -= 2 * other.fc.weight.mean(dim=0)
    return other


def class_filters(model: nn.Module, inputs: Tensor, classes: Tensor, variant: str) -> Tensor:
    """f* of Eq. 2 (n, h, w), signed."""
    centered = variant == "Eq. 2, centred logits"
    return explain(model, inputs, layer="layer4", target=classes, center_logits=centered).filters


def measure(model: nn.Module, images: tuple[LabelledImage, ...], variant: str) -> dict[str, float]:
    """Means over photographs."""
    negative, most, alike, as_grad_cam = [], [], [], []
    starts = range(0, len(images), BATCH)
    for start in track(list(starts), description=variant, console=Console(stderr=True)):
        inputs = batch_of(images[start : start + BATCH])
        with torch.no_grad():
            first, second = model(inputs).topk(2, dim=1).indices.T
        filters = class_filters(model, inputs, first, variant)
        cells = filters.flatten(1)
        share = -cells.clamp(max=0).sum(dim=1) / cells.abs().sum(dim=1)
        negative.append(share)
        most.append((share > 0.5).float())
        alike.append(correlation(filters, class_filters(model, inputs, second, variant)))
        heat = grad_cam(model, inputs, layer="layer4", target=first, size=filters.shape[1:])
        as_grad_cam.append(correlation(filters, heat))
    values = {
        "negative share of the filter": negative,
        "filters more negative than positive": most,
        "correlation of |f| with that of the second class": alike,
        "correlation of |f| with Grad-CAM": as_grad_cam,
    }
    return {name: torch.cat(parts).nanmean().item() for name, parts in values.items()}


def mean_logit(model: nn.Module, images: tuple[LabelledImage, ...]) -> float:
    """Over photographs and classes; a softmax does not know it."""
    with torch.no_grad():
        parts = [model(batch_of(images[i : i + BATCH])) for i in range(0, len(images), BATCH)]
    return torch.cat(parts).mean().item()


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Of the heatmaps of two batches (n, h, w), over cells, (n,)."""
    pairs = zip(one.abs().flatten(1), other.abs().flatten(1), strict=True)
    return torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs])


def batch_of(images: tuple[LabelledImage, ...]) -> Tensor:
    """Photographs of one size as they are."""
    frames = np.stack([read_image(image.path) for image in images])
    return Preprocessing((frames.shape[1], frames.shape[2]), IMAGENET)(frames)


def picture(networks: dict[str, nn.Module]):
    """Heat of two classes that are both in the scene, by variant."""
    scenes = [
        render_clip("light_to_red", session=FIRST_SESSION + number, variant=0).frames[-1]
        for number in SCENES
    ]
    inputs = Preprocessing((256, 448), IMAGENET)(np.stack(scenes))
    rows = [SheetRow("the scenes", np.stack(scenes))]
    for variant in VARIANTS:
        for name, number in CLASSES.items():
            classes = torch.full((len(scenes),), number)
            model, size = networks[variant], scenes[0].shape[:2]
            centered = variant == "Eq. 2, centred logits"
            heat = explain(
                model, inputs, layer="layer4", target=classes, center_logits=centered, size=size
            )
            drawn = [overlay(s, h.numpy()) for s, h in zip(scenes, heat.heatmaps, strict=True)]
            cells = heat.filters.flatten(1)
            share = (cells.clamp(max=0).abs().sum() / cells.abs().sum()).item()
            note = f"{variant}; {share:.0%} of |f| is negative"
            rows.append(SheetRow(name, np.stack(drawn), note=note))
    return contact_sheet(rows, columns=1, frame_width=300)


def table(found: dict[str, dict[str, float]], images: int) -> str:
    """Markdown."""
    names = list(found[VARIANTS[-1]])
    lines = [f"| {images} photographs | {' | '.join(VARIANTS)} |", "|---|---|---|---|"]
    for name in names:
        cells = " | ".join(f"{found[variant][name]:.3f}" for variant in VARIANTS)
        lines.append(f"| {escaped(name)} | {cells} |")
    lines += ["", f"Mean logit, of the rows as they are: {found['Eq. 2']['mean logit']:.2f}."]
    return "\n".join(lines) + "\n"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.class_specific")
    parser.add_argument("--weights", default="default", help="of ResNet-50, as everywhere")
    parser.add_argument("--root", type=Path, required=True, help="ImageNet's validation images")
    parser.add_argument("--out", type=Path, default=Path("runs/eq2"), help="folder for the results")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


if __name__ == "__main__":
    main()
