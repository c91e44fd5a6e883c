"""The attention methods by name, the one register: of a picture's map, or of a clip's frames."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from caf_video.attention.clip_model import ClipModel
from caf_video.attention.explain import explain
from caf_video.attention.explain_clip import explain_clip
from caf_video.attention.gradcam import Mode, cam, feature_norm, grad_cam, retrieval_grad_cam
from caf_video.attention.warning import AttentionWarning
from caf_video.errors import InputError

Maps = Callable[[nn.Module, Tensor, Tensor], Tensor]  # tail, A (n, c, h, w), classes (n,)
ClipMaps = Callable[[ClipModel, Tensor], Tensor]  # network, maps (b, t, c, h, w)
_AXES, _CLIP_AXES = "n c h w", "n t c h w"  # of the maps that networks of this package give


@dataclass(frozen=True)
class Method:
    """One way to see where a network looked.

    Attributes:
        name: Its key in METHODS, wherever it is typed or written.
        title: What people read.
        maps: Heatmaps (n, h, w) on the grid of A, or filters of which |f| is the heatmap.
        clip_maps: The same for each frame of clips, (b, t, h, w), from the maps that a recurrent
            network's `features` takes; None where there is no such thing.
        filters: Whether they are filters.
        of_class: Whether the heatmap is that of a class: of a classifier only, and the true one.
        default_for: The networks it is in the table of unless methods are chosen: "classifier",
            "embedding", "acol".
    """

    name: str
    title: str
    maps: Maps
    clip_maps: ClipMaps | None = None
    filters: bool = False
    of_class: bool = False
    default_for: tuple[str, ...] = ()

    def heat_of_frames(self, network: ClipModel, feature_maps: Tensor) -> Tensor:
        """Heat of every frame of clips, nowhere negative, on the grid of A, (b, t, h, w).

        Args:
            network: A recurrent one.
            feature_maps: What its `features` takes, (b, t, c, h, w).

        Raises:
            InputError: The method is of pictures only.
        """
        if self.clip_maps is None:
            raise InputError(f"method {self.name} explains pictures, not the frames of a clip")
        heat = self.clip_maps(network, feature_maps)
        return heat.abs() if self.filters else heat


@runtime_checkable
class LocalizingHead(Protocol):
    """A head that has heatmaps of its own making, as ACoL's."""

    def localization_maps(self, feature_maps: Tensor, targets: Tensor | None = None) -> Tensor:
        """Of A (n, c, h, w) and classes (n,), heatmaps (n, h, w)."""
        ...


def _l2_caf(
    tail: nn.Module, maps: Tensor, target: Tensor | None = None, *, center_logits: bool = False
) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AttentionWarning)  # of negative filters: they are counted
        behind = _behind(tail)
        return explain(
            behind, maps, layer="0", target=target, axes=_AXES, center_logits=center_logits
        ).filters


def _grad_cam(tail: nn.Module, maps: Tensor, target: Tensor | None, mode: Mode) -> Tensor:
    return grad_cam(_behind(tail), maps, layer="0", target=target, mode=mode, axes=_AXES)


def _acol(tail: nn.Module, maps: Tensor, target: Tensor) -> Tensor:
    if not isinstance(tail, LocalizingHead):
        raise InputError("method acol is of networks tuned by ACoL: train one with tuning=acol")
    return tail.localization_maps(maps, target)


def _behind(tail: nn.Module) -> nn.Module:
    """A network of which A is the input: its layer "0"."""
    return nn.Sequential(nn.Identity(), tail)


def _filtered(network: ClipModel, maps: Tensor) -> Tensor:
    """A, the maps that a filter multiplies, (b, t, c, h, w)."""
    with torch.no_grad():
        return network.features(maps)


_ANY = ("classifier", "embedding", "acol")

METHODS = {
    method.name: method
    for method in (
        Method(
            "l2-caf",
            "L2-CAF",
            lambda tail, maps, _: _l2_caf(tail, maps),
            lambda network, maps: explain_clip(network, maps).filters,
            filters=True,
            default_for=_ANY,
        ),
        Method(
            "l2-caf-class",
            "L2-CAF of the class",
            _l2_caf,
            filters=True,
            of_class=True,
            default_for=("classifier",),
        ),
        Method(
            "l2-caf-class-centered",
            "L2-CAF of the class, logits centred",
            lambda tail, maps, classes: _l2_caf(tail, maps, classes, center_logits=True),
            filters=True,
            of_class=True,
            default_for=("classifier",),
        ),
        Method(
            "cam",
            "CAM",
            lambda tail, maps, classes: cam(
                _behind(tail), maps, layer="0", target=classes, axes=_AXES
            ),
            of_class=True,
            default_for=("classifier",),
        ),
        Method(
            "grad-cam",
            "Grad-CAM of the class",
            lambda tail, maps, classes: _grad_cam(tail, maps, classes, "relu"),
            of_class=True,
            default_for=("classifier", "acol"),
        ),
        Method(
            "retrieval-grad-cam",
            "Grad-CAM",
            lambda tail, maps, _: _grad_cam(tail, maps, None, "relu"),
            lambda network, maps: retrieval_grad_cam(
                network.head, _filtered(network, maps), mode="relu", axes=_CLIP_AXES
            ),
            default_for=("embedding",),
        ),
        Method(
            "retrieval-grad-cam-abs",
            "Grad-CAM, absolute",
            lambda tail, maps, _: _grad_cam(tail, maps, None, "abs"),
            lambda network, maps: retrieval_grad_cam(
                network.head, _filtered(network, maps), mode="abs", axes=_CLIP_AXES
            ),
            default_for=("embedding",),
        ),
        Method("acol", "ACoL's own map", _acol, of_class=True, default_for=("acol",)),
        Method(
            "feature-norm",
            "Norm of the filtered map",
            lambda tail, maps, _: feature_norm(maps),
            lambda network, maps: feature_norm(_filtered(network, maps)),
            default_for=_ANY,
        ),
        Method(
            "uniform",
            "Uniform map",
            lambda tail, maps, _: torch.ones_like(maps[:, 0]),
            default_for=_ANY,
        ),
    )
}


def require_methods(names: Sequence[str]) -> list[Method]:
    """The methods of those names.

    Raises:
        InputError: There is none of a name; names those there are.
    """
    for name in names:
        if name not in METHODS:
            raise InputError(f"unknown method {name!r}: it is one of {', '.join(METHODS)}")
    return [METHODS[name] for name in dict.fromkeys(names)]
