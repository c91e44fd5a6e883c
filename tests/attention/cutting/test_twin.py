"""A model is explained by its twin: nothing of it is touched, whoever uses it meanwhile."""

import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from caf_video.attention import cut_network, explain, explain_clip, grad_cam, retrieval_grad_cam
from caf_video.attention.cutting.twin import Twin
from caf_video.errors import InputError

X = (2, 3, 15, 19)


class Tripwire(nn.Module):
    """Passes on what it is given; raises when it has been called so often."""

    def forward(self, x: Tensor) -> Tensor:
        STEPS["left"] -= 1
        if STEPS["left"] == 0:
            raise STEPS["error"]
        return x


STEPS: dict[str, Any] = {"left": -1, "error": KeyboardInterrupt}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 6, 3, 4), nn.BatchNorm2d(6), Tripwire(), nn.Tanh())
        self.lstm, self.drop = nn.LSTM(6, 6, batch_first=True), nn.Dropout(0.5)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.fc = nn.Sequential(nn.Linear(6, 8), Tripwire(), nn.Tanh(), nn.Linear(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.cnn(x).flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(tokens, tokens, tokens)[0]
        return self.fc(self.drop(self.lstm(tokens)[0].mean(dim=1)))


def trained() -> Net:
    """In training, with gradients, a frozen part and hooks of its own."""
    torch.manual_seed(0)
    model = Net().train()
    model.cnn[0].requires_grad_(False)
    model.fc.eval()
    model.fc[0].register_forward_hook(lambda m, a, o: o * 1.5)
    model.fc.register_full_backward_hook(lambda m, gi, go: None)
    model(torch.randn(4, *X[1:])).square().sum().backward()
    return model


def everything(model: nn.Module) -> list[Any]:
    """All that a model and this process hold that an explanation could change."""
    found: list[Any] = []

    def contents(value: Any) -> Any:
        if isinstance(value, Tensor):
            grad = None if value.grad is None else (id(value.grad), value.grad.clone())
            return id(value), value.detach().clone(), value._version, value.requires_grad, grad
        if isinstance(value, dict):
            return [(key, id(one), contents(one)) for key, one in value.items()]
        return id(value)

    for name, module in model.named_modules():
        found.append((name, [(key, contents(value) if isinstance(value, dict) else id(value)
                              if not isinstance(value, bool) else value)
                             for key, value in module.__dict__.items()]))  # fmt: skip
    found.append(torch.get_rng_state())
    found.append(torch.is_grad_enabled())
    found.append(torch.is_inference_mode_enabled())
    found.append(torch.backends.cudnn.enabled)
    found.append(torch.backends.mha.get_fastpath_enabled())
    found.append(torch._C._len_torch_function_stack())
    found.append(torch.is_autocast_enabled("cpu"))
    return found


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


ASKS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "explain": lambda m, x: explain(m, x, layer="cnn"),
    "vanilla": lambda m, x: explain(m, x, layer="cnn.0", endpoint="vanilla"),
    "default": lambda m, x: explain(m, x),
    "until": lambda m, x: explain(m, x, layer="cnn", until="fc.0"),
    "pair": lambda m, x: explain(m, x, layer="cnn", reference=x.flip(0)),
    "grad_cam": lambda m, x: grad_cam(m, x, layer="cnn", target=1),
}


@pytest.mark.filterwarnings("ignore:the filters of layer")
@pytest.mark.parametrize("name", ASKS)
def test_all_that_a_model_holds_is_as_it_was(name) -> None:
    model, x = trained(), torch.randn(X)
    before = everything(model)
    ASKS[name](model, x)
    assert same(everything(model), before)


@pytest.fixture
def tripped() -> Iterator[dict[str, Any]]:
    yield STEPS
    STEPS["left"] = -1


@pytest.mark.filterwarnings("ignore:the filters of layer", "ignore:what comes after layer")
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("name", ["explain", "vanilla", "default", "until", "grad_cam"])
def test_an_exception_at_any_point_leaves_nothing_behind(name, error, tripped) -> None:
    model, x = trained(), torch.randn(X)
    before = everything(model)
    raised = 0
    for step in range(1, 51):
        tripped.update(left=step, error=error)
        try:
            ASKS[name](model, x)
            break  # it takes fewer steps
        except error:
            raised += 1
        tripped["left"] = -1
        assert same(everything(model), before), step
    assert raised >= {"explain": 15, "vanilla": 20, "default": 20}.get(name, 1)


def plain(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def ready() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def test_a_thread_that_predicts_is_right_while_another_explains() -> None:
    model, x, y = ready(), torch.randn(X), torch.randn(X)
    wanted, stop = plain(model, y), threading.Event()
    counts = {"right": 0, "wrong": 0, "raised": 0}

    def predict() -> None:
        while not stop.is_set():
            try:
                good = torch.allclose(plain(model, y), wanted, atol=1e-5)
                counts["right" if good else "wrong"] += 1
            except RuntimeError:
                counts["raised"] += 1

    thread = threading.Thread(target=predict)
    thread.start()
    for _ in range(20):
        explain(model, x, layer="cnn")
    stop.set()
    thread.join()
    print("predictions while another thread explains:", counts)
    assert counts["right"] > 20
    assert counts["wrong"] == counts["raised"] == 0


class OnTrunk(nn.Module):
    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.cnn, self.fc = trunk, nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.cnn(x).mean(dim=(2, 3)))


@pytest.mark.parametrize("kind", ["one model", "a shared trunk", "explain and grad_cam"])
def test_two_threads_that_explain_both_succeed(kind) -> None:
    first = ready()
    second = OnTrunk(first.cnn).eval() if kind == "a shared trunk" else first
    inputs = torch.randn(2, *X)

    def ask(number: int) -> Tensor:
        model = (first, second)[number]
        if number and kind == "explain and grad_cam":
            return grad_cam(model, inputs[number], layer="cnn", target=1)
        return explain(model, inputs[number], layer="cnn").losses

    switches = (torch.backends.cudnn.enabled, torch.backends.mha.get_fastpath_enabled())
    wanted, found = [ask(0), ask(1)], ([], [])
    threads = [
        threading.Thread(target=lambda i=i: found[i].extend(ask(i) for _ in range(6)))
        for i in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in (0, 1):
        assert len(found[number]) == 6
        for one in found[number]:
            torch.testing.assert_close(one, wanted[number], rtol=1e-3, atol=1e-9)
    assert switches == (torch.backends.cudnn.enabled, torch.backends.mha.get_fastpath_enabled())


def test_switches_of_the_process_come_back_when_the_last_of_overlapping_threads_leaves() -> None:
    model, inside, leave = ready(), threading.Event(), threading.Event()

    def hold() -> None:
        with cut_network(model, torch.randn(X), "cnn"):
            inside.set()
            leave.wait(20)

    assert torch.backends.mha.get_fastpath_enabled() and torch.backends.cudnn.enabled
    thread = threading.Thread(target=hold)
    with cut_network(model, torch.randn(X), "cnn"):
        thread.start()
        assert inside.wait(20)
        assert not torch.backends.mha.get_fastpath_enabled()
    assert not torch.backends.mha.get_fastpath_enabled()  # one is still in
    assert not torch.backends.cudnn.enabled
    leave.set()
    thread.join()
    assert torch.backends.mha.get_fastpath_enabled() and torch.backends.cudnn.enabled


class Roundabout(nn.Module):
    """Comes to its modules by every way there is."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn, self.a, self.b = nn.Conv2d(3, 6, 3, 4), nn.Linear(6, 6), nn.Linear(6, 6)
        self.c, self.norm = nn.Linear(6, 4), nn.BatchNorm1d(6)
        self.steps = [self.a, (self.b,)]
        self.named = {"norm": self.norm}
        self.bound, self.partial = self.last, functools.partial(self.scaled, factor=2.0)
        self.closed = self.closing()
        self.helper = Helper(self.norm)

    def last(self, x: Tensor) -> Tensor:
        return self.c(x)

    def scaled(self, x: Tensor, factor: float) -> Tensor:
        return factor * self.named["norm"](x).tanh()

    def closing(self) -> Callable[[Tensor], Tensor]:
        module = self.b
        return lambda x: module(x).sin()

    def forward(self, x: Tensor) -> Tensor:
        z = self.steps[1][0](self.steps[0](self.cnn(x).mean(dim=(2, 3))).tanh())
        return self.bound(self.helper(self.partial(z)) + self.closed(z))


class Helper:
    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, x: Tensor) -> Tensor:
        return self.module(x)


def test_every_way_from_module_to_module_leads_to_the_twins(hooked) -> None:
    torch.manual_seed(0)
    model, x = Roundabout().eval(), torch.randn(3, *X[1:])
    model(x)
    twin = Twin(model).model
    assert (
        twin.steps[0] is twin.a and twin.steps[1][0] is twin.b and twin.named["norm"] is twin.norm
    )
    assert twin.bound.__self__ is twin and twin.partial.func.__self__ is twin
    assert twin.helper.module is twin.norm
    assert twin.a.weight is model.a.weight and twin.a is not model.a
    hooked(model, x, "cnn", lambda f: f[:, None]).check(explain(model, x, layer="cnn"), adam=False)
    wanted = explain(model, x, layer="cnn").losses
    model.train()  # and its statistics of the batch are not taken, nor changed
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.testing.assert_close(explain(model, x, layer="cnn").losses, wanted)
    assert all(tensor.equal(state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.filterwarnings(
    "ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning"
)
@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.randn(X))])
def test_a_scripted_or_traced_model_is_named(make) -> None:
    model = make(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 13 * 17, 2)).eval())
    for ask in (explain, grad_cam):
        with pytest.raises(InputError, match="is scripted or traced") as error:
            ask(model, torch.randn(X), layer="0")
        assert "\n" not in str(error.value)


@pytest.mark.filterwarnings(
    "ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning"
)
def test_a_scripted_part_behind_the_layer_is_run_as_it_is(hooked) -> None:
    torch.manual_seed(0)
    model, x = OnTrunk(nn.Conv2d(3, 6, 3, 4)).eval(), torch.randn(X)
    model.fc = torch.jit.script(model.fc)
    hooked(model, x, "cnn", lambda f: f[:, None]).check(explain(model, x, layer="cnn"), adam=False)


def test_lazy_modules_that_never_ran_are_named() -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(InputError, match="lazy modules that never ran"):
        explain(model, torch.randn(X), layer="0")
    model(torch.randn(X))
    assert explain(model, torch.randn(X), layer="0").filters.shape == (2, 13, 17)


COMPILE = functools.partial(torch.compile, backend="eager")


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def compiled_part(model: nn.Module) -> nn.Module:
    model.fc = COMPILE(model.fc)
    return model


def compiled_trunk(model: nn.Module) -> nn.Module:
    model.cnn = COMPILE(model.cnn)
    return model


@pytest.mark.parametrize("way", [COMPILE, compiled_in_place, compiled_part, compiled_trunk])
@pytest.mark.parametrize("was_run", [False, True])
def test_a_compiled_model_is_explained_as_the_one_that_was_compiled(way, was_run) -> None:
    torch.manual_seed(0)
    model, x = OnTrunk(nn.Sequential(nn.Conv2d(3, 6, 3, 4), nn.Tanh())).eval(), torch.randn(X)
    wanted = explain(model, x, layer="cnn")
    compiled = way(model)
    if was_run:
        with torch.no_grad():
            compiled(x)
    for layer in ("cnn", compiled.get_submodule("cnn")):
        found = explain(compiled, x, layer=layer)
        torch.testing.assert_close(found.losses, wanted.losses)
        assert found.layer == "cnn"


@pytest.mark.parametrize("where", ["weights", "inputs", "both"])
def test_tensors_of_inference_mode_are_explained(where) -> None:
    def make() -> nn.Module:
        torch.manual_seed(0)
        return OnTrunk(nn.Sequential(nn.Conv2d(3, 6, 3, 4), nn.Tanh())).eval()

    x = torch.randn(X, generator=torch.Generator().manual_seed(1))
    wanted = explain(make(), x, layer="cnn").losses
    with torch.inference_mode():
        inner = x.clone()
        model = make() if where != "inputs" else None
    model = model or make()
    given = inner if where != "weights" else x
    torch.testing.assert_close(explain(model, given, layer="cnn").losses, wanted)
    with torch.inference_mode():
        torch.testing.assert_close(explain(model, given, layer="cnn").losses, wanted)
    heat = grad_cam(model, given, layer="cnn", target=1)
    torch.testing.assert_close(heat, grad_cam(make(), x, layer="cnn", target=1))


def test_a_model_without_halves_is_told_what_halves_are() -> None:
    with pytest.raises(InputError, match=r"features\(feature_maps\).*head\(maps\).*layer="):
        explain_clip(ready(), torch.randn(2, 3, 4, 5, 5))


def test_the_head_of_a_module_is_left_as_found() -> None:
    model = OnTrunk(nn.Identity()).train()
    maps = torch.randn(2, 6, 4, 4)
    before = everything(model)
    retrieval_grad_cam(model, maps)
    assert same(everything(model), before)
