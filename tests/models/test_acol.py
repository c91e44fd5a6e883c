"""ACoL's head against numbers worked out on paper, and against the paper by loops."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from caf_video.errors import InputError
from caf_video.models.acol import ACoLHead, normalized


def set_by_hand(classifier: nn.Module, *, scale: float, classes: tuple[float, ...]) -> None:
    """One channel, passed on by the 3x3 convolutions, times `scale`; then a factor per class."""
    first, _, second, _, last = classifier.children()
    with torch.no_grad():
        for convolution, factor in ((first, scale), (second, 1.0)):
            convolution.weight.zero_()
            convolution.weight[0, 0, 1, 1] = factor
        last.weight.copy_(torch.tensor(classes).view(-1, 1, 1, 1))


def head_by_hand() -> ACoLHead:
    """Class maps: A gives x and -x, B gives 2x and -3 * 2x."""
    head = ACoLHead(1, 2, threshold=0.5, hidden=1)
    set_by_hand(head.classifier_a, scale=1.0, classes=(1.0, -1.0))
    set_by_hand(head.classifier_b, scale=2.0, classes=(1.0, -3.0))
    return head


FEATURES = torch.tensor([[[[1.0, 2.0], [3.0, 5.0]]]])


def test_the_strongest_cells_of_the_class_are_erased_for_the_second_classifier() -> None:
    # Class 0: A's map is (1 2 / 3 5), normalised (0 .25 / .5 1). The cells of 3 and 5 reach 0.5, so
    # B sees (1 2 / 0 0) and maps class 0 to (2 4 / 0 0), class 1 to (-6 -12 / 0 0).
    logits_a, logits_b = head_by_hand().branches(FEATURES, torch.tensor([0]))
    assert logits_a.tolist() == [[11 / 4, -11 / 4]]
    assert logits_b.tolist() == [[6 / 4, -18 / 4]]


def test_what_is_erased_depends_on_the_class() -> None:
    # Class 1: A's map is (-1 -2 / -3 -5), normalised (1 .75 / .5 0): only the cell of 5 is left.
    logits_a, logits_b = head_by_hand().branches(FEATURES, torch.tensor([1]))
    assert logits_a.tolist() == [[11 / 4, -11 / 4]]
    assert logits_b.tolist() == [[10 / 4, -30 / 4]]


def test_the_fused_map_is_the_larger_of_the_two_normalised_ones() -> None:
    head = head_by_hand()
    # A's (0 .25 / .5 1) and B's (2 4 / 0 0) / 4.
    wanted = [[[0.5, 1.0], [0.5, 1.0]]]
    assert head.localization_maps(FEATURES, torch.tensor([0])).tolist() == wanted
    # Class 1: A's (1 .75 / .5 0) and B's (0 0 / 0 -30), normalised (1 1 / 1 0).
    assert head.localization_maps(FEATURES, torch.tensor([1])).tolist() == [[[1, 1], [1, 0]]]
    # A predicts class 0.
    assert head.localization_maps(FEATURES).tolist() == wanted


def by_loops(head: ACoLHead, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of A and of B and the fused map of one sample, a cell at a time."""
    _, height, width = features.shape
    target = int(targets)

    def scaled(values: Tensor) -> Tensor:
        low, high = min(values.flatten().tolist()), max(values.flatten().tolist())
        return torch.tensor([[(v - low) / (high - low) for v in row] for row in values.tolist()])

    map_a = head.classifier_a(features[None])[0]
    erased = features.clone()
    for y in range(height):
        for x in range(width):
            if scaled(map_a[target])[y, x] >= head.threshold:
                erased[:, y, x] = 0
    map_b = head.classifier_b(erased[None])[0]
    fused = torch.maximum(scaled(map_a[target]), scaled(map_b[target]))
    return map_a.flatten(1).mean(dim=1), map_b.flatten(1).mean(dim=1), fused


def test_a_batch_gives_what_the_paper_by_loops_gives_for_each_sample(generator) -> None:
    torch.manual_seed(0)
    head = ACoLHead(5, 4, threshold=0.6, hidden=7)
    features = torch.randn(6, 5, 4, 6, generator=generator)
    targets = torch.tensor([0, 3, 2, 1, 3, 0])
    with torch.no_grad():
        logits_a, logits_b = head.branches(features, targets)
        maps = head.localization_maps(features, targets)
        for n in range(6):
            one_a, one_b, fused = by_loops(head, features[n], targets[n])
            torch.testing.assert_close(logits_a[n], one_a)
            torch.testing.assert_close(logits_b[n], one_b)
            torch.testing.assert_close(maps[n], fused)


def test_alone_in_eval_mode_the_head_is_its_first_classifier(generator) -> None:
    torch.manual_seed(0)
    head = ACoLHead(5, 4, hidden=7)
    features = torch.randn(3, 5, 4, 4, generator=generator)
    logits_a, logits_b = head.branches(features, torch.tensor([0, 1, 2]))
    alone = head.eval()(features)
    assert torch.equal(alone, logits_a)
    assert not torch.allclose(alone, logits_b)
    predicted = alone.argmax(dim=1)
    maps = head.localization_maps(features)
    assert torch.equal(maps, head.localization_maps(features, predicted))
    assert maps.min() >= 0
    assert maps.max() == 1


def test_in_train_mode_it_refuses_to_run_without_the_labels() -> None:
    with pytest.raises(InputError, match="learns from labels only.*branches"):
        ACoLHead(5, 4, hidden=7)(torch.zeros(1, 5, 4, 4))


def test_each_classifier_learns_from_its_own_loss_alone(generator) -> None:
    torch.manual_seed(0)
    head = ACoLHead(5, 4, hidden=7)
    features = torch.randn(3, 5, 4, 4, generator=generator, requires_grad=True)
    targets = torch.tensor([0, 1, 2])
    for branch, trained, other in (
        (0, head.classifier_a, head.classifier_b),
        (1, head.classifier_b, head.classifier_a),
    ):
        head.zero_grad()
        features.grad = None
        cross_entropy(head.branches(features, targets)[branch], targets).backward()
        assert all(values.grad.abs().sum() > 0 for values in trained.parameters())
        assert all(values.grad is None for values in other.parameters())
        assert features.grad.abs().sum() > 0


def test_of_a_constant_class_map_nothing_is_erased() -> None:
    head = head_by_hand()
    with torch.no_grad():
        head.classifier_a[0].weight.zero_()
    _, logits_b = head.branches(FEATURES, torch.tensor([0]))
    assert logits_b.tolist() == [[22 / 4, -66 / 4]]
    assert normalized(torch.full((1, 2, 2), -3.0)).tolist() == [[[0, 0], [0, 0]]]


def test_it_starts_as_the_authors_code_does() -> None:
    torch.manual_seed(0)
    head = ACoLHead(8, 3, hidden=16)
    for classifier in (head.classifier_a, head.classifier_b):
        for convolution in (classifier[0], classifier[2], classifier[4]):
            fans = sum(convolution.weight.shape[:2]) * convolution.kernel_size[0] ** 2
            bound = (6 / fans) ** 0.5  # Glorot & Bengio 2010, Eq. 16
            assert 0.8 * bound < convolution.weight.abs().max() <= bound
            assert convolution.bias.eq(0).all()
    assert [
        module.kernel_size for module in head.classifier_a if isinstance(module, nn.Conv2d)
    ] == [
        (3, 3),
        (3, 3),
        (1, 1),
    ]
    assert ACoLHead(512, 2).classifier_b[2].weight.shape == (1024, 1024, 3, 3)
    assert ACoLHead(1, 2, hidden=1).threshold == 0.6


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"threshold": 0.0}, "threshold 0.0: wanted above 0"),
        ({"threshold": 1.5}, "threshold 1.5"),
        ({"threshold": float("nan")}, "threshold nan"),
        ({"hidden": 0}, "hidden 0: wanted 1 or more"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, complaint) -> None:
    with pytest.raises(InputError, match=complaint):
        ACoLHead(5, 4, **settings)


def test_it_wants_one_target_for_each_map() -> None:
    head = ACoLHead(5, 4, hidden=7)
    with pytest.raises(InputError, match=r"targets of shape \(2,\) .*\(3, 5, 4, 4\): wanted one"):
        head.branches(torch.zeros(3, 5, 4, 4), torch.tensor([0, 1]))
