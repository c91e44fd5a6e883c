"""Optimizer factories: a network and the number of steps in, what Lightning takes out.

A loss that has parameters of its own (the proxies of Proxy-Anchor) is given as `loss`. They are the
optimizer's last group, with the network's schedule and weight decay, at the learning rate `lr`
times the loss's `learning_rate_factor` (1 where it names none). A learning rate that is not above 0
is an InputError.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from caf_video.errors import InputError
from caf_video.models.image_network import ImageNetwork


def adamw_one_cycle(
    model: nn.Module,
    total_steps: int,
    *,
    lr: float,
    weight_decay: float,
    loss: nn.Module | None = None,
) -> dict[str, Any]:
    """AdamW whose learning rate rises to `lr` over 30 % of the steps and falls to almost 0."""
    groups = [_group(model, lr), *_of_loss(loss, lr)]
    optimizer = AdamW(groups, weight_decay=weight_decay)
    rates = [group["lr"] for group in groups]
    return _every_step(optimizer, OneCycleLR(optimizer, max_lr=rates, total_steps=total_steps))


def adam(
    model: nn.Module, total_steps: int, *, lr: float, loss: nn.Module | None = None
) -> dict[str, Any]:
    """Adam with one learning rate from the first step to the last, however many there are."""
    return {"optimizer": Adam([_group(model, lr), *_of_loss(loss, lr)])}


def sgd_linear(
    model: nn.Module,
    total_steps: int,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    loss: nn.Module | None = None,
) -> dict[str, Any]:
    """Gradient descent with momentum, its learning rate falling from `lr` to 0 in a line."""
    groups = [_group(model, lr), *_of_loss(loss, lr)]
    optimizer = SGD(groups, momentum=momentum, weight_decay=weight_decay)
    return _every_step(optimizer, LambdaLR(optimizer, lambda step: 1 - step / total_steps))


def sgd_steps(
    model: ImageNetwork,
    total_steps: int,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    drops: Sequence[float],
    pretrained_factor: float,
    loss: nn.Module | None = None,
) -> dict[str, Any]:
    """Gradient descent with Nesterov momentum, its learning rate divided by 10 at every drop.

    Args:
        model: Its `fresh` tells what was not pretrained.
        lr: Of the fresh parameters, to begin with.
        drops: When, as shares of the steps.
        pretrained_factor: The learning rate of the pretrained parameters over that of the fresh.
        loss: What has parameters of its own; see above.

    Raises:
        InputError: A drop is not a share, or the learning rate not above 0.
    """
    if not all(0 < drop < 1 for drop in drops):
        raise InputError(f"learning rate drops at {list(drops)}: wanted shares of the steps")
    _require_rate(lr)
    named = dict(model.named_parameters())
    fresh = [named[name] for name in model.fresh]
    pretrained = [values for name, values in named.items() if name not in model.fresh]
    groups: list[dict[str, Any]] = [
        {"params": parameters, "lr": rate}
        for parameters, rate in ((fresh, lr), (pretrained, lr * pretrained_factor))
        if parameters
    ]
    groups += _of_loss(loss, lr)
    optimizer = SGD(groups, momentum=momentum, weight_decay=weight_decay, nesterov=True)

    def share(step: int) -> float:
        return 0.1 ** sum(step >= drop * total_steps for drop in drops)

    return _every_step(optimizer, LambdaLR(optimizer, share))


def _group(module: nn.Module, lr: float) -> dict[str, Any]:
    _require_rate(lr)
    return {"params": list(module.parameters()), "lr": lr}


def _require_rate(lr: float) -> None:
    """A schedule hides a negative rate from torch: it would climb."""
    if not lr > 0:
        raise InputError(f"a learning rate of {lr}: wanted a number above 0")


def _of_loss(loss: nn.Module | None, lr: float) -> list[dict[str, Any]]:
    """The group of a loss's own parameters, or none; `lr` is the network's."""
    return [] if loss is None else [_group(loss, lr * getattr(loss, "learning_rate_factor", 1.0))]


def _every_step(optimizer: SGD | AdamW, scheduler: LRScheduler) -> dict[str, Any]:
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
