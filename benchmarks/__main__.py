"""`python -m benchmarks`: every case, or some of them, and the table."""

import argparse
import os
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import clips, extraction, heads, hostile, images, pictures
from benchmarks.bench import Bench
from benchmarks.peers import MAX_ITERATIONS, SAMPLE_ITERATIONS, TOLERANCE
from benchmarks.report import to_markdown, write

Case = Callable[[Bench, str], None]

NOTES = [
    "Contenders take turns (A B C, C B A, A B C …) on the same inputs in one process with one "
    "thread; ratios are within a turn. Networks and inputs are seeded.",
    f"The paper's Adam loop: the authors' Adam (0.5 → 0), the paper's stop ({TOLERANCE:g} over 50 "
    f"iterations, at most {MAX_ITERATIONS}), fast endpoint, the head without gradients of its "
    "parameters, one problem at a time. In a batch it is timed on a problem a repeat, another "
    "each time, and multiplied.",
    "Batched Adam runs once to its end (every problem has met the stop), which counts its "
    f"iterations; {SAMPLE_ITERATIONS} of them are timed and multiplied.",
    "Random weights have the scale of trained ones: calibrated batch norm, logits of unit "
    "deviation, embeddings of unit norm.",
]


def all_cases() -> dict[str, Case]:
    """By name, in the order of the table."""
    cases: dict[str, Case] = {}
    for name in images.NETWORKS:
        for output in images.OUTPUTS:
            for batch in images.BATCHES:
                cases[f"{name} {output} batch {batch}"] = partial(
                    images.speed, name=name, output=output, batch=batch
                )
            cases[f"{name} {output} accuracy"] = partial(images.accuracy, name=name, output=output)
    for name in images.NETWORKS:
        for batch in images.GRAD_CAM_BATCHES:
            cases[f"{name} pair batch {batch}"] = partial(images.pair, name=name, batch=batch)
    cases["hostile"] = hostile.hostile
    for pooling in ("flatten", "average"):
        cases[f"recurrent {pooling}"] = partial(clips.recurrent, pooling=pooling)
    for size in pictures.SIZES:
        cases[f"overlay {size}"] = partial(pictures.overlays, size=size)
    for backbone in ("efficientnet_lite0", "resnet18", "resnet50"):
        cases[f"overlay video {backbone}"] = partial(pictures.video, name=backbone)
    for backbone in extraction.MOST:
        cases[f"extraction {backbone}"] = partial(extraction.extraction, name=backbone)
    for head in heads.HEADS:
        cases[head] = partial(heads.head, name=head)
    return cases


def main() -> int:
    """Run what the command line asks for."""
    options = _options()
    cases = {
        name: case
        for name, case in all_cases().items()
        if not options.only or any(part.lower() in name.lower() for part in options.only)
    }
    if options.list or not cases:
        print("\n".join(cases or all_cases()))
        return 0 if cases else 2
    torch.set_num_threads(1)
    cv2.setNumThreads(1)  # pytorch-grad-cam resizes with it
    device = torch.device(options.device)
    about = _about(options, device)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bar = progress.add_task("", total=len(cases))
        turns = iter(range(10**9))
        bench = Bench(
            repeats=options.repeats,
            device=device,
            weights=options.weights,
            images=options.images,
            video=options.video,
            tick=lambda case: progress.update(bar, description=f"{case} · {next(turns)}"),
        )
        for name, case in cases.items():
            progress.update(bar, description=name)
            case(bench, name)
            progress.advance(bar)
            about["load_average"] = [*about["load_average"][:1], round(os.getloadavg()[0], 2)]
            write(options.out, bench.rows, bench.timings, about, NOTES)  # kept if interrupted
    print(to_markdown(bench.rows, bench.timings, about, NOTES))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder of the tables")
    parser.add_argument("--only", action="append", help="cases whose name holds this; repeatable")
    parser.add_argument("--repeats", type=int, default=7, help="turns of every contender")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--weights",
        default="none",
        help="of ResNet-50: a file, default (torchvision's download) or none (random)",
    )
    parser.add_argument("--images", type=Path, help="folder of photographs; else synthetic ones")
    parser.add_argument("--video", type=Path, help="to draw over; else a synthetic one")
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    return parser.parse_args()


def _about(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """What the numbers hold for."""
    packages = ("torch", "torchvision", "numpy", "grad-cam", "captum")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "clock": "wall time" if device.type == "cuda" else "process time",
        "repeats": options.repeats,
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
        "weights": Path(options.weights).name,
        "video": "synthetic" if options.video is None else options.video.name,
        "images": "synthetic" if options.images is None else "photographs",
        "load_average": [round(os.getloadavg()[0], 2)],
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        for line in facts.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
