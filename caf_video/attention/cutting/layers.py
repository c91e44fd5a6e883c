"""Which layers of a network give maps with cells, in the order in which they come to them."""

from typing import Any

import torch
from torch import nn

from caf_video.attention.cutting.call import Network, find_layer
from caf_video.attention.cutting.pytrees import map_in, tensors_in
from caf_video.attention.cutting.twin import Twin
from caf_video.attention.cutting.undisturbed import undisturbed
from caf_video.errors import InputError


def maps_of(model: nn.Module, inputs: Any) -> list[str]:
    """Names of the layers that run once and give one map of more than one cell, first to last.

    A layer comes after those inside it. Of several that give the same map and nothing else the
    outermost is kept; one that gives a pooled vector beside it has pooled it before.
    """
    with torch.inference_mode(False), torch.no_grad(), undisturbed(model):
        twin = Twin(model).model
        network = Network.checked(twin, inputs)
        runs: dict[str, int] = {}
        names: list[str] = []
        last: Any = None  # the map of the last of them

        def note(name: str) -> Any:
            def noted(module: nn.Module, args: Any, output: Any) -> None:
                nonlocal last
                runs[name] = runs.get(name, 0) + 1
                found = map_in(output)
                if found is None or not _has_cells(tuple(found.shape)):
                    return
                alone = len(tensors_in(output)) == 1
                if alone and found is last and names[-1].startswith(f"{name}."):
                    names.pop()
                names.append(name)
                last = found

            return noted

        for name, module in twin.named_modules():
            if name:
                module.register_forward_hook(note(name))
        network.run(network.inputs)
    return [name for name in names if runs[name] == 1]


def number_of_runs(model: nn.Module, inputs: Any, layer: str | nn.Module) -> int:
    """How often a layer runs.

    Raises:
        InputError: It never does.
    """
    with torch.inference_mode(False), torch.no_grad(), undisturbed(model):
        twin = Twin(model)
        found = twin.model.get_submodule(find_layer(model, layer, twin.of))
        runs = 0

        def count(module: nn.Module, args: Any, output: Any) -> None:
            nonlocal runs
            runs += 1

        found.register_forward_hook(count)
        network = Network.checked(twin.model, inputs)
        network.run(network.inputs)
    if not runs:
        raise InputError(f'layer "{find_layer(model, layer, twin.of)}" did not run')
    return runs


def _has_cells(shape: tuple[int, ...]) -> bool:
    """Whether more than samples and channels is longer than 1."""
    return sum(size > 1 for size in shape[1:]) > 1
