"""One network explained at its default layer: right, refused with a line, or wrong."""

import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import caf_video
from benchmarks.zoo.hook import axes_of, filtered_outputs, multiplier
from caf_video.errors import CafVideoError

SAMPLES = 2
LOSS = 1e-3  # how far the reported loss may be from the hook's, in parts of ||NT||^2 or of itself
UNSURE = 0.05  # of an axis: what moves less, in a network that mixes all cells, tells nothing
SAME = 2e-2  # how far losses of the two endpoints may be apart, where a solver iterates


@dataclass(frozen=True)
class Case:
    """A network and what it is called with.

    Attributes:
        model: In eval mode, with random weights.
        inputs: A tensor of two samples.
        key: The keyword under which the model takes it, or None: by position.
        output: Which of several outputs is meant.
        input_axes: The input's own axes, by which it is judged: "n c h w" or "n t c h w".
    """

    model: nn.Module
    inputs: Tensor
    key: str | None = None
    output: str | None = None
    input_axes: str = "n c h w"


def check(case: Case) -> dict[str, Any]:
    """What became of a network, as a line of the report."""
    inputs = case.inputs if case.key is None else {case.key: case.inputs}
    found: dict[str, Any] = {
        "parameters": sum(p.numel() for p in case.model.parameters()),
        "input": list(case.inputs.shape),
        "output_picked": case.output,
    }
    start = time.perf_counter()
    outputs = _outputs(case)
    found["forward_s"] = time.perf_counter() - start
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        start = time.perf_counter()
        try:
            explained = caf_video.explain(case.model, inputs, output=case.output)
        except CafVideoError as error:
            return found | {"verdict": "refused", "why": str(error)}
        except Exception as error:  # noqa: BLE001 - that any may come is what is tested
            trace = traceback.format_exception(error)
            return found | {"verdict": "wrong", "why": repr(error)[:500], "trace": "".join(trace)}
        found["explain_s"] = time.perf_counter() - start
    found |= {
        "layer": explained.layer,
        "axes": explained.axes,
        "filter": list(explained.filters.shape),
        "heatmap": list(explained.heatmaps.shape),
        "solver": explained.solver,
        "endpoint": explained.endpoint,
        "until": explained.until,
        "flat": explained.flat,
        "settled": bool(explained.settled.all()),
        "warnings": [str(one.message) for one in warned],
    }
    wrongs: list[str] = []
    found |= _against_a_hook(case, explained, outputs, wrongs)
    found |= _place(case, explained, wrongs)
    found |= _vanilla(case, inputs, explained, wrongs)
    return found | {"verdict": "wrong" if wrongs else "right", "why": "; ".join(wrongs)}


def _call(case: Case, inputs: Tensor) -> Any:
    if case.key is not None:
        return case.model(**{case.key: inputs})
    return case.model(inputs)


def _outputs(case: Case) -> Any:
    with torch.no_grad():
        return _call(case, case.inputs)


def _picked(case: Case, outputs: Any) -> Tensor:
    if isinstance(outputs, Tensor):
        return outputs
    if case.output is not None:
        return outputs[case.output]
    parts = list(outputs.values()) if isinstance(outputs, dict) else list(outputs)
    (found,) = (part for part in parts if isinstance(part, Tensor))
    return found


def _against_a_hook(case: Case, explained: Any, plain: Any, wrongs: list[str]) -> dict[str, Any]:
    """The loss of every filter by the model's own forward with a plain hook in it."""
    if explained.until is None:
        target = _picked(case, plain).flatten(1).double()

        def answer(outputs: Any) -> Tensor:
            return _picked(case, outputs).flatten(1).double()
    else:
        return _until_against_a_hook(case, explained, wrongs)
    return _losses(case, explained, target, answer, wrongs, lambda call: call())


def _until_against_a_hook(case: Case, explained: Any, wrongs: list[str]) -> dict[str, Any]:
    """The same before a normalisation: what the functions of that name are given."""
    name = explained.until.removeprefix("the input of ")
    seen: list[Tensor] = []

    class Noting(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if getattr(func, "__name__", "") == name and args and isinstance(args[0], Tensor):
                seen.append(args[0].detach().clone())
            return func(*args, **(kwargs or {}))

    def run(call: Callable[[], Any]) -> Tensor | None:
        handle = case.model.get_submodule(explained.layer).register_forward_hook(
            lambda module, args, output: seen.clear()  # what comes behind the layer counts
        )
        with Noting():
            call()
        handle.remove()
        flat = [
            t
            for t in seen
            if len(t) == SAMPLES and t.dim() > 1 and max(t.shape[1:]) * len(t) == t.numel()
        ]
        return flat[0] if flat else None

    raw = run(lambda: _outputs(case))
    if raw is None:
        wrongs.append(f"nothing like {explained.until} was seen")
        return {}
    return _losses(
        case, explained, raw.flatten(1).double(), lambda t: t.flatten(1).double(), wrongs, run
    )


def _losses(
    case: Case,
    explained: Any,
    target: Tensor,
    answer: Callable[[Any], Tensor],
    wrongs: list[str],
    run: Callable[[Callable[[], Any]], Any],
) -> dict[str, Any]:
    filters = explained.filters
    rows = explained.losses[0].numel()
    scale = target.square().sum(dim=1)
    worst: dict[bool, float] = {}
    for behind in (False, True):
        moved = 0.0
        for row in range(rows):
            every = torch.ones_like(filters).flatten(0, explained.losses.dim() - 1)
            every = every.reshape(len(filters), rows, -1)
            every[:, row] = filters.reshape(len(filters), rows, -1)[:, row]
            every = every.view_as(filters)

            def change(tensor: Tensor, every: Tensor = every) -> Tensor:
                return tensor * multiplier(explained.axes, tuple(tensor.shape), every)

            came = False

            def call(change: Callable[[Tensor], Tensor] = change, behind: bool = behind) -> Any:
                nonlocal came
                outputs, came = filtered_outputs(
                    case.model,
                    lambda: _call(case, case.inputs),
                    explained.layer,
                    change,
                    behind_relu=behind,
                )
                return outputs

            outputs = run(call)
            if not came:
                moved = float("inf")
                break
            losses = (answer(outputs) - target).square().sum(dim=1)
            reported = explained.losses.reshape(len(filters), rows)[:, row].double()
            gap = (losses - reported).abs() / torch.maximum(scale * 1e-2, losses).clamp(min=1e-30)
            moved = max(moved, float(gap.max()))
        worst[behind] = moved
        if moved <= LOSS:
            break
    best = min(worst.values())
    if not best <= LOSS:
        wrongs.append(f"the reported loss is {best:.1e} from a plain hook's")
    share = explained.losses.reshape(len(filters), -1).double() / scale[:, None].clamp(min=1e-30)
    return {"loss_gap": best, "loss_share": [float(share.min()), float(share.max())]}


def _place(case: Case, explained: Any, wrongs: list[str]) -> dict[str, Any]:
    """Whether cells lie where the input's parts do: what changes where a part of it changes."""
    names = case.input_axes.split()
    cells = [n for _, group, _, _ in axes_of(explained.axes) for n in group if n not in "nc"]
    rows = [n for n in explained.axes.replace("(", " ").replace(")", " ").split() if n == "t"]
    order = {}
    maps = []

    def keep(tensor: Tensor) -> Tensor:
        maps.append(tensor.clone())
        return tensor

    def run(inputs: Tensor) -> Tensor:
        filtered_outputs(case.model, lambda: _call(case, inputs), explained.layer, keep)
        return maps.pop()

    plain = run(case.inputs)
    sizes = explained.filters.shape[1:]
    shape_names = [*dict.fromkeys([*rows, *cells])]
    if len(shape_names) != len(sizes):
        shape_names = cells
    wanted = explained.heatmaps.shape[-len(cells) :]
    size = tuple(case.inputs.shape[names.index(n)] if n in names else 0 for n in cells)
    if 0 not in size and tuple(wanted) != size:
        wrongs.append(f"the heatmap is {tuple(wanted)}, the input {size}")
    for name, cells_there in zip(shape_names, sizes, strict=False):
        if name not in names or cells_there < 2:
            continue
        axis = names.index(name)
        half = case.inputs.shape[axis] // 2
        centres = []
        for low in (True, False):
            changed = case.inputs.clone()
            part = changed.narrow(axis, 0 if low else half, half)
            part += torch.randn(part.shape, generator=torch.Generator().manual_seed(3))
            centres.append(_centre(_by_cell(explained, (run(changed) - plain).square().double())))
        along = dict(zip(shape_names, (centres[1] - centres[0]).tolist(), strict=True))
        order[name] = round(along[name], 3)
        others = [abs(value) for other, value in along.items() if other != name]
        if along[name] < max([-UNSURE, *(value for value in others if value > UNSURE)]):
            wrongs.append(f"axis {name} does not lie along the input's (centres move by {along})")
    return {"moves": order}


def _centre(weights: Tensor) -> Tensor:
    """Where the weights (n, *cells) lie, in parts of each axis."""
    centres = []
    for axis in range(1, weights.dim()):
        along = weights.sum(dim=[i for i in range(weights.dim()) if i != axis])
        places = (torch.arange(len(along)) + 0.5) / len(along)
        centres.append((along * places).sum() / along.sum().clamp(min=1e-30))
    return torch.stack(centres)


def _by_cell(explained: Any, tensor: Tensor) -> Tensor:
    """A map's numbers summed over channels, as (n, *rows, *cells), by its axes."""
    shape = explained.filters.shape
    numbers = torch.arange(1, shape.numel() + 1, dtype=torch.float64).view(shape)
    where = multiplier(explained.axes, tuple(tensor.shape), numbers.float()).long() - 1
    prefix = multiplier(explained.axes, tuple(tensor.shape), torch.zeros(shape)) != 0
    sums = torch.zeros(shape.numel(), dtype=torch.float64)
    keep = ~prefix
    sums.index_add_(0, where[keep], tensor[keep])
    return sums.view(shape)


def _vanilla(case: Case, inputs: Any, explained: Any, wrongs: list[str]) -> dict[str, Any]:
    """The same explained by running the whole network."""
    if explained.endpoint == "vanilla":
        return {"vanilla_gap": 0.0}
    with warnings.catch_warnings(action="ignore"):
        try:
            other = caf_video.explain(
                case.model, inputs, layer=explained.layer, output=case.output, endpoint="vanilla"
            )
        except Exception as error:  # noqa: BLE001 - that any may come is what is tested
            wrongs.append(f"vanilla: {error!r}"[:300])
            return {}
    if other.filters.shape != explained.filters.shape or other.axes != explained.axes:
        wrongs.append(f"vanilla has axes {other.axes}")
        return {}
    with torch.no_grad():
        scale = explained.losses.abs().max().clamp(min=1e-30)
        gap = float((other.losses - explained.losses).abs().max() / scale)
        ours, theirs = (x.filters.flatten(1) for x in (explained, other))
        alike = float(torch.cosine_similarity(ours, theirs).min())
    if explained.flat is None and not (gap <= SAME or alike > 0.99):
        wrongs.append(f"vanilla: loss {gap:.1e} apart, filters {alike:.3f} alike")
    return {"vanilla_gap": gap, "vanilla_alike": alike}
