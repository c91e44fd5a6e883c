"""Cells taken out and put back one by one, for heads whose answer is known on paper."""

import pytest
import torch
from torch import Tensor

from caf_video.errors import InputError
from caf_video.evaluation import area_under, masked_curves

SHARES = (0.0, 0.25, 0.5, 1.0)


def total(maps: Tensor) -> Tensor:
    """The sum of each channel, (b, c)."""
    return maps.sum(dim=(1, 3, 4))


def first_channel_wins(embeddings: Tensor) -> Tensor:
    return embeddings[:, 0] > embeddings[:, 1]


def by_loops(
    maps: Tensor, heat: Tensor, filling: Tensor, shares: tuple[float, ...], *, insertion: bool
) -> tuple[list[list[float]], list[list[bool]]]:
    cosine, correct = [], []
    for clip in range(len(maps)):
        t, h, w = heat.shape[1:]
        cells = sorted(
            ((ti, yi, xi) for ti in range(t) for yi in range(h) for xi in range(w)),
            key=lambda cell, clip=clip: -float(heat[(clip, *cell)]),
        )
        whole = total(maps[clip : clip + 1])[0]
        of_clip, right = [], []
        for share in shares:
            hottest = cells[: round(share * len(cells))]
            left = maps[clip : clip + 1].clone()
            for cell in cells:
                if (cell in hottest) != insertion:
                    left[0, cell[0], :, cell[1], cell[2]] = filling[clip, cell[0], :, *cell[1:]]
            e = total(left)[0]
            of_clip.append(float(e @ whole / (e.norm() * whole.norm()).clamp(min=1e-8)))
            right.append(bool(e[0] > e[1]))
        cosine.append(of_clip)
        correct.append(right)
    return cosine, correct


@pytest.mark.parametrize("insertion", [False, True])
def test_the_curves_agree_with_cells_masked_one_by_one(
    generator: torch.Generator, insertion: bool
) -> None:
    maps = torch.rand(3, 2, 2, 2, 4, generator=generator, dtype=torch.float64)
    filling = torch.rand(3, 2, 2, 2, 4, generator=generator, dtype=torch.float64)
    heat = torch.rand(3, 2, 2, 4, generator=generator)
    found = masked_curves(
        total, maps, heat, filling, first_channel_wins, insertion=insertion, shares=SHARES
    )
    cosine, correct = by_loops(maps, heat, filling, SHARES, insertion=insertion)
    torch.testing.assert_close(found.cosine, torch.tensor(cosine, dtype=torch.float64))
    assert found.correct.tolist() == correct
    for clip in range(3):
        steps = zip(SHARES[:-1], SHARES[1:], cosine[clip][:-1], cosine[clip][1:], strict=True)
        area = sum((b - a) * (left + right) / 2 for a, b, left, right in steps)
        assert float(found.area[clip]) == pytest.approx(area)


def test_nothing_masked_is_the_untouched_clip_and_ties_go_in_order() -> None:
    maps = torch.ones(1, 2, 2, 1, 2)
    maps[0, 0, 1] = 0.0  # frame 0 has the first channel alone
    found = masked_curves(
        total, maps, torch.zeros(1, 2, 1, 2), torch.zeros(1), first_channel_wins, shares=SHARES
    )
    assert float(found.cosine[0, 0]) == pytest.approx(1.0)
    assert found.correct[0].tolist() == [True, True, False, False]  # frame 0 goes first
    assert area_under((0.0, 1.0), torch.tensor([[1.0, 0.0], [1.0, 1.0]])).tolist() == [0.5, 1.0]


def test_heat_that_does_not_fit_is_refused() -> None:
    maps = torch.ones(1, 2, 2, 1, 2)
    with pytest.raises(InputError, match=r"heat of shape \(1, 2, 2, 1\)"):
        masked_curves(total, maps, torch.ones(1, 2, 2, 1), torch.zeros(1), first_channel_wins)
    with pytest.raises(InputError, match="not finite"):
        masked_curves(
            total, maps, torch.full((1, 2, 1, 2), torch.nan), torch.zeros(1), first_channel_wins
        )
