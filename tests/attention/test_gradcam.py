"""Grad-CAM and CAM: by hand, and against captum and pytorch-grad-cam."""

import numpy as np
import pytest
import torch
import torchvision
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from caf_video.attention import cam, explain, grad_cam, retrieval_grad_cam
from caf_video.attention.heatmap import resize_maps
from caf_video.errors import InputError


class Small(nn.Module):
    """convolution → ReLU → global average pooling → one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.conv(x)).flatten(1))


def small() -> Small:
    torch.manual_seed(6)
    return Small().double()


def images(generator: torch.Generator, count: int = 3) -> Tensor:
    return torch.randn(count, 3, 6, 7, generator=generator, dtype=torch.float64)


def as_written(model: Small, image: Tensor, classes: list[int]) -> Tensor:
    """Eq. 4 and 5 for one image, by loops: the sum of the logits of `classes`."""
    a = model.conv(image[None])
    score = model.fc(model.pool(a).flatten(1))[0, classes].sum()
    (gradient,) = torch.autograd.grad(score, a)
    _, channels, height, width = a.shape
    heat = torch.zeros(height, width, dtype=a.dtype)
    for k in range(channels):
        weight = sum(gradient[0, k, i, j] for i in range(height) for j in range(width))
        heat += weight / (height * width) * a[0, k].detach()
    return heat


def test_equations_4_and_5_by_loops_a_target_a_sample(generator) -> None:
    model, x = small(), images(generator)
    targets = [4, 0, 2]
    heat = grad_cam(model, x, layer="conv", target=targets, mode="signed", size=(4, 5))
    for i, target in enumerate(targets):
        torch.testing.assert_close(heat[i], as_written(model, x[i], [target]))
    relu = grad_cam(model, x, layer="conv", target=torch.tensor(targets), size=(4, 5))
    torch.testing.assert_close(relu, heat.relu())
    magnitude = grad_cam(model, x, layer="conv", target=targets, mode="abs", size=(4, 5))
    torch.testing.assert_close(magnitude, heat.abs())
    at_input = grad_cam(model, x, layer=model.conv, target=targets)
    torch.testing.assert_close(at_input, resize_maps(relu, (6, 7)))


def test_retrieval_takes_the_gradient_of_the_sum_over_dimensions(generator) -> None:
    model, x = small(), images(generator)
    heat = grad_cam(model, x, layer="conv", mode="signed", size=(4, 5))
    for i in range(3):
        torch.testing.assert_close(heat[i], as_written(model, x[i], list(range(5))))
    maps = model.conv(x).detach()

    def embed(a: Tensor) -> Tensor:
        return model.fc(model.pool(a).flatten(1))

    for mode, expected in (("signed", heat), ("relu", heat.relu()), ("abs", heat.abs())):
        torch.testing.assert_close(retrieval_grad_cam(embed, maps, mode=mode), expected)


def test_the_frames_of_a_clip_share_one_backward_pass(generator) -> None:
    weights = torch.rand(3, 4, generator=generator, dtype=torch.float64)

    def embed(maps: Tensor) -> Tensor:  # (b, t, c, h, w): every frame and channel weighted
        return torch.einsum("btchw,tc->bc", maps.square(), weights)

    maps = torch.randn(2, 3, 4, 5, 6, generator=generator, dtype=torch.float64)
    heat = retrieval_grad_cam(embed, maps, mode="signed", axes="n t c h w")
    alpha = 2 * weights[None] * maps.mean(dim=(3, 4))
    torch.testing.assert_close(heat, torch.einsum("btc,btchw->bthw", alpha, maps))


def test_a_module_is_left_as_found_by_its_own_method(generator) -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.fc = nn.Dropout(0.5), nn.Linear(4, 3)

        def head(self, maps: Tensor) -> Tensor:
            return self.fc(self.drop(maps.mean(dim=(2, 3))))

    model = Head().double().train()
    maps = torch.randn(2, 4, 5, 6, generator=generator, dtype=torch.float64)
    first, second = (retrieval_grad_cam(model.head, maps) for _ in range(2))
    torch.testing.assert_close(first, second)  # no dropout
    assert model.training and model.drop.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_cam_is_the_signed_grad_cam_times_the_number_of_cells(generator) -> None:
    model, x = small(), images(generator)
    weighted = cam(model, x, layer="conv", target=[1, 2, 3])
    signed = grad_cam(model, x, layer="conv", target=[1, 2, 3], mode="signed")
    torch.testing.assert_close(weighted / (4 * 5), signed)
    grid = cam(model, x, layer="conv", target=1, size=(4, 5))
    expected = torch.einsum("c,nchw->nhw", model.fc.weight[1], model.conv(x))
    torch.testing.assert_close(grid, expected.detach())


def test_with_centred_logits_the_filter_is_the_grad_cam(generator) -> None:
    model, x = small(), images(generator)
    with torch.no_grad():
        model.fc.weight -= model.fc.weight.mean(dim=0)
    f = explain(model, x, layer="conv", target=[1, 2, 3], center_logits=True).filters.flatten(1)
    heat = grad_cam(model, x, layer="conv", target=[1, 2, 3], mode="signed", size=(4, 5)).flatten(1)
    torch.testing.assert_close(f, heat / heat.norm(dim=1, keepdim=True))


def test_cam_needs_pooling_and_one_linear_layer(generator) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(80, 5)).double()
    with pytest.raises(InputError, match="CAM needs global average pooling"):
        cam(model, images(generator), layer="0", target=0)
    rectified = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    with pytest.raises(InputError, match="CAM needs"):
        cam(rectified.double(), images(generator), layer="0", target=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "square"}, 'mode is "square"'),
        ({"target": 5}, "target of sample 0 is 5"),
        ({"layer": "cnov"}, "near it: conv"),
    ],
)
def test_wrong_arguments_are_told_apart(arguments, message, generator) -> None:
    with pytest.raises(InputError, match=message):
        grad_cam(small(), images(generator), **{"layer": "conv", **arguments})
    with pytest.raises(InputError, match='mode is "square"'):
        retrieval_grad_cam(lambda a: a.mean(dim=(2, 3)), torch.ones(1, 2, 3, 3), mode="square")


def test_captums_own_example_worked_out_by_hand() -> None:
    class Tiny(nn.Module):
        """Captum's BasicModel_MultiLayer, whose attributions its tests state as numbers."""

        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 2, 3, 1)
            self.relu1, self.fc = nn.ReLU(), nn.Linear(8, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.relu1(self.conv1(x)).flatten(1))

    model = Tiny()
    with torch.no_grad():
        model.conv1.weight[0], model.conv1.weight[1] = 1.0, 0.5
        model.conv1.bias.zero_()
        model.fc.weight.copy_(torch.arange(1.0, 9.0)[None])
    x = torch.arange(16.0).view(1, 1, 4, 4)
    # conv1: sums of 3x3 windows: 45 54 / 81 90, and half of them; gradients 1 2 3 4 and 5 6 7 8,
    # means 2.5 and 6.5: 2.5 A + 6.5 A / 2 = 5.75 A
    expected = 5.75 * torch.tensor([[[45.0, 54.0], [81.0, 90.0]]])
    heat = grad_cam(model, x, layer="conv1", size=(2, 2))
    torch.testing.assert_close(heat, expected)
    torch.testing.assert_close(LayerGradCam(model, model.conv1).attribute(x, 0)[:, 0], expected)


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    torch.manual_seed(8)
    return {
        "resnet18": torchvision.models.resnet18(num_classes=10).eval(),
        "densenet121": torchvision.models.densenet121(num_classes=10).eval(),
        "r3d_18": torchvision.models.video.r3d_18(num_classes=10).eval(),
    }


LAYERS = {"resnet18": "layer4", "densenet121": "features", "r3d_18": "layer4"}


@pytest.mark.parametrize("name", LAYERS)
def test_it_is_captums_on_every_network(name, networks, generator) -> None:
    model, layer = networks[name], networks[name].get_submodule(LAYERS[name])
    shape = (2, 3, 4, 48, 48) if name == "r3d_18" else (2, 3, 64, 64)
    x = torch.randn(shape, generator=generator)
    target = torch.tensor([3, 7])
    heat = grad_cam(model, x, layer=layer, target=target, mode="signed", size=_grid(name))
    expected = LayerGradCam(model, layer).attribute(x, target)[:, 0].detach()
    torch.testing.assert_close(heat, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


def _grid(name: str) -> tuple[int, ...]:
    return (1, 3, 3) if name == "r3d_18" else (2, 2)


def pytorch_grad_cams(model: nn.Module, layer: nn.Module, x: Tensor, targets: list[int]) -> Tensor:
    """pytorch-grad-cam's map before it is resized and rescaled to [0, 1]."""
    with GradCAM(model=model, target_layers=[layer]) as peer:
        peer(input_tensor=x, targets=[ClassifierOutputTarget(t) for t in targets])
        activations = peer.activations_and_grads.activations[0].cpu().numpy()
        gradients = peer.activations_and_grads.gradients[0].cpu().numpy()
    heat = (gradients.mean(axis=(2, 3))[:, :, None, None] * activations).sum(axis=1)
    return torch.from_numpy(np.maximum(heat, 0))


def test_it_is_pytorch_grad_cams_on_resnet(networks, generator) -> None:
    model, x = networks["resnet18"], torch.randn(2, 3, 64, 64, generator=generator)
    heat = grad_cam(model, x, layer="layer4", target=[3, 7], size=(2, 2))
    expected = pytorch_grad_cams(model, model.layer4, x, [3, 7])
    torch.testing.assert_close(heat, expected, rtol=1e-4, atol=1e-5 * expected.max().item())


def test_on_densenet_pytorch_grad_cam_sees_maps_that_were_overwritten(networks, generator) -> None:
    """It keeps the layer's output itself, which DenseNet then rectifies in place.

    Its maps are those behind the ReLU, its gradients those before it: neither Grad-CAM of the
    layer, which captum and we compute, nor of the ReLU (`after_relu`).
    """
    model, x = networks["densenet121"], torch.randn(2, 3, 64, 64, generator=generator)
    theirs = pytorch_grad_cams(model, model.features, x, [3, 7])
    ours = grad_cam(model, x, layer="features", target=[3, 7], size=(2, 2))
    behind = grad_cam(model, x, layer="features", target=[3, 7], size=(2, 2), after_relu=True)
    scale = ours.abs().max()
    assert (ours - theirs).abs().max() > 1e-2 * scale
    assert (behind - theirs).abs().max() > 1e-2 * scale
    before = []
    hook = model.features.register_forward_hook(lambda m, a, out: before.append(out.clone()))
    leaf = model.features(x)
    hook.remove()
    leaf = leaf.detach().requires_grad_()
    logits = model.classifier(leaf.relu().mean(dim=(2, 3)))
    (gradient,) = torch.autograd.grad(logits[0, 3] + logits[1, 7], leaf)
    alpha = gradient.mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close((alpha * before[0]).sum(dim=1).relu().detach(), ours)
    torch.testing.assert_close((alpha * before[0].relu()).sum(dim=1).relu().detach(), theirs)
