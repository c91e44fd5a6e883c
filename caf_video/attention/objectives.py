"""The losses of the paper: class-oblivious (Eq. 1), class-specific (Eq. 2) and pair."""

import difflib
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from caf_video.errors import InputError

Target = int | Sequence[int] | Tensor


class Objective(Protocol):
    """A loss over the outputs FT(x, f), one problem a row.

    Solvers work on `losses`, in each problem's own positive `unit`; they report `losses * unit`.
    """

    @property
    def unit(self) -> Tensor:
        """Positive, (n,)."""
        ...

    def losses(self, outputs: Tensor) -> Tensor:
        """Losses (n,) of outputs (n, d), in units of `unit`."""
        ...

    def select(self, rows: Tensor) -> "Objective":
        """The same loss for some of the problems."""
        ...


class SquaredDistance:
    """L = ||R - FT(x, f)||^2, a sum over outputs: Eq. 1 with R = NT(x), pair with R = NT(y).

    The unit of a problem is max|R|^2, so that outputs on any scale (1e-15 to 1e15) survive float32.

    Args:
        reference: R, shape (n, d).
    """

    def __init__(self, reference: Tensor) -> None:
        self.reference = reference

    @cached_property
    def scale(self) -> Tensor:
        """max|R|, or 1 where that is 0, (n,)."""
        scale = self.reference.abs().amax(dim=1)
        return torch.where(scale > 0, scale, 1.0)

    @property
    def unit(self) -> Tensor:
        """The unit of each problem's loss, (n,)."""
        return self.scale.square()

    def losses(self, outputs: Tensor) -> Tensor:
        return ((self.reference - outputs) / self.scale[:, None]).square().sum(dim=1)

    def select(self, rows: Tensor) -> "SquaredDistance":
        return SquaredDistance(self.reference[rows])


class ClassSpecific:
    """L_c = -FT_c + sum over i != c of FT_i (Eq. 2), linear in the logits.

    Args:
        targets: c, the class of each problem, shape (n,), int64.
        centered: Subtract the mean logit first, a named deviation (maths 1.5): Eq. 2 changes when
            the same vector is added to every row of the last layer, while the softmax does not.
    """

    def __init__(self, targets: Tensor, *, centered: bool = False) -> None:
        self.targets = targets
        self.centered = centered
        self.unit = torch.ones(len(targets), device=targets.device)

    def losses(self, outputs: Tensor) -> Tensor:
        target = outputs.gather(1, self.targets[:, None]).squeeze(1)
        if self.centered:  # -(t - m) + the others' sum of (FT_i - m), which is -(t - m) again
            return 2 * (outputs.mean(dim=1) - target)
        return outputs.sum(dim=1) - 2 * target

    def weights(self, classes: int, dtype: torch.dtype) -> Tensor:
        """The vectors s (n, classes) with which the loss is <s, FT>: it is linear in the logits."""
        rest = 2.0 / classes if self.centered else 1.0
        shape = (len(self.targets), classes)
        weights = torch.full(shape, rest, dtype=dtype, device=self.targets.device)
        weights[torch.arange(len(weights)), self.targets] -= 2.0
        return weights

    def select(self, rows: Tensor) -> "ClassSpecific":
        return ClassSpecific(self.targets[rows], centered=self.centered)


def class_numbers(model: object, target: "Target | str | Sequence[str]") -> Target:
    """Targets as numbers: names are looked up among those that the model knows.

    That is `label_names` of this package's networks, or `config.id2label` of transformers.

    Raises:
        InputError: It knows none, or not this one; names those near it.
    """
    named = [target] if isinstance(target, str) else target
    if not isinstance(named, Sequence) or not any(isinstance(one, str) for one in named):
        return target  # type: ignore[return-value]
    names = getattr(model, "label_names", None)
    id2label = getattr(getattr(model, "config", None), "id2label", None)
    if not names and isinstance(id2label, dict):
        names = [str(id2label[number]) for number in sorted(id2label)]
    if not names:
        raise InputError(
            f"target {named[0]!r} is a name, and {type(model).__name__} knows no names of classes: "
            "give the class's number"
        )
    numbers = [_number(one, list(names)) for one in named]
    return numbers[0] if isinstance(target, str) else numbers


def _number(name: str | int, names: list[str]) -> int:
    if isinstance(name, int):
        return name
    found = [i for i, known in enumerate(names) if _plain(known) == _plain(name)]
    if not found:  # ImageNet's names are lists of words for one thing
        found = [i for i, known in enumerate(names) if _plain(name) in _plain(known).split(",")]
    if len(found) == 1:
        return found[0]
    if found:
        numbers = ", ".join(map(str, found))
        raise InputError(f"{len(found)} classes are called {name!r}: give a number, of {numbers}")
    near = [known for known in names if _plain(name) in _plain(known)]
    near += difflib.get_close_matches(name, names, n=5, cutoff=0.4)
    raise InputError(
        f"no class is called {name!r}"
        + (f"; near it: {', '.join(list(dict.fromkeys(near))[:5])}" if near else "")
    )


def _plain(name: str) -> str:
    return ",".join(part.strip() for part in name.lower().replace("_", " ").split(","))


def as_targets(target: Target, *, samples: int, classes: int) -> Tensor:
    """Classes as int64 (samples,), from one for all or one a sample.

    Raises:
        InputError: If their number is wrong, or one is no class; names the first such sample.
    """
    targets = torch.as_tensor(target)
    if targets.dim() == 0:
        targets = targets.expand(samples)
    if targets.shape != (samples,):
        raise InputError(
            f"target has shape {tuple(targets.shape)}, wanted one class a sample: ({samples},)"
        )
    if targets.dtype.is_floating_point or targets.dtype.is_complex or targets.dtype == torch.bool:
        raise InputError(f"target holds {targets.dtype} values, wanted class numbers")
    for sample, number in enumerate(targets.tolist()):
        if not 0 <= number < classes:
            raise InputError(
                f"target of sample {sample} is {number}, the network has classes 0 to {classes - 1}"
            )
    return targets.long()
