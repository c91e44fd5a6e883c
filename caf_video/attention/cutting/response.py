"""FT(x, f) of a cut network, for the solvers: n problems, of which some can be run alone."""

from functools import cached_property

import torch
from torch import Tensor

from caf_video.attention.cutting.cut import Cut, Part

# Of maps and outputs in one evaluation; activations are many times it.
EVALUATION_BYTES = 16 * 2**20


class CutResponse:
    """From filters to the outputs of a cut network.

    There is a problem for every row of the feature map. Where a sample has several rows (frames
    folded into the batch), a problem filters one of them and feeds the others as they are.

    Args:
        cut: The network.
        rows: The row of the map that each problem filters, (m,); None is every row.
        shift: Of a centred response, see `centered`, (m, d).
    """

    def __init__(self, cut: Cut, rows: Tensor | None = None, shift: Tensor | None = None) -> None:
        self._every = rows is None
        rows = torch.arange(cut.rows) if rows is None else rows
        self.space = cut.layout.space
        self.dtype = torch.promote_types(cut.feature_map.dtype, torch.float32)
        self.device = cut.feature_map.device
        self._cut = cut
        self._rows = rows.to(self.device)
        self._samples = self._rows // cut.rows_each
        self._shift = shift

    def centered(self, center: Tensor) -> "CutResponse":
        """The same, in which what does not pass leaves its share of c behind (maths 1.7).

        Args:
            center: c, the output that a filter of zeros is to have, (m, d).
        """
        with torch.no_grad():
            rows = self.chunks()
            parts = [self] if len(rows) == 1 else [self.select(chunk) for chunk in rows]
            nothing = torch.cat(
                [
                    part(torch.zeros(len(part), *self.space, dtype=self.dtype, device=self.device))
                    for part in parts
                ]
            )
        return CutResponse(
            self._cut, None if self._every else self._rows, center.to(nothing) - nothing
        )

    @property
    def separable(self) -> bool:
        """Whether some problems can be evaluated without the others."""
        return self._cut.separable

    def chunks(self) -> tuple[Tensor, ...]:
        """The problems, by position, as many at a time as one evaluation should hold."""
        rows = torch.arange(len(self), device=self.device)
        together = len(rows) <= self.at_once or not self.separable
        return (rows,) if together else rows.split(self.at_once)

    @property
    def at_once(self) -> int:
        """How many problems may be evaluated together in bounded memory."""
        cut = self._cut
        map_bytes = cut.feature_map.nbytes // cut.samples
        return max(1, EVALUATION_BYTES // (map_bytes + cut.outputs[0].nbytes))

    @cached_property
    def _part(self) -> Part:
        whole = not self.separable or (self._every and self._cut.rows_each == 1)
        return self._cut.part(None if whole else self._samples)

    def __len__(self) -> int:
        return len(self._rows)

    def __call__(self, filters: Tensor) -> Tensor:
        cut = self._cut
        if not cut.separable:  # the whole batch runs, with all-pass filters for the others
            order = torch.cat([torch.as_tensor(turn) for turn in self._turns])
            outputs = torch.cat([self._of_whole_batch(filters, turn) for turn in self._turns])
            outputs = outputs[order.argsort().to(outputs.device)]
        elif cut.rows_each > 1:
            every = filters.new_ones(len(self), cut.rows_each, *self.space)
            problems = torch.arange(len(self), device=self.device)
            every = every.index_put((problems, self._rows % cut.rows_each), filters)
            outputs = cut.filtered(every.flatten(0, 1), self._part)
        else:
            outputs = cut.filtered(filters, self._part)
        outputs = outputs.flatten(1)
        return outputs if self._shift is None else shifted(outputs, filters, self._shift)

    @cached_property
    def _turns(self) -> list[list[int]]:
        """Problems that may run in one batch: one a sample, or one at all where samples mix."""
        turns: list[list[int]] = []
        taken: dict[int, int] = {}  # by sample, or of all: turns used up
        for problem, sample in enumerate(self._samples.tolist()):
            key = 0 if self._cut.mixes else sample
            turn = taken.get(key, 0)
            taken[key] = turn + 1
            if turn == len(turns):
                turns.append([])
            turns[turn].append(problem)
        return turns

    def _of_whole_batch(self, filters: Tensor, problems: list[int]) -> Tensor:
        """The outputs of some problems; every row that is none of theirs passes whole."""
        rows = self._rows[problems]
        every = filters.new_ones(self._cut.rows, *self.space).index_put((rows,), filters[problems])
        return self._cut.filtered(every, self._part)[self._samples[problems]]

    def select(self, rows: Tensor) -> "CutResponse":
        return CutResponse(
            self._cut, self._rows[rows], None if self._shift is None else self._shift[rows]
        )


def shifted(outputs: Tensor, filters: Tensor, shift: Tensor) -> Tensor:
    """FT(x, f) + (1 - mean f) (c - FT(x, 0)): c where nothing passes, NT(x) where all does.

    Args:
        outputs: FT(x, f), (m, d).
        filters: f, (m, *space).
        shift: c - FT(x, 0), (m, d).
    """
    return outputs + (1 - filters.flatten(1).mean(dim=1, keepdim=True)) * shift
