"""Squeeze-and-excitation against loops, and ResNet50-SE against torchvision's ResNet-50."""

import math

import torch
from torch import nn
from torchvision.models import get_model

from caf_video.models.resnet_se import SEBottleneck, open_gates, resnet50_se


def test_a_gate_scales_each_channel_of_the_residual_by_what_all_of_them_are(generator) -> None:
    torch.manual_seed(0)
    block = SEBottleneck(64, 16).eval()
    for norm in (block.bn1, block.bn2, block.bn3):
        nn.init.uniform_(norm.running_mean, -0.2, 0.2, generator=generator)
        nn.init.uniform_(norm.running_var, 0.5, 1.5, generator=generator)
    maps = torch.randn(1, 64, 3, 4, generator=generator)
    with torch.no_grad():
        inner = block.bn1(block.conv1(maps)).relu()
        inner = block.bn2(block.conv2(inner)).relu()
        residual = block.bn3(block.conv3(inner))[0]
        averages = [residual[c].mean().item() for c in range(64)]
        reduced = []
        for k in range(4):  # 64 / 16
            weights = block.se.fc1.weight[k, :, 0, 0].tolist()
            total = sum(w * a for w, a in zip(weights, averages, strict=True))
            reduced.append(max(0.0, total + block.se.fc1.bias[k].item()))
        wanted = torch.empty_like(residual)
        for c in range(64):
            weights = block.se.fc2.weight[c, :, 0, 0].tolist()
            total = sum(w * r for w, r in zip(weights, reduced, strict=True))
            gate = 1 / (1 + math.exp(-total - block.se.fc2.bias[c].item()))
            wanted[c] = (gate * residual[c] + maps[0, c]).clamp(min=0)
        torch.testing.assert_close(block(maps)[0], wanted)


def test_it_has_a_gate_in_each_block_and_otherwise_the_weights_of_resnet50() -> None:
    with torch.device("meta"):
        plain, ours = get_model("resnet50", weights=None), resnet50_se()
    shapes = {name: values.shape for name, values in plain.state_dict().items()}
    gates = {}
    for name, values in ours.state_dict().items():
        if ".se." in name:
            gates[name] = values.shape
        else:
            assert shapes.pop(name) == values.shape
    assert not shapes
    assert len(gates) == 16 * 4
    assert gates["layer4.2.se.fc1.weight"] == (128, 2048, 1, 1)  # Hu et al. 2018: 2048 / 16
    assert gates["layer1.0.se.fc2.weight"] == (256, 16, 1, 1)


def test_224_pixels_give_14_by_14_cells() -> None:
    with torch.device("meta"):
        net = resnet50_se()
        maps = nn.Sequential(*list(net.children())[:-2])(torch.empty(1, 3, 224, 224))
    assert maps.shape == (1, 2048, 14, 14)


def test_with_opened_gates_it_computes_what_the_plain_network_does(generator) -> None:
    torch.manual_seed(0)
    plain = get_model("resnet50", weights=None)
    images = torch.randn(2, 3, 64, 64, generator=generator)
    plain(images)  # moves the statistics of the batch norms
    plain.layer4[0].conv2.stride = plain.layer4[0].downsample[0].stride = (1, 1)
    ours = resnet50_se()
    ours.load_state_dict(plain.state_dict(), strict=False)
    open_gates(ours)
    for mode in (True, False):
        with torch.no_grad():
            torch.testing.assert_close(ours.train(mode)(images), plain.train(mode)(images))
