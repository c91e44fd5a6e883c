"""Drawing beside computing: an overlay, the writing of its video, a whole explanation of one."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.bench import Bench, Contender, ratios
from benchmarks.report import at_least, at_most
from caf_video.data.video.reader import VideoReader
from caf_video.models.backbones import load_backbone
from caf_video.pipeline.explain_video import explain_video
from caf_video.rendering import heat_over, overlay, write_video

SIZES = {"960x540": (540, 960), "4K": (2160, 3840)}
MOST_MILLISECONDS = {"960x540": 5, "4K": 60}
GRID = (8, 14)
FRAMES, FPS = 32, 25


def overlays(bench: Bench, case: str, *, size: str) -> None:
    """Heat with a few blobs, as a network leaves it, over a frame."""
    (frame,) = _frames(1, SIZES[size])
    heat = heat_over(_filters(1)[0], SIZES[size])
    seconds = bench.time(case, [Contender("overlay", lambda _: overlay(frame, heat))])
    milliseconds = [1e3 * each for each in seconds["overlay"]]
    target = at_most(MOST_MILLISECONDS[size], " ms")
    bench.row(case, "a frame", milliseconds, target, unit=" ms")


def video(bench: Bench, case: str, *, name: str) -> None:
    """The bare pass, the drawing and encoding, and all of `explain_video`, on the same frames."""
    weights = "default" if name == "efficientnet_lite0" else "none"
    torch.manual_seed(0)
    backbone = load_backbone(name, weights=weights).to(bench.device)
    with tempfile.TemporaryDirectory() as folder:
        path, frames = _video(bench, Path(folder))
        height, width = frames[0].shape[:2]
        preprocessing = backbone.preprocessing(backbone.size_for(height, width))
        images = preprocessing(np.stack(frames)).to(bench.device)
        filters = _filters(len(frames))

        @torch.no_grad()
        def bare(_: int) -> None:
            for part in images.split(16):
                backbone.head(backbone.features(part))

        def drawn(_: int) -> None:
            pictures = (
                overlay(frame, heat_over(heat, frame.shape[:2]))
                for frame, heat in zip(frames, filters, strict=True)
            )
            write_video(Path(folder) / "drawn.mp4", pictures, fps=FPS)

        within = []  # share of the time on the wall that was the bare pass

        def whole(_: int) -> None:
            out = Path(folder) / "out"
            done = explain_video(path, out, backbone=backbone, end_seconds=FRAMES / FPS)
            within.append(done.backbone_seconds / done.seconds)

        names = ("bare pass", "overlay and mp4", "explain_video")
        works = (bare, drawn, whole)
        seconds = bench.time(case, [Contender(*pair) for pair in zip(names, works, strict=True)])
    pass_, drawing, all_ = (seconds[one] for one in names)
    note = f"{len(frames)} frames {width}x{height}"
    bench.row(case, "overlay and mp4 / bare pass", ratios(drawing, pass_), at_most(1), note=note)
    bench.row(case, "bare pass's share of explain_video", within, at_least(0.75), note=note)
    note += "; decoder, drawing and encoder run in threads of their own"
    bench.row(case, "bare pass / explain_video, CPU of all threads", ratios(pass_, all_), note=note)


def _video(bench: Bench, folder: Path) -> tuple[Path, list[NDArray[np.uint8]]]:
    if bench.video is not None:
        with VideoReader(bench.video) as reader:
            return bench.video, list(reader.read(range(min(FRAMES, reader.info.frame_count))))
    frames = _frames(FRAMES, SIZES["960x540"])
    write_video(folder / "drive.mp4", frames, fps=FPS)
    return folder / "drive.mp4", frames


def _frames(count: int, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """A soft scene that passes by, with grain."""
    height, width = size
    generator = np.random.default_rng(0)
    coarse = generator.random((3, 18, 64)).astype(np.float32)
    scene = np.stack([heat_over(one, (height, 2 * width)) for one in coarse], axis=2)
    frames = []
    for number in range(count):
        left = number * width // max(count, 200)
        grain = generator.normal(0, 3, (height, width, 1))
        frames.append((40 + 160 * scene[:, left : left + width] + grain).astype(np.uint8))
    return frames


def _filters(count: int) -> Sequence[NDArray[np.float32]]:
    """A hot blob that moves, and a weaker one, on the grid of 256x448."""
    rows, columns = np.mgrid[: GRID[0], : GRID[1]]
    found = []
    for number in range(count):
        at = 2 + 10 * number / max(count, 2)
        hot = np.exp(-((rows - 4) ** 2 + (columns - at) ** 2) / 4)
        weak = 0.6 * np.exp(-((rows - 2) ** 2 + (columns - 11) ** 2) / 2)
        heat = (hot + weak).astype(np.float32)
        found.append(heat / np.linalg.norm(heat))
    return found
