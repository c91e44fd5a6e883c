"""What the pages of runs of clips and of images share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from caf_video.errors import InputError
from caf_video.pipeline.page_folder import PageFolder
from caf_video.rendering import Chart, line_chart
from caf_video.retrieval import neighbor_plane, principal_plane, require_tsne
from caf_video.training import read_metrics

FILMS_BYTES = 140e6  # of all films: the folder stays under 150 MB
NEIGHBOURS = 5
GALLERY = 2000  # clips

MODES = ("attention", "frames alone")
MAPS = ("pca", "tsne")


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


def require_map(kind: str) -> None:
    """A map that can be drawn here.

    Raises:
        InputError: There is none of that name, or what draws it is not installed.
    """
    if kind not in MAPS:
        raise InputError(f"no map {kind!r}: choose {', '.join(MAPS)}")
    if kind == "tsne":
        require_tsne()


def on_plane(embeddings: Tensor, rows: Sequence[int], kind: str) -> tuple[np.ndarray, str]:
    """Where some of the embeddings are on a map.

    PCA is of all of them; t-SNE, which takes its time, of those in `rows`.

    Args:
        embeddings: All of them, (n, d).
        rows: Of those that are shown, m.
        kind: One of MAPS.

    Returns:
        Points, -1 to 1, (m, 2), and what the map is, in sentences.
    """
    if kind == "tsne":
        plane = neighbor_plane(embeddings[list(rows)])
        told = (
            "t-SNE of those that are shown: who lies close is close. How far groups lie apart, and "
            "how large they are, means nothing."
        )
    else:
        plane, (first, second) = principal_plane(embeddings)
        plane = plane[list(rows)]
        told = (
            f"Their two principal components (PCA), which hold {100 * first:.0f} % and "
            f"{100 * second:.0f} % of the variance: what is far apart here is far apart, what is "
            "close need not be."
        )
    return np.round(plane / (np.abs(plane).max() or 1.0), 4), told


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
