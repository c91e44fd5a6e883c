"""A twin of a network: its own modules over the same weights, to look into while others use it."""

import functools
import types
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from caf_video.errors import InputError

_CONTAINERS = (list, tuple, dict, set, OrderedDict)  # exactly these, no classes made of them
_PLAIN = frozenset({bool, int, float, str, bytes, type(None), torch.Size, torch.dtype})
# What a module keeps for saving, loading and training, which a twin does not do: shared.
_SHARED = frozenset({
    "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks", "_non_persistent_buffers_set", "_backward_hooks",
    "_backward_pre_hooks",
})  # fmt: skip
_OF_EVERY_MODULE = frozenset(nn.Module().__dict__)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_WRAPPERS = ("DistributedDataParallel", "DataParallel")


class OwnHook:
    """A hook that is part of a network."""

    def __init__(self, hook: Callable[..., Any]) -> None:
        self._hook = hook

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._hook(*args, **kwargs)


class Twin:
    """A network's twin, in eval mode; the network itself is never touched.

    Every module is made again over the same parameters and buffers, and whatever leads from one of
    them to another (lists, bound methods, partials, closures) leads to its twin. So patches, hooks
    and modes are seen by nobody else, whatever happens meanwhile: other threads that use the
    network get its answers, and an exception leaves nothing behind.

    Compiled modules are replaced by what was compiled, data-parallel wrappers by what they wrap.
    A hook that leads to the network (a module's method or closure, the method of an object that a
    module keeps) is part of it: through such hooks networks hand themselves features.

    Args:
        model: Any module.

    Raises:
        InputError: The model is a scripted one, or was never run (lazy modules).
    """

    def __init__(self, model: nn.Module) -> None:
        self._made: dict[int, Any] = {}
        self._kept: list[Any] = []  # so that no id is used again while the twin is made
        if isinstance(model, torch.jit.ScriptModule):
            raise InputError(
                "the model is scripted or traced: its layers cannot be looked into. Explain the "
                "module that it was made from"
            )
        self._own = _modules_and_helpers(model)
        self.model: nn.Module = self._of(model)

    @classmethod
    def of_callable(cls, function: Callable[..., Any]) -> Callable[..., Any]:
        """A module, a bound method or a function that leads to one, leading to its twin."""
        twin = object.__new__(cls)
        twin._made, twin._kept, twin._own = {}, [], set()
        made: Callable[..., Any] = twin._of(function)
        return made

    def of(self, module: nn.Module) -> nn.Module:
        """The twin of one of the network's modules."""
        return self._of(module)

    def _of(self, value: Any) -> Any:
        """The twin of anything that may lead to a module."""
        kind = type(value)
        if kind in _PLAIN:  # nearly always, and much quicker
            return value
        if id(value) in self._made:
            return self._made[id(value)]
        if isinstance(value, Tensor):
            return self._of_tensor(value)
        if isinstance(value, nn.Module):
            return self._of_module(value)
        if kind in _CONTAINERS:
            return self._of_container(value)
        if id(value) in self._own:
            made = self._keep(value, object.__new__(type(value)))
            made.__dict__.update((name, self._of(one)) for name, one in value.__dict__.items())
            return made
        if isinstance(value, types.MethodType):
            owner = self._of(value.__self__)
            return value if owner is value.__self__ else types.MethodType(value.__func__, owner)
        if isinstance(value, functools.partial):
            parts = self._of(value.args), self._of(value.keywords)
            return kind(self._of(value.func), *parts[0], **parts[1])
        if isinstance(value, types.FunctionType) and value.__closure__:
            return self._of_closure(value)
        return value

    def _of_module(self, module: nn.Module) -> nn.Module:
        inner = _inside(module)
        if inner is not module:
            return self._keep(module, self._of(inner))
        if isinstance(module, torch.jit.ScriptModule):
            return module
        twin = self._keep(module, object.__new__(type(module)))
        own = twin.__dict__
        own.update(module.__dict__)
        for name, value in module.__dict__.items():
            kind = type(value)
            if kind in _PLAIN or name in _SHARED:
                continue
            if kind is OrderedDict or kind is dict:
                if not value:
                    own[name] = kind()
                elif name in _HOOKS:
                    own[name] = self._of_hooks(value)
                elif name == "_parameters" or name == "_buffers":
                    own[name] = {key: self._of_tensor(tensor) for key, tensor in value.items()}
                else:
                    own[name] = self._of(value)
            elif kind is not tuple or not _PLAIN.issuperset(map(type, value)):
                own[name] = self._of(value)
        own["training"] = False
        own["_backward_hooks"], own["_backward_pre_hooks"] = OrderedDict(), OrderedDict()
        if own.get("_compiled_call_impl") is not None:
            own["_compiled_call_impl"] = None
        plain = getattr(type(module).forward, "_torchdynamo_orig_callable", None)
        if plain is not None and "forward" not in own:
            own["forward"] = types.MethodType(plain, twin)
        return twin

    def _of_hooks(self, hooks: dict[int, Any]) -> dict[int, Any]:
        """Those of the network as its twin's; others as they are."""
        made = self._keep(hooks, OrderedDict())
        for key, hook in hooks.items():
            made[key] = OwnHook(self._of(hook)) if _leads_to(hook, self._own) else hook
        return made

    def _of_tensor(self, tensor: Tensor | None) -> Tensor | None:
        """Tensors born in inference mode cannot be differentiated through; their copies can."""
        if type(tensor) in (UninitializedParameter, UninitializedBuffer):
            raise InputError("the model has lazy modules that never ran: call it once first")
        if tensor is None or not tensor.is_inference():
            return tensor
        made: Tensor | None = self._made.get(id(tensor))
        return self._keep(tensor, tensor.clone()) if made is None else made

    def _of_container(self, value: Any) -> Any:
        if isinstance(value, tuple):
            new = tuple(self._of(item) for item in value)
            return value if all(a is b for a, b in zip(new, value, strict=True)) else new
        made = self._keep(value, type(value)())
        if isinstance(value, dict):
            for key, item in value.items():
                made[key] = item if type(item) in _PLAIN else self._of(item)
        elif isinstance(value, set):
            made.update(self._of(item) for item in value)
        else:
            made.extend(self._of(item) for item in value)
        return made

    def _of_closure(self, function: types.FunctionType) -> Callable[..., Any]:
        """A function whose cells hold modules, with those of the twin in them."""
        cells = function.__closure__ or ()
        try:
            held = [cell.cell_contents for cell in cells]
        except ValueError:  # a cell that was never filled
            return function
        if not any(
            isinstance(value, nn.Module | types.MethodType) or id(value) in self._own
            for value in held
        ):
            return function
        made = types.FunctionType(
            function.__code__,
            function.__globals__,
            function.__name__,
            function.__defaults__,
            tuple(types.CellType(self._of(value)) for value in held),
        )
        made.__kwdefaults__ = function.__kwdefaults__
        return self._keep(function, made)

    def _keep(self, value: Any, made: Any) -> Any:
        self._made[id(value)] = made
        self._kept.append(value)
        return made


def _inside(module: nn.Module) -> nn.Module:
    """What a compiled module or a data-parallel wrapper runs."""
    kind = type(module)
    inner: nn.Module | None = None
    if kind.__name__ == "OptimizedModule":
        inner = module._modules.get("_orig_mod")
    elif kind.__name__ in _WRAPPERS and kind.__module__.startswith("torch.nn.parallel"):
        inner = module._modules.get("module")
    return module if inner is None else _inside(inner)


def _modules_and_helpers(model: nn.Module) -> set[int]:
    """Ids of a network's modules, and of plain objects that they keep and that know modules.

    Those are objects with a module among their attributes, and those whose methods are hooks.
    """
    modules = list(model.modules())
    found = {id(module) for module in modules}
    hooks = [
        hook
        for module in modules
        for name in _HOOKS
        if module.__dict__[name]
        for hook in module.__dict__[name].values()
    ]
    owners = {id(hook.__self__) for hook in hooks if isinstance(hook, types.MethodType)}
    for module in modules:
        own = [value for name, value in module.__dict__.items() if name not in _OF_EVERY_MODULE]
        for value in own:
            kind = type(value)
            if kind in _PLAIN or (kind is tuple and _PLAIN.issuperset(map(type, value))):
                continue
            kept = value.values() if isinstance(value, dict) else value
            for one in kept if isinstance(kept, list | tuple) else [kept]:
                if _is_plain(one) and (
                    id(one) in owners or any(id(part) in found for part in one.__dict__.values())
                ):
                    found.add(id(one))
    return found


def _is_plain(value: Any) -> bool:
    """Whether it is an instance of a class written in Python, and no module or tensor."""
    kind = type(value)
    return (
        kind.__new__ is object.__new__
        and hasattr(value, "__dict__")
        and not isinstance(value, nn.Module | Tensor)
    )


def _leads_to(hook: Any, inside: set[int]) -> bool:
    """Whether a hook is a method of, or closes over, one of some objects."""
    if id(hook) in inside:
        return True
    if isinstance(hook, types.MethodType):
        return _leads_to(hook.__self__, inside)
    if isinstance(hook, functools.partial):
        parts = (hook.func, *hook.args, *hook.keywords.values())
        return any(_leads_to(part, inside) for part in parts)
    if isinstance(hook, types.FunctionType):
        return any(
            id(cell.cell_contents) in inside for cell in hook.__closure__ or () if _is_filled(cell)
        )
    return False


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
