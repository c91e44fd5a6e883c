"""The figures as the paper's tables have them: Markdown for people, plain values for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from caf_video.data.images import SkippedImage
from caf_video.escapes import markdown as escaped
from caf_video.localization import PROTOCOLS, Estimate
from caf_video.pipeline.localize.explained_network import ExplainedNetwork
from caf_video.pipeline.localize.measure import Measurements
from caf_video.pipeline.localize.scores import Row, Scores
from caf_video.pipeline.result_table import Table

TITLES = {
    "gt_known": "GT-known LOC",
    "top1_loc": "top-1 LOC",
    "top5_loc": "top-5 LOC",
    "gated_loc": "R@1-gated LOC",
    "pxap": "PxAP",
}
SKIPPED_SHOWN = 5


def header(scores: Scores, *, full: bool = True) -> list[str]:
    """The columns of the table; for a screen, not `full`, only those that differ by row."""
    figures = [TITLES[name] for name in scores.rows[0].figures] if scores.rows else []
    delta = f"Δ {TITLES[scores.headline]}"
    network = ["backbone", "trained", *(["NMI", "R@1"] if scores.retrieval else [])]
    return ["protocol", "method", *(network if full else []), *figures, delta]


def cells(row: Row, scores: Scores, network: ExplainedNetwork, *, full: bool = True) -> list[str]:
    """One line of the table, in percent; for a screen, not `full`, figures without intervals."""
    near = scores.retrieval.get(row.protocol)
    name = f"{row.protocol} (oracle)" if PROTOCOLS[row.protocol].oracle else row.protocol
    if not full:
        figures = [f"{100 * figure.value:.1f}" for figure in row.figures.values()]
        delta = "–" if row.delta is None else f"{100 * row.delta.value:+.1f}"
        return [name, row.method, *figures, delta]
    delta = "–" if row.delta is None else percent(row.delta, signed=True)
    retrieval = [f"{100 * near.nmi:.1f}", percent(near.recall_at_1)] if near else []
    figures = [percent(figure) for figure in row.figures.values()]
    return [name, row.method, network.backbone, network.trained, *retrieval, *figures, delta]


def percent(figure: Estimate, *, signed: bool = False) -> str:
    """A figure and its 95 % interval: 69.4 [66.0, 72.9]."""
    sign = "+" if signed else ""
    low, high = 100 * figure.low, 100 * figure.high
    return f"{100 * figure.value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def footnotes(
    scores: Scores, found: Measurements, skipped: Sequence[SkippedImage], where: str
) -> list[str]:
    """What the numbers hold for, a sentence each.

    Args:
        scores: The figures.
        found: What they were made of.
        skipped: All images that are listed and were not used.
        where: The images, for people.
    """
    notes = [
        f"{len(found.images)} images of {where}, {int(found.localized.sum())} with a "
        f"{'mask' if scores.headline == 'pxap' else 'box'}. Percent "
        "[95 % bootstrap interval over images]."
    ]
    if skipped:
        named = "; ".join(f"{s.image_id}: {s.reason}" for s in skipped[:SKIPPED_SHOWN])
        more = f"; and {len(skipped) - SKIPPED_SHOWN} more" if len(skipped) > SKIPPED_SHOWN else ""
        notes.append(f"{len(skipped)} listed images were skipped: {named}{more}.")
    for names, top in _alike(scores.top):
        notes.append(
            f"Classification of all images ({names}): top-1 {percent(top['top1'])}, "
            f"top-5 {percent(top['top5'])}."
        )
    for names, near in _alike(scores.retrieval):
        others = ", ".join(f"R@{k} {100 * share:.1f}" for k, share in near.recall.items() if k > 1)
        alone = (
            f" {near.excluded} images are the only ones of their label." if near.excluded else ""
        )
        notes.append(
            f"Retrieval among all images ({names}): R@1 {percent(near.recall_at_1)}, {others}, NMI "
            f"{100 * near.nmi:.1f}.{alone}"
        )
    baseline = next((row for row in scores.rows if row.delta is not None), None)
    if baseline is not None:
        notes.append(
            f"Δ is {TITLES[scores.headline]} less that of vanilla Grad-CAM, by paired bootstrap."
        )
    for protocol in dict.fromkeys(row.protocol for row in scores.rows):
        if not PROTOCOLS[protocol].oracle:
            continue
        curves = {row.method: row.curve for row in scores.rows if row.protocol == protocol}
        chosen = "; ".join(
            f"{method} {', '.join(f'{t:.3f}' for t in curve.best_thresholds)}"
            for method, curve in curves.items()
            if curve is not None
        )
        notes.append(
            f"{protocol} is an oracle, whose thresholds were chosen on these very boxes: {chosen}."
        )
    for method, count in found.negative.items():
        if count:
            notes.append(
                f"{method}: {count} of {len(found.images)} filters are more negative than "
                "positive, and |f| then shows what speaks against the class."
            )
    return notes


def markdown(scores: Scores, network: ExplainedNetwork, notes: Sequence[str]) -> str:
    """The table and its footnotes."""
    columns = header(scores)
    lines = [
        _line(columns),
        f"|{'---|' * len(columns)}",
        *(_line(cells(row, scores, network)) for row in scores.rows),
        "",
        *(f"* {escaped(note)}" for note in notes),
    ]
    return "\n".join(lines) + "\n"


def shown(scores: Scores, network: ExplainedNetwork, notes: Sequence[str], title: str) -> Table:
    """The table and its footnotes, for a page."""
    return Table(title, header(scores), [cells(row, scores, network) for row in scores.rows], notes)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"


def record(
    scores: Scores,
    network: ExplainedNetwork,
    found: Measurements,
    skipped: Sequence[SkippedImage],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Everything in plain values, image by image."""
    return {
        "settings": settings,
        "backbone": network.backbone,
        "trained": network.trained,
        "headline": scores.headline,
        "rows": [
            {
                "protocol": row.protocol,
                "method": row.method,
                "oracle": PROTOCOLS[row.protocol].oracle,
                **{name: asdict(figure) for name, figure in row.figures.items()},
                "delta": None if row.delta is None else asdict(row.delta),
                "curve": None
                if row.curve is None
                else {
                    "thresholds": row.curve.thresholds.tolist(),
                    "iou_levels": list(row.curve.iou_levels),
                    "accuracies": row.curve.accuracies.tolist(),
                    "best_thresholds": row.curve.best_thresholds.tolist(),
                    "best_accuracy": row.curve.best_accuracy,
                },
            }
            for row in scores.rows
        ],
        "classification": {
            protocol: {name: asdict(figure) for name, figure in top.items()}
            for protocol, top in scores.top.items()
        },
        "retrieval": {
            protocol: {
                "recall@1": asdict(near.recall_at_1),
                **{f"recall@{k}": share for k, share in near.recall.items() if k > 1},
                "nmi": near.nmi,
                "excluded": near.excluded,
            }
            for protocol, near in scores.retrieval.items()
        },
        "negative_filters": found.negative,
        "seconds": found.seconds,
        "skipped": [asdict(image) for image in skipped],
        "images": _by_image(scores, found),
    }


def _by_image(scores: Scores, found: Measurements) -> list[dict[str, Any]]:
    with_box = found.localized.cumsum() - 1  # position among the images with boxes
    fixed = {
        key: overlaps
        for key, overlaps in found.overlaps.items()
        if not PROTOCOLS[key[0]].oracle and not PROTOCOLS[key[0]].of_masks
    }
    records = []
    for i, image in enumerate(found.images):
        one: dict[str, Any] = {"image_id": image.image_id, "label": image.label}
        if found.ranks:
            one["rank"] = {name: int(ranks[i]) for name, ranks in found.ranks.items()}
        if scores.retrieval:
            one["nearest"] = {
                name: found.images[near.nearest[i]].image_id
                for name, near in scores.retrieval.items()
            }
        if found.localized[i] and fixed:
            ious: dict[str, dict[str, float]] = {}
            for (protocol, method), overlaps in fixed.items():
                iou = float(overlaps[with_box[i], 0])
                ious.setdefault(protocol, {})[method] = round(iou, 4)
            one["iou"] = ious
        records.append(one)
    return records


def _alike(by_protocol: dict[str, Any]) -> list[tuple[str, Any]]:
    """Protocols of which something is the same, named together."""
    groups: list[tuple[list[str], Any]] = []
    for name, value in by_protocol.items():
        for names, other in groups:
            if other is value or (isinstance(value, dict) and other == value):
                names.append(name)
                break
        else:
            groups.append(([name], value))
    return [(", ".join(names), value) for names, value in groups]
