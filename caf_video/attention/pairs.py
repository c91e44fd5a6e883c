"""What an input is compared with: a reference's embedding, and the centre of both (maths 1.7)."""

from typing import Any

from torch import Tensor

from caf_video.attention.cutting.call import check_finite
from caf_video.attention.cutting.cut import Cut
from caf_video.errors import InputError


def check_center(center: Tensor | str, *, has_reference: bool) -> None:
    """InputError unless it is "map" or an embedding, and of a pair."""
    if not has_reference:
        raise InputError("center is of a pair: it needs a reference")
    if isinstance(center, str) and center != "map":
        raise InputError(f'center is "{center}", wanted "map" or a mean embedding')


def given_embeddings(reference: Any, inputs: Any) -> Tensor | None:
    """The reference itself as embeddings (n, d), if that is what it is: see `explain`."""
    if not isinstance(reference, Tensor) or not isinstance(inputs, Tensor):
        return None
    if inputs.dim() <= 2 or reference.dim() not in (1, 2):
        return None
    check_finite(reference, "the reference")
    return reference.view(-1, reference.shape[-1])


def centers_of(cut: Cut, center: Tensor | str) -> Tensor:
    """c of every problem, (rows, d): the output that a filter of zeros is to have."""
    outputs = cut.outputs.flatten(1)
    if not isinstance(center, Tensor):
        return outputs.repeat_interleave(cut.rows_each, dim=0)
    if cut.rows_each > 1:
        raise InputError(
            "a mean embedding stands for a sample of which nothing passes, and here each frame has "
            'a filter of its own: take center="map"'
        )
    return one_each(center, outputs, "center")


def one_each(embeddings: Tensor, outputs: Tensor, what: str) -> Tensor:
    """Embeddings (d,), (1, d) or (n, d) as one for each of the outputs (n, d).

    Raises:
        InputError: They are of another shape, or not finite.
    """
    if embeddings.dim() not in (1, 2) or embeddings.shape[-1] != outputs.shape[1]:
        fits = False
    else:
        fits = embeddings.dim() == 1 or len(embeddings) in (1, len(outputs))
    if not fits:
        raise InputError(
            f"the {what} is {tuple(embeddings.shape)}, the embeddings are {tuple(outputs.shape)}: "
            "wanted one for all, or one for each"
        )
    embeddings = embeddings.to(outputs)
    check_finite(embeddings.view(-1, outputs.shape[1]), f"the {what}")
    return embeddings.view(-1, outputs.shape[1]).expand_as(outputs)
