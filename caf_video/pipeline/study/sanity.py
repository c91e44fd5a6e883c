"""Fig. 10, S5, S6: what is left of heatmaps when weights are made random."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from caf_video.attention import METHODS, Given, Method
from caf_video.data.images import LabelledImage, read_image
from caf_video.errors import InputError
from caf_video.evaluation import pearson, random_weights, spearman, structural_similarity
from caf_video.localization import Estimate, enlarge, estimate
from caf_video.pipeline.localize.explained_network import ExplainedNetwork
from caf_video.pipeline.opened import clips_of, open_features, split_maps
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.pipeline.result_table import Table
from caf_video.pipeline.study.written import Study
from caf_video.rendering import Panel, bar_chart, panel_sheet
from caf_video.training import ClipRun

HEAD, ALL = "head", "all weights"
MEASURES = {"rank": spearman, "correlation": pearson, "ssim": structural_similarity}
SHOWN = 2  # samples

Maps = dict[str, Tensor]  # by method, as it gives them: (samples, frames, h, w)


@dataclass(frozen=True)
class Subject:
    """A network, what it is shown, and its weights.

    Attributes:
        title: For people.
        samples: What is explained, by name.
        pictures: Of samples and frames, uint8 RGB, to draw over; an empty list draws heat alone.
        methods: Those that explain it.
        stages: Its weights by stage, from the output to the input.
        head_stages: How many of them are behind the map that filters multiply.
        maps: Every method's maps, with the weights as they are.
    """

    title: str
    samples: list[str]
    pictures: list[list[np.ndarray]]
    methods: list[Method]
    stages: list[tuple[str, list[Tensor]]]
    head_stages: int
    maps: Callable[[], Maps]


@dataclass(frozen=True)
class Verdict:
    """What randomising did to one method.

    Attributes:
        left: By what was random and measure: how alike the maps still are, over samples.
        chance: By measure, how alike maps of different samples are.
        passes: By what was random, whether little enough is left.
    """

    left: dict[str, dict[str, Estimate]]
    chance: dict[str, float]
    passes: dict[str, bool]


def images_subject(network: ExplainedNetwork, images: Sequence[LabelledImage]) -> Subject:
    """A network of images, explained for the class that it names first.

    Args:
        network: A classifier or an embedding.
        images: At least two.
    """
    frames = [read_image(image.path) for image in images]
    prepare = network.halves.preprocessing(network.size)
    inputs = torch.cat([prepare(frame[None]) for frame in frames]).to(device())
    with torch.no_grad():
        named = network.halves.tail(network.halves.features(inputs)).argmax(dim=1)
    methods = [m for m in METHODS.values() if network.kind in m.default_for]

    def maps() -> Maps:
        with torch.no_grad():
            features = network.halves.features(inputs)
        return {
            method.name: method.of_pictures(network.halves.tail, features, Given(named))
            .float()
            .cpu()[:, None]
            for method in methods
        }

    tail = _stages(network.halves.tail)
    trunk = _stages(_trunk(network.halves))
    return Subject(
        title=f"{network.backbone}, {network.trained}",
        samples=[image.image_id for image in images],
        pictures=[[frame] for frame in frames],
        methods=methods,
        stages=[*tail[::-1], *trunk[::-1]],
        head_stages=len(tail),
        maps=maps,
    )


def clips_subject(run: ClipRun, *, split: str = "test", count: int = 16) -> Subject:
    """The recurrent network of a run, on clips of a split.

    Args:
        run: The run.
        split: Whose clips.
        count: How many, spread over it.
    """
    store = open_features(run)
    clips = clips_of(run, store, split).clips
    places = np.linspace(0, len(clips) - 1, min(count, len(clips))).round().astype(int)
    chosen = [clips[place] for place in places]
    inputs = split_maps(store, chosen)
    methods = [m for m in METHODS.values() if m.clip_maps is not None and not m.needs]

    def maps() -> Maps:
        return {
            method.name: method.heat_of_frames(run.model, inputs).float().cpu()
            for method in methods
        }

    parts = [run.model.projection, run.model.lstm, run.model.spatial, run.model.reduction]
    names = ["projection", "recurrence", "spatial convolution", "1 × 1 convolution"]
    stages = [
        (name, _weights(part)) for name, part in zip(names, parts, strict=True) if part is not None
    ]
    return Subject(
        title=f"recurrent network of {run.folder.name}",
        samples=[clip.clip_id for clip in chosen],
        pictures=[],
        methods=methods,
        stages=stages,
        head_stages=2,
        maps=maps,
    )


def study_sanity(subject: Subject, *, seeds: int = 3, track: Track = quietly) -> Study:
    """Weights random in the head, stage by stage from the output, and all: what maps keep.

    Args:
        subject: The network and its samples.
        seeds: Draws of the weights.
        track: Shows how far it is.

    Raises:
        InputError: There is one sample only: nothing tells what maps have in common anyway.
    """
    if len(subject.samples) < 2:
        raise InputError("one sample is not enough: maps of others say what any two have in common")
    cases = _cases(subject)
    original = subject.maps()
    jobs = [(case, seed) for case in cases for seed in range(seeds)]
    found: dict[str, list[dict[str, dict[str, np.ndarray]]]] = {case: [] for case in cases}
    shown: dict[str, Maps] = {}
    for case, seed in track(jobs, description="Randomising", total=len(jobs)):
        with random_weights(cases[case], seed=seed):
            maps = subject.maps()
        found[case].append(
            {m.name: _alike(m, original[m.name], maps[m.name]) for m in subject.methods}
        )
        if seed == 0:
            shown[case] = maps
    verdicts = {
        method.name: _verdict(
            {case: [one[method.name] for one in of_case] for case, of_case in found.items()},
            _alike(method, original[method.name], original[method.name].roll(1, dims=0)),
        )
        for method in subject.methods
    }
    record = {
        "subject": subject.title,
        "samples": subject.samples,
        "seeds": seeds,
        "methods": {
            name: {
                "passes": verdict.passes,
                "chance": verdict.chance,
                "left": {
                    case: {measure: vars(left) for measure, left in of_case.items()}
                    for case, of_case in verdict.left.items()
                },
            }
            for name, verdict in verdicts.items()
        },
    }
    return Study(
        "sanity", [_table(subject, verdicts, seeds)], record,
        {"": _sheet(subject, original, shown), "figures": _chart(verdicts)},
    )  # fmt: skip


def _cases(subject: Subject) -> dict[str, list[Tensor]]:
    """What is made random: the head, then ever more stages from the output on, then all."""
    weights = [parameters for _, parameters in subject.stages]
    cases = {HEAD: sum(weights[: subject.head_stages], [])}
    for count in range(subject.head_stages + 1, len(subject.stages)):
        cases[f"head to {subject.stages[count - 1][0]}"] = sum(weights[:count], [])
    cases[ALL] = sum(weights, [])
    return cases


def _alike(method: Method, ones: Tensor, others: Tensor) -> dict[str, np.ndarray]:
    """By measure, how alike each sample's maps are, the mean over its frames, (samples,)."""
    n, frames = ones.shape[:2]
    raw = ones.flatten(0, 1), others.flatten(0, 1)
    heat = (raw[0].abs(), raw[1].abs()) if method.filters else raw
    found = {name: measure(*heat) for name, measure in MEASURES.items()}
    found["signed rank"] = spearman(*raw)
    spans = raw[1].flatten(1).amax(dim=1) - raw[1].flatten(1).amin(dim=1)
    found["constant"] = (spans == 0).double()
    return {name: values.view(n, frames).mean(dim=1).numpy() for name, values in found.items()}


def _verdict(
    found: dict[str, list[dict[str, np.ndarray]]], others: dict[str, np.ndarray]
) -> Verdict:
    """Little is left where the interval ends below halfway from chance to the same map."""
    left = {
        case: {
            measure: estimate(np.mean([one[measure] for one in of_case], axis=0))
            for measure in of_case[0]
        }
        for case, of_case in found.items()
    }
    chance = {measure: float(values.mean()) for measure, values in others.items()}
    line = (1 + chance["rank"]) / 2
    passes = {case: of_case["rank"].high < line for case, of_case in left.items()}
    return Verdict(left, chance, passes)


def _table(subject: Subject, verdicts: dict[str, Verdict], seeds: int) -> Table:
    rows = []
    for name, verdict in verdicts.items():
        cells = [_interval(verdict.left[case]["rank"]) for case in (HEAD, ALL)]
        more = ("signed rank", "correlation", "ssim")
        others = [_interval(verdict.left[ALL][measure]) for measure in more]
        failed = [case for case in (HEAD, ALL) if not verdict.passes[case]]
        said = "passes" if not failed else f"fails: {' and '.join(failed)}"
        rows.append([name, *cells, f"{verdict.chance['rank']:.2f}", *others, said])
    passing = [n for n, verdict in verdicts.items() if all(verdict.passes[c] for c in (HEAD, ALL))]
    return Table(
        "Sanity: what maps keep when weights are random (Fig. 10, S5, S6)",
        ["method", "head", "all weights", "other samples", "all: signed", "all: correlation",
         "all: SSIM", "verdict"],
        rows,
        [
            f"Passes both: {', '.join(passing) or 'none'}.",
            f"{subject.title}; {len(subject.samples)} samples, {seeds} draws of the weights. Rank "
            "correlation of the heatmap with that of the trained weights, then of the signed map, "
            "Pearson's and SSIM; mean [95 % bootstrap interval over samples].",
            "A method passes where that interval ends below halfway between what maps of different "
            "samples have in common and 1. Two constant maps are the same, a constant one and "
            "another have nothing in common.",
            *_constant(verdicts),
        ],
    )  # fmt: skip


def _constant(verdicts: dict[str, Verdict]) -> list[str]:
    """Where a map is not another one but none at all: a pass that says little."""
    return [
        f"{name}: with {case} random, {100 * verdict.left[case]['constant'].value:.0f} % of its "
        "maps are constant."
        for name, verdict in verdicts.items()
        for case in (HEAD, ALL)
        if verdict.left[case]["constant"].value > 0
    ]


def _interval(left: Estimate) -> str:
    return f"{left.value:.2f} [{left.low:.2f}, {left.high:.2f}]"


def _chart(verdicts: dict[str, Verdict]) -> Any:
    groups: dict[str, dict[str, tuple[float, float, float]]] = {}
    for name, verdict in verdicts.items():
        for case, of_case in verdict.left.items():
            rank = of_case["rank"]
            groups.setdefault(case.replace(" to ", " to\n"), {})[name] = (
                rank.value,
                rank.low,
                rank.high,
            )
    return bar_chart(
        groups, title="What is left of the map", label="rank correlation with the trained one"
    )


def _sheet(subject: Subject, original: Maps, shown: dict[str, Maps]) -> Any:
    rows = []
    for sample in range(min(SHOWN, len(subject.samples))):
        for method in subject.methods:
            panels = []
            for maps in (original, *shown.values()):
                of_sample = maps[method.name][sample]
                heat = (of_sample.abs() if method.filters else of_sample.clamp(min=0)).numpy()
                panels.append(_panel(subject, sample, heat, method.name))
            rows.append(panels)
    note = "Every map over its own maximum; the first draw of the weights."
    return panel_sheet(["trained", *shown], rows, note=note, width=120)


def _panel(subject: Subject, sample: int, heat: np.ndarray, caption: str) -> Panel:
    """The frames of a sample side by side."""
    if subject.pictures:
        (picture,) = subject.pictures[sample]
        size = picture.shape[0], picture.shape[1]
        return Panel(picture, enlarge("simple", heat[0], size, size), caption)
    large = [np.kron(frame, np.ones((16, 16), np.float32)) for frame in heat]
    joined = np.concatenate(large, axis=1)
    return Panel(np.full((*joined.shape, 3), 128, np.uint8), joined, caption)


def _stages(module: nn.Module) -> list[tuple[str, list[Tensor]]]:
    """Its parts that have weights, in their order."""
    found = [(name, _weights(part)) for name, part in module.named_children()]
    return [(name, weights) for name, weights in found if weights]


def _weights(part: nn.Module) -> list[Tensor]:
    return list(part.parameters())


def _trunk(halves: Any) -> nn.Module:
    trunk: nn.Module = halves.trunk
    return trunk


def spread(images: Sequence[LabelledImage], count: int) -> list[LabelledImage]:
    """So many images, spread evenly over the list."""
    places = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
    return [images[place] for place in places]
