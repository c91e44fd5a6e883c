"""The attention methods by name: from a network's maps A to heatmaps on the grid."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from caf_video.attention import AttentionWarning, cam, explain, feature_norm, grad_cam
from caf_video.errors import InputError
from caf_video.models.acol import ACoLHead

Maps = Callable[[nn.Module, Tensor, Tensor], Tensor]  # tail, A (n, c, h, w), classes (n,)


@dataclass(frozen=True)
class Method:
    """One way to see where a network looked.

    Attributes:
        name: Its key in METHODS.
        maps: Heatmaps (n, h, w) on the grid of A, or filters of which |f| is the heatmap.
        filters: Whether they are filters.
        of_class: Whether the heatmap is that of a class: of a classifier only, and the true one.
        default_for: The networks it is in the table of unless methods are chosen: "classifier",
            "embedding", "acol".
    """

    name: str
    maps: Maps
    filters: bool = False
    of_class: bool = False
    default_for: tuple[str, ...] = ()


def _l2_caf(
    tail: nn.Module, maps: Tensor, target: Tensor | None = None, *, center_logits: bool = False
) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AttentionWarning)  # of negative filters: they are counted
        behind = _behind(tail)
        return explain(behind, maps, layer="0", target=target, center_logits=center_logits).filters


def _grad_cam(tail: nn.Module, maps: Tensor, target: Tensor | None, mode: str) -> Tensor:
    return grad_cam(_behind(tail), maps, layer="0", target=target, mode=mode)  # type: ignore[arg-type]


def _acol(tail: nn.Module, maps: Tensor, target: Tensor) -> Tensor:
    if not isinstance(tail, ACoLHead):
        raise InputError("method acol is of networks tuned by ACoL: train one with tuning=acol")
    return tail.localization_maps(maps, target)


_ANY = ("classifier", "embedding", "acol")

METHODS = {
    method.name: method
    for method in (
        Method("l2-caf", lambda tail, maps, _: _l2_caf(tail, maps), filters=True, default_for=_ANY),
        Method("l2-caf-class", _l2_caf, filters=True, of_class=True, default_for=("classifier",)),
        Method(
            "l2-caf-class-centered",
            lambda tail, maps, classes: _l2_caf(tail, maps, classes, center_logits=True),
            filters=True,
            of_class=True,
            default_for=("classifier",),
        ),
        Method(
            "cam",
            lambda tail, maps, classes: cam(_behind(tail), maps, layer="0", target=classes),
            of_class=True,
            default_for=("classifier",),
        ),
        Method(
            "grad-cam",
            lambda tail, maps, classes: _grad_cam(tail, maps, classes, "relu"),
            of_class=True,
            default_for=("classifier", "acol"),
        ),
        Method(
            "retrieval-grad-cam",
            lambda tail, maps, _: _grad_cam(tail, maps, None, "relu"),
            default_for=("embedding",),
        ),
        Method(
            "retrieval-grad-cam-abs",
            lambda tail, maps, _: _grad_cam(tail, maps, None, "abs"),
            default_for=("embedding",),
        ),
        Method("acol", _acol, of_class=True, default_for=("acol",)),
        Method("feature-norm", lambda tail, maps, _: feature_norm(maps), default_for=_ANY),
        Method("uniform", lambda tail, maps, _: torch.ones_like(maps[:, 0]), default_for=_ANY),
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


def _behind(tail: nn.Module) -> nn.Module:
    """A network of which A is the input: its layer "0"."""
    return nn.Sequential(nn.Identity(), tail)
