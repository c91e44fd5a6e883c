"""A user's hooks: those that look see one plain forward, those that change an answer go on."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from caf_video.attention import explain, grad_cam

X = (2, 3, 15, 19)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 6, 3, 4), nn.Tanh())
        self.mix = nn.Conv2d(6, 6, 1)
        self.fc = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.mix(self.cnn(x)).tanh().mean(dim=(2, 3)))


def of_images(filters: Tensor) -> Tensor:
    return filters[:, None]


def test_observers_see_one_plain_forward_and_nothing_else(generator) -> None:
    torch.manual_seed(0)
    model, x = Net().eval(), torch.randn(X, generator=generator)
    seen: dict[str, list[Tensor]] = {}

    def observer(name: str) -> Any:
        return lambda *given: seen.setdefault(name, []).append(given[-1])

    class Log:
        def __init__(self) -> None:
            self.seen: list[Tensor] = []

        def note(self, module: nn.Module, args: Any, output: Tensor) -> None:
            self.seen.append(output.clone())

    log = Log()
    for name, module in model.named_modules():
        module.register_forward_hook(observer(name))
        module.register_forward_pre_hook(observer(f"before {name}"))
    model.mix.register_forward_hook(log.note)
    with torch.no_grad():
        model(x)
    plain = {name: given[0] for name, given in seen.items()}
    for ask in (
        lambda: explain(model, x, layer="cnn"),
        lambda: explain(model, x, layer="mix", endpoint="vanilla"),
        lambda: grad_cam(model, x, layer="mix", target=1),
    ):
        seen.clear()
        log.seen.clear()
        ask()
        assert seen.keys() == plain.keys()
        assert len(log.seen) == 1
        for name, given in seen.items():
            assert len(given) == 1
            found = given[0][0] if isinstance(given[0], tuple) else given[0]
            wanted = plain[name][0] if isinstance(plain[name], tuple) else plain[name]
            torch.testing.assert_close(found, wanted)


def test_what_observers_compute_before_the_layer_is_no_part_of_the_network(hooked) -> None:
    torch.manual_seed(0)
    model, x, seen = Net().eval(), torch.randn(X), []
    for module in (model.cnn, model.cnn[0], model.cnn[1]):
        module.register_forward_hook(lambda m, a, o: seen.append(o.mean(dim=(2, 3)).sum()))
        module.register_forward_pre_hook(lambda m, a: seen.append(a[0].flatten(1).std()))
    found = explain(model, x, layer="mix")
    assert found.endpoint == "fast"
    assert len(seen) == 6
    hooked(model, x, "mix", of_images).check(found, adam=False)


def doubling(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    return output * 2 + 0.1


def in_place(module: nn.Module, args: Any, output: Tensor) -> None:
    output[:, :2] *= 3


def squaring(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
    return (args[0].square(),)


def with_keywords(module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor:
    return output.sin()


@pytest.mark.parametrize("endpoint", ["fast", "vanilla"])
@pytest.mark.parametrize("place", ["cnn.0", "mix", "fc.0", "fc"])
@pytest.mark.parametrize("hook", [doubling, in_place, squaring, with_keywords])
def test_hooks_that_change_an_answer_go_on_changing_it(hook, place, endpoint, hooked) -> None:
    torch.manual_seed(0)
    model, x = Net().eval(), torch.randn(X)
    module = model.get_submodule(place)
    if hook is squaring:
        module.register_forward_pre_hook(hook)
    else:
        module.register_forward_hook(hook, with_kwargs=hook is with_keywords)
    found = explain(model, x, layer="cnn", endpoint=endpoint)
    hooked(model, x, "cnn", of_images).check(found, adam=False)


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm", "parametrized", "spectral"])
def test_weight_and_spectral_norm_keep_working(norm, hooked) -> None:
    torch.manual_seed(0)
    model, x = Net(), torch.randn(X)
    make = {
        "weight_norm": torch.nn.utils.parametrizations.weight_norm,
        "spectral_norm": torch.nn.utils.spectral_norm,
        "parametrized": torch.nn.utils.parametrizations.orthogonal,
        "spectral": torch.nn.utils.parametrizations.spectral_norm,
    }[norm]
    for module in (model.cnn[0], model.mix, model.fc[0]):
        make(module)
    model.eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = explain(model, x, layer="cnn")
    hooked(model, x, "cnn", of_images).check(found, adam=norm == "spectral_norm")
    for name, tensor in model.state_dict().items():
        assert tensor.equal(state[name])


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_the_old_weight_norm_computes_its_weight_in_a_hook_that_stays(hooked) -> None:
    torch.manual_seed(0)
    model, x = Net().eval(), torch.randn(X)
    torch.nn.utils.weight_norm(model.mix)
    with torch.no_grad():
        model.mix.weight_g.mul_(2)  # the weight that hangs on the module is stale until it runs
    found = explain(model, x, layer="cnn")
    hooked(model, x, "cnn", of_images).check(found, adam=False)


class Extractor(nn.Module):
    """Returns what its own hooks kept, as feature extractors do."""

    def __init__(self, closure: bool) -> None:
        super().__init__()
        self.net, self.features, self.head = Net(), {}, nn.Linear(6, 4)
        hook = self.keeping("mix") if closure else self.keep
        self.net.mix.register_forward_hook(hook)

    def keep(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.features["mix"] = output

    def keeping(self, name: str) -> Any:
        def keep(module: nn.Module, args: Any, output: Tensor) -> None:
            self.features[name] = output

        return keep

    def forward(self, x: Tensor) -> Tensor:
        self.net(x)
        return self.head(self.features["mix"].tanh().mean(dim=(2, 3)))


class Store:
    """As fastai's hooks: a plain object that keeps what a layer gave."""

    def __init__(self, module: nn.Module) -> None:
        self.stored: Tensor | None = None
        module.register_forward_hook(self.keep)

    def keep(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.stored = output


class UNet(nn.Module):
    """Its skip comes through a hook's object."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()
        self.store, self.head = Store(self.net.mix), nn.Linear(11, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.net(x)
        return self.head(torch.cat([logits, self.store.stored.tanh().mean(dim=(2, 3))], dim=1))


@pytest.mark.parametrize("make", [lambda: Extractor(True), lambda: Extractor(False), UNet])
@pytest.mark.parametrize("endpoint", ["fast", "vanilla"])
def test_hooks_by_which_a_network_hands_itself_features_are_part_of_it(
    make, endpoint, hooked
) -> None:
    torch.manual_seed(0)
    model, x, y = make().eval(), torch.randn(X), torch.randn(X)
    with torch.no_grad():
        model(y)
    before = model.store.stored if isinstance(model, UNet) else model.features["mix"]
    found = explain(model, x, layer="net.cnn", endpoint=endpoint)
    after = model.store.stored if isinstance(model, UNet) else model.features["mix"]
    assert after is before  # what it keeps of y is y's
    hooked(model, x, "net.cnn", of_images).check(found, adam=endpoint == "fast")
