"""Look at a model without leaving a mark on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def undisturbed(model: object) -> Iterator[None]:
    """Everything in eval mode inside, every module's own mode back afterwards, also after an error.

    Attention explains the network that answers, so dropout is off and batch norm keeps its running
    statistics. cuDNN refuses the backward pass of a recurrent network in eval mode: where there is
    one, cuDNN is off inside. Fused attention kernels are off too: they skip submodules and their
    hooks, and only when no gradient is wanted, so the two halves of a cut network would differ.
    Autocast is off as well: it would round the solver's own products.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    training = [module for module in modules if module.training]
    recurrent = any(isinstance(module, nn.RNNBase) for module in modules)
    fused = torch.backends.mha.get_fastpath_enabled()
    cudnn = torch.backends.cudnn.enabled
    try:
        for module in training:
            module.training = False
        torch.backends.mha.set_fastpath_enabled(False)
        if recurrent:
            torch.backends.cudnn.enabled = False
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        for module in training:
            module.training = True
        torch.backends.mha.set_fastpath_enabled(fused)
        torch.backends.cudnn.enabled = cudnn
