"""What the methods made of some of the images, drawn (Fig. 7)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from caf_video.attention import Method, resize_maps
from caf_video.data.images import LabelledImage, read_image
from caf_video.localization import PROTOCOLS, Geometry, localize, measure, sweep, upsample
from caf_video.pipeline.localize.explained_network import ExplainedNetwork
from caf_video.pipeline.localize.inputs import NetworkInput
from caf_video.pipeline.localize.neighbours import NO_NEIGHBOURS, Neighbours
from caf_video.pipeline.localize.scores import Scores
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.pipeline.results import write_picture
from caf_video.rendering import Answer, SheetImage, localization_sheet

LINES_A_SHEET = 6
RIGHT_FROM = 0.5  # IoU


def write_pictures(
    folder: Path,
    images: Sequence[LabelledImage],
    label_names: Sequence[str],
    network: ExplainedNetwork,
    methods: Sequence[Method],
    network_input: NetworkInput,
    protocol: str,
    scores: Scores,
    *,
    neighbours: Neighbours = NO_NEIGHBOURS,
    track: Track = quietly,
) -> list[Path]:
    """Draw heatmaps and boxes of every method on images, as one protocol saw them.

    An oracle's boxes are those at its best threshold.

    Args:
        folder: For sheet-01.png and so on; it is there.
        images: Which, with boxes.
        label_names: Of the set.
        network, methods, network_input: As measured.
        protocol: Whose boxes; one of the input's.
        scores: The figures, with the oracles' thresholds.
        neighbours: As measured.
        track: Shows how far it is.

    Returns:
        The sheets.
    """
    thresholds = oracle_thresholds(scores, protocol)
    lines = _lines(
        images, label_names, network, methods, network_input, neighbours, protocol, thresholds
    )
    sheets: list[Path] = []
    waiting: list[SheetImage] = []
    for line in track(lines, description="Drawing", total=len(images)):
        waiting.append(line)
        if len(waiting) == LINES_A_SHEET:
            sheets.append(_sheet(folder, waiting, methods, len(sheets)))
            waiting = []
    if waiting:
        sheets.append(_sheet(folder, waiting, methods, len(sheets)))
    return sheets


def spread(images: Sequence[LabelledImage], count: int) -> list[LabelledImage]:
    """So many images with boxes, spread evenly over the list."""
    boxed = [image for image in images if image.boxes]
    places = np.linspace(0, len(boxed) - 1, min(count, len(boxed))).round().astype(int)
    return [boxed[place] for place in places]


def oracle_thresholds(scores: Scores, protocol: str) -> dict[str, float]:
    """By method, the best threshold of an oracle at an IoU of RIGHT_FROM; empty of the others."""
    if not PROTOCOLS[protocol].oracle:
        return {}
    return {
        row.method: float(row.curve.best_thresholds[row.curve.iou_levels.index(RIGHT_FROM)])
        for row in scores.rows
        if row.protocol == protocol and row.curve is not None
    }


def answer(
    heatmap: np.ndarray, truth: np.ndarray, protocol: str, threshold: float | None
) -> Answer:
    """The boxes of a heatmap under a protocol, and how well they fit.

    Args:
        heatmap: (height, width) of the protocol's view.
        truth: Boxes in its pixels, (g, 4).
        protocol: A key of PROTOCOLS.
        threshold: One of its thresholds; None: the protocol's own.
    """
    boxes = localize(protocol, heatmap, threshold=threshold)
    if threshold is None:
        iou = float(measure(heatmap, truth, [protocol])[protocol][0])
    else:
        at = PROTOCOLS[protocol].thresholds.index(threshold)
        iou = float(sweep(protocol, heatmap, truth)[at])
    return Answer(heatmap, boxes, iou, iou >= RIGHT_FROM)


def _sheet(
    folder: Path, lines: Sequence[SheetImage], methods: Sequence[Method], number: int
) -> Path:
    path = folder / f"sheet-{number + 1:02d}.png"
    write_picture(path, localization_sheet(lines, [method.name for method in methods]))
    return path


def _lines(
    images: Sequence[LabelledImage],
    label_names: Sequence[str],
    network: ExplainedNetwork,
    methods: Sequence[Method],
    network_input: NetworkInput,
    neighbours: Neighbours,
    protocol: str,
    thresholds: dict[str, float],
) -> Iterator[SheetImage]:
    preprocess = network.halves.preprocessing(network_input.size, network_input.resized)
    geometry = network_input.geometries[protocol]
    for image in images:
        frame = read_image(image.path)
        with torch.no_grad():
            maps = network.halves.features(preprocess(frame[None]).to(device()))
        size = (frame.shape[0], frame.shape[1])
        labels = torch.tensor([image.label], device=device())
        truth = geometry.boxes(image.boxes, size)
        shown = _shown(frame, geometry)
        answers = []
        for method in methods:
            given = neighbours.given([image], labels)
            heat = method.of_pictures(network.halves.tail, maps, given).float().cpu()
            heat = heat.abs() if method.filters else heat
            heatmap = upsample(heat[0].numpy(), geometry.size(size))
            answers.append(answer(heatmap, truth, protocol, thresholds.get(method.name)))
        yield SheetImage(image.image_id, label_names[image.label], shown, truth, answers)


def _shown(frame: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The image as the boxes of this geometry see it."""
    if geometry.resized is None:
        return frame
    resized = torch.from_numpy(frame.copy()).permute(2, 0, 1).float()
    whole = resize_maps(resized, geometry.resized).round().clamp(0, 255).to(torch.uint8)
    top, left = geometry.offset((frame.shape[0], frame.shape[1]))
    height, width = geometry.size((frame.shape[0], frame.shape[1]))
    return np.ascontiguousarray(
        whole[:, top : top + height, left : left + width].permute(1, 2, 0).numpy()
    )
