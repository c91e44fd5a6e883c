"""The page of a run of images: an embedding that retrieves, or a classifier."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from caf_video.attention import METHODS, Given
from caf_video.data.images import LabelledImage, read_image, read_image_set
from caf_video.pipeline.localize.explained_network import ExplainedNetwork, of_run
from caf_video.pipeline.page_folder import PageFolder, heat_of
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.pipeline.report.parts import (
    FILMS_BYTES,
    GALLERY,
    MAPS,
    MODES,
    NEIGHBOURS,
    ReportDone,
    charts,
    drawn,
    folder_done,
    on_plane,
    settings_of,
)
from caf_video.rendering import (
    FigureTable,
    PageClip,
    RunPage,
    film_width,
    scaled_to_width,
    write_run_page,
)
from caf_video.retrieval import (
    EmbeddingIndex,
    chance_recall,
    normalized_mutual_information,
    ranked_precision,
    recall_at_k,
)
from caf_video.training import ImageRun, load_image_run

IMAGES_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class Judged:
    """What came of the images of a split, n of them.

    Attributes:
        tables: Of figures.
        headline: The first of them.
        correct: Whether each is right, (n,).
        counted: Whether that counts, (n,).
        found: The class of each one's nearest other, or the one that a classifier answers.
        rule: What right means.
    """

    tables: list[FigureTable]
    headline: dict[str, float]
    correct: np.ndarray
    counted: np.ndarray
    found: list[str]
    rule: str


def report_images(
    run_folder: Path,
    out: Path,
    *,
    split: str = "test",
    gallery: int = GALLERY,
    map_kind: str = MAPS[0],
    root: Path | None = None,
    track: Track = quietly,
) -> ReportDone:
    """Write the page of a run of images; arguments and errors as of `stage.report`."""
    folder = PageFolder(out, "caf-video report")
    run, network = load_image_run(run_folder), of_run(run_folder)
    wanted = run.description
    images = read_image_set(wanted.dataset, root or wanted.root, protocol=wanted.protocol)
    chosen = images.split(split)
    labels = [images.label_names[image.label] for image in chosen]
    rows = drawn(len(chosen), gallery)
    width = film_width(len(rows) * len(MODES), 1, 4 / 3, bytes_at_most=FILMS_BYTES)
    outputs, films = _outputs(folder, network, chosen, rows, width, track)
    comparable = network.comparable(outputs)
    judged = (
        _retrieved(comparable, labels)
        if network.classes is None
        else _classified(outputs, labels, images.label_names)
    )
    plane, told = on_plane(comparable, rows, map_kind)
    others = min(NEIGHBOURS, len(chosen) - 1)
    ids = [image.image_id for image in chosen]
    near = EmbeddingIndex(comparable, ids).search(
        comparable[rows], neighbours=others, query_ids=[ids[row] for row in rows]
    )
    place_of = {row: place for place, row in enumerate(rows)}
    clips = []
    for place, row in enumerate(rows):
        neighbours = [
            (place_of.get(other, -1), ids[other], float(distance))
            for other, distance in zip(
                near.positions[place].tolist(), near.distances[place].tolist(), strict=True
            )
        ]
        names, size = films[row]
        clips.append(
            PageClip(
                id=ids[row],
                label=labels[row],
                session="",
                verdict=bool(judged.correct[row]) if judged.counted[row] else None,
                found=judged.found[row],
                distance=neighbours[0][2] if neighbours else None,
                point=(float(plane[place, 0]), float(plane[place, 1])),
                films=names,
                size=size,
                near=neighbours,
                facts={"file": chosen[row].path.name},
            )
        )
    counts = Counter(label for label, counts in zip(labels, judged.counted, strict=True) if counts)
    right = Counter(label for label, is_right in zip(labels, judged.correct, strict=True)
                    if is_right)  # fmt: skip
    page = RunPage(
        title=f"Run {'/'.join(run.folder.resolve().parts[-2:])}",
        lead=f"{len(chosen)} images of the {split} split of {wanted.dataset}.",
        headline=judged.headline,
        tables=judged.tables,
        per_class={label: (count, right[label] / count) for label, count in sorted(counts.items())},
        charts=charts(run.folder),
        settings=_settings(run, network),
        data={
            "images": str(images.root),
            "protocol": wanted.protocol,
            "trained on": f"{wanted.train_images} images",
            f"{split} split": f"{len(chosen)} images of {len(set(labels))} classes",
            "skipped": f"{len(images.skipped)} images that cannot be used",
        },
        plane=told,
        modes=MODES,
        clips=clips,
        noun="images",
        total=len(chosen),
        verdict_rule=judged.rule,
    )
    write_run_page(folder.page, page)
    return folder_done(folder, len(clips), len(chosen))


def _outputs(
    folder: PageFolder,
    network: ExplainedNetwork,
    images: Sequence[LabelledImage],
    rows: Sequence[int],
    width: int,
    track: Track,
) -> tuple[Tensor, dict[int, tuple[list[str], tuple[int, int]]]]:
    """The outputs of all images, (n, d), and the films of those in `rows`, by row."""
    preprocess = network.halves.preprocessing(network.size)
    method = METHODS["acol" if network.kind == "acol" else "l2-caf"]
    shown = set(rows)
    outputs: list[Tensor] = []
    films: dict[int, tuple[list[str], tuple[int, int]]] = {}
    batches = range(0, len(images), IMAGES_AT_ONCE)
    for first in track(batches, description="Explaining images", total=len(batches)):
        batch = images[first : first + IMAGES_AT_ONCE]
        pictures = [read_image(image.path) for image in batch]
        inputs = torch.cat([preprocess(picture[None]) for picture in pictures]).to(device())
        with torch.no_grad():
            maps = network.halves.features(inputs)
            outputs.append(network.halves.tail(maps).float().cpu())
        classes = torch.tensor([image.label for image in batch], device=maps.device)
        heat = method.of_pictures(network.halves.tail, maps, Given(classes=classes)).cpu()
        for row, picture in enumerate(pictures):
            if first + row not in shown:
                continue
            frame = scaled_to_width(picture, width)[None]
            films[first + row] = folder.films(
                f"{first + row:05}", frame, [heat_of(heat[row][None], frame)], width
            )
    return torch.cat(outputs), films


def _retrieved(embeddings: Tensor, labels: Sequence[str]) -> Judged:
    result = recall_at_k(embeddings, labels)
    ranked = ranked_precision(embeddings, labels)
    nmi = normalized_mutual_information(embeddings, labels)
    ks = sorted(result.recall)
    rows: list[tuple[str, list[float | None]]] = [
        ("trained", [*(result.recall[k] for k in ks), ranked.map_at_r, ranked.r_precision, nmi]),
        ("chance", [chance_recall(labels), *[None] * (len(ks) + 2)]),
    ]
    table = FigureTable(
        "Among all others", "Any other image may be the neighbour.",
        [*(f"R@{k}" for k in ks), "mAP@R", "R-prec.", "NMI"], rows,
    )  # fmt: skip
    return Judged(
        [table],
        {"R@1": result.recall[1], "NMI": nmi},
        result.correct,
        result.counted,
        [labels[position] for position in result.nearest.tolist()],
        "An image is right if its nearest other image has its class. All figures are fractions.",
    )


def _classified(logits: Tensor, labels: Sequence[str], names: Sequence[str]) -> Judged:
    places = torch.tensor([list(names).index(label) for label in labels])
    ranked = logits.argsort(dim=1, descending=True, stable=True)
    top = {
        k: float((ranked[:, :k] == places[:, None]).any(dim=1).double().mean())
        for k in (1, 5)
        if k <= len(names)
    }
    rows: list[tuple[str, list[float | None]]] = [
        ("trained", list(top.values())),
        ("chance", [k / len(names) for k in top]),
    ]
    answers = [names[place] for place in ranked[:, 0].tolist()]
    return Judged(
        [FigureTable("Classification", "Shares of all images.", [f"top-{k}" for k in top], rows)],
        {"top-1": top[1]},
        (ranked[:, 0] == places).numpy(),
        np.ones(len(labels), bool),
        answers,
        "An image is right if the network answers its class. All figures are fractions.",
    )


def _settings(run: ImageRun, network: ExplainedNetwork) -> dict[str, object]:
    height, width = network.size
    return {
        "run": str(run.folder.resolve()),
        "step": run.step,
        "backbone": network.backbone,
        "trained by": network.trained,
        "input": f"{height} × {width} pixels, the whole image",
        **settings_of(run.config),
    }
