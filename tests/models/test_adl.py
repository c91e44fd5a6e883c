"""The attention-based dropout layer against numbers worked out on paper, and where it is put."""

import math
from collections import OrderedDict

import pytest
import torch
from torch import nn

from caf_video.errors import InputError
from caf_video.models.adl import AttentionDropout, adl_placement, insert_attention_dropout
from caf_video.models.architectures import BACKBONES, Stage

# Two channels whose mean, the attention, is (1 2 / 4 5).
MAPS = torch.tensor([[[[0.0, 2.0], [4.0, 9.0]], [[2.0, 2.0], [4.0, 1.0]]]])


def test_the_drop_mask_hides_the_cells_that_reach_the_threshold() -> None:
    layer = AttentionDropout(drop_rate=1.0, threshold=0.8)
    # 0.8 * 5 = 4: the cells of 4 (reaches it) and 5 go, in every channel.
    assert layer(MAPS).tolist() == [[[[0, 2], [0, 0]], [[2, 2], [0, 0]]]]
    assert AttentionDropout(drop_rate=1.0, threshold=0.9)(MAPS)[0, 0].tolist() == [[0, 2], [4, 0]]


def test_the_importance_map_is_the_sigmoid_of_the_attention() -> None:
    layer = AttentionDropout(drop_rate=0.0)
    for c in range(2):
        for y, x, attention in ((0, 0, 1), (0, 1, 2), (1, 0, 4), (1, 1, 5)):
            wanted = MAPS[0, c, y, x].item() / (1 + math.exp(-attention))
            assert layer(MAPS)[0, c, y, x].item() == pytest.approx(wanted, rel=1e-6)


def test_every_sample_is_held_against_its_own_maximum() -> None:
    layer = AttentionDropout(drop_rate=1.0, threshold=0.8)
    weak = MAPS / 1000
    both = layer(torch.cat([MAPS, weak]))
    torch.testing.assert_close(both[1:], layer(MAPS) / 1000)


def test_a_map_that_is_the_same_everywhere_is_dropped_whole() -> None:
    layer = AttentionDropout(drop_rate=1.0)
    assert layer(torch.ones(1, 2, 3, 3)).eq(0).all()
    assert layer(-torch.ones(1, 2, 3, 3)).eq(-1).all()  # never reaches 0.8 of -1, which is larger


def test_in_eval_mode_it_hands_on_the_very_map() -> None:
    layer = AttentionDropout().eval()
    assert layer(MAPS) is MAPS


def test_one_of_the_two_is_chosen_for_the_whole_batch_with_the_drop_rate() -> None:
    layer = AttentionDropout(drop_rate=0.75, threshold=0.8)
    dropped = AttentionDropout(drop_rate=1.0, threshold=0.8)(MAPS)
    weighted = AttentionDropout(drop_rate=0.0)(MAPS)
    torch.manual_seed(0)
    drops, total = 0, torch.zeros_like(MAPS)
    draws = 4000
    for _ in range(draws):
        outcome = layer(MAPS.expand(3, -1, -1, -1))
        is_drop = torch.equal(outcome[0], dropped[0])
        assert is_drop or torch.equal(outcome[0], weighted[0])
        assert torch.equal(outcome[1], outcome[0]) and torch.equal(outcome[2], outcome[0])
        drops += is_drop
        total += outcome[:1]
    deviation = math.sqrt(0.75 * 0.25 / draws)
    assert abs(drops / draws - 0.75) < 4 * deviation
    expected = 0.75 * dropped + 0.25 * weighted
    assert (
        (total / draws - expected).abs() <= 4 * deviation * (dropped - weighted).abs() + 1e-4
    ).all()


def test_the_same_seed_makes_the_same_choices() -> None:
    layer = AttentionDropout(drop_rate=0.5)
    runs = []
    for _ in range(2):
        torch.manual_seed(5)
        runs.append([layer(MAPS)[0, 0, 1, 1].item() == 0 for _ in range(40)])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 2


def test_gradients_pass_through_the_importance_map_and_not_through_the_drop_mask(generator) -> None:
    maps = torch.randn(2, 3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(AttentionDropout(drop_rate=0.0), maps)
    AttentionDropout(drop_rate=1.0)(MAPS.requires_grad_()).sum().backward()
    assert MAPS.grad is not None
    assert MAPS.grad[0].tolist() == [[[1, 1], [0, 0]], [[1, 1], [0, 0]]]
    MAPS.requires_grad_(False)


@pytest.mark.parametrize("settings", [{"drop_rate": 1.1}, {"threshold": -0.1}])
def test_shares_outside_0_to_1_are_refused(settings) -> None:
    with pytest.raises(InputError, match=f"{next(iter(settings))} .*: wanted 0 to 1"):
        AttentionDropout(**settings)


# --- where it goes ------------------------------------------------------------------------------


def small_trunk() -> nn.Sequential:
    stage = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
    return nn.Sequential(OrderedDict(stem=nn.ReLU(), stage=stage, end=nn.ReLU()))


def test_a_layer_goes_right_behind_its_step_and_renames_nothing() -> None:
    trunk = small_trunk()
    before = {name: values.clone() for name, values in trunk.state_dict().items()}
    insert_attention_dropout(trunk, ["end", "stage.0"], drop_rate=0.25, threshold=0.5)
    assert [name for name, _ in trunk.named_children()] == ["stem", "stage", "end", "end_adl"]
    stage = trunk.get_submodule("stage")
    assert [name for name, _ in stage.named_children()] == ["0", "0_adl", "1"]
    layer = stage.get_submodule("0_adl")
    assert isinstance(layer, AttentionDropout)
    assert (layer.drop_rate, layer.threshold) == (0.25, 0.5)
    assert trunk.state_dict().keys() == before.keys()
    small_trunk().load_state_dict(trunk.state_dict())
    order = [type(module).__name__ for module in trunk.modules() if not list(module.children())]
    assert order == ["ReLU", "Conv2d", "AttentionDropout", "Conv2d", "ReLU", "AttentionDropout"]


@pytest.mark.parametrize("name", ["stage.2", "nothing", "stage.0.weight"])
def test_a_place_that_is_not_there_is_refused(name) -> None:
    with pytest.raises(InputError, match=f"attention dropout after '{name}'"):
        insert_attention_dropout(small_trunk(), [name], drop_rate=0.5, threshold=0.5)


def test_the_published_places_are_those_of_the_authors_commands() -> None:
    stages = BACKBONES["densenet121"].stages
    gap = adl_placement("vgg16_gap", {16: Stage("relu6", 1024)})
    assert (gap.after, gap.threshold) == (("features16", "features23", "features29"), 0.8)
    excited = adl_placement("resnet50_se", {16: Stage("layer4", 2048)})
    assert (excited.after, excited.threshold) == (("layer3.0", "layer4.0", "layer4"), 0.9)
    assert adl_placement("densenet121", stages).after == ("transition3_relu", "relu5")
