"""The losses of the paper, term by term."""

import torch

from caf_video.attention.objectives import ClassSpecific, SquaredDistance


def test_the_squared_distance_is_a_sum_over_outputs_in_any_unit(generator) -> None:
    reference, outputs = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    objective = SquaredDistance(reference)
    losses = objective.losses(outputs) * objective.unit
    for i in range(3):
        expected = sum((reference[i, k] - outputs[i, k]) ** 2 for k in range(5))
        torch.testing.assert_close(losses[i], expected)
    rows = torch.tensor([2, 0])
    part = objective.select(rows)
    torch.testing.assert_close(part.losses(outputs[rows]) * part.unit, losses[rows])
    nothing = SquaredDistance(torch.zeros(3, 5).double())
    torch.testing.assert_close(nothing.losses(outputs) * nothing.unit, outputs.square().sum(1))


def test_the_class_specific_loss_is_equation_2_term_by_term(generator) -> None:
    outputs = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    targets = torch.tensor([4, 0, 2])
    for centered in (False, True):
        objective = ClassSpecific(targets, centered=centered)
        logits = outputs - outputs.mean(dim=1, keepdim=True) if centered else outputs
        losses = objective.losses(outputs) * objective.unit
        for i, c in enumerate(targets.tolist()):
            expected = -logits[i, c] + sum(logits[i, k] for k in range(5) if k != c)
            torch.testing.assert_close(losses[i], expected)
        weights = objective.weights(5, torch.float64)
        torch.testing.assert_close((weights * outputs).sum(dim=1), losses)
        rows = torch.tensor([1, 1, 0])
        torch.testing.assert_close(objective.select(rows).losses(outputs[rows]), losses[rows])
