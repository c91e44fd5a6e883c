"""Pairs, centred (maths 1.7): against loops over cells and Adam on the formula, and their laws."""

import pytest
import torch
from torch import Tensor, nn

from caf_video.attention import explain, explain_clip, grad_cam, retrieval_grad_cam
from caf_video.attention.solvers.affine import CenteredMap, DenseMap, PooledMap
from caf_video.errors import InputError
from caf_video.models.recurrent import RecurrentEmbedder


class Images(nn.Module):
    """convolution → ReLU → a head, float64."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.convolution, self.head = nn.Conv2d(3, 6, 1), head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.convolution(x).relu())


HEADS = {
    "pooled": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)),
    "pooled alone": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "flat": lambda: nn.Sequential(nn.Flatten(), nn.Linear(6 * 20, 5)),
    "deep": lambda: nn.Sequential(
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 5)
    ),
}
AFFINE = ("pooled", "pooled alone", "flat")


def make(head: str) -> Images:
    torch.manual_seed(4)
    return Images(HEADS[head]()).double()


def images(generator: torch.Generator, count: int = 3) -> Tensor:
    return torch.randn(count, 3, 4, 5, generator=generator, dtype=torch.float64)


def residual(model: Images, x: Tensor, f: Tensor, e_y: Tensor, c: Tensor) -> Tensor:
    """The centred loss of one image as the page has it, cell by cell: of M_k and b if affine.

    ||(e_y - c) - sum of f_k (M_k - c'/n)||^2 with c' = c - b; else by its general form.
    """
    a = model.convolution(x[None]).relu()
    nothing = model.head(torch.zeros_like(a))[0]  # b
    n = a[0, 0].numel()
    left = model.head(a * f)[0] - nothing - (c - nothing) * f.sum() / n
    return ((e_y - c) - left).square().sum()


def by_bisection(model: Images, x: Tensor, e_y: Tensor, c: Tensor) -> Tensor:
    """The filter of an affine head with loss > 0: M cell by cell, then (H + λ) f = h, ||f|| = 1."""
    with torch.no_grad():
        a = model.convolution(x[None]).relu()
        b = model.head(torch.zeros_like(a))[0]
        cells = torch.eye(20).double().view(20, 4, 5)
        columns = [model.head(a * cell)[0] - b - (c - b) / 20 for cell in cells]
    matrix = torch.stack(columns, dim=1)
    low, high = 1e-12, 1e6
    for _ in range(200):
        middle = (low * high) ** 0.5
        regular = matrix.T @ matrix + middle * torch.eye(20)
        f = torch.linalg.solve(regular, matrix.T @ (e_y - c))
        low, high = (middle, high) if f.norm() > 1 else (low, middle)
    return f


def by_adam(model: Images, x: Tensor, e_y: Tensor, c: Tensor, start: Tensor) -> float:
    raw = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([raw], lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.97)
    for _ in range(250):
        f = raw / raw.norm()
        loss = residual(model, x, f, e_y, c)
        (raw.grad,) = torch.autograd.grad(loss, raw)
        optimizer.step()
        schedule.step()
    return loss.item()


@pytest.mark.parametrize("center", ["map", "mean"])
@pytest.mark.parametrize("head", list(HEADS))
def test_no_start_of_adam_on_the_formula_ends_lower(head, center, generator) -> None:
    model, x, y = make(head), images(generator, 1), images(generator, 1)
    mean = model(images(generator, 6)).mean(dim=0).detach()
    e_x, e_y = model(x)[0].detach(), model(y)[0].detach()
    found = explain(
        model, x, layer="convolution", reference=y, center="map" if center == "map" else mean
    )
    assert found.solver == ("exact" if head in AFFINE else "spectral")
    assert found.settled.all()
    c = e_x if center == "map" else mean
    with torch.no_grad():
        loss = residual(model, x[0], found.filters[0], e_y, c).item()
    assert found.losses.item() == pytest.approx(loss, rel=1e-4, abs=1e-12)
    starts = [torch.ones(4, 5), -torch.ones(4, 5) + 0.1 * torch.randn(4, 5, generator=generator)]
    ends = [by_adam(model, x[0], e_y, c, start.double()) for start in starts]
    best = min(ends)
    assert loss <= best * (1 + 1e-3) + 1e-9
    if head in AFFINE:
        assert best > 1e-6  # else many filters are as good
        filters = by_bisection(model, x[0], e_y, c)
        torch.testing.assert_close(found.filters[0].flatten(), filters, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.filters.norm(), torch.tensor(1.0).double())


def test_the_centred_map_is_the_matrix_less_a_share_of_the_centre(generator) -> None:
    weight = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    maps = torch.rand(2, 6, 20, generator=generator, dtype=torch.float64)
    center = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    matrix = weight @ maps / 20
    dense = matrix - center[:, :, None] / 20
    filters = torch.randn(2, 20, generator=generator, dtype=torch.float64)
    outputs = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    for whole in (PooledMap.of(weight, maps), DenseMap.of(matrix)):
        found, unit = CenteredMap.of(whole, center), whole.scale
        image, pulled = found.apply_and_pull(filters)
        for got, wanted, power in (
            (found.apply(filters), torch.einsum("bdn,bn->bd", dense, filters), 1),
            (found.adjoint(outputs), torch.einsum("bdn,bd->bn", dense, outputs), 1),
            (found.passed, dense.sum(dim=2), 1),
            (image, torch.einsum("bdn,bn->bd", dense, filters), 1),
            (pulled, torch.einsum("bdn,bdm,bm->bn", dense, dense, filters), 2),
        ):
            torch.testing.assert_close(got * unit[:, None] ** power, wanted)
        torch.testing.assert_close(found.matrix() * unit[:, None, None], dense)
        assert found.cells == 20 and len(found) == 2
        rows = torch.tensor([1])
        torch.testing.assert_close(found.select(rows).matrix(), found.matrix()[1:])


def test_like_is_where_the_reference_is_and_unlike_where_something_else_is() -> None:
    """Four cells of a colour each, all with much in common; the reference is of the second."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    things = torch.eye(4).double()  # what the cells show
    x = (things + 5).T.view(1, 4, 2, 2)  # and a vector common to all: 5 in every channel
    y = (things[1] + 5).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    plain = explain(model, x, layer="0", reference=y)
    torch.testing.assert_close(plain.filters, torch.full((1, 2, 2), 0.5).double(), atol=0.1, rtol=0)
    for center in ("map", (things.mean(dim=0) + 5)):
        found = explain(model, x, layer="0", reference=y, center=center)
        like, unlike = found.heatmaps[0], found.unlike[0]
        assert like.flatten().argmax() == 1 and (like > 0).sum() == 1
        assert unlike[0, 1] == 0
        torch.testing.assert_close(unlike[0, 0], unlike[1, 1])
        torch.testing.assert_close(unlike[0, 0], unlike[1, 0])
    assert plain.unlike is None


def test_what_all_cells_have_in_common_does_not_move_a_filter_centred_by_the_map(
    generator,
) -> None:
    model, maps, y = make("pooled").head, images(generator).repeat(1, 2, 1, 1), images(generator)
    y = y.repeat(1, 2, 1, 1)
    common = 100 * torch.randn(1, 6, 1, 1, generator=generator, dtype=torch.float64)
    net = nn.Sequential(nn.Identity(), model)
    found = explain(net, maps, layer="0", reference=y, center="map")
    moved = explain(net, maps + common, layer="0", reference=y + common, center="map")
    torch.testing.assert_close(moved.filters, found.filters, atol=1e-6, rtol=0)
    torch.testing.assert_close(moved.losses, found.losses)


@pytest.mark.parametrize("head", ["pooled", "deep"])
def test_an_offset_of_all_embeddings_does_not_matter(head, generator) -> None:
    model, x, y = make(head), images(generator), images(generator)
    mean = model(images(generator, 6)).mean(dim=0).detach()
    found = explain(model, x, layer="convolution", reference=y, center=mean)
    offset = torch.randn(5, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        model.head[-1].bias += offset
    moved = explain(model, x, layer="convolution", reference=y, center=mean + offset)
    torch.testing.assert_close(moved.filters, found.filters, atol=5e-3, rtol=0)
    torch.testing.assert_close(moved.losses, found.losses, atol=1e-9, rtol=1e-3)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_embeddings_on_another_scale_have_the_same_filters(scale, generator) -> None:
    model, x, y = make("pooled"), images(generator), images(generator)
    found = explain(model, x, layer="convolution", reference=y, center="map")
    with torch.no_grad():
        model.head[-1].weight *= scale
        model.head[-1].bias *= scale
    moved = explain(model, x, layer="convolution", reference=y, center="map")
    torch.testing.assert_close(moved.filters, found.filters, atol=1e-6, rtol=0)


@pytest.mark.parametrize("head", ["pooled", "flat", "deep"])
def test_a_batch_gives_what_separate_calls_give_and_an_embedding_what_its_image_gives(
    head, generator
) -> None:
    model, x, y = make(head), images(generator), images(generator)
    mean = model(images(generator, 6)).mean(dim=0).detach()
    for center in ("map", mean):
        together = explain(model, x, layer="convolution", reference=y, center=center, size=(8, 10))
        assert together.heatmaps.shape == together.unlike.shape == (3, 8, 10)
        for i in range(3):
            embedding = model(y[i : i + 1]).detach()[0]
            alone = explain(
                model, x[i : i + 1], layer="convolution", reference=embedding, center=center
            )
            torch.testing.assert_close(alone.filters[0], together.filters[i], atol=1e-6, rtol=0)
    single = explain(
        model.float(), x.float(), layer="convolution", reference=y.float(), center="map"
    )
    double = explain(model.double(), x, layer="convolution", reference=y, center="map")
    torch.testing.assert_close(single.filters.double(), double.filters, atol=5e-3, rtol=0)


def test_an_image_compared_with_itself_has_neither_like_nor_unlike(generator) -> None:
    model, x = make("pooled"), images(generator)
    found = explain(model, x, layer="convolution", reference=x, center="map")
    assert found.heatmaps.max() < 1e-6 and found.unlike.max() < 1e-6
    torch.testing.assert_close(found.filters.flatten(1).norm(dim=1), torch.ones(3).double())


def test_frames_in_the_batch_are_centred_by_their_own_map_only(generator) -> None:
    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.lstm = nn.Conv2d(3, 6, 1), nn.LSTM(6, 5, batch_first=True)

        def forward(self, clips: Tensor) -> Tensor:
            maps = self.convolution(clips.flatten(0, 1)).relu()
            return self.lstm(maps.mean(dim=(2, 3)).unflatten(0, clips.shape[:2]))[0][:, -1]

    torch.manual_seed(1)
    model = Frames().double()
    x, y = (images(generator, 4).unflatten(0, (2, 2)) for _ in range(2))
    found = explain(model, x, layer="convolution", axes="(n t) c h w", reference=y, center="map")
    assert found.filters.shape == found.unlike.shape == (2, 2, 4, 5)
    with pytest.raises(InputError, match='take center="map"'):
        explain(
            model, x, layer="convolution", axes="(n t) c h w", reference=y, center=torch.zeros(5)
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": None}, "center is of a pair: it needs a reference"),
        ({"center": "mean"}, 'center is "mean", wanted "map"'),
        ({"center": torch.zeros(4)}, r"the center is \(4,\)"),
        ({"center": torch.zeros(2, 5)}, r"the center is \(2, 5\)"),
        ({"center": torch.full((5,), float("nan"))}, "the center of sample 0 is not finite"),
        ({"constraint": "softmax"}, 'constraint is "l2"'),
        ({"reference": torch.full((5,), float("inf"))}, "the reference of sample 0|is not finite"),
        ({"reference": torch.zeros(4)}, "the reference gives"),
    ],
)
def test_wrong_arguments_are_told_apart(change, message, generator) -> None:
    arguments = {"reference": images(generator), "center": "map", **change}
    with pytest.raises(InputError, match=message):
        explain(make("pooled"), images(generator), layer="convolution", **arguments)


def clip_net(pooling: str = "average") -> RecurrentEmbedder:
    torch.manual_seed(3)
    return (
        RecurrentEmbedder(
            in_channels=3, grid=(4, 5), channels=6, pooling=pooling, hidden=8, embedding_dim=7
        )
        .double()
        .eval()
    )


def clips(generator: torch.Generator, count: int = 2) -> Tensor:
    return torch.randn(count, 3, 3, 4, 5, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("center", [None, "map", "mean"])
def test_a_pair_of_clips_is_solved_as_adam_solves_it(center, generator) -> None:
    model, x, y = clip_net(), clips(generator, 1), clips(generator, 1)
    mean = model(clips(generator, 5)).mean(dim=0).detach()
    found = explain_clip(
        model, x, filters="joint", reference=y, center=mean if center == "mean" else center
    )
    with torch.no_grad():
        a = model.features(x)
        e_x, e_y, nothing = model.head(a)[0], model(y)[0], model.head(torch.zeros_like(a))[0]
    c = {"map": e_x, "mean": mean, None: nothing}[center]

    def loss_of(f: Tensor) -> Tensor:
        out = model.head(a * f[None, :, None])[0] + (1 - f.mean()) * (c - nothing)
        return (e_y - out).square().sum()

    torch.testing.assert_close(found.losses[0], loss_of(found.filters[0]).detach())
    lowest = []
    for _ in range(2):
        raw = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64).requires_grad_()
        optimizer = torch.optim.Adam([raw], lr=0.1)
        for step in range(300):
            optimizer.param_groups[0]["lr"] = 0.1 * 0.985**step
            loss = loss_of(raw / raw.norm())
            (raw.grad,) = torch.autograd.grad(loss, raw)
            optimizer.step()
        lowest.append(loss.item())
    assert found.losses.item() <= min(lowest) * (1 + 1e-3) + 1e-9
    assert (found.unlike is None) == (center is None)


def test_a_reference_clip_is_its_embedding_one_for_all_or_one_each(generator) -> None:
    model, x, y = clip_net("flatten"), clips(generator, 3), clips(generator, 3)
    embeddings = model(y).detach()
    for options in ({"filters": "joint", "center": "map"}, {"filters": "per-frame"}):
        each = explain_clip(model, x, reference=y, **options)
        torch.testing.assert_close(
            explain_clip(model, x, reference=embeddings, **options).filters, each.filters
        )
        for i in range(3):
            for one in (embeddings[i], y[i : i + 1]):
                found = explain_clip(model, x, reference=one, **options)
                torch.testing.assert_close(found.filters[i], each.filters[i], atol=1e-6, rtol=0)


def test_per_frame_filters_are_centred_by_the_map_alone(generator) -> None:
    model, x, y = clip_net(), clips(generator), clips(generator)
    found = explain_clip(model, x, reference=y, center="map", size=(8, 10))
    assert found.filters.shape == (2, 3, 4, 5)
    assert found.heatmaps.shape == found.unlike.shape == (2, 3, 8, 10)
    centred = found.filters - found.filters.mean(dim=(2, 3), keepdim=True)
    expected = nn.functional.interpolate(centred.clamp(min=0), size=(8, 10), mode="bilinear")
    torch.testing.assert_close(found.heatmaps, expected)
    with pytest.raises(InputError, match='needs filters="joint"'):
        explain_clip(model, x, reference=y, center=torch.zeros(7))
    with pytest.raises(InputError, match="needs a reference"):
        explain_clip(model, x, center="map")
    with pytest.raises(InputError, match=r"the reference is \(1, 6\)"):
        explain_clip(model, x, reference=torch.zeros(6))


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_grad_cam_of_a_similarity_by_loops(similarity, generator) -> None:
    model, x, y = make("flat"), images(generator), images(generator)
    found = grad_cam(
        model, x, layer="convolution", reference=y, similarity=similarity, mode="signed",
        size=(4, 5),
    )  # fmt: skip
    for i in range(3):
        a = model.convolution(x[i : i + 1]).detach().requires_grad_()
        e, e_y = model.head(a.relu())[0], model(y[i : i + 1])[0].detach()
        score = e @ e_y
        if similarity == "cosine":
            score = score / (e.norm() * e_y.norm())
        (slope,) = torch.autograd.grad(score, a)
        expected = torch.zeros(4, 5).double()
        for k in range(6):
            expected += slope[0, k].sum() / 20 * a[0, k].detach()
        torch.testing.assert_close(found[i], expected)
    relu = grad_cam(
        model, x, layer="convolution", reference=model(y).detach(), similarity=similarity,
        size=(4, 5),
    )  # fmt: skip
    torch.testing.assert_close(relu, found.relu())


def test_behind_pooling_the_dot_product_is_decomposed_into_cells(generator) -> None:
    """A W^T e / n: the cells sum to <e_x, e_y> less the bias's part (Stylianou et al. 2019)."""
    model, x, y = make("pooled"), images(generator), images(generator)
    maps = model.convolution(x).relu().detach()
    head = nn.Sequential(nn.Identity(), model.head)
    e_y = model(y).detach()
    found = grad_cam(
        head, maps, layer="0", reference=e_y, similarity="dot", mode="signed", size=(4, 5)
    )
    total = ((model(x) - model.head[-1].bias) * e_y).sum(dim=1).detach()
    torch.testing.assert_close(found.sum(dim=(1, 2)), total)
    first = maps[0, :, 2, 3] @ model.head[-1].weight.detach().T @ e_y[0] / 20
    torch.testing.assert_close(found[0, 2, 3], first)


def test_from_a_head_alone_it_is_the_same_and_choices_are_checked(generator) -> None:
    model, x, y = make("pooled"), images(generator), images(generator)
    maps, e_y = model.convolution(x).relu().detach(), model(y).detach()
    head = nn.Sequential(nn.Identity(), model.head)
    for similarity in ("cosine", "dot"):
        torch.testing.assert_close(
            retrieval_grad_cam(model.head, maps, reference=e_y, similarity=similarity),
            grad_cam(head, maps, layer="0", reference=e_y, similarity=similarity),
        )
    with pytest.raises(InputError, match='similarity is "l2", wanted "cosine" or "dot"'):
        grad_cam(model, x, layer="convolution", reference=y, similarity="l2")
    with pytest.raises(InputError, match="target and reference exclude each other"):
        grad_cam(model, x, layer="convolution", reference=y, target=0)
