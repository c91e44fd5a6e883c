"""What the solvers are held against: the paper's loop, alone and batched, and Grad-CAM by hand."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.bench import Contender

LOOK_BACK = 50  # iterations between the two losses of the paper's stop (Sec. 3.1)
TOLERANCE = 1e-5  # its difference, on the sum over outputs
MAX_ITERATIONS = 1000  # the authors' L_max, both codes
SAMPLE_ITERATIONS = 20  # of batched Adam that are timed; all of them cost the same
LEARNING_RATE = 0.5  # of Adam, to 0 linearly over MAX_ITERATIONS (the TensorFlow code)

Head = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Descent:
    """What Adam ends with.

    Attributes:
        filters: (n, *space), unit norm.
        losses: The lowest met by each problem up to its stop, (n,).
        steps: Iterations each needed, (n,).
    """

    filters: Tensor
    losses: Tensor
    steps: Tensor


def paper_adam(head: Head, maps: Tensor, *, seed: int = 0) -> Descent:
    """The paper's loop with the authors' Adam, one problem after the other, fast endpoint.

    A raw filter, uniform in [0, 1], is seen through f / ||f||; the sum of squares over outputs goes
    down until it differs by less than 1e-5 from 50 iterations before. Only the head is run.

    Args:
        head: From maps (1, c, *space) to outputs (1, d); its parameters want no gradient.
        maps: A (n, c, *space).
        seed: Of the start.
    """
    parts = [_one(head, maps[row : row + 1], seed) for row in range(len(maps))]
    return Descent(
        torch.cat([part.filters for part in parts]),
        torch.cat([part.losses for part in parts]),
        torch.cat([part.steps for part in parts]),
    )


def _one(head: Head, feature_map: Tensor, seed: int) -> Descent:
    with torch.no_grad():
        wanted = head(feature_map)
    start = torch.rand(feature_map.shape[2:], generator=torch.Generator().manual_seed(seed))
    raw = start.to(feature_map).requires_grad_()
    optimizer = torch.optim.Adam([raw], lr=LEARNING_RATE)
    history: list[float] = []
    while True:
        f = raw / raw.norm()
        loss = (wanted - head(feature_map * f)).square().sum()
        history.append(loss.item())
        step = len(history) - 1
        stopped = step >= LOOK_BACK and abs(history[-1] - history[-1 - LOOK_BACK]) < TOLERANCE
        if stopped or step == MAX_ITERATIONS:
            break
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / MAX_ITERATIONS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Descent(f.detach()[None], torch.tensor([min(history)]), torch.tensor([len(history)]))


def batched_adam(
    losses_of: Callable[[Tensor], Tensor], start: Tensor, *, iterations: int | None = None
) -> Descent:
    """The same loop for n problems at once; it goes on until each has met the paper's stop.

    Args:
        losses_of: From filters (n, *space) to the losses (n,).
        start: Raw filters (n, *space).
        iterations: Do exactly so many: a sample of the loop, to be timed.
    """
    raw = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([raw], lr=LEARNING_RATE)
    history: list[Tensor] = []
    steps = torch.zeros(len(start), dtype=torch.int64, device=start.device)
    best = torch.full((len(start),), torch.inf, device=start.device)
    while True:
        f = _unit(raw)
        losses = losses_of(f)
        history.append(losses.detach())
        best = torch.where(steps == 0, torch.minimum(best, history[-1]), best)
        step = len(history) - 1
        if step >= LOOK_BACK:
            stopped = (history[-1] - history[-1 - LOOK_BACK]).abs() < TOLERANCE
            steps = torch.where((steps == 0) & stopped, step + 1, steps)
        if iterations is None:
            if bool((steps > 0).all()) or step == MAX_ITERATIONS:
                break
        elif step == iterations:
            break
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / MAX_ITERATIONS)
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
    return Descent(f.detach(), best, torch.where(steps == 0, len(history), steps))


def batched_adam_contender(
    name: str, losses_of: Callable[[Tensor], Tensor], start: Tensor
) -> tuple[Contender, Descent]:
    """Batched Adam run once to its stop, to count; then a few iterations to be timed for all."""
    whole = batched_adam(losses_of, start)
    evaluations = int(whole.steps.max())
    sample = min(SAMPLE_ITERATIONS, evaluations - 1)
    contender = Contender(
        name,
        lambda _: batched_adam(losses_of, start, iterations=sample),
        share=evaluations / (sample + 1),
    )
    return contender, whole


def converged_adam(
    losses_of: Callable[[Tensor], Tensor], start: Tensor, *, iterations: int = 1000
) -> Descent:
    """Adam well past any stop: its rate falls from 0.05 by 1.2 % an iteration."""
    raw = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([raw], lr=0.05)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.988)
    for _ in range(iterations):
        optimizer.zero_grad()
        losses_of(_unit(raw)).sum().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        f = _unit(raw)
        losses = losses_of(f)
    return Descent(f, losses, torch.full((len(start),), iterations))


def hand_written_grad_cam(
    model: nn.Module, layer: nn.Module, images: Tensor, classes: Tensor | None
) -> Tensor:
    """Grad-CAM as one writes it who knows that no gradient below the layer is needed.

    Args:
        model: The network, in eval mode.
        layer: Gives A (n, c, h, w).
        images: (n, 3, height, width).
        classes: One a sample, or None for the sum over an embedding.

    Returns:
        (n, height, width), after the ReLU.
    """
    kept: list[Tensor] = []

    def become_leaf(module: nn.Module, args: object, output: Tensor) -> Tensor:
        torch.set_grad_enabled(True)  # from here to the end of the no_grad below
        kept.append(output.detach().requires_grad_())
        return kept[0]

    hook = layer.register_forward_hook(become_leaf)
    try:
        with torch.no_grad():
            outputs = model(images)
    finally:
        hook.remove()
    score = outputs.sum() if classes is None else outputs.gather(1, classes[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, kept[0])
    heat = (gradient.mean(dim=(2, 3), keepdim=True) * kept[0].detach()).sum(dim=1).relu()
    size = images.shape[2:]
    return functional.interpolate(heat[:, None], size=size, mode="bilinear")[:, 0]


def _unit(raw: Tensor) -> Tensor:
    return raw / raw.flatten(1).norm(dim=1).view(-1, *[1] * (raw.dim() - 1))
