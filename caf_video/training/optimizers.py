"""Optimizer factories: parameters and the number of steps in, what Lightning takes out."""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Adam, AdamW
from torch.optim.lr_scheduler import OneCycleLR


def adamw_one_cycle(
    parameters: Iterable[nn.Parameter], total_steps: int, *, lr: float, weight_decay: float
) -> dict[str, Any]:
    """AdamW whose learning rate rises to `lr` over 30 % of the steps and falls to almost 0."""
    optimizer = AdamW(parameters, lr=lr, weight_decay=weight_decay)
    scheduler = OneCycleLR(optimizer, max_lr=lr, total_steps=total_steps)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def adam(parameters: Iterable[nn.Parameter], total_steps: int, *, lr: float) -> dict[str, Any]:
    """Adam with one learning rate from the first step to the last, however many there are."""
    return {"optimizer": Adam(parameters, lr=lr)}
