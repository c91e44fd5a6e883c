"""The gradient baselines: CAM, Grad-CAM for a class, retrieval or a pair (Eq. 4 to 7)."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from caf_video.attention.affine_head import find_pooled_map, pooled_linear
from caf_video.attention.cutting.axes import Layout, bind_axes, parse_axes
from caf_video.attention.cutting.call import Output
from caf_video.attention.cutting.cut import cut_network, run_to_leaf
from caf_video.attention.cutting.evidence import Reader, Reading, Watching
from caf_video.attention.cutting.recorded import network_outputs
from caf_video.attention.cutting.response import CutResponse
from caf_video.attention.cutting.twin import Twin
from caf_video.attention.cutting.undisturbed import undisturbed
from caf_video.attention.cutting.view import View
from caf_video.attention.heatmap import resize_maps
from caf_video.attention.objectives import Target, as_targets, class_numbers
from caf_video.attention.pairs import given_embeddings, one_each
from caf_video.attention.solvers.problems import gradient
from caf_video.errors import InputError

Mode = Literal["relu", "abs", "signed"]
MODES = ("relu", "abs", "signed")
Similarity = Literal["cosine", "dot"]
SIMILARITIES = ("cosine", "dot")


def grad_cam(
    model: nn.Module,
    inputs: Any,
    *,
    layer: str | nn.Module,
    target: Target | str | Sequence[str] | None = None,
    reference: Any = None,
    similarity: Similarity = "cosine",
    mode: Mode = "relu",
    output: Output = None,
    size: Sequence[int] | None = None,
    axes: str | None = None,
    input_axes: str | None = None,
    call: int | None = None,
    until: str | nn.Module | None = None,
    after_relu: bool = False,
) -> Tensor:
    """Grad-CAM (Eq. 4, 5): the map's channels, each weighted by its gradient's mean over cells.

    With `target` the gradient is that of the class logit; with `reference` that of the similarity
    to another input's output; without, that of the sum over outputs, which is Grad-CAM for
    retrieval (Eq. 6, 7). The network runs forward once and backward only to
    the layer; the model is left as it was found.

    Args:
        model: Any network.
        inputs: A tensor, a tuple of positional or a dict of keyword arguments.
        layer: Name of a layer, or the module.
        target: A class for each sample, or one for all; None for retrieval.
        reference: Inputs like `inputs`, or embeddings (see `explain`): what is resembled.
        similarity: "cosine", or "dot": behind global average pooling and a linear layer the signed
            map is then the decomposition of the dot product, A W^T e / n, into cells, up to the
            bias (Stylianou et al. 2019).
        mode: "relu" (vanilla), "abs" (Grad-CAM-abs: absolute value in place of ReLU) or "signed".
        output: Which output, where the network returns several: a key, an index or a function.
        size: Of the heatmaps; None is the input's. The layer's own grid leaves them as they are.
        axes: What the axes of the layer's map are, see `explain`.
        input_axes: The same of the (first) input.
        call: Which run of the layer, where it runs more than once.
        until: A layer behind it whose output is explained in place of the network's.
        after_relu: Take the map behind a functional ReLU right after the layer, as `explain` does.

    Returns:
        Heatmaps (n, *size), or (n, frames, *size) where the network folds frames into the batch.
    """
    _check_mode(mode, similarity)
    if target is not None and reference is not None:
        raise InputError("target and reference exclude each other: of a class or of a pair")
    wanted = None if reference is None else given_embeddings(reference, inputs)
    if reference is not None and wanted is None:
        wanted = network_outputs(model, reference, output=output, until=until)
    with run_to_leaf(
        model, inputs, layer, output=output, axes=axes, input_axes=input_axes, call=call,
        until=until, after_relu=after_relu,
    ) as run:  # fmt: skip
        scores = _scores(run.outputs, wanted, similarity)
        if target is not None:
            classes = class_numbers(model, target)
            scores = _class_scores(run.outputs, classes).squeeze(1)
        slope = _own_gradients(run, scores)
    maps = run.layout.cells(run.feature_map.detach())
    heat = _weigh(maps, run.layout.cells(slope), 1, mode)
    return _sized(heat, run.layout, size or run.input_size)


def _own_gradients(run: View, scores: Tensor) -> Tensor:
    """The gradient of each sample's score by its own rows of the map, in the map's shape.

    Where samples do not mix, that is the gradient of the sum of the scores.
    """
    turns = [range(run.samples)] if run.is_pooled_linear or run.samples == 1 else None
    turns = turns or [range(0, run.samples, 2), range(1, run.samples, 2)]
    total = torch.zeros_like(run.feature_map)
    for turn in turns:
        own, others = _gradient_of(run, scores, list(turn))
        if others > 1e-6 * own.abs().max() and len(turns) == 2:
            every = [_gradient_of(run, scores, [sample])[0] for sample in range(run.samples)]
            return torch.stack(every).sum(dim=0)
        total = total + own
    return total


def _gradient_of(run: View, scores: Tensor, samples: list[int]) -> tuple[Tensor, float]:
    """The gradient of some samples' scores by their own rows, and how large it is in others'."""
    weights = torch.zeros_like(scores)
    weights[samples] = 1
    slope = gradient(scores, run.feature_map, weights, f"layer {run.name}", again=True)
    own = run.rows_of(torch.tensor(samples, device=slope.device))
    others = (slope * (1 - own)).abs().max()
    return slope * own, float(others)


def cam(
    model: nn.Module,
    inputs: Any,
    *,
    layer: str | nn.Module,
    target: Target | str | Sequence[str],
    output: Output = None,
    size: Sequence[int] | None = None,
    axes: str | None = None,
    input_axes: str | None = None,
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
        axes: What the axes of the layer's map are, see `explain`.
        input_axes: The same of the (first) input.

    Returns:
        Signed heatmaps (n, *size).
    """
    with cut_network(model, inputs, layer, output=output, axes=axes, input_axes=input_axes) as cut:
        linear = pooled_linear(cut)
        if linear is None or find_pooled_map(cut, CutResponse(cut)) is None:
            raise InputError(
                f"CAM needs global average pooling and one linear layer behind layer {cut.name}; "
                "use grad_cam"
            )
        classes = class_numbers(model, target)
        targets = as_targets(classes, samples=cut.samples, classes=cut.outputs.shape[1])
        weights = linear[0][targets.to(linear[0].device)].to(cut.outputs.dtype)
        maps = cut.layout.cells(cut.feature_map).to(cut.outputs.dtype)
        heat = torch.einsum("nc,nc...->n...", weights, maps)
    return _sized(heat, cut.layout, size or cut.input_size)


def retrieval_grad_cam(
    features_to_embedding: Callable[[Tensor], Tensor],
    maps: Tensor,
    *,
    mode: Mode = "relu",
    axes: str | None = None,
    reference: Tensor | None = None,
    similarity: Similarity = "cosine",
) -> Tensor:
    """Grad-CAM for retrieval from a head alone (Eq. 6, 7): of the sum over embedding dimensions.

    With `reference`, of the similarity to other embeddings.

    Args:
        features_to_embedding: The head, from maps to embeddings (n, d): a function, a module or a
            module's method; the module is not touched.
        maps: A, shape (n, c, h, w), or of `axes`.
        mode: "relu" (vanilla), "abs" (Grad-CAM-abs) or "signed".
        axes: What the axes of the maps are; c are the channels, and what stands between n and them
            has weights of its own: "n t c h w" are the frames of a clip, "n c t h w" a map in time.
        reference: Embeddings that are resembled, (n, d) or (d,).
        similarity: To them, "cosine" or "dot".

    Returns:
        One map a sample (n, h, w), a frame (n, t, h, w), or in time (n, t, h, w), on the grid.

    Raises:
        InputError: Maps of five axes without `axes`, and the head does not tell which they are; or
            their gradient is cut off.
    """
    _check_mode(mode, similarity)
    # A bound method, a function or a module leads to the twin of the module that it belongs to.
    head = Twin.of_callable(features_to_embedding)
    owner = getattr(features_to_embedding, "__self__", features_to_embedding)
    with undisturbed(owner), torch.enable_grad():
        variable = maps.detach().clone().requires_grad_()
        reader = Reader(variable)
        with Watching(reader):
            scores = _scores(head(variable), reference, similarity)
        slope = gradient(scores, variable, torch.ones_like(scores), "the maps")
    return _weigh(maps.detach(), slope, _channels_of(maps, axes, reader.reading), mode)


def _channels_of(maps: Tensor, axes: str | None, reading: Reading | None) -> int:
    """The position of the channels."""
    if axes is None:
        if maps.dim() == 4:
            return 1
        if reading is not None and reading.channels in (1, 2):
            return reading.channels
        raise InputError(
            f'maps are {tuple(maps.shape)}: say whether they are axes="n t c h w", the frames of a '
            'clip, or axes="n c t h w", a map in time'
        )
    layout = bind_axes(parse_axes(axes), maps.shape, {}, what="maps")
    names = [name for axis in layout.axes for name in axis.names]
    if len(names) != maps.dim() or names[:1] != ["n"] or "c" not in names or names[-1] == "c":
        raise InputError(f'axes="{axes}": wanted n first, then c, then the cells, each an axis')
    return names.index("c")


def feature_norm(feature_map: Tensor) -> Tensor:
    """The norm over channels of the map that the filter multiplies: (…, c, h, w) to (…, h, w).

    A strong baseline of where a network looked (maths 6), so it is always reported.
    """
    return feature_map.float().norm(dim=-3)


def _check_mode(mode: str, similarity: str) -> None:
    if mode not in MODES:
        raise InputError(f'mode is "{mode}", wanted "relu", "abs" or "signed"')
    if similarity not in SIMILARITIES:
        raise InputError(f'similarity is "{similarity}", wanted "cosine" or "dot"')


def _scores(outputs: Tensor, reference: Tensor | None, similarity: Similarity) -> Tensor:
    """What the gradient is of, (n,): the sum over outputs, or the similarity to a reference."""
    outputs = outputs.flatten(1)
    if reference is None:
        return outputs.sum(dim=1)
    wanted = one_each(reference.flatten(1) if reference.dim() > 1 else reference, outputs,
                      "reference")  # fmt: skip
    if similarity == "dot":
        return (outputs * wanted).sum(dim=1)
    return functional.cosine_similarity(outputs, wanted, dim=1)


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


def _sized(heat: Tensor, layout: Layout, size: Sequence[int]) -> Tensor:
    heat = resize_maps(heat.to(torch.promote_types(heat.dtype, torch.float32)), size)
    rows = tuple(layout.sizes[name] for name in layout.row_names)
    return heat.unflatten(0, (layout.samples, *rows)) if rows else heat
