"""What happens to the embedding when cells go in a map's order, or come back in it (maths 7)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from caf_video.errors import InputError

SHARES = tuple(step / 10 for step in range(11))  # of a clip's cells that are masked, both ends in
EARLY = SHARES.index(0.1)  # where R@1 is told

Head = Callable[[Tensor], Tensor]  # A (b, t, c, h, w) to embeddings (b, d)


@dataclass(frozen=True, eq=False)
class MaskedCurves:
    """What is left of the embedding while more and more of a clip's cells are masked.

    Attributes:
        shares: Of the cells that are masked, (k,).
        cosine: Of the embedding to the untouched one, (n, k), float64.
        correct: Whether the nearest of the others, untouched, is of the clip's class, (n, k), bool;
            of several questions (n, k, q).
    """

    shares: tuple[float, ...]
    cosine: Tensor
    correct: Tensor

    @property
    def area(self) -> Tensor:
        """Under each clip's cosine, by trapezoid, both ends in, (n,)."""
        return area_under(self.shares, self.cosine)


def area_under(shares: tuple[float, ...], values: Tensor) -> Tensor:
    """Area under curves (n, k) over shares (k,), by trapezoid, (n,)."""
    return torch.trapezoid(values.double(), torch.tensor(shares, dtype=torch.float64), dim=1)


def masked_curves(
    head: Head,
    maps: Tensor,
    heat: Tensor,
    filling: Tensor,
    nearest_correct: Callable[[Tensor], Tensor],
    *,
    insertion: bool = False,
    reference: Tensor | None = None,
    shares: tuple[float, ...] = SHARES,
) -> MaskedCurves:
    """Mask cells of (t, h, w) in the order of a map's heat, the hottest first.

    Args:
        head: From A to embeddings.
        maps: A of the clips, (n, t, c, h, w).
        heat: Of each cell, (n, t, h, w); ties go in the order of frame, row, column.
        filling: What a masked cell holds, of the shape of `maps` or (1, 1, c, 1, 1).
        nearest_correct: From embeddings (n, d) to whether the clip nearest to each, of the others
            untouched, is of its class, bool (n,); or the answers to q such questions, (n, q).
        insertion: Begin with all masked, and let the hottest cells come back first: the shares are
            then of the cells that are back.
        reference: Embeddings (n, d) that the cosine is to; None: those of the untouched maps.
        shares: Where the curve is taken, ascending, from 0 to 1.

    Raises:
        InputError: Heat that does not fit the maps, or is not finite.
    """
    cells = (*maps.shape[:2], *maps.shape[3:])
    if tuple(heat.shape) != cells:
        raise InputError(f"heat of shape {tuple(heat.shape)} for cells {cells}")
    if not heat.isfinite().all():
        raise InputError("heat is not finite")
    rank = heat.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    rank = rank.view(cells).to(maps.device)
    filling = filling.to(maps).expand_as(maps)
    count = rank[0].numel()
    cosine, correct = [], []
    with torch.no_grad():
        reference = head(maps) if reference is None else reference.to(maps.device)
        for share in shares:
            hottest = (rank < round(share * count))[:, :, None]  # (n, t, 1, h, w)
            masked = ~hottest if insertion else hottest
            embeddings = head(torch.where(masked, filling, maps))
            cosine.append(cosine_similarity(embeddings.double(), reference.double(), dim=1).cpu())
            correct.append(nearest_correct(embeddings).cpu())
    return MaskedCurves(shares, torch.stack(cosine, dim=1), torch.stack(correct, dim=1))
