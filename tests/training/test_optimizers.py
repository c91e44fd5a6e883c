"""Learning rates by step, and who learns at which."""

from functools import partial

import pytest
import torch
from torch import nn

from caf_video.errors import InputError
from caf_video.models.image_network import ImageNetwork
from caf_video.training.optimizers import adam, adamw_one_cycle, sgd_linear, sgd_steps


@pytest.fixture
def network() -> nn.Module:
    return nn.Linear(3, 2)


def rates_of(made: dict, steps: int) -> list[list[float]]:
    """The learning rate of every group at each step."""
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert made["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(steps):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return rates


def test_one_cycle_rises_to_the_learning_rate_and_falls_to_almost_nothing(network) -> None:
    made = adamw_one_cycle(network, 50, lr=0.1, weight_decay=0.02)
    rates = [rate for (rate,) in rates_of(made, 50)]
    assert max(rates) == pytest.approx(0.1, rel=0.01) and rates.index(max(rates)) in (14, 15)
    assert rates[0] < 0.01 and rates[-1] < 1e-5
    assert made["optimizer"].param_groups[0]["weight_decay"] == 0.02


def test_adam_keeps_its_learning_rate(network) -> None:
    made = adam(network, 50, lr=0.3)
    assert made.keys() == {"optimizer"}
    assert [group["lr"] for group in made["optimizer"].param_groups] == [0.3]


def test_linear_decay_ends_one_step_before_zero(network) -> None:
    made = sgd_linear(network, 5, lr=0.1, momentum=0.9, weight_decay=0.02)
    assert rates_of(made, 5) == [pytest.approx([0.1 * left / 5]) for left in (5, 4, 3, 2, 1)]
    (group,) = made["optimizer"].param_groups
    assert (group["momentum"], group["weight_decay"]) == (0.9, 0.02)


def stepped(model: ImageNetwork, *, drops=(0.5, 0.8), pretrained_factor: float = 0.1) -> dict:
    return sgd_steps(
        model,
        10,
        lr=0.2,
        momentum=0.9,
        weight_decay=5e-4,
        drops=drops,
        pretrained_factor=pretrained_factor,
    )


def test_steps_divide_by_ten_from_each_drop_on(tiny_backbone) -> None:
    model = ImageNetwork(tiny_backbone, outputs=2, weights="none")
    rates = [rate for (rate,) in rates_of(stepped(model), 10)]
    assert rates == pytest.approx([0.2] * 5 + [0.02] * 3 + [0.002] * 2)
    assert [rate for (rate,) in rates_of(stepped(model, drops=()), 10)] == [0.2] * 10


def test_what_is_pretrained_learns_at_its_own_rate(tiny_backbone, tmp_path) -> None:
    state = ImageNetwork(tiny_backbone, outputs=10, weights="none").state_dict()
    names = {name: name.removeprefix("trunk.").removeprefix("tail.") for name in state}
    torch.save({names[name]: values for name, values in state.items()}, tmp_path / "weights.pth")
    model = ImageNetwork(tiny_backbone, outputs=2, weights=str(tmp_path / "weights.pth"))
    for factor in (0.1, 1.0):
        made = stepped(model, pretrained_factor=factor)
        fresh, pretrained = made["optimizer"].param_groups
        assert {id(values) for values in fresh["params"]} == set(map(id, model.tail.parameters()))
        assert {id(v) for v in pretrained["params"]} == set(map(id, model.trunk.parameters()))
        for group in (fresh, pretrained):
            assert group["nesterov"]
            assert (group["momentum"], group["weight_decay"]) == (0.9, 5e-4)
        rates = rates_of(made, 10)
        assert [one for _, one in rates] == pytest.approx([factor * one for one, _ in rates])
        assert rates[0][0] == 0.2


class Proxies(nn.Module):
    """A loss with a parameter of its own."""

    def __init__(self, **attributes: float) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.zeros(3))
        vars(self).update(attributes)


FACTORIES = {
    "adam": partial(adam, lr=0.3),
    "adamw_one_cycle": partial(adamw_one_cycle, lr=0.3, weight_decay=0.02),
    "sgd_linear": partial(sgd_linear, lr=0.3, momentum=0.9, weight_decay=0.02),
    "sgd_steps": partial(
        sgd_steps, lr=0.3, momentum=0.9, weight_decay=0.02, drops=[0.5], pretrained_factor=0.1
    ),
}


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
@pytest.mark.parametrize(
    ("attributes", "factor"), [({"learning_rate_factor": 100.0}, 100), ({}, 1)]
)
def test_the_losss_own_parameters_are_the_last_group_at_its_factor_in_every_step(
    tiny_backbone, factory, attributes, factor
) -> None:
    model, loss = ImageNetwork(tiny_backbone, outputs=2, weights="none"), Proxies(**attributes)
    alone, made = factory(model, 10), factory(model, 10, loss=loss)
    group = made["optimizer"].param_groups[-1]
    assert group["params"] == [loss.proxies]
    assert group["weight_decay"] == made["optimizer"].param_groups[0]["weight_decay"]
    if "lr_scheduler" not in made:
        assert [one["lr"] for one in made["optimizer"].param_groups] == [0.3, 0.3 * factor]
        return
    for (alone_rate,), (rate, of_loss) in zip(rates_of(alone, 10), rates_of(made, 10), strict=True):
        assert rate == alone_rate
        assert of_loss == pytest.approx(factor * rate)


@pytest.mark.parametrize("drop", [0.0, 1.0, 30.0])
def test_a_drop_that_is_no_share_of_the_steps_is_refused(tiny_backbone, drop) -> None:
    model = ImageNetwork(tiny_backbone, outputs=2, weights="none")
    with pytest.raises(InputError, match="learning rate drops at .*: wanted shares"):
        stepped(model, drops=[drop])


@pytest.mark.parametrize("lr", [0.0, -0.1])
def test_a_learning_rate_is_above_nothing(network, lr: float) -> None:
    image = ImageNetwork("resnet18", outputs=2, weights="none")
    for make in (
        partial(adam, network),
        partial(adamw_one_cycle, network, weight_decay=0.0),
        partial(sgd_linear, network, momentum=0.9, weight_decay=0.0),
        partial(
            sgd_steps, image, momentum=0.9, weight_decay=0.0, drops=[0.5], pretrained_factor=0.0
        ),
    ):
        with pytest.raises(InputError, match=f"a learning rate of {lr}"):
            make(10, lr=lr)
