"""photographs ─► a sheet: where a pretrained classifier looked, and for each class (Fig. 1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caf_video.attention import Given, Method, class_numbers, mostly_negative, require_methods
from caf_video.data.images import read_image
from caf_video.errors import InputError
from caf_video.files import require_ours
from caf_video.models.backbones import Backbone
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.pipeline.results import (
    output_folder,
    result_names,
    write_json,
    write_npz,
    write_picture,
)
from caf_video.rendering import LookCell, LookRow, look_sheet

# Eq. 2 as published has the same picture for every class of most pretrained networks
# (docs/class_specific.md): the pictures beside each other are of the centred logits.
USUAL_METHODS = ("l2-caf", "l2-caf-class-centered")
PHOTOGRAPHS = frozenset(".jpg .jpeg .png .webp .bmp .tif .tiff .ppm .avif".split())
_NAMED = 3  # predictions that stand above a photograph


@dataclass(frozen=True)
class ExplainedImages:
    """What `explain_images` left on disk.

    Attributes:
        sheet: The picture.
        predictions: Of each photograph the name of the first class, and its probability.
        against: How many class-specific filters are more negative than positive.
    """

    sheet: Path
    predictions: list[tuple[str, float]]
    against: int


def explain_images(
    photographs: Sequence[Path],
    out: Path,
    *,
    backbone: Backbone,
    classes: Sequence[str] = (),
    top: int = 0,
    methods: Sequence[str] | None = None,
    track: Track = quietly,
) -> ExplainedImages:
    """Where a pretrained classifier looks in photographs, a row each.

    Leaves `NAME.png` (the sheet), `NAME.npz` (of each picture the signed filter, or the map, on
    the grid) and `NAME.json` in `out`, NAME being the first photograph's.

    Args:
        photographs: Files.
        out: Folder for the results.
        backbone: The frozen network.
        classes: Names, or numbers, of classes to explain in every photograph.
        top: How many of each photograph's own first classes to explain besides.
        methods: Keys of METHODS, USUAL_METHODS if None; of those that are of a class, a picture
            for each class.
        track: Shows how far it is.

    Raises:
        CafVideoError: A photograph, a class or a method is none, or the results cannot be written.
    """
    backbone.require_head()
    chosen = require_methods(methods or USUAL_METHODS)
    named = [class_number(backbone, name) for name in classes]
    if named and not any(method.of_class for method in chosen):
        raise InputError(
            f"none of the methods {', '.join(method.name for method in chosen)} is of a class"
        )
    folder = output_folder(out)
    more = f" and {len(photographs) - 1} more" if len(photographs) > 1 else ""
    name = result_names([(photographs[0].stem + more, photographs[0])], folder)[0]
    require_ours(*(folder / f"{name}{suffix}" for suffix in (".png", ".npz", ".json")))
    backbone.to(device())
    rows: list[LookRow] = []
    records: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    predictions: list[tuple[str, float]] = []
    against = 0
    for photograph in track(photographs, description="Explaining", total=len(photographs)):
        image = read_image(photograph)
        size = backbone.size_for(*image.shape[:2])
        with torch.no_grad():
            maps = backbone.features(backbone.preprocessing(size)(image[None]).to(device()))
            shares = backbone.head(maps).softmax(dim=1)[0].cpu()
        first = shares.argsort(descending=True).tolist()
        wanted = list(dict.fromkeys([*named, *first[:top]]))
        if max(wanted, default=0) >= len(shares):
            raise InputError(f"{backbone.name} has {len(shares)} classes, no class {max(wanted)}")
        cells = [LookCell(image, title="photograph", note=f"{image.shape[1]} × {image.shape[0]}")]
        pictures: list[dict[str, Any]] = []
        for method in chosen:
            for number, grid in _maps(method, backbone, maps, wanted):
                speaks_against = method.filters and bool(mostly_negative(grid[None]))
                against += speaks_against
                key = f"{len(records)}/{method.name}" + ("" if number is None else f"/{number}")
                arrays[key] = grid.cpu().numpy()
                note = (
                    f"p {share_text(shares[number])} · {method.title}" if number is not None else ""
                )
                cells.append(
                    LookCell(
                        image,
                        _heat(method, grid),
                        title=method.title if number is None else class_name(backbone, number),
                        note=f"against it: {note}" if speaks_against else note or "class-oblivious",
                    )
                )
                pictures.append(
                    {
                        "method": method.name,
                        "class": number,
                        "class_name": None if number is None else class_name(backbone, number),
                        "mostly_negative": speaks_against,
                        "array": key,
                    }
                )
        likely = [(class_name(backbone, i), float(shares[i])) for i in first[:_NAMED]]
        predictions.append(likely[0])
        told = " · ".join(f"{label} {share_text(share)}" for label, share in likely)
        rows.append(LookRow(cells, title=photograph.name, note=told))
        records.append(
            {
                "photograph": str(photograph.resolve()),
                "size": list(size),
                "predictions": [
                    {"class": i, "class_name": class_name(backbone, i), "share": float(shares[i])}
                    for i in first[:_NAMED]
                ],
                "pictures": pictures,
            }
        )
    write_npz(folder / f"{name}.npz", arrays)
    write_picture(folder / f"{name}.png", look_sheet(rows))
    record = {
        "video": str(photographs[0].resolve()),  # by which the names of results are told apart
        "backbone": backbone.name,
        "weights": backbone.weights,
        "methods": [method.name for method in chosen],
        "images": records,
        "files": {"sheet": f"{name}.png", "maps": f"{name}.npz"},
    }
    write_json(folder / f"{name}.json", record)
    return ExplainedImages(folder / f"{name}.png", predictions, against)


def is_photograph(path: Path) -> bool:
    """Whether a file is a still picture, by its suffix: a GIF moves."""
    return path.suffix.lower() in PHOTOGRAPHS


def class_number(backbone: Backbone, name: str) -> int:
    """A class by its number or its name.

    Raises:
        InputError: There is none of that name; names those near it.
    """
    if name.strip().isdecimal():
        return int(name)
    number = class_numbers(backbone, name)
    if not isinstance(number, int):
        raise InputError(f"class {name!r} is none")
    return number


def class_name(backbone: Backbone, number: int) -> str:
    """What a class is called; its number where nobody says."""
    names = backbone.label_names
    return names[number] if number < len(names) else f"class {number}"


def share_text(share: float | Tensor) -> str:
    """A probability in four letters."""
    return f"{float(share):.2f}" if share >= 0.005 else "<.01"


def _maps(
    method: Method, backbone: Backbone, maps: Tensor, classes: Sequence[int]
) -> list[tuple[int | None, Tensor]]:
    """A map (h, w) for each class, or the only one, of a method that is of none."""
    if not method.of_class:
        return [(None, method.of_pictures(backbone.tail, maps, Given())[0])]
    if not classes:
        return []
    numbers = torch.tensor(classes, device=maps.device)
    repeated = maps.expand(len(classes), -1, -1, -1)
    found = method.of_pictures(backbone.tail, repeated, Given(numbers))
    return list(zip(classes, found, strict=True))


def _heat(method: Method, grid: Tensor) -> np.ndarray:
    heat = grid.abs() if method.filters else grid.clamp(min=0)
    return heat.float().cpu().numpy()
