"""Feeding a backbone: `extract` of clips on disk against its bare pass of the same frames.

Seconds are those of the process that computes: another one decodes ahead of it.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.bench import Bench, Contender, ratios
from benchmarks.report import at_most
from caf_video.data.frames import ClipFrames
from caf_video.data.manifest import Clip, write_manifest
from caf_video.models.backbones import fastest_precision, load_backbone
from caf_video.pipeline.extract import extract
from caf_video.rendering import write_video

MOST = {"efficientnet_lite0": 1.15, "resnet50": 1.10}
CLIPS, FRAMES, FPS = 12, 27, 9
SHOT, SIZE = (360, 480), (256, 448)  # as filmed, and as it goes through the network
BATCHES = (2, 9)


def extraction(bench: Bench, case: str, *, name: str) -> None:
    """Training clips of nine frames each, in a store that is new every time."""
    weights = "default" if name == "efficientnet_lite0" else "none"
    torch.manual_seed(0)
    backbone = load_backbone(name, weights=weights, precision=fastest_precision()).to(bench.device)
    with tempfile.TemporaryDirectory() as folder:
        clips = _clips(Path(folder))
        listed = Path(folder) / "manifest.csv"
        preprocessing = backbone.preprocessing(SIZE)
        frames = ClipFrames(clips, timesteps=3, candidates=3, transform=preprocessing)
        images = torch.cat([frames[at].images.flatten(0, 1) for at in range(len(clips))])
        images = images.to(bench.device)

        @torch.no_grad()
        def bare(batch: int) -> None:
            for part in images.split(batch):
                backbone.features(part)

        def whole(repeat: int) -> None:
            with tempfile.TemporaryDirectory(dir=folder) as out:
                extract(listed, Path(out), backbone=backbone, size=SIZE, workers=1)

        names = [f"bare pass, batches of {batch}" for batch in BATCHES]
        contenders = [
            Contender(its, lambda _, batch=batch: bare(batch))
            for its, batch in zip(names, BATCHES, strict=True)
        ]
        seconds = bench.time(case, [*contenders, Contender("extract", whole)])
    best = min((seconds[one] for one in names), key=np.median)
    note = f"{len(images)} frames {SIZE[1]}x{SIZE[0]}, {backbone.precision}"
    found = ratios(seconds["extract"], best)
    bench.row(case, "extract / bare pass", found, at_most(MOST[name]), note=note)


def _clips(folder: Path) -> list[Clip]:
    generator = np.random.default_rng(0)
    clips = []
    for number in range(CLIPS):
        path = folder / f"{number}.mp4"
        scene = generator.integers(0, 256, (SHOT[0] // 8, SHOT[1] // 8 + FRAMES, 3), np.uint8)
        shown = [
            np.kron(scene[:, at : at + SHOT[1] // 8], np.ones((8, 8, 1), np.uint8))
            for at in range(FRAMES)
        ]
        write_video(path, shown, fps=FPS)
        clips.append(Clip(path.stem, path, "ab"[number % 2], session=path.stem, split="train"))
    write_manifest(clips, folder / "manifest.csv")
    return clips
