"""VGG-GAP against torchvision's VGG-16, which it is up to conv5-3."""

import torch
from torch import nn
from torch.nn import functional
from torchvision.models import get_model

from caf_video.models.architectures import as_sequence
from caf_video.models.vgg_gap import VGGGap, vgg_acol_chain, vgg_gap_chain


def test_up_to_conv5_3_it_is_torchvisions_vgg16() -> None:
    with torch.device("meta"):
        whole, ours = get_model("vgg16", weights=None), VGGGap()
    assert [str(module) for module in ours.features] == [str(m) for m in whole.features[:30]]
    assert isinstance(ours.features[29], nn.ReLU)
    assert isinstance(whole.features[30], nn.MaxPool2d)
    shapes = {name: values.shape for name, values in whole.state_dict().items()}
    added = {"conv6.weight", "conv6.bias", "fc.weight", "fc.bias"}
    for name, values in ours.state_dict().items():
        assert name in added or values.shape == shapes[name]
    assert added <= ours.state_dict().keys()


def test_224_pixels_give_14_by_14_cells_in_all_its_forms() -> None:
    with torch.device("meta"):
        net = VGGGap()
        images = torch.empty(1, 3, 224, 224)
        gap, acol = vgg_gap_chain(net), vgg_acol_chain(net)
        assert as_sequence(gap[:32])(images).shape == (1, 1024, 14, 14)
        assert as_sequence(acol[:32])(images).shape == (1, 512, 14, 14)
        assert as_sequence(gap)(images).shape == net(images).shape == (1, 1000)


def test_behind_conv5_3_a_convolution_a_relu_the_average_and_one_linear_layer(generator) -> None:
    torch.manual_seed(0)
    net = VGGGap(classes=7).eval()
    images = torch.randn(2, 3, 40, 56, generator=generator)
    with torch.no_grad():
        maps = net.features(images)  # (2, 512, 2, 3)
        added = functional.conv2d(maps, net.conv6.weight, net.conv6.bias, padding=1).clamp(min=0)
        logits = torch.stack(
            [
                sum(net.fc.weight @ added[n, :, y, x] for y in range(2) for x in range(3)) / 6
                + net.fc.bias
                for n in range(2)
            ]
        )
        torch.testing.assert_close(net(images), logits)
        torch.testing.assert_close(as_sequence(vgg_gap_chain(net))(images), logits)
