"""The risk of a newer torch, named: what we use of its private parts, and what breaks without.

torch may rename or drop these in any release. A failure here says what to mend first; what the
parts do is held by the tests of the modules named.
"""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

PACKAGE = Path(__file__).resolve().parents[2] / "caf_video"


def switching_gradients_off_is_seen() -> bool:
    seen = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with Watch(), torch.no_grad():
        pass
    return torch._C._set_grad_enabled in seen


def the_mode_on_top_is_known_and_can_step_aside() -> bool:
    from torch.overrides import _get_current_function_mode

    with TorchFunctionMode() as outer, TorchFunctionMode() as inner:
        on_top = _get_current_function_mode() is inner
        inner.__exit__(None, None, None)
        below = _get_current_function_mode() is outer
        inner.__enter__()
        return on_top and below and _get_current_function_mode() is inner


def writing_in_place_raises_the_version() -> bool:
    tensor = torch.zeros(2)
    before = tensor._version
    tensor[:1].add_(1)  # through a view, too
    return tensor._version > before


def bfloat16_of_the_processor_is_known() -> bool:
    return isinstance(torch.cpu._is_avx512_bf16_supported(), bool)


def a_weak_reference_holds_no_tensor() -> bool:
    from torch.utils.weak import TensorWeakRef

    tensor = torch.zeros(2)
    weak = TensorWeakRef(tensor)
    kept = weak() is tensor
    del tensor
    return kept and weak() is None


def a_tensor_inside_a_vmap_is_known_and_unwrapped() -> bool:
    from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor

    seen = []

    def look(x: Tensor) -> Tensor:
        seen.append((is_functorch_wrapped_tensor(x), get_unwrapped(x).shape))
        return x

    torch.func.vmap(look)(torch.zeros(3, 2))
    return seen == [(True, torch.Size([3, 2]))] and not is_functorch_wrapped_tensor(torch.zeros(1))


# Name of the private part, how it is used, and what of ours breaks when it is gone.
PRIVATE: dict[str, tuple[Callable[[], bool], str]] = {
    "torch._C._set_grad_enabled": (
        switching_gradients_off_is_seen,
        "attention/cutting/record.py and replay.py: a network that switches gradients off inside "
        "(torch.no_grad in its forward) gets no gradient to the cut, so no explanation",
    ),
    "torch.overrides._get_current_function_mode": (
        the_mode_on_top_is_known_and_can_step_aside,
        "attention/cutting/record.py: no network can be recorded, so `explain` fails at its import",
    ),
    "Tensor._version": (
        writing_in_place_raises_the_version,
        "attention/cutting/record.py: what code behind the cut writes in place goes unseen, so a "
        "replay starts from spoilt tensors",
    ),
    "torch._C._functorch": (
        a_tensor_inside_a_vmap_is_known_and_unwrapped,
        "attention/cutting/record.py: no network can be recorded, so `explain` fails at its import",
    ),
    "torch.cpu._is_avx512_bf16_supported": (
        bfloat16_of_the_processor_is_known,
        "models/backbones.py: `--precision fastest` falls back to float32 on every processor; "
        "extraction gets slower",
    ),
    "torch.utils.weak.TensorWeakRef": (  # without underscore, but in no documentation
        a_weak_reference_holds_no_tensor,
        "attention/cutting/record.py: no network can be recorded, so `explain` fails at its import",
    ),
}


@pytest.mark.parametrize("name", PRIVATE)
def test_what_we_use_of_private_torch_is_there_and_does_what_we_need(name: str) -> None:
    use, broken = PRIVATE[name]
    try:
        works = use()
    except (ImportError, AttributeError) as gone:
        pytest.fail(f"torch {torch.__version__} has no {name}. Breaks {broken} ({gone})")
    assert works, f"torch {torch.__version__} changed {name}. Breaks {broken}"


def private_names(source: str) -> Iterator[str]:
    """Private parts of torch that a file names: imported, as an attribute, or by getattr."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
            if node.attr.startswith("_") and hasattr(Tensor, node.attr):
                own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                names = [] if own else [f"torch.Tensor.{node.attr}"]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
            owner, attribute = node.args[:2]
            names = [f"{ast.unparse(owner)}.{getattr(attribute, 'value', '')}"]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] != "torch" or not all(part.isidentifier() for part in parts):
                continue  # ours, or no plain name but a call
            if any(part.startswith("__") for part in parts):
                continue
            if any(part.startswith("_") for part in parts) or name.startswith("torch.utils.weak"):
                yield name.removeprefix("torch.") if name.startswith("torch.Tensor.") else name


def test_no_other_private_part_of_torch_is_used() -> None:
    used = {
        name
        for module in PACKAGE.rglob("*.py")
        for name in private_names(module.read_text(encoding="utf-8"))
    }
    listed = {name for name in used if any(f"{name}.".startswith(f"{p}.") for p in PRIVATE)}
    # `torch._C` is itself an attribute on the way to a listed one.
    on_the_way = {name for name in used if any(p.startswith(f"{name}.") for p in PRIVATE)}
    assert used - listed - on_the_way == set()
    for name in PRIVATE:
        assert any(f"{found}.".startswith(f"{name}.") for found in used), f"{name} is used no more"


def test_the_search_finds_what_it_looks_for() -> None:
    source = """
import torch
from torch.nn.modules._functions import SyncBatchNorm
torch._dynamo.reset()
x._version
self._version
getattr(torch.cpu, "_private", None)
torch.__version__
"""
    assert set(private_names(source)) == {
        "torch.nn.modules._functions.SyncBatchNorm",
        "torch._dynamo",
        "torch._dynamo.reset",
        "Tensor._version",
        "torch.cpu._private",
    }
