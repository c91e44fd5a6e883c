"""runs on synthetic clips ─► is attention true? Every method where the evidence is known (maths 7).

OUT/attention.md     the tables
OUT/attention.json   the same by group and by run, and the paired differences
OUT/attention.png    the main figures with their intervals
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caf_video.attention import resize_maps
from caf_video.evaluation import (
    EARLY,
    PairedBootstrap,
    PerClip,
    as_sharp_as,
    correlation,
    cosine_of_maps,
    energy_in_box,
    heaviest_counts,
    masked_curves,
    pointing_game,
    single_maximum,
    when_auc,
)
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.study.attention_tables import (
    ALL,
    MEASURES,
    PICTURED,
    RIGHT,
    WRONG,
    Figures,
    Titles,
    tables,
)
from caf_video.pipeline.study.clip_rows import NORM, PER_FRAME, ClipRow, clip_rows
from caf_video.pipeline.study.synthetic import KnownClips, know
from caf_video.pipeline.study.written import Study
from caf_video.rendering import IntervalPanel, interval_panels

Measured = dict[str, PerClip]  # by measure

NAME = "attention"


def study_attention(
    runs: Sequence[Path], *, split: str = "test", seed: int = 0, track: Track = quietly
) -> Study:
    """Measure every method on the synthetic clips of one or several runs.

    Runs that were trained on the same clips, with other seeds, are averaged clip by clip; those of
    other clips are more clips. Intervals are of a bootstrap over clips, paired between methods.

    Args:
        runs: Folders of training runs of clips from `caf-video synth`.
        split: val or test, of which there are neutral copies.
        seed: Of the resamples, and of the row that is random.

    Raises:
        CafVideoError: A run cannot be opened, or its clips have no truth or no neutral copies.
    """
    sets: dict[Path, list[dict[str, Measured]]] = {}
    groups: dict[Path, list[dict[str, np.ndarray]]] = {}
    described, titles = [], {}
    for run_folder in runs:
        known = know(run_folder, split=split, track=track)
        rows = clip_rows(known, seed=seed)
        measured = {}
        for name, row in track(
            rows.items(), description=f"Measuring {run_folder.name}", total=len(rows)
        ):
            measured[name] = measure_row(row, known, rows[NORM])
        sets.setdefault(known.clip_set, []).append(measured)
        groups.setdefault(known.clip_set, []).append(groups_of(known))
        titles = {name: (row.title, row.kind) for name, row in rows.items()}
        described.append(_described(run_folder, known, measured))
    clips = [len(of_set[0][ALL]) for of_set in groups.values()]
    bootstrap = PairedBootstrap(clips, seed=seed)
    figures = _figures(bootstrap, list(sets.values()), list(groups.values()))
    record = {
        "command": f"caf-video study attention {' '.join(map(str, runs))} --split {split} "
        f"--seed {seed}",
        "runs": described,
        "figures": figures,
        "differences": _differences(bootstrap, list(sets.values())),
    }
    return Study(
        NAME, tables(record, titles), record, {"": interval_panels(_panels(figures, titles))}
    )


def measure_row(row: ClipRow, known: KnownClips, norm: ClipRow) -> Measured:
    """All that can be measured of a row, clip by clip."""
    found: Measured = {}
    if row.frames is not None:
        seen, other = known.visible, known.other
        mixed = seen.any(dim=1) & ~seen.all(dim=1)
        found["when_auc"] = PerClip.of(when_auc(row.frames, seen, other))
        found["heaviest"] = PerClip.of(heaviest_counts(row.frames, seen), mixed)
        found["effect_correlation"] = PerClip.of(correlation(row.frames, known.effect))
    if row.heat is None:
        return found
    found |= _in_boxes(row.heat, known, norm.heat)
    found["single_maximum"] = PerClip.of(
        single_maximum(row.heat, known.boxes, known.visible, known.size)
    )
    found["causal_cosine"] = PerClip.of(cosine_of_maps(row.heat, known.share))
    for name, filling in (("zeros", torch.zeros(1)), ("neutral", known.neutral)):
        for insertion in (False, True):
            curves = masked_curves(
                known.run.model.head,
                known.maps,
                row.heat,
                filling,
                known.nearest_correct,
                insertion=insertion,
            )
            way = "insertion" if insertion else "deletion"
            found[f"{way}_{name}"] = PerClip.of(curves.area)
            if not insertion:
                found[f"recall_{name}"] = PerClip.of(curves.correct[:, EARLY])
    return found


def groups_of(known: KnownClips) -> dict[str, np.ndarray]:
    """Clips (n,) bool by group: all, those retrieved right and wrong, and every class."""
    labels = np.array([clip.label for clip in known.clips])
    groups = {ALL: np.ones(len(labels), bool), RIGHT: known.correct, WRONG: ~known.correct}
    return groups | {f"class {label}": labels == label for label in sorted(set(labels))}


def _in_boxes(heat: Tensor, known: KnownClips, norm: Tensor | None) -> Measured:
    """Pointing and energy over the frames of visible evidence, and the energy of the norm."""
    clips, _ = known.visible.nonzero(as_tuple=True)
    boxes = known.boxes[known.visible]
    of_frames = resize_maps(heat[known.visible].float(), known.size)
    found = {
        "pointing": pointing_game(of_frames, boxes),
        "energy": energy_in_box(of_frames, boxes),
    }
    if norm is not None:
        sharpened, _ = as_sharp_as(norm[known.visible], heat[known.visible])
        found["energy_norm"] = energy_in_box(resize_maps(sharpened.float(), known.size), boxes)
    counts = known.visible.sum(dim=1).double().numpy()
    return {
        name: PerClip(np.bincount(clips.numpy(), values.numpy(), len(counts)).astype(float), counts)
        for name, values in found.items()
    }


def _figures(
    bootstrap: PairedBootstrap,
    sets: Sequence[Sequence[Mapping[str, Measured]]],
    groups: Sequence[Sequence[Mapping[str, np.ndarray]]],
) -> Figures:
    figures: Figures = {}
    for row in sets[0][0]:
        figures[row] = {}
        for group in groups[0][0]:
            of_group = {}
            for measure in sets[0][0][row]:
                parts = [
                    [
                        one[row][measure].among(split[group])
                        for one, split in zip(of_set, of_groups, strict=True)
                    ]
                    for of_set, of_groups in zip(sets, groups, strict=True)
                ]
                interval = bootstrap.mean(parts)
                of_group[measure] = None if interval is None else asdict(interval)
            figures[row][group] = of_group
    return figures


def _differences(
    bootstrap: PairedBootstrap, sets: Sequence[Sequence[Mapping[str, Measured]]]
) -> dict[str, Any]:
    """Of every row from the per-frame filters and from the norm, over all clips."""
    found: dict[str, Any] = {}
    for base in (PER_FRAME, NORM):
        found[base] = {}
        for row, measures in sets[0][0].items():
            if row == base:
                continue
            of_row = {}
            for measure in measures:
                if measure not in sets[0][0][base]:
                    continue
                ours, theirs = (
                    [[one[name][measure] for one in of_set] for of_set in sets]
                    for name in (row, base)
                )
                interval = bootstrap.difference(ours, theirs)
                of_row[measure] = None if interval is None else asdict(interval)
            found[base][row] = of_row
    return found


def _described(
    run_folder: Path, known: KnownClips, measured: dict[str, Measured]
) -> dict[str, Any]:
    return {
        "run": str(run_folder),
        "seed": known.run.config.get("seed"),
        "clips": str(known.clip_set),
        "n": len(known.clips),
        "recall@1": known.evaluation.result.recall[1],
        "recall@1_neutral_copies": known.recall_of_neutral(),
        "chance": known.evaluation.all_others.chance,
        "means": {
            row: {
                name: float(one.sums.sum() / one.counts.sum()) if one.counts.sum() else None
                for name, one in measures.items()
            }
            for row, measures in measured.items()
        },
    }


def _panels(figures: Figures, titles: Titles) -> list[IntervalPanel]:
    panels = []
    for name in PICTURED:
        rows = {
            titles[row][0]: (found["value"], found["low"], found["high"])
            for row, groups in figures.items()
            if (found := groups[ALL].get(name)) is not None
        }
        direction = "lower is better" if MEASURES[name].lower else ""
        panels.append(IntervalPanel(MEASURES[name].title, rows, direction))
    return panels
