"""In which order the rows of a map lie, which samples mix, which run of a layer is meant."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from caf_video.attention import explain, grad_cam
from caf_video.errors import InputError


class Net(nn.Module):
    """A trunk, a head that is not affine, and any code around them."""

    def __init__(self, forward: Callable[[nn.Module, Any], Tensor]) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 6, 3, 4), nn.Tanh())
        self.lstm = nn.LSTM(6, 7)
        self.fc = nn.Linear(7, 4)
        self.head = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
        self._run = forward

    def forward(self, *inputs: Tensor) -> Tensor:
        return self._run(self, *inputs)

    def pooled(self, x: Tensor) -> Tensor:
        return self.cnn(x).mean(dim=(2, 3))


def frame_major(m: Net, v: Tensor) -> Tensor:
    z = m.pooled(v.transpose(0, 1).flatten(0, 1)).view(v.shape[1], v.shape[0], -1)
    return m.fc(m.lstm(z)[0][-1])


def sample_major(m: Net, v: Tensor) -> Tensor:
    z = m.pooled(v.flatten(0, 1)).view(v.shape[0], v.shape[1], -1).transpose(0, 1)
    return m.fc(m.lstm(z)[0][-1])


def shifted(m: Net, v: Tensor) -> Tensor:
    """TSM: a third of the channels comes from the frame before, a third from the next."""
    n, t = v.shape[:2]
    maps = m.cnn(v.flatten(0, 1)).unflatten(0, (n, t))
    moved = torch.cat([maps[:, :, :2].roll(1, 1), maps[:, :, 2:4].roll(-1, 1), maps[:, :, 4:]], 2)
    return m.head((moved * moved.tanh()).mean(dim=(3, 4))).mean(dim=1)


def twins(m: Net, a: Tensor, b: Tensor) -> Tensor:
    za, zb = m.head(m.pooled(torch.cat([a, b]))).chunk(2)
    return torch.cat([za * zb, za - zb], dim=1)


def triplets(m: Net, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    za, zb, zc = m.head(m.pooled(torch.cat([a, b, c]))).chunk(3)
    return (za - zb).square().sum(dim=1) - (za - zc).square().sum(dim=1)


def interleaved(m: Net, a: Tensor, b: Tensor) -> Tensor:
    z = m.head(m.pooled(torch.stack([a, b], dim=1).flatten(0, 1))).unflatten(0, (-1, 2))
    return z[:, 0] * z[:, 1]


def crops(m: Net, crops: list[Tensor]) -> Tensor:
    return m.head(m.pooled(torch.cat(crops))).unflatten(0, (len(crops), -1)).mean(dim=0)


def by_row(order: str) -> Callable[[Tensor], Tensor]:
    """Filters (n, t, h, w) in the order of the map's rows, by loops."""

    def spread(filters: Tensor) -> Tensor:
        n, t = filters.shape[:2]
        pairs = [(i, j) for i in range(n) for j in range(t)]
        if order == "t n":
            pairs = [(i, j) for j in range(t) for i in range(n)]
        return torch.stack([filters[pair] for pair in pairs])[:, None]

    return spread


CLIP, IMAGE = (3, 3, 16, 20), (3, 16, 20)
ORDERS = {
    "frame-major": (frame_major, lambda n: torch.randn(n, *CLIP), "t n"),
    "sample-major": (sample_major, lambda n: torch.randn(n, *CLIP), "n t"),
    "TSM": (shifted, lambda n: torch.randn(n, *CLIP), "n t"),
    "twins": (twins, lambda n: tuple(torch.randn(2, n, *IMAGE)), "t n"),
    "triplets": (triplets, lambda n: tuple(torch.randn(3, n, *IMAGE)), "t n"),
    "interleaved twins": (interleaved, lambda n: tuple(torch.randn(2, n, *IMAGE)), "n t"),
    "a list of crops": (crops, lambda n: list(torch.randn(4, n, *IMAGE)), "t n"),
}


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("name", ORDERS)
def test_the_order_of_rows_is_found(name, samples, hooked) -> None:
    torch.manual_seed(0)
    forward, make, order = ORDERS[name]
    model, inputs = Net(forward).eval(), make(samples)
    found = explain(model, inputs, layer="cnn")
    if samples > 1:
        assert found.axes == f"({order}) c h w"
    plain = hooked(model, inputs, "cnn", by_row(order))
    plain.check(found, rows=1, adam=samples == 2)
    heat = grad_cam(model, inputs, layer="cnn", mode="signed", size=found.filters.shape[2:])
    rows = found.filters.shape[1]
    torch.testing.assert_close(heat, grad_cam_by_hook(model, plain, order, samples, rows))
    told = explain(model, inputs, layer="cnn", axes=f"({order}) c h w")
    torch.testing.assert_close(told.losses, found.losses, rtol=1e-3, atol=1e-8)


def grad_cam_by_hook(model: nn.Module, plain: Any, order: str, n: int, t: int) -> Tensor:
    kept = []
    handle = model.cnn.register_forward_hook(lambda m, a, o: kept.append(o))
    scores = plain().flatten(1).sum(dim=1) if plain().dim() > 1 else plain()
    handle.remove()
    (gradient,) = torch.autograd.grad(scores.sum(), kept[-1])
    heat = torch.zeros(n, t, *kept[-1].shape[2:])
    for i in range(n):
        for j in range(t):
            row = i * t + j if order == "n t" else j * n + i
            weights = gradient[row].mean(dim=(1, 2))
            heat[i, j] = sum(w * a for w, a in zip(weights, kept[-1][row].detach(), strict=True))
    return heat


@pytest.mark.parametrize(("name", "wrong"), [("frame-major", "n t"), ("twins", "n t"),
                                             ("sample-major", "t n"), ("TSM", "t n")])  # fmt: skip
def test_a_declared_order_that_is_wrong_is_refused(name, wrong) -> None:
    forward, make, _ = ORDERS[name]
    for ask in (explain, grad_cam):
        with pytest.raises(InputError, match="another order"):
            ask(Net(forward), make(2), layer="cnn", axes=f"({wrong}) c h w")


def windows(m: Net, x: Tensor) -> Tensor:
    """Four windows of one image as rows of the batch, as Swin does."""
    n = len(x)
    parts = x.unflatten(3, (2, -1)).unflatten(2, (2, -1)).permute(0, 2, 4, 1, 3, 5)
    return m.head(m.pooled(parts.flatten(0, 2)).view(n, 4, -1).mean(dim=1))


def test_windows_of_an_image_as_rows_have_a_filter_each_and_are_no_frames(hooked) -> None:
    torch.manual_seed(0)
    model, x = Net(windows).eval(), torch.randn(2, 3, 32, 40)
    found = explain(model, x, layer="cnn")
    hooked(model, x, "cnn", by_row("n t")).check(found, rows=1)


def batch_norm(m: Net, x: Tensor) -> Tensor:
    z = m.head(m.pooled(x))
    return (z - z.mean(dim=0)) / (z.var(dim=0, correction=0) + 1).sqrt()


def similarities(m: Net, x: Tensor) -> Tensor:
    z = m.head(m.pooled(x))
    return z @ z.T


def memory(m: Net, x: Tensor) -> Tensor:
    """Attention over the batch."""
    z = m.head(m.pooled(x))
    return (z @ z.T).softmax(dim=1) @ z


@pytest.mark.parametrize("samples", [2, 3])
@pytest.mark.parametrize("forward", [batch_norm, similarities, memory])
def test_samples_that_mix_are_explained_one_at_a_time(forward, samples, hooked) -> None:
    torch.manual_seed(0)
    model, x = Net(forward).eval(), torch.randn(samples, *IMAGE)
    found = explain(model, x, layer="cnn")
    hooked(model, x, "cnn", lambda filters: filters[:, None]).check(found)
    heat = grad_cam(model, x, layer="cnn", mode="signed", size=found.filters.shape[1:])
    for i in range(samples):
        kept = []
        handle = model.cnn.register_forward_hook(lambda m, a, o, kept=kept: kept.append(o))
        score = model(x)[i].sum()
        handle.remove()
        (gradient,) = torch.autograd.grad(score, kept[0])
        weights = gradient[i].mean(dim=(1, 2), keepdim=True)
        torch.testing.assert_close(heat[i], (weights * kept[0][i]).sum(dim=0).detach())


def looped(m: Net, v: Tensor) -> Tensor:
    """The CNN is called once a frame."""
    z = torch.stack([m.pooled(v[:, t]) for t in range(v.shape[1])])
    return m.fc(m.lstm(z)[0][-1])


def siamese(m: Net, a: Tensor, b: Tensor) -> Tensor:
    return m.head(m.pooled(a)) * m.head(m.pooled(b))


@pytest.mark.parametrize(
    ("forward", "inputs", "runs"),
    [(looped, lambda: torch.randn(2, *CLIP), 3),
     (siamese, lambda: tuple(torch.randn(2, 2, *IMAGE)), 2)],
)  # fmt: skip
def test_each_run_of_a_layer_has_its_filter(forward, inputs, runs, hooked) -> None:
    torch.manual_seed(0)
    model, x = Net(forward).eval(), inputs()
    each = explain(model, x, layer="cnn", call="each")
    assert each.filters.shape[:2] == (2, runs)
    for run in range(runs):
        one = explain(model, x, layer="cnn", call=run)
        last = explain(model, x, layer="cnn", call=run - runs)
        plain = hooked(model, x, "cnn", lambda filters: filters[:, None], run=run)
        plain.check(one, adam=run == runs - 1)
        for other in (last.losses, each.losses[:, run]):
            torch.testing.assert_close(other, one.losses)
        heat = grad_cam(model, x, layer="cnn", call=run, mode="signed")
        torch.testing.assert_close(
            heat, grad_cam(model, x, layer="cnn", call=run - runs, mode="signed")
        )


def test_the_runs_of_a_layer_are_those_of_the_frames_folded_into_the_batch() -> None:
    torch.manual_seed(0)
    v = torch.randn(2, *CLIP)
    model = Net(looped)
    other = Net(sample_major)
    other.load_state_dict(model.state_dict())
    each, folded = explain(model, v, layer="cnn", call="each"), explain(other, v, layer="cnn")
    torch.testing.assert_close(each.losses, folded.losses, rtol=1e-3, atol=1e-8)
    assert each.heatmaps.shape == folded.heatmaps.shape == (2, 3, 16, 20)


class Around(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frames = Net(looped)

    def forward(self, v: Tensor) -> Tensor:
        return self.frames(v).tanh()


def test_a_layer_that_runs_often_names_the_module_around_it_that_runs_once() -> None:
    with pytest.raises(InputError) as error:
        explain(Around(), torch.randn(1, *CLIP), layer="frames.cnn")
    assert str(error.value) == (
        'layer "frames.cnn" runs 3 times: say which run is meant with call=0 to call=2, or all of '
        'them, a filter for each, with call="each"; around it, "frames" runs once'
    )
    with pytest.raises(InputError, match="runs 3 times, there is no call=3"):
        explain(Around(), torch.randn(1, *CLIP), layer="frames.cnn", call=3)
    with pytest.raises(InputError, match="runs 3 times, there is no call=-4"):
        explain(Around(), torch.randn(1, *CLIP), layer="frames.cnn", call=-4)
    with pytest.raises(InputError, match="did not run"):
        explain(Around(), torch.randn(1, *CLIP), layer="frames.head", call="each")
