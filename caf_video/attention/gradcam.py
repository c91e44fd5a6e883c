"""The gradient baselines: CAM, Grad-CAM for a class, and for retrieval (Eq. 4 to 7)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from caf_video.attention.state import undisturbed
from caf_video.errors import InputError

Mode = Literal["relu", "abs", "signed"]
MODES = ("relu", "abs", "signed")


def retrieval_grad_cam(
    features_to_embedding: Callable[[Tensor], Tensor], maps: Tensor, *, mode: Mode = "relu"
) -> Tensor:
    """Grad-CAM of a retrieval network: the gradient of the sum over embedding dimensions.

    Args:
        features_to_embedding: The head, from maps to embeddings (n, d): a function, a module or a
            module's method; the module is left as found.
        maps: A, shape (n, c, h, w), or (b, t, c, h, w) for a clip's frames.
        mode: "relu" (vanilla), "abs" (Grad-CAM-abs) or "signed" (neither).

    Returns:
        One map a sample (n, h, w) or a frame (b, t, h, w), on the grid.
    """
    owner = getattr(features_to_embedding, "__self__", features_to_embedding)  # of a bound method
    with undisturbed(owner):
        return grad_cam_of(
            lambda a: features_to_embedding(a).flatten(1).sum(dim=1), maps, mode=mode
        )


def grad_cam_of(
    score: Callable[[Tensor], Tensor], maps: Tensor, *, mode: Mode = "relu", channel_axis: int = -3
) -> Tensor:
    """The sum over channels of A_k, each weighted by its gradient's mean over cells (Eq. 4, 5).

    Args:
        score: From maps to the number that each sample's gradient is taken of, (n,).
        maps: A.
        mode: What is done with the sum: ReLU, absolute value, or nothing.
        channel_axis: Where the channels are; all axes after it are cells.
    """
    if mode not in MODES:
        raise InputError(f'mode is "{mode}", wanted "relu", "abs" or "signed"')
    with torch.enable_grad():
        variable = maps.detach().clone().requires_grad_()
        scores = score(variable)
        (gradient,) = torch.autograd.grad(scores.sum(), variable)
    cells = tuple(range(channel_axis + 1, 0))
    weights = gradient.mean(dim=cells, keepdim=True)  # Eq. 4
    heat = (weights * variable.detach()).sum(dim=channel_axis)  # Eq. 5 before its ReLU
    if mode == "relu":
        return heat.relu()
    return heat.abs() if mode == "abs" else heat


def feature_norm(feature_map: Tensor) -> Tensor:
    """The norm over channels of the map that the filter multiplies: (…, c, h, w) to (…, h, w).

    A strong baseline of where a network looked (method 6), so it is always reported.
    """
    return feature_map.float().norm(dim=-3)
