"""Is attention true where nobody knows the truth? Masked retrieval, and query mosaics (maths 7).

OUT/faithfulness.md            the tables
OUT/faithfulness.json          the same, and the differences from cells at random
OUT/faithfulness.png           the main figures with their intervals
OUT/faithfulness-mosaics.png   some mosaics, with the heat of every method
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caf_video.attention import METHODS
from caf_video.evaluation import EARLY, Interval, PairedBootstrap, PerClip, masked_curves
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.result_table import Best, Table
from caf_video.pipeline.study.clip_rows import center_first
from caf_video.pipeline.study.mosaics import CHANCE, MosaicHeat
from caf_video.pipeline.study.queries import Queries
from caf_video.pipeline.study.written import Study
from caf_video.rendering import IntervalPanel, Panel, heat_over, interval_panels, panel_sheet

NAME = "faithfulness"
RANDOM, CENTER = "random", "center"
TITLES = {RANDOM: "Random cells", CENTER: "Centre first"}

# By measure: its title, and whether less is better.
MASKED = {
    "deletion_zeros": ("deletion, zeros", True),
    "deletion_mean": ("deletion, mean map", True),
    "insertion_zeros": ("insertion, zeros", False),
    "insertion_mean": ("insertion, mean map", False),
    "same_zeros": ("same neighbour −10 %, zeros", True),
    "same_mean": ("same neighbour −10 %, mean map", True),
    "recall_zeros": ("R@1 −10 %, zeros", True),
    "recall_mean": ("R@1 −10 %, mean map", True),
}
PAIRED = {
    "deletion_zeros": ("deletion, zeros", True),
    "deletion_mean": ("deletion, mean map", True),
    "insertion_zeros": ("insertion, zeros", False),
    "insertion_mean": ("insertion, mean map", False),
}
CORNERS = "corners"
MOSAIC = {"energy": ("energy in its quarter", False), "pointing": ("pointing", False)}
PICTURED = ("deletion_zeros", "insertion_zeros", "same_zeros")

_PAIR_NOTE = (
    "Areas under the cosine to the nearest untouched other, whose embedding methods of pairs are "
    "given. What made the two alike, masked first, leaves the least."
)

Measured = dict[str, dict[str, PerClip]]  # by row, by measure
Figures = dict[str, dict[str, Interval | None]]


def study_faithfulness(
    queries: Queries,
    mosaics: MosaicHeat | None = None,
    *,
    seed: int = 0,
    track: Track = quietly,
) -> Study:
    """Masked retrieval and mosaics: every method beside cells at random.

    Args:
        queries: The samples.
        mosaics: What methods of pairs make of them; None leaves them out.
        seed: Of the resamples and the random row.
        track: Shows how far it is.
    """
    orders = _orders(queries, seed)
    rows, pair_rows = queries.heat | orders, queries.pair_heat | orders
    measured: Measured = {}
    of_pairs: Measured = {}
    for name, heat in track(rows.items(), description="Masking", total=len(rows)):
        measured[name] = _masked(heat, queries)
    for name, heat in track(pair_rows.items(), description="Masking pairs", total=len(pair_rows)):
        of_pairs[name] = _masked_pairs(heat, queries)
    bootstrap = PairedBootstrap([len(queries.ids)], seed=seed)
    masked, paired = _figures(bootstrap, measured), _figures(bootstrap, of_pairs)
    untouched = queries.nearest(_raw(queries))
    corners = {row: bootstrap.mean([[PerClip.of(corner_heat(heat))]]) for row, heat in rows.items()}
    has_right = _has_right(queries)
    recall = float(_is_right(untouched, queries)[has_right].mean()) if has_right.any() else None
    record: dict[str, Any] = {
        "network": queries.title,
        "seed": seed,
        "samples": list(queries.ids),
        "recall@1": recall,
        "with_another_of_their_class": int(has_right.sum()),
        "masked": _plain(masked),
        "masked_pairs": _plain(paired),
        CORNERS: {row: None if one is None else asdict(one) for row, one in corners.items()},
        "less_than_random": _plain(
            {
                row: {
                    name: bootstrap.difference([[one]], [[measured[RANDOM][name]]])
                    for name, one in of_row.items()
                }
                for row, of_row in measured.items()
                if row != RANDOM
            }
        ),
    }
    notes = [*_notes(queries, recall, has_right), _corner_note(corners)]
    tables = [
        _table("Masked retrieval", MASKED, masked, notes),
        _table("Masked, asked about the nearest other", PAIRED, paired, [_PAIR_NOTE]),
    ]
    panels = [_panel(MASKED, name, masked) for name in PICTURED]
    pictures: dict[str, Any] = {}
    if mosaics is not None:
        found = _figures(
            PairedBootstrap([len(next(iter(mosaics.energy.values())))], seed=seed),
            {
                row: {"energy": PerClip.of(energy), "pointing": PerClip.of(mosaics.pointing[row])}
                for row, energy in mosaics.energy.items()
            },
        )
        record["mosaics"], record["empty_maps"] = _plain(found), mosaics.empty
        tables.append(_table("Query mosaics", MOSAIC, found, _mosaic_notes(mosaics)))
        panels.append(_panel(MOSAIC, "energy", found))
        pictures["mosaics"] = _sheet(mosaics)
    return Study(NAME, tables, record, {"": interval_panels(panels), **pictures})


def corner_heat(heat: Tensor) -> Tensor:
    """Heat in the four corners of the frames, over that of a uniform map: of (n, t, h, w), (n,).

    1 of a map that is the same everywhere, and of one without any heat.
    """
    corners = heat.double()[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].mean(dim=(1, 2))
    everywhere = heat.double().mean(dim=(1, 2, 3))
    return (corners / everywhere.where(everywhere > 0, 1.0)).where(everywhere > 0, 1.0)


def _raw(queries: Queries) -> Tensor:
    with torch.no_grad():
        return queries.head(queries.maps)


def _orders(queries: Queries, seed: int) -> dict[str, Tensor]:
    """Orders of cells that know nothing of the sample."""
    like = queries.maps[:, :, 0].float().cpu()
    generator = torch.Generator().manual_seed(seed)
    return {RANDOM: torch.rand(like.shape, generator=generator), CENTER: center_first(like)}


def _has_right(queries: Queries) -> np.ndarray:
    """Whether there is another sample of its class to find: in the gallery, itself apart, (n,)."""
    counts = {label: queries.gallery_labels.count(label) for label in set(queries.labels)}
    own = 1 if queries.in_gallery else 0
    return np.array([counts[label] > own for label in queries.labels])


def _is_right(positions: np.ndarray, queries: Queries) -> np.ndarray:
    found = [queries.gallery_labels[place] for place in positions]
    return np.array([a == b for a, b in zip(found, queries.labels, strict=True)])


def _masked(heat: Tensor, queries: Queries) -> dict[str, PerClip]:
    untouched, has_right = queries.nearest(_raw(queries)), _has_right(queries)

    def asked(embeddings: Tensor) -> Tensor:
        positions = queries.nearest(embeddings)
        answers = [positions == untouched, _is_right(positions, queries)]
        return torch.from_numpy(np.stack(answers, axis=1))

    found = {}
    for filling, values in _fillings(queries).items():
        for way in ("deletion", "insertion"):
            curves = masked_curves(
                queries.head, queries.maps, heat, values, asked, insertion=way == "insertion"
            )
            found[f"{way}_{filling}"] = PerClip.of(curves.area)
            if way == "deletion":
                same, right = curves.correct[:, EARLY].unbind(dim=1)
                found[f"same_{filling}"] = PerClip.of(same)
                found[f"recall_{filling}"] = PerClip.of(right, has_right)
    return found


def _masked_pairs(heat: Tensor, queries: Queries) -> dict[str, PerClip]:
    def nothing(embeddings: Tensor) -> Tensor:
        return torch.zeros(len(embeddings), dtype=torch.bool)

    return {
        f"{way}_{filling}": PerClip.of(
            masked_curves(
                queries.head, queries.maps, heat, values, nothing,
                insertion=way == "insertion", reference=queries.neighbours,
            ).area
        )
        for filling, values in _fillings(queries).items()
        for way in ("deletion", "insertion")
    }  # fmt: skip


def _fillings(queries: Queries) -> dict[str, Tensor]:
    return {"zeros": torch.zeros(1), "mean": queries.maps.mean(dim=0, keepdim=True)}


def _figures(bootstrap: PairedBootstrap, measured: Measured) -> Figures:
    return {
        row: {name: bootstrap.mean([[one]]) for name, one in of_row.items()}
        for row, of_row in measured.items()
    }


def _plain(figures: Mapping[str, Mapping[str, Interval | None]]) -> dict[str, Any]:
    return {
        row: {name: None if one is None else asdict(one) for name, one in of_row.items()}
        for row, of_row in figures.items()
    }


def _title(row: str) -> str:
    return TITLES[row] if row in TITLES else METHODS[row].title


def _table(
    title: str,
    measures: Mapping[str, tuple[str, bool]],
    figures: Figures,
    notes: list[str],
) -> Table:
    shown = [name for name in measures if any(of[name] is not None for of in figures.values())]
    best = {}
    for name in shown:
        values = [one.value for of in figures.values() if (one := of[name]) is not None]
        best[name] = f"{(min if measures[name][1] else max)(values):.3f}"
    rows = []
    for row, of_row in figures.items():
        cells = []
        for name in shown:
            one = of_row[name]
            if one is None:
                cells.append("–")
                continue
            text = f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
            cells.append(Best(text) if f"{one.value:.3f}" == best[name] else text)
        rows.append([_title(row), *cells])
    heads = [measures[name][0] + (" ↓" if measures[name][1] else "") for name in shown]
    return Table(title, ["", *heads], rows, notes)


def _notes(queries: Queries, recall: float | None, has_right: np.ndarray) -> list[str]:
    told = (
        f"R@1 {recall:.3f} of the {int(has_right.sum())} that have another of their class to find"
        if recall is not None
        else "no two are of one class, so there is no R@1"
    )
    return [
        f"{queries.title}; {len(queries.ids)} samples; {told}.",
        "Cells go in a map's order, the hottest first, and become zeros, or what the mean map of "
        "all samples has there; −10 %: a tenth of the cells. Deletion: area under the cosine to "
        "the untouched embedding; insertion: they come back instead. Same neighbour: whether the "
        "nearest untouched other is the one it was.",
        "Means over samples and 95 % bootstrap intervals. Bold: the best. ↓: lower is better. What "
        "is not clearly better than random cells tells nothing.",
    ]


def _corner_note(corners: Mapping[str, Interval | None]) -> str:
    told = [
        f"{_title(row)} {one.value:.2f} [{one.low:.2f}, {one.high:.2f}]"
        for row, one in corners.items()
        if one is not None
    ]
    return f"Heat in the four corner cells, over that of a uniform map: {'; '.join(told)}."


def _mosaic_notes(mosaics: MosaicHeat) -> list[str]:
    count = len(next(iter(mosaics.energy.values())))
    empty = [f"{_title(row)} {number}" for row, number in mosaics.empty.items() if number]
    return [
        f"{count} mosaics of {mosaics.made_of} of one of them. Chance is {CHANCE:.2f}. Bold: the "
        "best.",
        *([f"Maps without any heat, which count as chance: {', '.join(empty)}."] if empty else []),
    ]


def _panel(measures: Mapping[str, tuple[str, bool]], name: str, figures: Figures) -> IntervalPanel:
    rows = {
        _title(row): (one.value, one.low, one.high)
        for row, of_row in figures.items()
        if (one := of_row[name]) is not None
    }
    title, lower = measures[name]
    return IntervalPanel(title, rows, "lower is better" if lower else "")


def _sheet(mosaics: MosaicHeat) -> Any:
    rows = []
    for number, (mosaic, heats) in enumerate(mosaics.shown):
        middle = len(mosaic.picture) // 2  # of a clip one frame is shown
        picture, query = mosaic.picture[middle], mosaic.query[middle]
        panels = [Panel(_padded(query, picture.shape), caption="query")]
        for name, heat in heats.items():
            share = mosaics.energy[name][number]
            heatmap = heat_over(heat[middle], picture.shape[:2])
            panels.append(Panel(picture, heatmap, f"{share:.2f} in its quarter"))
        rows.append(panels)
    note = "Every heatmap over its own maximum."
    if len(mosaics.shown[0][0].picture) > 1:
        note = "The middle frame of each, its heatmap over its own maximum."
    return panel_sheet(["", *mosaics.energy], rows, note=note)


def _padded(query: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The query in the middle of white of a mosaic's size: one scale in a row."""
    canvas = np.full(shape, 255, np.uint8)
    top, left = (
        (whole - part) // 2 for whole, part in zip(shape[:2], query.shape[:2], strict=True)
    )
    canvas[top : top + query.shape[0], left : left + query.shape[1]] = query
    return canvas
