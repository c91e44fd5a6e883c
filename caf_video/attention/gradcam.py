"""The gradient baselines: CAM, Grad-CAM for a class, and for retrieval (Eq. 4 to 7)."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from caf_video.attention.affine_head import find_pooled_map, pooled_linear
from caf_video.attention.cutting.call import Output
from caf_video.attention.cutting.cut import cut_network, run_to_leaf
from caf_video.attention.cutting.response import CutResponse
from caf_video.attention.cutting.undisturbed import undisturbed
from caf_video.attention.heatmap import resize_maps
from caf_video.attention.objectives import Target, as_targets
from caf_video.attention.solvers.problems import gradient
from caf_video.errors import InputError

Mode = Literal["relu", "abs", "signed"]
MODES = ("relu", "abs", "signed")


def grad_cam(
    model: nn.Module,
    inputs: Any,
    *,
    layer: str | nn.Module,
    target: Target | None = None,
    mode: Mode = "relu",
    output: Output = None,
    size: Sequence[int] | None = None,
    layout: str = "auto",
    grid: Sequence[int] | None = None,
    after_relu: bool = False,
) -> Tensor:
    """Grad-CAM (Eq. 4, 5): the map's channels, each weighted by its gradient's mean over cells.

    With `target` the gradient is that of the class logit; without, that of the sum over outputs,
    which is Grad-CAM for retrieval (Eq. 6, 7). The network runs forward once and backward only to
    the layer; the model is left as it was found.

    Args:
        model: Any network.
        inputs: A tensor, a tuple of positional or a dict of keyword arguments.
        layer: Name of a layer, or the module.
        target: A class for each sample, or one for all; None for retrieval.
        mode: "relu" (vanilla), "abs" (Grad-CAM-abs: absolute value in place of ReLU) or "signed".
        output: Which output, where the network returns several: a key, an index or a function.
        size: Of the heatmaps; None is the input's. The layer's own grid leaves them as they are.
        layout: Where the map has its channels, see `explain`.
        grid: (rows, columns) of the tokens that are cells.
        after_relu: Take the map behind a functional ReLU right after the layer, as `explain` does.

    Returns:
        Heatmaps (n, *size), or (n, frames, *size) where the network folds frames into the batch.
    """
    _check_mode(mode)
    with run_to_leaf(
        model, inputs, layer, output=output, layout=layout, grid=grid, after_relu=after_relu
    ) as run:
        scores = run.outputs.flatten(1).sum(dim=1)
        if target is not None:
            scores = _class_scores(run.outputs, target)
        weights = torch.ones_like(scores)
        slope = gradient(scores, run.feature_map, weights, f"layer {run.name}")
    maps = run.layout.cells(run.feature_map.detach())
    heat = _weigh(maps, run.layout.cells(slope), 1, mode)
    return _sized(heat, run.samples, size or run.input_size)


def cam(
    model: nn.Module,
    inputs: Any,
    *,
    layer: str | nn.Module,
    target: Target,
    output: Output = None,
    size: Sequence[int] | None = None,
) -> Tensor:
    """CAM (Zhou et al. 2016): the channels weighted by the class's row of the last linear layer.

    Only for networks in which global average pooling and one linear layer follow `layer`; there it
    is h*w times the signed Grad-CAM.

    Args:
        model: Such a network.
        inputs: A tensor, a tuple of positional or a dict of keyword arguments.
        layer: Name of the last convolutional layer, or the module.
        target: A class for each sample, or one for all.
        output: Which output, where the network returns several.
        size: Of the heatmaps; None is the input's. The layer's own grid leaves them as they are.

    Returns:
        Signed heatmaps (n, *size).
    """
    with cut_network(model, inputs, layer, output=output) as cut:
        linear = pooled_linear(cut)
        if linear is None or find_pooled_map(cut, CutResponse(cut)) is None:
            raise InputError(
                f"CAM needs global average pooling and one linear layer behind layer {cut.name}; "
                "use grad_cam"
            )
        targets = as_targets(target, samples=cut.samples, classes=cut.outputs.shape[1])
        weights = linear[0][targets.to(linear[0].device)].to(cut.outputs.dtype)
        maps = cut.layout.cells(cut.feature_map).to(cut.outputs.dtype)
        heat = torch.einsum("nc,nc...->n...", weights, maps)
    return _sized(heat, cut.samples, size or cut.input_size)


def retrieval_grad_cam(
    features_to_embedding: Callable[[Tensor], Tensor], maps: Tensor, *, mode: Mode = "relu"
) -> Tensor:
    """Grad-CAM for retrieval from a head alone (Eq. 6, 7): of the sum over embedding dimensions.

    Args:
        features_to_embedding: The head, from maps to embeddings (n, d): a function, a module or a
            module's method; the module is left as found.
        maps: A, shape (n, c, h, w), or (b, t, c, h, w) for a clip's frames.
        mode: "relu" (vanilla), "abs" (Grad-CAM-abs) or "signed".

    Returns:
        One map a sample (n, h, w) or a frame (b, t, h, w), on the grid.
    """
    _check_mode(mode)
    owner = getattr(features_to_embedding, "__self__", features_to_embedding)  # of a bound method
    with undisturbed(owner), torch.enable_grad():
        variable = maps.detach().clone().requires_grad_()
        outputs = features_to_embedding(variable)
        slope = gradient(outputs, variable, torch.ones_like(outputs), "the maps")
    return _weigh(maps.detach(), slope, maps.dim() - 3, mode)


def feature_norm(feature_map: Tensor) -> Tensor:
    """The norm over channels of the map that the filter multiplies: (…, c, h, w) to (…, h, w).

    A strong baseline of where a network looked (maths 6), so it is always reported.
    """
    return feature_map.float().norm(dim=-3)


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        raise InputError(f'mode is "{mode}", wanted "relu", "abs" or "signed"')


def _class_scores(outputs: Tensor, target: Target) -> Tensor:
    if outputs.dim() != 2:
        raise InputError(f"target needs logits (n, classes), the output is {tuple(outputs.shape)}")
    targets = as_targets(target, samples=len(outputs), classes=outputs.shape[1])
    return outputs.gather(1, targets.to(outputs.device)[:, None])


def _weigh(maps: Tensor, gradient: Tensor, channel_axis: int, mode: Mode) -> Tensor:
    """The sum over channels of A_k times the mean of its gradient over cells (Eq. 4, 5)."""
    cells = tuple(range(channel_axis + 1, maps.dim()))
    weights = gradient.mean(dim=cells, keepdim=True)  # Eq. 4
    heat = (weights * maps).sum(dim=channel_axis)  # Eq. 5 before its ReLU
    if mode == "relu":
        return heat.relu()
    return heat.abs() if mode == "abs" else heat


def _sized(heat: Tensor, samples: int, size: Sequence[int]) -> Tensor:
    heat = resize_maps(heat.to(torch.promote_types(heat.dtype, torch.float32)), size)
    return heat if len(heat) == samples else heat.unflatten(0, (samples, -1))
