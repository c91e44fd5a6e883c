"""ResNet-50 and GoogLeNet: the exact solver and a whole explanation, against their peers."""

from collections.abc import Callable

import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor

from benchmarks.bench import Bench, Contender, ratios
from benchmarks.networks import ImageNetwork, image_network, make_images
from benchmarks.peers import (
    batched_adam_contender,
    converged_adam,
    hand_written_grad_cam,
    paper_adam,
)
from benchmarks.report import Target, at_least, at_most
from caf_video import explain
from caf_video.attention.solvers.affine import PooledMap
from caf_video.attention.solvers.exact import minimise_distance

NETWORKS = ("resnet50", "googlenet")
OUTPUTS = ("logits", "embedding")
BATCHES = (1, 8, 32)
GRAD_CAM_BATCHES = (1, 8)  # pytorch-grad-cam keeps every activation: gigabytes at 32
SOLVER_SHARE = {"logits": at_most(0.025), "embedding": at_most(0.01)}
OVER_ADAM = {
    ("logits", 1): at_least(60, "×"),
    ("logits", 32): at_least(90, "×"),
    ("embedding", 8): at_least(100, "×"),
    ("embedding", 32): at_least(100, "×"),
}
OVER_GRAD_CAM = {"resnet50": at_least(2.5, "×"), "googlenet": at_least(1.7, "×")}
ACCURACY_IMAGES = 4
ADAM_STARTS = 16


def speed(bench: Bench, case: str, *, name: str, output: str, batch: int) -> None:
    """Every contender on the same images."""
    network, images = _setting(bench, name, output, batch)
    model, layer = network.model, network.model.get_submodule(network.layer)
    maps = network.feature_map(images)
    weight = network.linear.weight.detach()
    head = network.head()
    with torch.no_grad():
        wanted = head(maps)
        passed = wanted - network.linear.bias
    classes = wanted.argmax(dim=1) if output == "logits" else None

    def forward(_: int) -> Tensor:
        with torch.no_grad():
            return model(images)

    contenders = [
        Contender("forward pass", forward),
        Contender("explain()", lambda _: explain(model, images, layer=network.layer)),
        Contender("exact solver", lambda _: solve(weight, maps, passed)),
        Contender(
            "the paper's Adam loop",
            lambda repeat: paper_adam(head, maps[repeat % batch][None], seed=repeat),
            share=batch,
        ),
    ]
    if batch in GRAD_CAM_BATCHES:
        contenders.append(
            Contender(
                "hand-written Grad-CAM",
                lambda _: hand_written_grad_cam(model, layer, images, classes),
            )
        )
    if batch in GRAD_CAM_BATCHES and classes is not None:
        targets = [ClassifierOutputTarget(c) for c in classes.tolist()]

        def grad_cam(_: int) -> object:
            with GradCAM(model=model, target_layers=[layer]) as cam:
                return cam(input_tensor=images, targets=targets)

        captum = LayerGradCam(model, layer)
        contenders += [
            Contender("pytorch-grad-cam", grad_cam),
            Contender(
                "captum LayerGradCam",
                lambda _: captum.attribute(images, target=classes, relu_attributions=True),
            ),
        ]
    if batch > 1:

        def losses_of(filters: Tensor) -> Tensor:
            return (wanted - head(maps * filters[:, None])).square().sum(dim=1)

        contenders.append(_batched(losses_of, maps))

    seconds = bench.time(case, contenders)
    solver, whole, bare = seconds["exact solver"], seconds["explain()"], seconds["forward pass"]
    bench.row(case, "solver alone / forward pass", ratios(solver, bare), SOLVER_SHARE[output])
    bench.row(case, "whole explanation / forward pass", ratios(whole, bare), at_most(1.05))
    if "hand-written Grad-CAM" in seconds:
        by_hand = ratios(whole, seconds["hand-written Grad-CAM"])
        bench.row(case, "whole explanation / hand-written Grad-CAM", by_hand, at_most(1.05))

    def faster(what: str, peer: str, ours: list[float], target: Target | None = None) -> None:
        if peer in seconds:
            bench.row(case, f"{what}, over {peer}", ratios(seconds[peer], ours), target, unit="×")

    faster("solver alone", "the paper's Adam loop", solver, OVER_ADAM.get((output, batch)))
    faster("solver alone", "batched Adam", solver)
    faster("whole explanation", "pytorch-grad-cam", whole, OVER_GRAD_CAM[name])
    faster("whole explanation", "captum LayerGradCam", whole)


def pair(bench: Bench, case: str, *, name: str, batch: int) -> None:
    """A centred pair, the reference's embedding given, against the bare network."""
    network, images = _setting(bench, name, "embedding", batch)
    model = network.model
    others = make_images(batch, folder=bench.images, seed=3).to(bench.device)
    with torch.no_grad():
        references = model(others)
        mean = torch.cat([references, model(images)]).mean(dim=0)

    def forward(_: int) -> Tensor:
        with torch.no_grad():
            return model(images)

    def explained(center: Tensor | str) -> Callable[[int], object]:
        return lambda _: explain(
            model, images, layer=network.layer, reference=references, center=center
        )

    contenders = [
        Contender("forward pass", forward),
        Contender("explain(), no pair", lambda _: explain(model, images, layer=network.layer)),
        Contender("explain(), a pair centred by the map", explained("map")),
        Contender("explain(), a pair centred by a mean embedding", explained(mean)),
    ]
    seconds = bench.time(case, contenders)
    for contender in contenders[1:]:
        what = contender.name.removeprefix("explain(), ")
        over_forward = ratios(seconds[contender.name], seconds["forward pass"])
        bench.row(case, f"{what} / forward pass", over_forward, at_most(1.05))


def accuracy(bench: Bench, case: str, *, name: str, output: str) -> None:
    """The exact filters in float32 against many Adam starts on M, cell by cell, in float64."""
    network, images = _setting(bench, name, output, ACCURACY_IMAGES)
    maps = network.feature_map(images)
    head = network.head()
    with torch.no_grad():
        passed = head(maps) - network.linear.bias
    found = solve(network.linear.weight.detach(), maps, passed)
    head.double()
    excess, correlation, by_paper = [], [], []
    for row, feature_map in enumerate(maps.double()):
        matrix = _matrix(head, feature_map)

        def losses_of(filters: Tensor, matrix: Tensor = matrix) -> Tensor:
            return ((1 - filters) @ matrix.T).square().sum(dim=1)

        generator = torch.Generator().manual_seed(row)
        starts = torch.randn(ADAM_STARTS, matrix.shape[1], generator=generator).to(matrix)
        starts[0], starts[1:8] = 1.0, starts[1:8].abs()
        adam = converged_adam(losses_of, starts)
        best = adam.losses.argmin()
        ours = found.filters[row : row + 1].double()
        loss = losses_of(ours / ours.norm())
        excess.append((loss / adam.losses[best] - 1).item())
        pair = torch.stack([ours[0], adam.filters[best]]).abs()
        correlation.append(torch.corrcoef(pair)[0, 1].item())
        paper = paper_adam(head.float(), feature_map[None].float(), seed=row)
        head.double()
        by_paper.append((loss / paper.losses.to(loss) - 1).item())
        bench.tick(case)
    note = f"{ADAM_STARTS} starts, float64"
    bench.row(
        case,
        "loss above the best Adam start, relative",
        excess,
        at_most(1e-6),
        worst=True,
        note=note,
    )
    bench.row(
        case, "correlation of |f| with converged Adam", correlation, at_least(0.9999), worst=True
    )
    bench.row(
        case, "loss above that of the paper's loop, relative", by_paper, at_most(1e-6), worst=True
    )


def solve(weight: Tensor, maps: Tensor, passed: Tensor):
    """The exact solver given W, A and NT - b, as a forward pass leaves them; M is not formed."""
    return minimise_distance(PooledMap.of(weight, maps.flatten(2), passed))


def _batched(losses_of: Callable[[Tensor], Tensor], maps: Tensor) -> Contender:
    generator = torch.Generator().manual_seed(0)
    start = torch.rand(len(maps), *maps.shape[2:], generator=generator).to(maps)
    return batched_adam_contender("batched Adam", losses_of, start)[0]


def _setting(bench: Bench, name: str, output: str, batch: int) -> tuple[ImageNetwork, Tensor]:
    weights = bench.weights if name == "resnet50" else "none"
    network = image_network(name, output, weights, bench.images, bench.device)
    return network, make_images(batch, folder=bench.images, seed=2).to(bench.device)


def _matrix(head: torch.nn.Module, feature_map: Tensor) -> Tensor:
    """M (d, n) of one image by asking the head about each cell."""
    cells = feature_map[0].numel()
    basis = torch.eye(cells + 1, cells).to(feature_map).view(-1, 1, *feature_map.shape[1:])
    with torch.no_grad():
        answers = head(feature_map * basis)
    return (answers[:-1] - answers[-1]).T
