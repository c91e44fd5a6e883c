"""The attention methods by name, the one register: of a picture's map, or of a clip's frames."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from caf_video.attention.clip_model import ClipModel
from caf_video.attention.explain import explain
from caf_video.attention.explain_clip import explain_clip
from caf_video.attention.gradcam import (
    Mode,
    Similarity,
    cam,
    feature_norm,
    grad_cam,
    retrieval_grad_cam,
)
from caf_video.attention.pairs import one_each
from caf_video.attention.path_shares import passed, path_shares, sharp
from caf_video.attention.warning import AttentionWarning
from caf_video.errors import InputError

_AXES, _CLIP_AXES = "n c h w", "n t c h w"  # of the maps that networks of this package give


@dataclass(frozen=True)
class Given:
    """What a method is told beside the map.

    Attributes:
        classes: The class of each sample, (n,).
        reference: The embedding that each sample is compared with, (n, d) or (d,): of a pair.
        center: A mean embedding, of training or of a gallery, (d,).
    """

    classes: Tensor | None = None
    reference: Tensor | None = None
    center: Tensor | None = None

    def wanted(self, need: "Need") -> Tensor:
        """One of them.

        Raises:
            InputError: It is not given.
        """
        value: Tensor | None = getattr(self, need)
        if value is None:
            raise InputError(f"{WHAT_IS[need]} is missing: {need}=")
        return value


Maps = Callable[[nn.Module, Tensor, Given], Tensor]  # tail, A (n, c, h, w)
ClipMaps = Callable[[ClipModel, Tensor, Given], Tensor]  # network, maps (b, t, c, h, w)
Need = Literal["classes", "reference", "center"]
WHAT_IS: dict[Need, str] = {
    "classes": "the class of each sample",
    "reference": "the embedding to compare with",
    "center": "a mean embedding",
}


@dataclass(frozen=True)
class Method:
    """One way to see where a network looked.

    Attributes:
        name: Its key in METHODS, wherever it is typed or written.
        title: What people read.
        maps: Heatmaps (n, h, w) on the grid of A, or filters of which |f| is the heatmap; None
            where it explains clips alone.
        clip_maps: The same for each frame of clips, (b, t, h, w), from the maps that a recurrent
            network's `features` takes; None where there is no such thing.
        filters: Whether they are filters.
        needs: What it has to be given, beside classes.
        compares_frames: Whether the frames of a clip have one scale, so that the heat of one may be
            compared with that of another.
        of_class: Whether the heatmap is that of a class: of a classifier only, and the true one.
        default_for: The networks it is in the table of unless methods are chosen: "classifier",
            "embedding", "acol".
    """

    name: str
    title: str
    maps: Maps | None
    clip_maps: ClipMaps | None = None
    filters: bool = False
    needs: tuple[Need, ...] = ()
    compares_frames: bool = True
    of_class: bool = False
    default_for: tuple[str, ...] = ()

    def of_pictures(self, tail: nn.Module, maps: Tensor, given: Given) -> Tensor:
        """`maps`, after a look at what is given.

        Raises:
            InputError: The method is of clips only, or something is missing.
        """
        if self.maps is None:
            raise InputError(f"method {self.name} explains the frames of a clip, not pictures")
        self._require(given)
        return self.maps(tail, maps, given)

    def heat_of_frames(
        self,
        network: ClipModel,
        feature_maps: Tensor,
        *,
        reference: Tensor | None = None,
        center: Tensor | None = None,
    ) -> Tensor:
        """Heat of every frame of clips, nowhere negative, on the grid of A, (b, t, h, w).

        Args:
            network: A recurrent one.
            feature_maps: What its `features` takes, (b, t, c, h, w).
            reference: Embeddings that the clips are compared with, (b, d) or (d,).
            center: The mean embedding of training, (d,).

        Raises:
            InputError: The method is of pictures only, or needs what is not given.
        """
        if self.clip_maps is None:
            raise InputError(f"method {self.name} explains pictures, not the frames of a clip")
        given = Given(reference=reference, center=center)
        self._require(given)
        heat = self.clip_maps(network, feature_maps, given)
        return heat.abs() if self.filters else heat

    def _require(self, given: Given) -> None:
        for need in self.needs:
            if getattr(given, need) is None:
                raise InputError(f"method {self.name} needs {WHAT_IS[need]}: {need}=")


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


def _l2_caf_pair(tail: nn.Module, maps: Tensor, given: Given) -> Tensor:
    found = explain(_behind(tail), maps, layer="0", reference=given.reference, axes=_AXES)
    return found.filters


def _like(
    tail: nn.Module, maps: Tensor, given: Given, center: Tensor | Literal["map"] | None
) -> Tensor:
    return explain(
        _behind(tail), maps, layer="0", reference=given.reference, center=center, axes=_AXES
    ).heatmaps


def _like_of_clips(
    network: ClipModel, maps: Tensor, given: Given, center: Tensor | Literal["map"] | None
) -> Tensor:
    return explain_clip(
        network, maps, filters="joint", reference=given.reference, center=center
    ).heatmaps


def _joint(network: ClipModel, maps: Tensor) -> Tensor:
    return explain_clip(network, maps, filters="joint").filters


def _path_shares(network: ClipModel, maps: Tensor, given: Given) -> Tensor:
    filtered = _filtered(network, maps)
    with torch.no_grad():
        embeddings = network.head(filtered).flatten(1)
    direction = embeddings - one_each(given.wanted("center"), embeddings, "center")
    return path_shares(network.head, filtered, direction).clamp(min=0)


def _sharp(network: ClipModel, maps: Tensor, given: Given) -> Tensor:
    return sharp(network, maps, _joint(network, maps), given.wanted("center"))


def _grad_cam(tail: nn.Module, maps: Tensor, target: Tensor | None, mode: Mode) -> Tensor:
    return grad_cam(_behind(tail), maps, layer="0", target=target, mode=mode, axes=_AXES)


def _grad_cam_of_pair(
    tail: nn.Module, maps: Tensor, given: Given, similarity: Similarity
) -> Tensor:
    return grad_cam(
        _behind(tail), maps, layer="0", reference=given.reference, similarity=similarity, axes=_AXES
    )


def _retrieval_grad_cam(
    network: ClipModel, maps: Tensor, mode: Mode, given: Given, similarity: Similarity = "cosine"
) -> Tensor:
    return retrieval_grad_cam(
        network.head,
        _filtered(network, maps),
        mode=mode,
        axes=_CLIP_AXES,
        reference=given.reference,
        similarity=similarity,
    )


def _acol(tail: nn.Module, maps: Tensor, given: Given) -> Tensor:
    if not isinstance(tail, LocalizingHead):
        raise InputError("method acol is of networks tuned by ACoL: train one with tuning=acol")
    return tail.localization_maps(maps, given.classes)


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
            lambda network, maps, _: explain_clip(network, maps).filters,
            filters=True,
            compares_frames=False,
            default_for=_ANY,
        ),
        Method(
            "l2-caf-joint",
            "L2-CAF, one filter a clip",
            None,
            lambda network, maps, _: _joint(network, maps).clamp(min=0),
        ),
        Method(
            "l2-caf-passed",
            "Norm of what L2-CAF lets pass",
            lambda tail, maps, _: passed(_l2_caf(tail, maps), maps),
            lambda network, maps, _: passed(_joint(network, maps), _filtered(network, maps)),
        ),
        Method(
            "l2-caf-sharp",
            "The same, sharpened by path shares",
            None,
            _sharp,
            needs=("center",),
        ),
        Method("path-shares", "Path shares", None, _path_shares, needs=("center",)),
        Method(
            "l2-caf-class",
            "L2-CAF of the class",
            lambda tail, maps, given: _l2_caf(tail, maps, given.classes),
            filters=True,
            of_class=True,
            default_for=("classifier",),
        ),
        Method(
            "l2-caf-class-centered",
            "L2-CAF of the class, logits centred",
            lambda tail, maps, given: _l2_caf(tail, maps, given.classes, center_logits=True),
            filters=True,
            of_class=True,
            default_for=("classifier",),
        ),
        Method(
            "l2-caf-pair",
            "L2-CAF of a pair",
            _l2_caf_pair,
            lambda network, maps, given: _like_of_clips(network, maps, given, None),
            filters=True,
            needs=("reference",),
        ),
        Method(
            "l2-caf-like",
            "L2-CAF of a pair, centred",
            lambda tail, maps, given: _like(tail, maps, given, "map"),
            lambda network, maps, given: _like_of_clips(network, maps, given, "map"),
            needs=("reference",),
        ),
        Method(
            "l2-caf-like-mean",
            "L2-CAF of a pair, centred by a mean embedding",
            lambda tail, maps, given: _like(tail, maps, given, given.center),
            lambda network, maps, given: _like_of_clips(network, maps, given, given.center),
            needs=("reference", "center"),
        ),
        Method(
            "cam",
            "CAM",
            lambda tail, maps, given: cam(
                _behind(tail), maps, layer="0", target=given.wanted("classes"), axes=_AXES
            ),
            of_class=True,
            default_for=("classifier",),
        ),
        Method(
            "grad-cam",
            "Grad-CAM of the class",
            lambda tail, maps, given: _grad_cam(tail, maps, given.classes, "relu"),
            of_class=True,
            default_for=("classifier", "acol"),
        ),
        Method(
            "retrieval-grad-cam",
            "Grad-CAM",
            lambda tail, maps, _: _grad_cam(tail, maps, None, "relu"),
            lambda network, maps, _: _retrieval_grad_cam(network, maps, "relu", Given()),
            default_for=("embedding",),
        ),
        Method(
            "retrieval-grad-cam-abs",
            "Grad-CAM, absolute",
            lambda tail, maps, _: _grad_cam(tail, maps, None, "abs"),
            lambda network, maps, _: _retrieval_grad_cam(network, maps, "abs", Given()),
            default_for=("embedding",),
        ),
        Method(
            "grad-cam-cosine",
            "Grad-CAM of the cosine",
            lambda tail, maps, given: _grad_cam_of_pair(tail, maps, given, "cosine"),
            lambda network, maps, given: _retrieval_grad_cam(network, maps, "relu", given),
            needs=("reference",),
        ),
        Method(
            "similarity",
            "Decomposition of the similarity",
            lambda tail, maps, given: _grad_cam_of_pair(tail, maps, given, "dot"),
            lambda network, maps, given: _retrieval_grad_cam(network, maps, "relu", given, "dot"),
            needs=("reference",),
        ),
        Method("acol", "ACoL's own map", _acol, of_class=True, default_for=("acol",)),
        Method(
            "feature-norm",
            "Norm of the filtered map",
            lambda tail, maps, _: feature_norm(maps),
            lambda network, maps, _: feature_norm(_filtered(network, maps)),
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
