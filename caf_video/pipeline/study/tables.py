"""results of `localize` ─► Tables 1, 2 and 3 as the paper lays them out, and what is missing.

The paper's own figures are not shipped: whoever has the paper at hand gives them as a CSV
(`table,dataset,backbone,trained,method,figure,percent`), and they stand beside ours.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caf_video.data.images import ImageSet, image_size
from caf_video.errors import InputError
from caf_video.files import reason
from caf_video.localization import Estimate
from caf_video.pipeline.localize.table import TITLES, percent
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.result_table import Table
from caf_video.pipeline.results import read_json
from caf_video.pipeline.study.written import Study
from caf_video.rendering import histogram

PAPER_COLUMNS = ("table", "dataset", "backbone", "trained", "method", "figure", "percent")
_PAPER, _OURS = "paper", "ours"
_SHARES = np.linspace(0, 1, 21)  # bins of 5 %


@dataclass(frozen=True)
class Wanted:
    """A run of `localize` that a table has rows of.

    Attributes:
        dataset, backbone, trained: As its record names them; each the beginning of the name.
        command: What makes it.
    """

    dataset: str
    backbone: str
    trained: str
    command: str


@dataclass(frozen=True)
class Layout:
    """One of the paper's tables.

    Attributes:
        number: In the paper.
        title: What it is about.
        protocol: Whose boxes.
        methods: In the order of its rows.
        figures: Its columns, as a record of `localize` names them.
        retrieval: Whether NMI and R@1 stand before them.
        wanted: Its runs.
    """

    number: int
    title: str
    protocol: str
    methods: tuple[str, ...]
    figures: tuple[str, ...]
    retrieval: bool
    wanted: tuple[Wanted, ...]


def _pretrained(backbone: str) -> Wanted:
    command = (
        f"caf-video localize --dataset imagenet --root ILSVRC --backbone {backbone} "
        f"--protocol cam --json results/{backbone}.json"
    )
    name = {"resnetv2_50": "timm/resnetv2_50"}.get(backbone, backbone)
    return Wanted("imagenet", name, "ImageNet", command)


def _tuned(dataset: str, backbone: str, tuning: str) -> Wanted:
    run = f"runs/{dataset}_{backbone}_{tuning}"
    command = (
        f"caf-video train --config-name classifier data={dataset} backbone={backbone} "
        f"tuning={tuning} root={dataset.upper()} run_dir={run}; caf-video localize --dataset "
        f"{dataset} --root {dataset.upper()} --model {run} --protocol adl --json {run}.json"
    )
    return Wanted(dataset, backbone, tuning, command)


def _embedded(dataset: str, backbone: str, loss: str) -> Wanted:
    run = f"runs/{dataset}_{backbone}_{loss}"
    command = (
        f"caf-video train --config-name retrieval data={dataset} backbone={backbone} loss={loss} "
        f"root={dataset.upper()} run_dir={run}; caf-video localize --dataset {dataset} --root "
        f"{dataset.upper()} --model {run} --protocol cam --json {run}.json"
    )
    return Wanted(dataset, backbone, {"n_pair": "N-pair"}.get(loss, loss), command)


BACKBONES = ("googlenet", "resnetv2_50", "densenet161")
LAYOUTS = (
    Layout(
        1, "pretrained classifiers, ILSVRC", "cam", ("grad-cam", "l2-caf", "l2-caf-class"),
        ("gt_known", "top1_loc", "top5_loc"), False, tuple(map(_pretrained, BACKBONES)),
    ),
    Layout(
        2, "classifiers trained to localise, CUB", "adl",
        ("cam", "grad-cam", "acol", "l2-caf", "l2-caf-class"), ("gt_known", "top1_loc"), False,
        (
            *(_tuned("cub", "vgg16_gap", tuning) for tuning in ("gap", "acol", "adl")),
            _tuned("cub", "resnet50_se", "adl"),
        ),
    ),
    Layout(
        3, "embeddings, CUB and CARS196", "cam",
        ("retrieval-grad-cam", "retrieval-grad-cam-abs", "l2-caf"), ("gated_loc",), True,
        tuple(
            _embedded(dataset, backbone, loss)
            for dataset in ("cub", "cars")
            for loss in ("triplet", "n_pair")
            for backbone in ("googlenet", "resnet50", "densenet161")
        ),
    ),
)  # fmt: skip


def read_results(places: Sequence[Path]) -> list[dict[str, Any]]:
    """The records of `localize` among JSON files, or anywhere below folders.

    Raises:
        InputError: A place is not there, or none is a record of `localize`.
    """
    records = []
    for place in places:
        if not place.exists():
            raise InputError(f"no results at {place}")
        for path in sorted(place.rglob("*.json")) if place.is_dir() else [place]:
            record = read_json(path)
            if isinstance(record, dict) and {"settings", "backbone", "rows"} <= record.keys():
                records.append({**record, "file": str(path)})
    if not records:
        named = ", ".join(map(str, places))
        raise InputError(f"no result of `caf-video localize --json` in {named}")
    return records


def read_paper(path: Path) -> dict[tuple[str, ...], float]:
    """The paper's figures by table, dataset, backbone, trained, method and figure, in percent.

    Raises:
        InputError: The file is not such a table; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from error
    rows = csv.DictReader(io.StringIO(text))
    if not set(PAPER_COLUMNS) <= set(rows.fieldnames or ()):
        raise InputError(f"{path}: wanted the columns {','.join(PAPER_COLUMNS)}")
    figures = {}
    for row in rows:
        try:
            value = float(row["percent"])
        except ValueError as error:
            raise InputError(
                f"{path.name} line {rows.line_num}: percent {row['percent']!r} is not a number"
            ) from error
        figures[tuple(row[column].strip() for column in PAPER_COLUMNS[:-1])] = value
    return figures


def study_tables(
    records: Sequence[Mapping[str, Any]], paper: Mapping[tuple[str, ...], float] | None = None
) -> Study:
    """Tables 1 to 3 from records of `localize`.

    Args:
        records: What `read_results` found.
        paper: What `read_paper` found.
    """
    tables, plain = [], []
    for layout in LAYOUTS:
        table, rows = _table(layout, records, paper or {})
        tables.append(table)
        plain.append({"table": layout.number, "rows": rows, "notes": list(table.notes)})
    return Study("tables", tables, {"figures": plain, "results": [r["file"] for r in records]})


def study_box_sizes(
    image_set: ImageSet, *, split: str | None = None, track: Track = quietly
) -> Study:
    """Fig. 5: how much of its image a box covers, the largest of each image and every one.

    Args:
        image_set: Any.
        split: Of it; None for all of it.
        track: Shows how far it is.

    Raises:
        InputError: No image has a box.
    """
    images = image_set.images if split is None else image_set.split(split)
    boxed = [image for image in images if image.boxes]
    if not boxed:
        raise InputError(f"no image of {image_set.root} has a box to be measured")
    largest, every = [], []
    for image in track(boxed, description="Measuring boxes", total=len(boxed)):
        height, width = image_size(image.path)
        shares = [
            min(1.0, (x2 - x1) * (y2 - y1) / (height * width)) for x1, y1, x2, y2 in image.boxes
        ]
        largest.append(max(shares))
        every += shares
    counts = [np.histogram(shares, _SHARES)[0] / len(shares) for shares in (largest, every)]
    rows = [
        [f"{100 * low:.0f} to {100 * high:.0f} %", *(f"{100 * count[bin]:.1f}" for count in counts)]
        for bin, (low, high) in enumerate(zip(_SHARES[:-1], _SHARES[1:], strict=True))
    ]
    where = f"{image_set.name}, {'all splits' if split is None else f'split {split}'}"
    table = Table(
        f"Box sizes (Fig. 5): {where}",
        ["box covers", "largest box of the image, %", "every box, %"],
        rows,
        [
            f"{len(boxed)} images with a box, {len(every)} boxes. Median share of the image: "
            f"largest {np.median(largest):.2f}, every {np.median(every):.2f}."
        ],
    )
    drawn = histogram(
        {"largest box of an image": largest, "every box": every},
        label="share of the image that it covers",
        bins=_SHARES.tolist(),
    )
    return Study(
        "box_sizes", [table], {"largest": largest, "every": every, "where": where}, {"": drawn}
    )


def _table(
    layout: Layout, records: Sequence[Mapping[str, Any]], paper: Mapping[tuple[str, ...], float]
) -> tuple[Table, list[dict[str, Any]]]:
    near = ["nmi", "recall@1"] if layout.retrieval else []
    titles = {"nmi": "NMI", "recall@1": "R@1", **TITLES}
    names = [*near, *layout.figures]
    columns = ["dataset", "backbone", "trained", "method"]
    columns += [f"{titles[name]}, {whose}" for name in names for whose in (_PAPER, _OURS)]
    lines, rows, notes = [], [], []
    for wanted in (*layout.wanted, *_others(layout, records)):
        found = [record for record in records if _is(record, wanted, layout.protocol)]
        key = str(layout.number), wanted.dataset, _plain(wanted.backbone), wanted.trained
        if not found:
            lines.append([*key[1:], "missing", *["–"] * (2 * len(names))])
            what = f"{key[2]}, {wanted.trained}, {wanted.dataset}"
            notes.append(f"Missing: {what}: `{wanted.command}`")
        record = found[-1] if found else None
        if len(found) > 1:
            notes.append(f"{key[2]}, {wanted.trained}: {len(found)} results, the last is shown.")
        for method in layout.methods:
            ours = dict(_figures(record, layout.protocol, method)) if record else {}
            published = {name: paper.get((*key, method, name)) for name in names}
            if not ours and all(value is None for value in published.values()):
                continue
            rows.append(
                dict(zip(("dataset", "backbone", "trained"), key[1:], strict=True))
                | {"method": method, "paper": published}
                | {"ours": {name: vars(ours[name]) for name in names if name in ours}}
            )
            cells = [
                _shown(published[name]) if whose == _PAPER else _shown(ours.get(name))
                for name in names
                for whose in (_PAPER, _OURS)
            ]
            lines.append([*key[1:], method, *cells])
        if record is not None:
            settings = record["settings"]
            notes.append(
                f"{key[2]}, {wanted.trained}: {settings['images']} images of "
                f"{settings['dataset']}, split {settings['split']} ({record['file']})."
            )
    if not paper:
        notes.append("The paper's figures are not at hand: give them with --paper FILE.")
    notes.append("Percent [95 % bootstrap interval over images].")
    return Table(f"Table {layout.number}: {layout.title}", columns, lines, notes), rows


def _others(layout: Layout, records: Sequence[Mapping[str, Any]]) -> list[Wanted]:
    """Runs of the table's kind that the paper has not."""
    kinds = {
        1: lambda record: record["trained"] == "ImageNet",
        2: lambda record: record["trained"] != "ImageNet" and not record.get("retrieval"),
        3: lambda record: bool(record.get("retrieval")),
    }
    found = []
    for record in records:
        known = any(_is(record, wanted, layout.protocol) for wanted in layout.wanted)
        measured = any(row["protocol"] == layout.protocol for row in record["rows"])
        if measured and not known and kinds[layout.number](record):
            found.append(
                Wanted(record["settings"]["dataset"], record["backbone"], record["trained"], "")
            )
    return list(dict.fromkeys(found))


def _is(record: Mapping[str, Any], wanted: Wanted, protocol: str) -> bool:
    dataset = record["settings"]["dataset"]
    of_imagenet = wanted.dataset == "imagenet" and dataset == "wsol"
    return (
        (dataset == wanted.dataset or of_imagenet)
        and str(record["backbone"]).startswith(wanted.backbone)
        and str(record["trained"]).startswith(wanted.trained)
        and any(row["protocol"] == protocol for row in record["rows"])
    )


def _figures(
    record: Mapping[str, Any], protocol: str, method: str
) -> Iterator[tuple[str, Estimate]]:
    for row in record["rows"]:
        if row["protocol"] != protocol or row["method"] != method:
            continue
        yield from ((name, Estimate(**row[name])) for name in TITLES if row.get(name))
        near = record.get("retrieval", {}).get(protocol)
        if near:
            yield "nmi", Estimate(near["nmi"], near["nmi"], near["nmi"])
            yield "recall@1", Estimate(**near["recall@1"])


def _shown(figure: float | Estimate | None) -> str:
    if figure is None:
        return "–"
    if isinstance(figure, Estimate):
        return percent(figure) if figure.low < figure.high else f"{100 * figure.value:.1f}"
    return f"{figure:.1f}"


def _plain(backbone: str) -> str:
    return backbone.removeprefix("timm/")
