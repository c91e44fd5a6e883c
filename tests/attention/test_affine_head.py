"""Affine heads of any size: the answer of their matrix, the cheapest way, in bounded memory."""

import copy
import warnings

import pytest
import torch
from torch import Tensor, nn

from caf_video.attention import explain, grad_cam, solve_affine
from caf_video.attention.affine_head import LIMIT_BYTES, Plan, plan_affine
from caf_video.attention.cutting.cut import Cut
from caf_video.attention.cutting.response import CutResponse
from caf_video.attention.solvers import matrix_free
from caf_video.errors import InputError


class Segmenter(nn.Module):
    """convolution → ReLU → 1x1 convolution → upsampling: many cells, very many outputs."""

    def __init__(self, classes: int = 5, scale: int = 3) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.classify = nn.Conv2d(6, classes, 1)
        self.up = nn.Upsample(scale_factor=scale, mode="bilinear")

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.classify(self.conv(x)))


def segmenter() -> Segmenter:
    torch.manual_seed(4)
    return Segmenter().double()


def images(generator: torch.Generator, count: int = 3, size: tuple[int, int] = (9, 11)) -> Tensor:
    return torch.randn(count, 3, *size, generator=generator, dtype=torch.float64)


def matrices(head: nn.Module, maps: Tensor) -> Tensor:
    """M (n, d, h, w) of a head, one cell after the other."""
    columns = []
    with torch.no_grad():
        nothing = head(torch.zeros_like(maps)).flatten(1)
        for cell in torch.eye(maps[0, 0].numel(), dtype=maps.dtype):
            columns.append(head(maps * cell.view(maps.shape[2:])).flatten(1) - nothing)
    return torch.stack(columns, dim=2).unflatten(2, maps.shape[2:])


def hooked_losses(model: nn.Module, layer: str, x: Tensor, filters: Tensor) -> Tensor:
    """||NT - FT||^2 of each sample, by a plain forward hook."""
    with torch.no_grad():
        answer = model(x)
        hook = model.get_submodule(layer).register_forward_hook(
            lambda module, args, out: out * filters[:, None].to(out.dtype)
        )
        try:
            return (answer - model(x)).flatten(1).square().sum(dim=1)
        finally:
            hook.remove()


def test_products_come_to_the_solution_of_the_whole_matrix(generator) -> None:
    model, x = segmenter(), images(generator)
    maps = model.conv(x).detach()
    head = nn.Sequential(model.classify, model.up)
    expected = solve_affine(matrices(head, maps))
    for solver in ("auto", "exact"):
        found = explain(model, x, layer="conv", solver=solver)
        assert found.solver == "exact" and found.filters[0].numel() == 99
        torch.testing.assert_close(found.filters, expected.filters, atol=1e-7, rtol=0)
        torch.testing.assert_close(found.losses, expected.losses, rtol=1e-12, atol=0)
        assert found.settled.all()


def test_a_pair_is_solved_by_products_as_by_the_matrix(generator) -> None:
    model, x, y = segmenter(), images(generator), images(generator)
    head = nn.Sequential(model.classify, model.up)
    maps = model.conv(x).detach()
    nothing = head(torch.zeros_like(maps)).detach()
    expected = solve_affine(matrices(head, maps), wanted=(model(y) - nothing).flatten(1).detach())
    found = explain(model, x, layer="conv", reference=y, solver="exact")
    torch.testing.assert_close(found.losses, expected.losses, rtol=1e-10, atol=0)
    torch.testing.assert_close(found.filters, expected.filters, atol=1e-6, rtol=0)


def test_class_specific_filters_are_found_by_products(generator) -> None:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(396, 5)).double()
    x = images(generator)
    found = explain(model, x, layer="0", target=2, center_logits=True)
    weights = torch.full((5,), 2 / 5, dtype=torch.float64)
    weights[2] -= 2
    gradient = torch.einsum("ndhw,d->nhw", matrices(model[1:], model[0](x).detach()), weights)
    expected = -gradient / gradient.flatten(1).norm(dim=1)[:, None, None]
    assert found.solver == "exact"
    torch.testing.assert_close(found.filters, expected)


def test_the_loss_of_large_heads_is_the_loss(generator) -> None:
    model, x = segmenter().float(), images(generator).float()
    found = explain(model, x, layer="conv")
    assert found.solver == "exact"
    torch.testing.assert_close(found.losses, hooked_losses(model, "conv", x, found.filters))


class FewCells(nn.Module):
    """Of 10x10 cells only some reach the output."""

    def __init__(self, kept: int) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.conv, self.kept = nn.Conv2d(3, 4, 1), kept
        self.fc = nn.Linear(4 * kept, 30)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).flatten(2)[:, :, : self.kept].flatten(1))


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_what_products_leave_open_is_solved_exactly_on_demand(kept, generator) -> None:
    model, x = FewCells(kept).double(), images(generator, size=(10, 10))
    found = explain(model, x, layer="conv", solver="exact")
    uniform = torch.full_like(found.filters, 0.1)
    assert (found.losses <= hooked_losses(model, "conv", x, uniform)).all()
    torch.testing.assert_close(
        found.losses, hooked_losses(model, "conv", x, found.filters), atol=1e-12, rtol=1e-9
    )
    spectral = explain(model, x, layer="conv", solver="spectral")
    assert (found.losses <= spectral.losses * (1 + 1e-9) + 1e-12).all()
    torch.testing.assert_close(found.filters.flatten(1).norm(dim=1), torch.ones(3).double())


def test_what_products_leave_open_is_not_solved_on_more_cells_than_allowed(
    generator, monkeypatch
) -> None:
    model, x = FewCells(1).double(), images(generator, size=(10, 10))
    monkeypatch.setattr(matrix_free, "GRAM_CELLS", 100)
    assert explain(model, x, layer="conv", solver="exact").settled.all()
    monkeypatch.setattr(matrix_free, "GRAM_CELLS", 99)
    with pytest.raises(InputError, match="does not come to an end on the 100 cells"):
        explain(model, x, layer="conv", solver="exact")


def test_a_large_head_with_a_relu_is_not_taken_for_affine(generator) -> None:
    model, x = segmenter(), images(generator)
    rectified = nn.Sequential(model.conv, model.classify, nn.ReLU(), model.up)
    assert explain(rectified, x, layer="0").solver == "spectral"
    with pytest.raises(InputError, match="not affine"):
        explain(rectified, x, layer="0", solver="exact")


def test_the_plan_goes_by_cells_and_bytes() -> None:
    mega = 2**20
    # 49 cells, 1000 outputs of 4 bytes: M of 196 000 bytes, 342 of which are 64 MiB
    small = {"cells": 49, "matrix_bytes": 196_000}
    assert plan_affine(**small, problems=8, fit=100) == Plan(dense=True, at_once=8)
    assert plan_affine(**small, problems=1000, fit=400) == Plan(dense=True, at_once=342)
    assert plan_affine(**small, problems=1000, fit=100) == Plan(dense=True, at_once=100)
    # 256 cells, 21 x 128 x 128 outputs: M of 336 MiB
    large = {"cells": 256, "matrix_bytes": 336 * mega}
    assert plan_affine(**large, problems=4, fit=8) == Plan(dense=False, at_once=4)
    assert plan_affine(**large, problems=40, fit=8) == Plan(dense=False, at_once=8)
    assert plan_affine(**large, problems=4, fit=8, gradients=False) is None
    # few cells and very many outputs: 16 cells, M of 100 MiB
    wide = {"cells": 16, "matrix_bytes": 100 * mega}
    assert plan_affine(**wide, problems=4, fit=8) == Plan(dense=False, at_once=4)
    assert plan_affine(**wide, problems=4, fit=8, gradients=False) == Plan(dense=True, at_once=1)
    # many cells, but a small M: products unless there are no gradients
    many = {"cells": 784, "matrix_bytes": 3 * mega}
    assert plan_affine(**many, problems=90, fit=50) == Plan(dense=False, at_once=50)
    assert plan_affine(**many, problems=90, fit=50, gradients=False) == Plan(True, 21)


@pytest.mark.parametrize("layer", ["conv", "flat"])
@pytest.mark.parametrize("gradients", [True, False])
def test_no_evaluation_holds_more_than_its_share(layer, gradients, generator, monkeypatch) -> None:
    model = segmenter()
    x = images(generator, 7, (9, 11) if layer == "conv" else (6, 6))
    if not gradients:
        model.classify.register_forward_hook(lambda module, args, out: out.detach())
    row_bytes = 8 * (6 + 5 * 9) * x[0, 0].numel()  # maps, and outputs at three times the size
    monkeypatch.setattr("caf_video.attention.cutting.response.EVALUATION_BYTES", 2 * row_bytes)
    rows: list[int] = []
    filtered = Cut.filtered

    def counted(cut: Cut, filters: Tensor, part: object) -> Tensor:
        rows.append(len(filters))
        return filtered(cut, filters, part)

    monkeypatch.setattr(Cut, "filtered", counted)
    found = explain(model, x, layer="conv")
    assert found.solver == "exact" and max(rows) == 2
    rows.clear()
    if gradients:
        explain(model, x, layer="conv", solver="spectral")
        assert max(rows) == 2


def test_what_one_evaluation_holds_counts_outputs_too(generator, monkeypatch) -> None:
    monkeypatch.setattr("caf_video.attention.cutting.response.EVALUATION_BYTES", 1000)
    from caf_video.attention.cutting.cut import cut_network

    x = images(generator, 5, (2, 3))
    with cut_network(segmenter(), x, "conv") as cut:
        # 6 channels of 6 cells are 288 bytes, 5 channels of 54 outputs 2160
        assert CutResponse(cut).at_once == 1
        monkeypatch.setattr("caf_video.attention.cutting.response.EVALUATION_BYTES", 2 * 2448)
        assert [len(rows) for rows in CutResponse(cut).chunks()] == [2, 2, 1]


class NoBackward(torch.autograd.Function):
    """The identity, with None for a gradient."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, slope: Tensor) -> None:
        return None


class WrongBackward(NoBackward):
    @staticmethod
    def backward(ctx: object, slope: Tensor) -> Tensor:
        return slope * torch.linspace(0, 1, slope.shape[-1], dtype=slope.dtype)


class Undifferentiable(NoBackward):
    @staticmethod
    def backward(ctx: object, slope: Tensor) -> Tensor:
        raise NotImplementedError


class WithoutGradient(nn.Module):
    """A head through which no gradient comes, affine or with a ReLU."""

    def __init__(self, kind: str, *, affine: bool = True) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.kind, self.affine = kind, affine
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.inner, self.fc = nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        z = self.inner(self.conv(x).sum(dim=(2, 3)))
        if self.kind == "detach":
            z = z.detach()
        elif self.kind == "inner no_grad":
            with torch.no_grad():
                z = z * 1
        elif self.kind != "plain":
            z = {
                "None": NoBackward,
                "wrong": WrongBackward,
                "not implemented": Undifferentiable,
            }[self.kind].apply(z)
        return self.fc(z if self.affine else z.relu())


KINDS = ["detach", "None", "not implemented"]


@pytest.mark.parametrize("size", [(5, 6), (9, 11)])  # by the matrix anyway, and only without
@pytest.mark.parametrize("kind", [*KINDS, "wrong", "inner no_grad"])
def test_affine_heads_are_solved_without_their_gradients(kind, size, generator) -> None:
    x = images(generator, size=size)
    expected = explain(WithoutGradient("plain").double(), x, layer="conv")
    for solver in ("auto", "exact"):
        found = explain(WithoutGradient(kind).double(), x, layer="conv", solver=solver)
        assert found.solver == expected.solver == "exact"
        torch.testing.assert_close(found.filters, expected.filters, atol=1e-6, rtol=0)
        torch.testing.assert_close(found.losses, expected.losses)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_that_is_missing_is_not_taken_for_zero(kind, generator) -> None:
    x = images(generator, size=(5, 6))
    curved = WithoutGradient(kind, affine=False).double()
    for options in ({}, {"solver": "spectral"}, {"solver": "descent"}, {"target": 1}):
        with pytest.raises(InputError, match='layer "conv", or its gradient is cut off'):
            explain(curved, x, layer="conv", **options)
    for model in (curved, WithoutGradient(kind).double()):
        with pytest.raises(InputError, match='layer "conv"'):
            grad_cam(model, x, layer="conv", target=1)


def test_a_matrix_that_is_too_large_is_refused_in_a_line(generator, monkeypatch) -> None:
    monkeypatch.setattr("caf_video.attention.affine_head.LIMIT_BYTES", LIMIT_BYTES // 2**18)
    model = segmenter()
    model.classify.register_forward_hook(lambda module, args, out: out.detach())
    with pytest.raises(InputError, match='layer "conv" .* matrix of 4455 outputs by 99 cells'):
        explain(model, images(generator), layer="conv")


@pytest.mark.parametrize("count", [1, 3])
def test_a_network_of_dynamic_int8_is_explained_as_the_one_of_floats(count, generator) -> None:
    torch.manual_seed(4)
    model = nn.Sequential(
        nn.Conv2d(3, 64, 5, stride=3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(64, 5),
    )  # fmt: skip
    x = images(generator, count, (20, 23)).float()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the quantiser of this version is on its way out
        rounded = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {nn.Linear})
    found, expected = explain(rounded, x, layer="1"), explain(model, x, layer="1")
    assert found.solver == "exact"
    alike = nn.functional.cosine_similarity(found.filters.flatten(1), expected.filters.flatten(1))
    assert (alike > 0.99).all()
    torch.testing.assert_close(found.losses, hooked_losses(rounded, "1", x, found.filters))
    uniform = torch.full_like(found.filters, found.filters[0].numel() ** -0.5)
    assert (found.losses < hooked_losses(rounded, "1", x, uniform)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch has a word to say as well
        with pytest.raises(InputError, match="gradient is cut off behind it"):
            explain(rounded, x, layer="1", solver="spectral")
