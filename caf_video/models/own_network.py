"""A module of one's own as a backbone: `package.module.factory`, with arguments or without.

The factory, or the class, gives an `nn.Module` that returns its last map of images
(n, 3, height, width). It may say more, in attributes of its own:

    features, head        methods: the map, and what is made of it; else calling it gives the map
    axes                  "n c h w", "n h w c" or "n (h w) c", where the shape does not tell
    num_prefix_tokens     class and register tokens before the cells
    mean, std             of pixels in 0-1; ImageNet's, unless given
    interpolation         bilinear, unless given
    input_size            (height, width) of the images it was trained on; 224 x 224, unless given
"""

import hashlib
import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from caf_video.errors import InputError
from caf_video.models.foreign import Feeding, ForeignNetwork
from caf_video.models.layout import Hints
from caf_video.models.preprocessing import IMAGENET, Normalization

TARGET = "_target_"  # Hydra's key


class OwnNetwork(ForeignNetwork):
    """A network that a user's own code builds.

    Args:
        target: Where the class or the factory is, `package.module.name`.
        arguments: Given to it by name; plain values, or further mappings with a `_target_`.

    Raises:
        InputError: There is no such thing, or it does not take these arguments.
    """

    advice = (
        'say how the map lies with an attribute axes = "n c h w", "n h w c" or "n (h w) c" and '
        "num_prefix_tokens, or return it from a method `features`"
    )

    def __init__(self, target: str, arguments: Mapping[str, Any]) -> None:
        self._target, self._arguments = target, dict(arguments)
        self.name = target
        if arguments:
            self.name = json.dumps({TARGET: target, **arguments}, sort_keys=True)
        # The same weights in other code are another network.
        source = inspect.getsource(_located(target))
        self.revision = hashlib.sha256(source.encode()).hexdigest()[:12]

    def build(self) -> nn.Module:
        net = _called(self._target, self._arguments)
        if not isinstance(net, nn.Module):
            raise InputError(f"{self._target} gave a {type(net).__name__}, not an nn.Module")
        return net

    def pretrained(self) -> nn.Module:
        return self.build()

    def feeding(self, net: nn.Module | None = None) -> Feeding:
        net = self.build() if net is None else net
        height, width = getattr(net, "input_size", (224, 224))
        mean = getattr(net, "mean", [value / 255 for value in IMAGENET.mean])
        std = getattr(net, "std", [value / 255 for value in IMAGENET.std])
        interpolation = getattr(net, "interpolation", IMAGENET.interpolation)
        return Feeding(Normalization.of_unit_scale(interpolation, mean, std), (height, width))

    def features(self, net: nn.Module, images: Tensor) -> Any:
        return net.features(images) if self.has_head(net) else net(images)  # type: ignore[operator]

    def has_head(self, net: nn.Module) -> bool:
        return callable(getattr(net, "features", None)) and callable(getattr(net, "head", None))

    def head(self, net: nn.Module, output: Tensor) -> Tensor:
        logits: Tensor = net.head(output)  # type: ignore[operator]
        return logits

    def hints(self, net: nn.Module) -> Hints:
        return Hints(
            axes=getattr(net, "axes", None), prefix_tokens=getattr(net, "num_prefix_tokens", None)
        )


def own_network(specification: str | Mapping[str, Any]) -> OwnNetwork:
    """From a dotted path, or a mapping with a `_target_` (as JSON, too) and arguments beside it.

    Raises:
        InputError: It is none of these.
    """
    if isinstance(specification, str) and specification.startswith("{"):
        try:
            specification = json.loads(specification)
        except ValueError as error:
            raise InputError(f"backbone {specification} is not JSON: {error}") from error
    if isinstance(specification, str):
        return OwnNetwork(specification, {})
    arguments = dict(specification)
    target = arguments.pop(TARGET, None)
    if not isinstance(target, str):
        raise InputError(f"backbone {dict(specification)} has no {TARGET}: package.module.factory")
    return OwnNetwork(target, arguments)


def _called(target: str, arguments: Mapping[str, Any]) -> Any:
    """What a class or a function gives for arguments by name."""
    factory = _located(target)
    values = {
        name: _called(value[TARGET], {key: v for key, v in value.items() if key != TARGET})
        if isinstance(value, Mapping) and TARGET in value
        else value
        for name, value in arguments.items()
    }
    try:
        inspect.signature(factory).bind(**values)
    except TypeError as error:
        raise InputError(f"{target} does not take these arguments: {error}") from error
    return factory(**values)


def _located(target: str) -> Callable[..., Any]:
    module, _, name = target.rpartition(".")
    if not module:
        raise InputError(f"backbone {target!r}: wanted package.module.factory")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there; one that it imports is not
        raise InputError(
            f"no module {error.name!r} for the backbone {target}: put the folder that holds it on "
            "PYTHONPATH"
        ) from error
    if not callable(found):
        raise InputError(f"module {module} has no class or function {name!r}")
    return found
