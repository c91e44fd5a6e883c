"""a picture or a clip ─► the slow motion: the loop's filter on its way beside the exact answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from caf_video.attention import explain, resize_maps
from caf_video.data.images import read_image
from caf_video.data.video.reader import VideoReader
from caf_video.errors import CafVideoError, InputError
from caf_video.files import require_ours
from caf_video.models.backbones import Backbone
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.pipeline.result_table import Table
from caf_video.pipeline.results import output_folder
from caf_video.pipeline.study.written import Study
from caf_video.rendering import MOVING, Panel, loss_curves, panel_sheet, write_moving

PRESET = "tf"  # the authors' own code, of which their film is
CLOSE = 0.99  # cosine with the exact answer from which on the loop's filter looks the same
FRAMES, FILM_FPS = 60, 10  # of the film
FRAMES_HELD = 15  # at its end


@dataclass(frozen=True)
class Descent:
    """The way of a filter from one start.

    Attributes:
        frame: Of which frame of the clip, 0 of a picture.
        start: Seed of the start.
        filters: Signed, of every step, (steps, h, w).
        losses: Of each, (steps,).
        cosines: With the exact answer, both without their signs, (steps,).
        exact: The exact filter, signed, (h, w).
        least: Its loss.
        settled: Whether the loop says that it has settled.
    """

    frame: int
    start: int
    filters: NDArray[np.float32]
    losses: NDArray[np.float64]
    cosines: NDArray[np.float64]
    exact: NDArray[np.float32]
    least: float
    settled: bool

    @property
    def steps_until_close(self) -> int | None:
        """The first step from which on the cosine stays at CLOSE or above; None: it never does."""
        far = np.flatnonzero(self.cosines < CLOSE)
        first = int(far[-1]) + 1 if len(far) else 0
        return first if first < len(self.cosines) else None


@dataclass(frozen=True)
class Convergence:
    """What `study_convergence` found: a study, and the film's frames."""

    study: Study
    film: list[Any]


def study_convergence(
    target: Path,
    backbone: Backbone,
    *,
    starts: int = 3,
    frame_count: int = 3,
    track: Track = quietly,
) -> Convergence:
    """The loop's path from random starts, beside the exact answer (Eq. 1).

    Args:
        target: A picture, or a video, of which so many frames are taken.
        backbone: Whose logits are explained.
        starts: Random starts of each.
        frame_count: Frames of a video, spread over it.
        track: Shows how far it is.

    Raises:
        CafVideoError: The file is neither a picture nor a video, or cannot be read.
    """
    backbone.require_head()
    backbone.to(device())
    frames = read_frames(target, frame_count)
    jobs = [(frame, start) for frame in range(len(frames)) for start in range(starts)]
    paths = [
        _path(frames[frame], frame, start, backbone)
        for frame, start in track(jobs, description="Descending", total=len(jobs))
    ]
    drawn = loss_curves(
        {f"{_of(one, len(frames))}start {one.start}": one.losses / one.least for one in paths},
        title="The paper's loop",
        least="the exact answer's loss",
    )
    table = _table(target, backbone, paths, len(frames))
    record = {
        "target": str(target),
        "backbone": backbone.name,
        "preset": PRESET,
        "paths": [
            {
                "frame": one.frame,
                "start": one.start,
                "losses": one.losses.tolist(),
                "cosines": one.cosines.tolist(),
                "exact_loss": one.least,
                "steps_until_close": one.steps_until_close,
                "settled": one.settled,
            }
            for one in paths
        ],
    }
    film = list(_film(frames, paths, starts))
    study = Study("convergence", [table], record, {"": drawn, "end": film[-1]})
    return Convergence(study, film)


def require_film(path: Path) -> Path:
    """A place for the film.

    Raises:
        InputError: No format is named so.
        CafVideoError: Something of somebody else's is there, or its folder cannot be made.
    """
    if path.suffix.lower() not in MOVING:
        raise InputError(f"{path}: a film is written as {', '.join(MOVING)}")
    output_folder(path.parent)
    require_ours(path)
    return path


def write_film(path: Path, film: Sequence[Any]) -> None:
    """Write the film; the suffix names the format.

    Raises:
        CafVideoError: It cannot be written.
    """
    held = [*film, *[film[-1]] * FRAMES_HELD]
    write_moving(path, (np.asarray(frame) for frame in held), fps=FILM_FPS, ours=True)


def read_frames(target: Path, count: int) -> list[NDArray[np.uint8]]:
    """The picture, or so many frames of a video, each the middle of an equal part.

    Raises:
        CafVideoError: The file is neither, or cannot be read.
    """
    try:
        return [read_image(target)]
    except CafVideoError as no_picture:
        if not target.is_file():
            raise
        try:
            with VideoReader(target) as video:
                total = video.info.frame_count
                middles = [(2 * part + 1) * total // (2 * count) for part in range(count)]
                return list(video.read(sorted(set(middles))))
        except CafVideoError as no_video:
            raise InputError(
                f"{target} is no picture ({no_picture}) and no video ({no_video})"
            ) from no_video


def _path(frame: NDArray[np.uint8], number: int, start: int, backbone: Backbone) -> Descent:
    with torch.no_grad():
        shown = backbone.preprocessing(backbone.size_for(*frame.shape[:2]))(frame[None])
        maps = backbone.features(shown.to(device()))
    network = nn.Sequential(nn.Identity(), backbone.tail)
    exact = explain(network, maps, layer="0", axes="n c h w")
    loop = explain(
        network, maps, layer="0", axes="n c h w",
        solver="descent", preset=PRESET, seed=start, trace=True,
    )  # fmt: skip
    filters = torch.cat(loop.trace or ()).float()
    best = exact.filters[0].float()
    cosines = (filters.abs().flatten(1) @ best.abs().flatten()).double()
    return Descent(
        frame=number,
        start=start,
        filters=filters.cpu().numpy(),
        losses=_losses(backbone, maps, filters),
        cosines=cosines.cpu().numpy(),
        exact=best.cpu().numpy(),
        least=float(exact.losses[0]),
        settled=bool(loop.settled[0]),
    )


@torch.no_grad()
def _losses(backbone: Backbone, maps: Tensor, filters: Tensor) -> NDArray[np.float64]:
    wanted = backbone.head(maps)
    parts = [backbone.head(maps * part[:, None]) for part in filters.split(64)]
    return (torch.cat(parts) - wanted).double().square().sum(dim=1).cpu().numpy()


def _table(target: Path, backbone: Backbone, paths: Sequence[Descent], frames: int) -> Table:
    rows = []
    for one in paths:
        close = one.steps_until_close
        rows.append(
            [
                f"{_of(one, frames)}start {one.start}",
                str(len(one.losses)),
                "never" if close is None else str(close),
                f"{one.cosines[-1]:.4f}",
                f"{one.losses[-1] / one.least - 1:.1e}",
                "yes" if one.settled else "no",
            ]
        )
    return Table(
        "The loop's way to the exact answer",
        ["", "steps", f"steps until cosine ≥ {CLOSE}", "cosine at the end", "loss above the exact, "
         "relative", "settled"],
        rows,
        [
            f"{target.name}, {backbone.name}, Eq. 1 at the last map; preset {PRESET} of the loop, "
            "from random starts. Cosine of |f| with the exact filter's.",
        ],
    )  # fmt: skip


def _of(path: Descent, frames: int) -> str:
    return f"frame {path.frame}, " if frames > 1 else ""


def _film(
    frames: Sequence[NDArray[np.uint8]], paths: Sequence[Descent], starts: int
) -> Iterator[Any]:
    """Every frame of the clip in a row: its picture, its paths, and the exact answer."""
    longest = max(len(one.losses) for one in paths)
    # Most happens at the beginning: the film slows down there.
    steps = np.unique((np.linspace(0, 1, FRAMES) ** 3 * (longest - 1)).round().astype(int))
    for step in steps.tolist():
        rows = []
        for number, frame in enumerate(frames):
            own = [one for one in paths if one.frame == number]
            panels = [Panel(frame, caption=f"step {step}")]
            for one in own:
                at = min(step, len(one.losses) - 1)
                loss, cosine = one.losses[at] / one.least, one.cosines[at]
                caption = f"loss {loss:.3f} × exact, cosine {cosine:.3f}"
                panels.append(Panel(frame, _heat(one.filters[at], frame), caption))
            panels.append(Panel(frame, _heat(own[0].exact, frame), "loss 1 × exact"))
            rows.append(panels)
        titles = ["", *(f"start {start}" for start in range(starts)), "exact"]
        yield panel_sheet(titles, rows, note="Each |f| over its own maximum.", width=240)


def _heat(f: NDArray[np.float32], frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    grid = torch.from_numpy(np.abs(f))[None]
    return np.asarray(resize_maps(grid, frame.shape[:2])[0].numpy())
