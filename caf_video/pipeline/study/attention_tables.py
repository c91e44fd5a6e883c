"""The tables of the study of attention: what is measured, in which order, and what is best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caf_video.pipeline.result_table import Best, Table
from caf_video.pipeline.study.clip_rows import TRUTH

Figures = dict[str, dict[str, dict[str, Any]]]  # by row, by group of clips, by measure
Titles = Mapping[str, tuple[str, str]]  # of a row: what people read, and its kind


@dataclass(frozen=True)
class Measure:
    """What is measured.

    Attributes:
        title: What people read.
        lower: Whether less is better.
    """

    title: str
    lower: bool = False


MEASURES = {
    "pointing": Measure("pointing"),
    "energy": Measure("energy"),
    "energy_norm": Measure("energy of the norm, as sharp"),
    "single_maximum": Measure("single maximum"),
    "when_auc": Measure("when-AUC"),
    "heaviest": Measure("heaviest frame counts"),
    "causal_cosine": Measure("cosine, causal share"),
    "effect_correlation": Measure("correlation, causal effect"),
    "deletion_zeros": Measure("deletion, zeros", lower=True),
    "deletion_neutral": Measure("deletion, neutral", lower=True),
    "insertion_zeros": Measure("insertion, zeros"),
    "insertion_neutral": Measure("insertion, neutral"),
    "recall_zeros": Measure("R@1 less 10 %, zeros", lower=True),
    "recall_neutral": Measure("R@1 less 10 %, neutral", lower=True),
}
WHERE_AND_WHEN = tuple(MEASURES)[:8]
MASKED = tuple(MEASURES)[8:]
PICTURED = ("pointing", "single_maximum", "when_auc", "causal_cosine", "recall_zeros")

BY_CLASS = ("pointing", "causal_cosine", "when_auc")

ALL, RIGHT, WRONG = "all", "right", "wrong"


def tables(record: Mapping[str, Any], titles: Titles) -> list[Table]:
    """All, right and wrong retrievals, and the main measures by class.

    The best of the rows that see no truth is in bold.
    """
    figures: Figures = record["figures"]
    notes = [
        f"{run['run']}: seed {run['seed']}, {run['n']} clips, R@1 {run['recall@1']:.3f} (chance "
        f"{run['chance']:.3f}; of the neutral copies {run['recall@1_neutral_copies']:.3f})."
        for run in record["runs"]
    ]
    notes.append(
        "Means over clips, or over frames with visible evidence, and 95 % bootstrap intervals, "
        "paired by clip. Bold: the best of the rows that see no truth. ↓: lower is better."
    )
    notes.append(f"`{record['command']}`")
    found = []
    for group, of_group in (
        (ALL, ""),
        (RIGHT, ", right retrievals"),
        (WRONG, ", wrong retrievals"),
    ):
        for title, names in (("Where and when", WHERE_AND_WHEN), ("Masked", MASKED)):
            found.append(_table(f"{title}{of_group}", figures, titles, names, group, notes))
            notes = []
    classes = [group for group in next(iter(figures.values())) if group.startswith("class ")]
    found += [_by_class(figures, titles, name, classes) for name in BY_CLASS]
    return [table for table in found if table.rows]


def _table(
    title: str,
    figures: Figures,
    titles: Titles,
    names: Sequence[str],
    group: str,
    notes: Sequence[str],
) -> Table:
    shown = [
        name
        for name in names
        if any(groups[group].get(name) is not None for groups in figures.values())
    ]
    best = {name: _best(figures, titles, name, group) for name in shown}
    rows = []
    for row, groups in figures.items():
        seen_truth = titles[row][1] == TRUTH
        cells = [_cell(groups[group].get(name), "" if seen_truth else best[name]) for name in shown]
        if set(cells) - {"–"}:
            rows.append([titles[row][0], *cells])
    heads = [MEASURES[name].title + (" ↓" if MEASURES[name].lower else "") for name in shown]
    return Table(title, ["", *heads], rows, notes)


def _by_class(figures: Figures, titles: Titles, name: str, classes: Sequence[str]) -> Table:
    rows = []
    for row, groups in figures.items():
        values = [groups[group].get(name) for group in classes]
        if any(value is not None for value in values):
            cells = ["–" if value is None else f"{value['value']:.2f}" for value in values]
            rows.append([titles[row][0], *cells])
    heads = [group.removeprefix("class ") for group in classes]
    return Table(f"{MEASURES[name].title}, by class", ["", *heads], rows)


def _best(figures: Figures, titles: Titles, name: str, group: str) -> str:
    """The best figure, as it is printed, of the rows that see no truth; "" where there is none."""
    values = [
        groups[group][name]["value"]
        for row, groups in figures.items()
        if titles[row][1] != TRUTH and groups[group].get(name) is not None
    ]
    if not values or name == "energy_norm":  # of a method's sharpness: not a figure of its own
        return ""
    return f"{(min if MEASURES[name].lower else max)(values):.3f}"


def _cell(figure: Mapping[str, float] | None, best: str) -> str:
    if figure is None:
        return "–"
    text = f"{figure['value']:.3f}"
    told = f"{text} [{figure['low']:.3f}, {figure['high']:.3f}]"
    return Best(told) if text == best else told
