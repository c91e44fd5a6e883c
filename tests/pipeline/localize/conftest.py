"""Measurements and figures made by hand, all different: in another place each is wrong."""

from pathlib import Path

import numpy as np
import pytest

from caf_video.data.images import LabelledImage, SkippedImage
from caf_video.localization import Estimate, ThresholdCurve
from caf_video.pipeline.localize.measure import Measurements
from caf_video.pipeline.localize.scores import Retrieval, Row, Scores

METHODS = ("first", "grad-cam", "third")


def figure(value: float) -> Estimate:
    """A share and an interval around it that is not even."""
    return Estimate(value, value - 0.0123, value + 0.0345)


@pytest.fixture
def measured() -> Measurements:
    """Twelve images of four labels, two of them without a box and one skipped, three methods."""
    random = np.random.default_rng(3)
    labels = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 3]
    unboxed = (2, 7)
    images = tuple(
        LabelledImage(
            f"image-{i}", Path(f"{i}.png"), label, () if i in unboxed else ((0, 0, 9, 9),), "test"
        )
        for i, label in enumerate(labels)
    )
    shapes = {"simple": (10, 1), "maxboxacc_v2": (10, 255)}
    return Measurements(
        images=images,
        skipped=(SkippedImage("image-x", "cannot be read"),),
        localized=np.array([i not in unboxed for i in range(12)]),
        overlaps={
            (protocol, method): random.random(shape)
            for protocol, shape in shapes.items()
            for method in METHODS
        },
        sweeps={("simple", method): random.random((10, 19)) for method in METHODS},
        ranks={
            "simple": np.array([0, 7, 0, 0, 3, 1, 0, 0, 2, 9, 0, 4]),
            "maxboxacc_v2": np.array([1, 0, 3, 0, 0, 0, 5, 6, 0, 0, 4, 0]),
        },
        embeddings={},
        negative={"first": 0, "third": 4},
        seconds={"forward": 1.25, "total": 7.5},
    )


@pytest.fixture
def classified() -> Scores:
    """Two protocols, one an oracle, by two methods of a classifier."""
    rows, value = [], 0.05
    for protocol in ("simple", "maxboxacc_v2"):
        for method in ("l2-caf", "grad-cam"):
            figures = {}
            for name in ("gt_known", "top1_loc", "top5_loc"):
                value += 0.0511
                figures[name] = figure(value)
            delta = Estimate(-value / 3, -value / 2, value / 7) if method == "l2-caf" else None
            curve = None
            if protocol == "maxboxacc_v2":
                accuracies = np.array([[0.1, value, 0.2], [0.3, 0.1, 0.2], [0.1, 0.2, value]])
                thresholds = np.array([0.25, 0.5, 0.75]) + value / 100
                curve = ThresholdCurve(protocol, thresholds, (0.3, 0.5, 0.7), accuracies)
            rows.append(Row(protocol, method, figures, delta, curve))
    top = {
        "simple": {"top1": figure(0.702), "top5": figure(0.901)},
        "maxboxacc_v2": {"top1": figure(0.713), "top5": figure(0.912)},
    }
    return Scores(rows, "top1_loc", top, {})


@pytest.fixture
def embedded() -> Scores:
    """Two protocols by a method and its baseline, of an embedding."""
    rows = [
        Row("cam", "l2-caf", {"gt_known": figure(0.611), "gated_loc": figure(0.322)},
            Estimate(0.044, 0.011, 0.088), None),
        Row("cam", "retrieval-grad-cam", {"gt_known": figure(0.533), "gated_loc": figure(0.278)},
            None, None),
        Row("adl", "l2-caf", {"gt_known": figure(0.477), "gated_loc": figure(0.255)},
            Estimate(-0.021, -0.065, 0.032), None),
    ]  # fmt: skip
    retrieval = {
        name: Retrieval(
            recall_at_1=figure(first),
            recall={1: first, 2: first + 0.1, 4: first + 0.15, 8: first + 0.2},
            nmi=nmi,
            excluded=excluded,
            nearest=(np.arange(12) + step) % 12,
            correct=np.ones(12, bool),
            counted=np.ones(12, bool),
        )
        for name, first, nmi, excluded, step in (
            ("cam", 0.666, 0.444, 1, 1),
            ("adl", 0.557, 0.333, 0, 5),
        )
    }
    return Scores(rows, "gated_loc", {}, retrieval)
