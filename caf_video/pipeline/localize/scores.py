"""From what was measured to figures: every method under every protocol, gated, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caf_video.localization import (
    PROTOCOLS,
    Estimate,
    ThresholdCurve,
    estimates,
    gate,
    localization_hits,
    pixel_estimates,
    threshold_curve,
)
from caf_video.pipeline.localize.measure import Measurements
from caf_video.retrieval import normalized_mutual_information, recall_at_k

BASELINES = ("grad-cam", "retrieval-grad-cam")  # vanilla, of a classifier and of an embedding
HEADLINES = ("pxap", "gated_loc", "top1_loc", "gt_known")  # the first there is is what Δ is about


@dataclass(frozen=True)
class Row:
    """A method under a protocol.

    Attributes:
        protocol, method: Their names.
        figures: "gt_known" and, gated, "top1_loc", "top5_loc" or "gated_loc", or of masks
            "pxap"; in [0, 1].
        delta: What the headline figure is above that of vanilla Grad-CAM, by paired bootstrap; None
            where that is not in the table, or is the row itself.
        curve: Accuracy by threshold, of an oracle or where the threshold was swept.
    """

    protocol: str
    method: str
    figures: dict[str, Estimate]
    delta: Estimate | None
    curve: ThresholdCurve | None


@dataclass(frozen=True)
class Retrieval:
    """How good an embedding is at finding images of the same label, over all that could be read.

    Attributes:
        recall: R@1 with its interval, R@K for others.
        nmi: Normalised mutual information of k-means clusters and labels.
        excluded: Images that are the only ones of their label, which do not count.
        nearest: Position of each image's nearest other, (n,).
        correct: Whether that has the same label, (n,).
        counted: Whether the image counts, (n,).
    """

    recall_at_1: Estimate
    recall: dict[int, float]
    nmi: float
    excluded: int
    nearest: NDArray[np.int64]
    correct: NDArray[np.bool_]
    counted: NDArray[np.bool_]


@dataclass(frozen=True)
class Scores:
    """The whole table.

    Attributes:
        rows: In the order of protocols, then methods.
        headline: The figure that Δ is about.
        top: By protocol, the classification accuracies "top1" and "top5", over all images.
        retrieval: By protocol, for embeddings.
    """

    rows: list[Row]
    headline: str
    top: dict[str, dict[str, Estimate]]
    retrieval: dict[str, Retrieval]


def score(found: Measurements, protocols: Sequence[str], methods: Sequence[str]) -> Scores:
    """Every figure there is.

    Args:
        found: The measurements.
        protocols: In the order of the table.
        methods: The same.
    """
    labels = [str(image.label) for image in found.images]
    ids = [image.image_id for image in found.images]
    retrieval: dict[str, Retrieval] = {}
    seen: dict[bytes, Retrieval] = {}  # protocols that share an input share their embeddings
    for protocol, embeddings in found.embeddings.items():
        key = embeddings.tobytes()
        if key not in seen:
            seen[key] = _retrieval(embeddings, labels, ids)
        retrieval[protocol] = seen[key]
    top = {}
    for protocol, ranks in found.ranks.items():
        one, five = estimates([(ranks < k).astype(float) for k in (1, 5)])
        top[protocol] = {"top1": one, "top5": five}
    rows = []
    headline = "gt_known"
    for protocol in protocols:
        if PROTOCOLS[protocol].of_masks:
            rows += _mask_rows(found, protocol, methods)
            headline = "pxap"
            continue
        scored = {
            method: _gated(found, retrieval, protocol, method)
            for method in methods
            if (protocol, method) in found.overlaps
        }
        if not scored:
            continue
        headline = next(name for name in HEADLINES if name in next(iter(scored.values())))
        rows += _rows(found, protocol, scored, headline)
    return Scores(rows, headline, top, retrieval)


def _mask_rows(found: Measurements, protocol: str, methods: Sequence[str]) -> list[Row]:
    measured = [method for method in methods if (protocol, method) in found.overlaps]
    baseline = next((name for name in BASELINES if name in measured), None)
    first = [baseline] if baseline else []
    order = first + [method for method in measured if method != baseline]
    values, deltas = pixel_estimates([found.overlaps[protocol, method] for method in order])
    by_name = dict(zip(order, zip(values, deltas, strict=True), strict=True))
    return [
        Row(
            protocol,
            method,
            {"pxap": by_name[method][0]},
            by_name[method][1] if baseline else None,
            None,
        )
        for method in measured
    ]


def _retrieval(embeddings: NDArray[np.float32], labels: list[str], ids: list[str]) -> Retrieval:
    result = recall_at_k(embeddings, labels, ids=ids)
    (at_1,) = estimates([result.correct[result.counted].astype(float)])
    return Retrieval(
        recall_at_1=at_1,
        recall=result.recall,
        nmi=normalized_mutual_information(embeddings, labels),
        excluded=result.excluded,
        nearest=result.nearest,
        correct=result.correct,
        counted=result.counted,
    )


def _gated(
    found: Measurements, retrieval: dict[str, Retrieval], protocol: str, method: str
) -> dict[str, NDArray[np.float64]]:
    """What each image with a box scores under each gate."""
    hits = localization_hits(protocol, found.overlaps[protocol, method])
    near = retrieval.get(protocol)
    ranks = found.ranks.get(protocol)
    scores = gate(
        hits,
        ranks=None if ranks is None else ranks[found.localized],
        neighbour_correct=None if near is None else near.correct[found.localized],
        neighbour_counted=None if near is None else near.counted[found.localized],
    )
    wanted = ("gt_known", "top1_loc", "top5_loc", "gated_loc")
    return {name: scores[name] for name in wanted if name in scores}


def _rows(
    found: Measurements,
    protocol: str,
    scored: dict[str, dict[str, NDArray[np.float64]]],
    headline: str,
) -> list[Row]:
    baseline = next((name for name in BASELINES if name in scored), None)
    figures: dict[str, dict[str, Estimate]] = {method: {} for method in scored}
    for name in next(iter(scored.values())):
        values = estimates([scored[method][name] for method in scored])
        for method, value in zip(scored, values, strict=True):
            figures[method][name] = value
    deltas: dict[str, Estimate] = {}
    if baseline is not None:
        others = [method for method in scored if method != baseline]
        against = scored[baseline][headline]
        values = estimates([scored[method][headline] - against for method in others])
        deltas = dict(zip(others, values, strict=True))
    swept = found.overlaps if PROTOCOLS[protocol].oracle else found.sweeps
    return [
        Row(
            protocol,
            method,
            figures[method],
            deltas.get(method),
            threshold_curve(protocol, swept[protocol, method])
            if (protocol, method) in swept
            else None,
        )
        for method in scored
    ]
