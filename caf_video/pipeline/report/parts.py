"""What the pages of runs of clips and of images share."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from caf_video.pipeline.page_folder import PageFolder
from caf_video.rendering import Chart, line_chart
from caf_video.retrieval import principal_plane
from caf_video.training import read_metrics

FILMS_BYTES = 140e6  # of all films: the folder stays under 150 MB
NEIGHBOURS = 5
GALLERY = 2000  # clips

MODES = ("attention", "frames alone")


@dataclass(frozen=True)
class ReportDone:
    """What `report` left: the page, how many clips it shows and of how many, and its bytes."""

    page: Path
    shown: int
    total: int
    size_bytes: int


def drawn(count: int, most: int) -> list[int]:
    """Positions of all, or of `most` drawn by chance, the same every time."""
    if count <= most:
        return list(range(count))
    return sorted(np.random.default_rng(0).choice(count, most, replace=False).tolist())


def charts(folder: Path) -> list[Chart]:
    """The curves of the training; none where it kept no metrics."""
    if not (folder / "metrics.csv").is_file():
        return []
    series = read_metrics(folder)
    return [
        line_chart(name, {name: (steps, values)}, unit="step")
        for name, (steps, values) in series.items()
        if name != "learning_rate" and len(steps) > 1
    ]


def on_plane(embeddings: Tensor) -> tuple[np.ndarray, tuple[float, float]]:
    """Where embeddings are on a map, -1 to 1, (n, 2), and the share of variance of each axis."""
    plane, shares = principal_plane(embeddings)
    return np.round(plane / (np.abs(plane).max() or 1.0), 4), shares


def folder_done(folder: PageFolder, shown: int, total: int) -> ReportDone:
    """Note that the page is ours, and weigh its folder."""
    folder.done()
    size = sum(path.stat().st_size for path in folder.folder.rglob("*") if path.is_file())
    return ReportDone(folder.page, shown, total, size)


def settings_of(config: Mapping[str, Any]) -> dict[str, object]:
    """The settings of a training by their dotted names, and what made the page."""
    described: dict[str, object] = {}
    for section in ("model", "loss", "optimizer", "data", "trainer"):
        described |= _flat(config.get(section, {}), f"{section}.")
    return {
        **described,
        "seed": config.get("seed"),
        "caf_video": version("caf_video"),
        "page made": date.today().isoformat(),
    }


def _flat(section: Any, prefix: str) -> dict[str, object]:
    """Settings by their dotted names, but for Hydra's own."""
    if not isinstance(section, dict):
        return {}
    found: dict[str, object] = {}
    for name, value in section.items():
        if str(name).startswith("_"):
            continue
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
