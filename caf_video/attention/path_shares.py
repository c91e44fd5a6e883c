"""What each cell of a map adds to an embedding, and maps made with a joint filter (maths 1.6)."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from caf_video.attention.clip_model import ClipModel, accurate, check_clip_maps, in_halves
from caf_video.attention.cutting.twin import Twin
from caf_video.attention.cutting.undisturbed import undisturbed
from caf_video.attention.gradcam import feature_norm
from caf_video.attention.pairs import one_each
from caf_video.attention.solvers.problems import gradient
from caf_video.errors import InputError

MIDPOINTS = 16  # of the path: the shares' sum is then right to a few thousandths


@runtime_checkable
class TwoStageFeatures(Protocol):
    """A clip model whose `features` is `mix_cells(cellwise_features(feature_maps))`.

    In the first stage no cell has seen another, so its map is sharper than A.
    """

    def cellwise_features(self, feature_maps: Tensor) -> Tensor:
        """Stored maps (b, t, c, h, w) to maps (b, t, k, h, w), each cell by itself."""
        ...

    def mix_cells(self, maps: Tensor) -> Tensor:
        """Those to A."""
        ...


def path_shares(
    head: Callable[[Tensor], Tensor],
    maps: Tensor,
    direction: Tensor,
    *,
    baseline: Tensor | None = None,
    midpoints: int = MIDPOINTS,
) -> Tensor:
    """What each cell adds to <d, e> on the straight way from a baseline B to the map A.

    That is c_p = <A_p - B_p, the mean over the way of d<d, e>/dA_p> (Integrated Gradients,
    Sundararajan et al. 2017, on a map). They sum to <d, e(A) - e(B)>, up to the midpoint rule.

    Args:
        head: From maps to embeddings (b, d): a function, a module or a module's method; the module
            is not touched.
        maps: A, (b, t, c, h, w), or of an image (b, c, h, w).
        direction: d of each, (b, d), or of all, (d,): the embedding less a mean one, say.
        baseline: B, like `maps`; None is zeros.
        midpoints: Of the way, each a run of the head and its gradient.

    Returns:
        Signed shares, (b, t, h, w) or (b, h, w), at least float32.

    Raises:
        InputError: A shape is wrong, or no gradient reaches the maps.
    """
    if maps.dim() not in (4, 5):
        raise InputError(f"maps of shape {tuple(maps.shape)}, wanted (b, t, c, h, w)")
    if midpoints < 1:
        raise InputError(f"{midpoints} midpoints: wanted 1 or more")
    start = torch.zeros_like(maps) if baseline is None else baseline.to(maps)
    if start.shape != maps.shape:
        raise InputError(f"the baseline is {tuple(start.shape)}, the maps are {tuple(maps.shape)}")
    way = maps.detach() - start
    twin = Twin.of_callable(head)
    total = torch.zeros_like(way, dtype=accurate(maps.dtype))
    with undisturbed(getattr(head, "__self__", head)):
        for point in range(midpoints):
            with torch.enable_grad():
                variable = (start + (point + 0.5) / midpoints * way).requires_grad_()
                embeddings = twin(variable).flatten(1)
                weights = one_each(direction, embeddings.detach(), "direction")
                total += gradient(embeddings, variable, weights, "the maps")
    return (total / midpoints * way).sum(dim=-3)


def passed(filters: Tensor, maps: Tensor) -> Tensor:
    """max(f, 0) ||A||: the norm, over channels, of what a filter lets pass.

    Args:
        filters: f, (…, h, w); of clips joint ones, (b, t, h, w).
        maps: A, (…, c, h, w).

    Returns:
        Heat on the grid of A, (…, h, w).

    Raises:
        InputError: The filters are not of these maps.
    """
    if filters.shape != (*maps.shape[:-3], *maps.shape[-2:]):
        raise InputError(f"filters {tuple(filters.shape)} are not of maps {tuple(maps.shape)}")
    return filters.clamp(min=0) * feature_norm(maps).to(filters.dtype)


def sharp(clip_model: ClipModel, feature_maps: Tensor, filters: Tensor, center: Tensor) -> Tensor:
    """`passed`, times the 3x3 mean of the positive path shares of the map before cells mix.

    The filter says how much of A passes, A's cells have seen their neighbours, and the path shares
    of the map before that say which of them it was. Of a network without `TwoStageFeatures` the
    shares are those of A.

    Args:
        clip_model: A network with `features` and `head`.
        feature_maps: What `features` takes, (b, t, c, h, w).
        filters: Joint filters of the clips (b, t, h, w), see `explain_clip`.
        center: The mean embedding of training (d,): shares are of <e - mean, e>.

    Returns:
        Heat on the grid of A, (b, t, h, w), on one scale for each clip.

    Raises:
        InputError: A shape is wrong, or a value is not finite.
    """
    clip_model = in_halves(clip_model)
    feature_maps = check_clip_maps(clip_model, feature_maps)
    with undisturbed(clip_model), torch.no_grad():
        maps = clip_model.features(feature_maps)
        embeddings = clip_model.head(maps).flatten(1)
        direction = embeddings - one_each(center, embeddings, "center")
        shares = path_shares(*_before_cells_mix(clip_model, feature_maps, maps), direction)
    near = functional.avg_pool2d(
        shares.clamp(min=0), kernel_size=3, stride=1, padding=1, count_include_pad=False
    )
    return passed(filters, maps) * near.to(filters.dtype)


def _before_cells_mix(
    clip_model: ClipModel, feature_maps: Tensor, maps: Tensor
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The network from the map on in which no cell has seen another, and that map; else from A."""
    if not isinstance(clip_model, TwoStageFeatures):
        return clip_model.head, maps
    two_stage = clip_model

    def rest(cellwise: Tensor) -> Tensor:
        return clip_model.head(two_stage.mix_cells(cellwise))

    return rest, two_stage.cellwise_features(feature_maps)
