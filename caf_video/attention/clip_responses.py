"""FT(x, f) of clips through any head: a filter for one frame of a clip, or for all of it."""

from collections.abc import Callable

import torch
from torch import Tensor

from caf_video.attention.cutting.response import shifted
from caf_video.attention.solvers.problems import Response

Head = Callable[[Tensor], Tensor]


class FramewiseResponse:
    """FT(x, f_t) through any head: frame t's map filtered, the clip's others as they are.

    Args:
        head: From maps (m, t, c, h, w) to embeddings (m, d).
        maps: A of b clips, (b, t, c, h, w).

    Its problems are ordered by frame, then clip: row r is frame r // b of clip r % b.
    """

    def __init__(self, head: Head, maps: Tensor) -> None:
        clips, timesteps = maps.shape[:2]
        self.space = tuple(maps.shape[3:])
        self.dtype = torch.promote_types(maps.dtype, torch.float32)
        self.device = maps.device
        self._head = head
        self._maps = maps.repeat(timesteps, *[1] * (maps.dim() - 1))
        self._frames = torch.arange(timesteps, device=maps.device).repeat_interleave(clips)

    def __len__(self) -> int:
        return len(self._frames)

    def __call__(self, filters: Tensor) -> Tensor:
        weights = filters.new_ones(*self._maps.shape[:2], 1, *self.space)
        problems = torch.arange(len(self), device=self.device)
        weights = weights.index_put((problems, self._frames), filters[:, None])
        outputs = self._head(self._maps * weights.to(self._maps.dtype))
        return outputs.flatten(1).to(self.dtype)

    def select(self, rows: Tensor) -> "FramewiseResponse":
        part = object.__new__(FramewiseResponse)
        part.__dict__.update(self.__dict__)
        part._maps, part._frames = self._maps[rows], self._frames[rows]
        return part


class JointResponse:
    """FT(x, f) through any head, every frame of a clip filtered at once; a problem is a clip.

    Args:
        head: From maps (m, t, c, h, w) to embeddings (m, d).
        maps: A of b clips, (b, t, c, h, w).
    """

    def __init__(self, head: Head, maps: Tensor) -> None:
        self.space = (maps.shape[1], *maps.shape[3:])
        self.dtype = torch.promote_types(maps.dtype, torch.float32)
        self.device = maps.device
        self._head, self._maps = head, maps

    def __len__(self) -> int:
        return len(self._maps)

    def __call__(self, filters: Tensor) -> Tensor:
        outputs = self._head(self._maps * filters[:, :, None].to(self._maps.dtype))
        return outputs.flatten(1).to(self.dtype)

    def select(self, rows: Tensor) -> "JointResponse":
        return JointResponse(self._head, self._maps[rows])


class CenteredResponse:
    """A response in which what does not pass leaves its share of an embedding c (maths 1.7).

    Args:
        whole: FT(x, .) of m problems.
        center: c of each, (m, d).
    """

    def __init__(self, whole: Response, center: Tensor) -> None:
        self.space, self.dtype, self.device = whole.space, whole.dtype, whole.device
        self._whole = whole
        with torch.no_grad():
            shape = (len(whole), *whole.space)
            nothing = whole(torch.zeros(shape, dtype=whole.dtype, device=whole.device))
        self._shift = center.to(nothing) - nothing

    def __len__(self) -> int:
        return len(self._whole)

    def __call__(self, filters: Tensor) -> Tensor:
        return shifted(self._whole(filters), filters, self._shift)

    def select(self, rows: Tensor) -> "CenteredResponse":
        part = object.__new__(CenteredResponse)
        part.__dict__.update(self.__dict__)
        part._whole, part._shift = self._whole.select(rows), self._shift[rows]
        return part
