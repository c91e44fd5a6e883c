"""photographs ─► Fig. 11: L2, softmax, Gaussian and L1, where there is one object and two."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from caf_video.attention import explain
from caf_video.data.images import ImageSet, LabelledImage, read_image
from caf_video.errors import InputError
from caf_video.localization import enlarge, estimate, measure
from caf_video.models.backbones import Backbone
from caf_video.pipeline.localize.table import percent
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.pipeline.result_table import Table
from caf_video.pipeline.study.written import Study
from caf_video.rendering import Panel, bar_chart, panel_sheet

CONSTRAINTS = ("l2", "softmax", "gaussian", "l1")
PROTOCOL = "simple"
OBJECTS = {"one object": 1, "two objects": 2}
MODE_FROM = 0.5  # of the maximum: a lower top of the filter is none of its modes
SHOWN = 3  # photographs of each kind


@dataclass(frozen=True)
class Found:
    """What one constraint made of one photograph.

    Attributes:
        kind: "one object" or "two objects".
        heat: |f| on the grid, (h, w).
        entropy: Of |f| as shares of its sum, over that of a uniform one, in [0, 1].
        modes: Tops of |f| from MODE_FROM of the highest on.
        loss: Over that of no filter passing anything, ||NT(x)||^2.
        settled: Whether its solver was.
        iou: Best overlap of its box with a true one.
    """

    image_id: str
    kind: str
    constraint: str
    heat: NDArray[np.float32]
    entropy: float
    modes: int
    loss: float
    settled: bool
    iou: float


def study_constraints(
    image_set: ImageSet,
    backbone: Backbone,
    *,
    split: str = "test",
    count: int = 50,
    track: Track = quietly,
) -> Study:
    """Every constraint on so many photographs with one object, and as many with two.

    Args:
        image_set: With boxes: their number is that of the objects.
        backbone: Whose logits are explained, class-oblivious (Eq. 1).
        split: Of the set.
        count: Photographs of each kind, spread over the split.
        track: Shows how far it is.

    Raises:
        InputError: No image has one box or two.
    """
    backbone.require_head()
    images = [
        (kind, image)
        for kind, objects in OBJECTS.items()
        for image in _spread([i for i in image_set.split(split) if len(i.boxes) == objects], count)
    ]
    if not images:
        raise InputError(f"no image of {image_set.root} has one box or two: nothing to compare")
    backbone.to(device())
    network = nn.Sequential(nn.Identity(), backbone.tail)
    found: list[Found] = []
    for kind, image in track(images, description="Explaining", total=len(images)):
        found += _of_image(kind, image, backbone, network)
    return Study(
        "constraints",
        [_table(found, backbone, f"{image_set.name}, split {split}")],
        {"backbone": backbone.name, "images": [_plain(one) for one in found]},
        {"": _sheet(found, [image for _, image in images]), "figures": _chart(found)},
    )


def entropy_share(heat: NDArray[np.floating]) -> float:
    """The entropy of a filter's |f| as shares of their sum, over that of a uniform one: 0 to 1."""
    shares = np.abs(heat).ravel() / np.abs(heat).sum()
    there = shares[shares > 0]
    return float((there * np.log(1 / there)).sum() / np.log(shares.size))


def count_modes(heat: NDArray[np.floating]) -> int:
    """Tops of |f|, of 8 neighbours, from MODE_FROM of the highest on; a plateau is one at most.

    A plateau counts where nothing beside it is higher.
    """
    size = np.abs(heat)
    height, width = size.shape
    padded = np.pad(size, 1, constant_values=-1.0)
    seen = np.zeros(size.shape, dtype=bool)
    modes = 0
    for start in zip(*np.nonzero(size >= MODE_FROM * size.max()), strict=True):
        if seen[start]:
            continue
        level, waiting, is_top = size[start], [start], True
        seen[start] = True
        while waiting:
            row, column = waiting.pop()
            around = padded[row : row + 3, column : column + 3]
            is_top &= bool((around <= level).all())
            for r, c in np.argwhere(around == level):
                near = row + int(r) - 1, column + int(c) - 1
                if 0 <= near[0] < height and 0 <= near[1] < width and not seen[near]:
                    seen[near] = True
                    waiting.append(near)
        modes += is_top
    return modes


def _of_image(
    kind: str, image: LabelledImage, backbone: Backbone, network: nn.Module
) -> Iterator[Found]:
    frame = read_image(image.path)
    shown = backbone.own_size
    with torch.no_grad():
        maps = backbone.features(backbone.preprocessing(shown)(frame[None]).to(device()))
        passed = float(backbone.head(maps).square().sum())
    size = frame.shape[0], frame.shape[1]
    for constraint in CONSTRAINTS:
        explained = explain(network, maps, layer="0", axes="n c h w", constraint=constraint)
        heat: Tensor = explained.filters[0].abs().float().cpu()
        grid = heat.numpy()
        heatmap = enlarge(PROTOCOL, grid, size, shown)
        yield Found(
            image.image_id, kind, constraint, grid, entropy_share(grid), count_modes(grid),
            float(explained.losses[0]) / passed, bool(explained.settled[0]),
            float(measure(heatmap, np.array(image.boxes), [PROTOCOL])[PROTOCOL][0]),
        )  # fmt: skip


def _spread(images: Sequence[LabelledImage], count: int) -> list[LabelledImage]:
    places = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
    return [images[place] for place in places]


def _figures(found: Sequence[Found]) -> dict[str, Any]:
    return {
        "entropy": estimate([one.entropy for one in found]),
        "modes": estimate([one.modes for one in found]),
        "loss": estimate([one.loss for one in found]),
        "loc": estimate([float(one.iou >= 0.5) for one in found]),
    }


def _groups(found: Sequence[Found]) -> Iterator[tuple[str, str, list[Found]]]:
    for kind in dict.fromkeys(one.kind for one in found):
        for constraint in CONSTRAINTS:
            key = kind, constraint
            yield kind, constraint, [one for one in found if (one.kind, one.constraint) == key]


def _table(found: Sequence[Found], backbone: Backbone, where: str) -> Table:
    rows = []
    for kind, constraint, ones in _groups(found):
        figures = _figures(ones)
        loc = percent(figures.pop("loc"))
        cells = [f"{f.value:.2f} [{f.low:.2f}, {f.high:.2f}]" for f in figures.values()]
        settled = f"{sum(one.settled for one in ones)} of {len(ones)}"
        rows.append([kind, constraint, *cells, loc, settled])
    return Table(
        "Constraints (Fig. 11)",
        ["", "constraint", "entropy", "modes", "loss", "GT-known LOC, %", "settled"],
        rows,
        [
            f"{backbone.name}, {where}; class-oblivious (Eq. 1), at the last map.",
            "Entropy of |f|, 1 is uniform; tops of |f| from half of its maximum on; loss over that "
            f"of a filter that lets nothing pass; LOC by protocol {PROTOCOL}. Mean "
            "[95 % bootstrap interval over photographs].",
        ],
    )


def _chart(found: Sequence[Found]) -> Any:
    groups: dict[str, dict[str, tuple[float, float, float]]] = {}
    for kind, constraint, ones in _groups(found):
        for name, figure in _figures(ones).items():
            if name != "modes":
                group = f"{name if name != 'loc' else 'LOC'},\n{kind}"
                spread = figure.value, figure.low, figure.high
                groups.setdefault(group, {})[constraint] = spread
    return bar_chart(
        dict(sorted(groups.items())),
        title="Four constraints", label="share; mean and 95 % interval",
    )  # fmt: skip


def _sheet(found: Sequence[Found], images: Sequence[LabelledImage]) -> Any:
    paths = {image.image_id: image.path for image in images}
    rows = []
    for kind in OBJECTS:
        ids = list(dict.fromkeys(one.image_id for one in found if one.kind == kind))
        places = np.linspace(0, len(ids) - 1, min(SHOWN, len(ids))).round().astype(int)
        for image_id in [ids[place] for place in places]:
            frame = read_image(paths[image_id])
            ones = [one for one in found if one.image_id == image_id]
            size = frame.shape[0], frame.shape[1]
            panels = [Panel(frame, caption=f"{kind}: {image_id}")]
            for one in ones:
                caption = f"entropy {one.entropy:.2f}, modes {one.modes}, loss {one.loss:.2f}"
                heat = enlarge(PROTOCOL, one.heat, size, size)
                panels.append(Panel(frame, heat.clip(min=0), caption))
            rows.append(panels)
    titles = {"l2": "L2", "softmax": "softmax", "gaussian": "Gaussian", "l1": "L1"}
    note = "Each |f| over its own maximum."
    return panel_sheet(["photograph", *(titles[c] for c in CONSTRAINTS)], rows, note=note)


def _plain(one: Found) -> dict[str, Any]:
    return {**vars(one), "heat": np.round(one.heat, 6).tolist()}
