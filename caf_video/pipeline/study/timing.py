"""Fig. 12: what each way to a heatmap costs, on the paper's networks, timed in turns in one run."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from caf_video.attention import explain, grad_cam
from caf_video.errors import InputError
from caf_video.models.backbones import BACKBONES, Backbone, load_backbone
from caf_video.models.image_network import ImageNetwork
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.pipeline.result_table import Table
from caf_video.pipeline.study.written import Study
from caf_video.rendering import bar_chart

NETWORKS = ("googlenet", "resnet50", "vgg16", "vgg16_gap", "densenet161")
WAYS = ("forward pass", "Grad-CAM", "explain", "fast descent", "vanilla descent")
BASE = "forward pass"
PRESET = "tf"
CLASSES = 1000


@dataclass(frozen=True)
class Timing:
    """How long a way took on a network, and what it found.

    Attributes:
        seconds: Of every repeat.
        steps: Evaluations of the loss in the last one; 1 of what has no loop.
        solver: What answered.
    """

    network: str
    way: str
    seconds: tuple[float, ...]
    steps: int
    solver: str


def study_timing(
    *,
    networks: Sequence[str] = NETWORKS,
    weights: str = "none",
    size: tuple[int, int] = (224, 224),
    repeats: int = 5,
    vanilla_steps: int = 0,
    seed: int = 0,
    track: Track = quietly,
) -> Study:
    """Time forward, Grad-CAM, `explain` (exact where it can be) and the loop, fast and vanilla.

    One image at a time, from the picture on. The ways take turns, forwards and backwards, so that
    what disturbs one disturbs all; ratios are of one turn.

    Args:
        networks: Of NETWORKS.
        weights: "none" (random: the time is nearly the same, the steps of the loop are not),
            "default", or a file for the only network.
        size: Of the image, (height, width).
        repeats: Turns.
        vanilla_steps: Evaluations that vanilla descent is timed on; what it takes is that times as
            many as fast descent needed, for they are one problem. 0 runs it to its own end.
        seed: Of the image and of random weights.
        track: Shows how far it is.

    Raises:
        InputError: An unknown network.
    """
    for name in networks:
        if name not in NETWORKS:
            raise InputError(f"no network {name!r} in this study: there are {', '.join(NETWORKS)}")
    found: list[Timing] = []
    jobs = [(name, turn) for name in networks for turn in range(repeats + 1)]
    ways: dict[str, Callable[[], tuple[int, str]]] = {}
    seconds: dict[str, list[float]] = {}
    said: dict[str, tuple[int, str]] = {}
    for name, turn in track(jobs, description="Timing", total=len(jobs)):
        if turn == 0:
            torch.manual_seed(seed)
            ways = _ways(name, weights, size, vanilla_steps)
            seconds = {way: [] for way in ways}
        order = list(ways) if turn % 2 else list(reversed(ways))
        for way in order:
            started = time.perf_counter()
            said[way] = ways[way]()
            _wait()
            spent = time.perf_counter() - started
            if way == "vanilla descent" and vanilla_steps:
                spent *= said["fast descent"][0] / said[way][0] if "fast descent" in said else 1.0
            if turn:  # the first warms allocators and caches
                seconds[way].append(spent)
        if turn == repeats:
            found += [Timing(name, way, tuple(seconds[way]), *said[way]) for way in ways]
    return Study(
        "timing", [_table(found, size, weights, vanilla_steps)], _record(found, size, weights),
        {"": _chart(found)},
    )  # fmt: skip


def _ways(
    name: str, weights: str, size: tuple[int, int], vanilla_steps: int
) -> dict[str, Callable[[], tuple[int, str]]]:
    network: ImageNetwork | Backbone
    if name in BACKBONES:
        network = load_backbone(name, weights=weights)
    else:
        network = ImageNetwork(name, outputs=CLASSES, weights=weights)
    network.to(device()).eval()
    network.requires_grad_(False)
    image = torch.randn(1, 3, *size, device=device())
    whole = nn.Sequential()
    whole.add_module("features", _Features(network))
    whole.add_module("tail", network.tail)
    whole.eval()

    with torch.no_grad():
        wanted = whole(image)

    def forward() -> tuple[int, str]:
        with torch.no_grad():
            whole(image)
        return 1, ""

    def weighted() -> tuple[int, str]:
        grad_cam(whole, image, layer="features", target=0, axes="n c h w")
        return 1, ""

    def found(**how: Any) -> tuple[int, str]:
        answer = explain(whole, image, layer="features", axes="n c h w", **how)
        return int(answer.steps[0]), answer.solver

    return {
        "forward pass": forward,
        "Grad-CAM": weighted,
        "explain": found,
        "fast descent": lambda: found(solver="descent", preset=PRESET),
        "vanilla descent": lambda: (
            _vanilla(whole, image, wanted, vanilla_steps)
            if vanilla_steps
            else found(solver="descent", preset=PRESET, endpoint="vanilla")
        ),
    }


def _vanilla(whole: nn.Sequential, image: Tensor, wanted: Tensor, steps: int) -> tuple[int, str]:
    """So many steps of the loop with the whole network in it, and nothing else."""
    raw: Tensor | None = None
    for _ in range(steps):
        maps = whole[0](image)
        if raw is None:
            raw = torch.randn(1, 1, *maps.shape[2:], device=image.device).requires_grad_()
            optimizer = torch.optim.Adam([raw], lr=0.5)
        optimizer.zero_grad()
        loss = (whole[1](maps * (raw / raw.norm())) - wanted).square().mean()
        loss.backward()
        optimizer.step()
    return steps, "descent"


class _Features(nn.Module):
    """The first half of a network, with a name to be cut at."""

    def __init__(self, network: ImageNetwork | Backbone) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.features(images)


def _wait() -> None:
    if device().type == "cuda":
        torch.cuda.synchronize()


def _ratios(found: Sequence[Timing], one: Timing) -> np.ndarray:
    base = next(o for o in found if (o.network, o.way) == (one.network, BASE))
    return np.array(one.seconds) / np.array(base.seconds)


def _table(
    found: Sequence[Timing], size: tuple[int, int], weights: str, vanilla_steps: int
) -> Table:
    rows = []
    for one in found:
        spent, ratios = 1000 * np.array(one.seconds), _ratios(found, one)
        rows.append(
            [
                one.network,
                f"{one.way}{f' ({one.solver})' if one.way == 'explain' else ''}",
                f"{np.median(spent):.0f} ({spent.min():.0f} … {spent.max():.0f})",
                f"{np.median(ratios):.3g} ({ratios.min():.3g} … {ratios.max():.3g})",
                str(one.steps) if one.way != "vanilla descent" or not vanilla_steps else "–",
            ]
        )
    notes = [
        f"One image of {size[0]} × {size[1]} at a time, weights {weights}, {device()}, "
        f"{torch.get_num_threads()} threads; median (least … most) of {len(found[0].seconds)} "
        "turns. The loop has the authors' settings (preset tf).",
    ]
    if vanilla_steps:
        notes.append(
            f"Vanilla descent was timed on {vanilla_steps} evaluations, and stands for as many as "
            "fast descent needed: they are one problem."
        )
    columns = ["network", "way", "milliseconds", f"over the {BASE}", "evaluations"]
    return Table("What a heatmap costs (Fig. 12)", columns, rows, notes)


def _record(found: Sequence[Timing], size: tuple[int, int], weights: str) -> dict[str, Any]:
    return {
        "size": list(size),
        "weights": weights,
        "device": str(device()),
        "threads": torch.get_num_threads(),
        "timings": [
            {**vars(one), "seconds": list(one.seconds), "ratios": _ratios(found, one).tolist()}
            for one in found
        ],
    }


def _chart(found: Sequence[Timing]) -> Any:
    groups: dict[str, dict[str, tuple[float, float, float]]] = {}
    for one in found:
        ratios = _ratios(found, one)
        spread = float(np.median(ratios)), float(ratios.min()), float(ratios.max())
        groups.setdefault(one.network, {})[one.way] = spread
    return bar_chart(
        groups, title="What a heatmap costs", label=f"over the {BASE}; median, least and most",
        logarithmic=True,
    )  # fmt: skip
