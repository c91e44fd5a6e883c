"""The sum that Proxy-Anchor and Multi-Similarity are made of, safe from overflow."""

import torch
from torch import Tensor


def log_one_plus_sum_exp(exponents: Tensor, kept: Tensor) -> Tensor:
    """ln(1 + sum of e^x over the kept entries of each row); 0 for a row of which none is kept.

    Args:
        exponents: (n, m), finite.
        kept: (n, m), bool.
    """
    one = exponents.new_zeros(len(exponents), 1)  # e^0
    return torch.cat([one, exponents.masked_fill(~kept, -torch.inf)], dim=1).logsumexp(dim=1)
