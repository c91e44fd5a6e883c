"""Networks that end in a normalisation, and endpoints before the end: V' of Eq. 3."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from caf_video.attention import AttentionWarning, explain, grad_cam
from caf_video.errors import InputError


class Embedder(nn.Module):
    """A trunk, the raw embedding, and an end."""

    def __init__(self, end: Callable[[nn.Module, Tensor], Tensor], *, nonlinear: bool) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 6, 3, 4), nn.ReLU())
        self.fc = nn.Linear(6, 8, bias=False)
        self.norm, self.weight = nn.LayerNorm(6, eps=1e-9), nn.Parameter(torch.randn(4, 8))
        self.out, self.end, self.nonlinear = nn.Linear(6, 5), end, nonlinear

    def raw(self, x: Tensor) -> Tensor:
        maps = self.cnn(x)
        if self.nonlinear:  # of degree 1 in its scale
            return self.fc(maps.amax(dim=(2, 3)) + maps.mean(dim=(2, 3)).relu())
        return self.fc(maps.mean(dim=(2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self, self.raw(x))


def by_functional(m: Embedder, z: Tensor) -> Tensor:
    return functional.normalize(z, dim=1)


def by_norm(m: Embedder, z: Tensor) -> Tensor:
    return z / z.norm(dim=1, keepdim=True)


def by_rsqrt(m: Embedder, z: Tensor) -> Tensor:
    return z * torch.rsqrt(z.square().sum(dim=-1, keepdim=True))


def by_linalg(m: Embedder, z: Tensor) -> Tensor:
    return z.div(torch.linalg.vector_norm(z, dim=-1, keepdim=True).clamp(min=1e-12))


def by_einsum(m: Embedder, z: Tensor) -> Tensor:
    return z / torch.einsum("nd,nd->n", z, z).sqrt()[:, None]


def cosine_head(m: Embedder, z: Tensor) -> Tensor:
    return functional.linear(functional.normalize(z), functional.normalize(m.weight))


def arcface(m: Embedder, z: Tensor) -> Tensor:
    return 30 * (functional.normalize(z) @ functional.normalize(m.weight).T).clamp(-1, 1)


def cosine_similarity(m: Embedder, z: Tensor) -> Tensor:
    return functional.cosine_similarity(z[:, None], m.weight[None], dim=2)


def softmax_of_cosines(m: Embedder, z: Tensor) -> Tensor:
    return arcface(m, z).softmax(dim=1)


class ConvNeXtLike(Embedder):
    """A LayerNorm of what was pooled; what goes into it is explained."""

    def raw(self, x: Tensor) -> Tensor:
        return self.cnn(x).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(self.raw(x)))


def of_images(filters: Tensor) -> Tensor:
    return filters[:, None]


ENDS = [by_functional, by_norm, by_rsqrt, by_linalg, by_einsum, cosine_head, arcface,
        cosine_similarity, softmax_of_cosines]  # fmt: skip


@pytest.mark.parametrize("nonlinear", [False, True])
@pytest.mark.parametrize("end", [*ENDS, None])
def test_a_network_that_ends_in_a_normalisation_is_explained_before_it(
    end, nonlinear, hooked
) -> None:
    torch.manual_seed(1)
    make = ConvNeXtLike if end is None else Embedder
    model, x = make(end, nonlinear=nonlinear).eval(), torch.randn(2, 3, 15, 19)
    found = explain(model, x, layer="cnn")
    assert found.until is not None and found.until.startswith("the input of ")
    assert found.flat is None
    plain = hooked(model, x, "cnn", of_images, answer=model.raw)
    plain.check(found, adam=end in (None, by_functional))
    assert found.filters.flatten(1).std(dim=1).min() > 1e-3  # it tells something


@pytest.mark.parametrize("end", [by_functional, arcface])
def test_explained_vanilla_it_is_the_same(end, hooked) -> None:
    torch.manual_seed(1)
    model, x = Embedder(end, nonlinear=True).eval(), torch.randn(2, 3, 15, 19)
    fast, vanilla = (explain(model, x, layer="cnn", endpoint=e) for e in ("fast", "vanilla"))
    assert vanilla.endpoint == "vanilla" and vanilla.until == fast.until
    torch.testing.assert_close(vanilla.losses, fast.losses, rtol=1e-3, atol=1e-9)


@pytest.mark.filterwarnings("ignore:the class-specific filters")
@pytest.mark.parametrize("end", [by_functional, cosine_head])
def test_a_class_or_a_pair_of_a_normalised_embedding_keeps_to_its_output(end) -> None:
    torch.manual_seed(1)
    model = Embedder(end, nonlinear=False).eval()
    x, y = torch.randn(2, 2, 3, 15, 19)
    with pytest.warns(AttentionWarning, match="ignores the scale"):
        of_class = explain(model, x, layer="cnn", target=1)
    assert of_class.flat == "scale" and of_class.until is None
    pair = explain(model, x, layer="cnn", reference=y)
    assert pair.until is None
    with torch.no_grad():
        handle = model.cnn.register_forward_hook(lambda m, a, o: o * pair.filters[:, None])
        filtered = model(x)
        handle.remove()
        expected = (model(y) - filtered).square().sum(dim=1)
    torch.testing.assert_close(pair.losses, expected, rtol=1e-3, atol=1e-7)


class Staged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 6, 3, 4), nn.Tanh())
        self.embed = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
        self.classify = nn.Sequential(nn.Tanh(), nn.Linear(4, 3))

    def forward(self, x: Tensor, before: Callable[[Tensor], Tensor] | None = None) -> Any:
        z = self.embed(self.cnn(x).mean(dim=(2, 3)))
        return {"logits": self.classify(z), "embedding": z}


@pytest.mark.parametrize("endpoint", ["fast", "vanilla"])
def test_until_a_layer_is_the_network_that_ends_there(endpoint, hooked) -> None:
    torch.manual_seed(0)
    model, x = Staged().eval(), torch.randn(2, 3, 15, 19)
    plain = hooked(
        model, x, "cnn", of_images, answer=lambda x: model.embed(model.cnn(x).mean(dim=(2, 3)))
    )
    for until in ("embed", model.embed):
        found = explain(model, x, layer="cnn", until=until, endpoint=endpoint)
        assert found.until == '"embed"'
        plain.check(found, adam=until == "embed")
    same = explain(model, x, layer="cnn", output="embedding", endpoint=endpoint)
    torch.testing.assert_close(same.losses, found.losses, rtol=1e-4, atol=1e-9)
    pair = explain(model, x, layer="cnn", until="embed", reference=x[:1].flip(3))
    with torch.no_grad():
        wanted = plain.answer(x[:1].flip(3))
        filtered = plain(pair.filters)
    expected = (wanted - filtered).square().sum(dim=1)
    torch.testing.assert_close(pair.losses, expected, rtol=1e-3, atol=1e-7)


def test_grad_cam_until_a_layer_is_that_of_the_network_that_ends_there(hooked) -> None:
    torch.manual_seed(0)
    model, x = Staged().eval(), torch.randn(2, 3, 15, 19)
    maps = model.cnn(x).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model.embed(maps.mean(dim=(2, 3)))[:, 2].sum(), maps)
    expected = (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1).detach()
    found = grad_cam(
        model, x, layer="cnn", until="embed", target=2, mode="signed", size=maps.shape[2:]
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("until", "message"),
    [("cnn.0", "does not come there behind the layer"), ("nothing", 'no layer "nothing"'),
     (nn.Linear(2, 2), "not part of the model")],
)  # fmt: skip
def test_an_until_that_does_not_come_behind_is_refused(until, message) -> None:
    for ask in (explain, grad_cam):
        with pytest.raises(InputError, match=message):
            ask(Staged(), torch.randn(2, 3, 15, 19), layer="cnn", output=None, until=until)


def test_a_network_that_does_not_end_in_a_normalisation_is_explained_to_its_end() -> None:
    torch.manual_seed(0)
    model = Embedder(lambda m, z: z.tanh(), nonlinear=True).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = explain(model, torch.randn(2, 3, 15, 19), layer="cnn")
    assert found.until is None and found.flat is None
