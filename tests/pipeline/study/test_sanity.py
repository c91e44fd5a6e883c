"""Weights made random: a method that reads them, one that reads half, and one that reads none."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from caf_video.attention import METHODS
from caf_video.data.images import read_image_set
from caf_video.errors import InputError
from caf_video.models.backbones import Backbone
from caf_video.pipeline.localize.explained_network import of_backbone
from caf_video.pipeline.opened import open_run
from caf_video.pipeline.study.sanity import (
    ALL,
    HEAD,
    Subject,
    clips_subject,
    images_subject,
    study_sanity,
)


@pytest.fixture
def subject() -> Subject:
    """Four samples of two frames: one map of the head, one of the trunk, one of the input."""
    torch.manual_seed(0)  # of the layers
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(4, 2, 8, 4, 5, generator=generator)
    head, trunk = nn.Linear(8, 6), nn.Linear(8, 8)
    for layer in (head, trunk):
        layer.requires_grad_(False)

    def maps() -> dict[str, Tensor]:
        hidden = torch.einsum("oc,ntchw->ntohw", trunk.weight, inputs)
        of_head = torch.einsum("oc,ntchw->ntohw", head.weight, hidden)
        return {
            "l2-caf": of_head[:, :, 0],
            "feature-norm": hidden[:, :, 0].abs(),
            "uniform": inputs[:, :, 0],
        }

    return Subject(
        title="by hand",
        samples=["a", "b", "c", "d"],
        pictures=[],
        methods=[METHODS[name] for name in ("l2-caf", "feature-norm", "uniform")],
        stages=[("head", list(head.parameters())), ("trunk", list(trunk.parameters()))],
        head_stages=1,
        maps=maps,
    )


def test_who_does_not_read_the_weights_fails(subject: Subject) -> None:
    before = subject.maps()
    study = study_sanity(subject, seeds=4)
    found = study.record["methods"]
    assert found["uniform"]["passes"] == {HEAD: False, ALL: False}
    assert found["uniform"]["left"][ALL]["rank"]["value"] == pytest.approx(1)
    assert found["feature-norm"]["passes"] == {HEAD: False, ALL: True}
    assert found["l2-caf"]["passes"] == {HEAD: True, ALL: True}
    verdicts = {row[0]: row[-1] for row in study.tables[0].rows}
    assert verdicts == {
        "l2-caf": "passes",
        "feature-norm": f"fails: {HEAD}",
        "uniform": f"fails: {HEAD} and {ALL}",
    }
    assert study.tables[0].notes[0] == "Passes both: l2-caf."
    for name, maps in subject.maps().items():
        torch.testing.assert_close(maps, before[name], rtol=0, atol=0)  # the weights are back


def test_a_sign_that_turns_is_seen_in_the_signed_map_alone(subject: Subject) -> None:
    turned = {name: maps.clone() for name, maps in subject.maps().items()}
    calls = iter([turned, *({**turned, "l2-caf": -turned["l2-caf"]} for _ in range(2))])
    flipped = Subject(**{**vars(subject), "maps": lambda: next(calls)})
    left = study_sanity(flipped, seeds=1).record["methods"]["l2-caf"]["left"][HEAD]
    assert left["rank"]["value"] == pytest.approx(1)
    assert left["signed rank"]["value"] == pytest.approx(-1)


def test_one_sample_tells_nothing(subject: Subject) -> None:
    with pytest.raises(InputError, match="one sample is not enough"):
        study_sanity(Subject(**{**vars(subject), "samples": ["a"]}))


def test_a_network_of_images_is_taken_apart_from_its_output(pictures, backbone: Backbone) -> None:
    images = read_image_set("folder", pictures).images[:2]
    network = of_backbone(backbone)
    made = images_subject(network, images)
    names = [name for name, _ in made.stages]
    assert names[0] == "fc" and names[1:5] == ["layer4", "layer3", "layer2", "layer1"]
    assert made.head_stages == 1
    counted = sum(weights.numel() for _, parts in made.stages for weights in parts)
    assert counted == sum(weights.numel() for weights in backbone.parameters())
    maps = made.maps()
    assert {one.shape for one in maps.values()} == {torch.Size([2, 1, 7, 7])}
    assert list(maps) == [m.name for m in METHODS.values() if "classifier" in m.default_for]
    assert np.isfinite(maps["l2-caf"].numpy()).all()


def test_a_recurrent_network_is_taken_apart_from_its_output(known_run) -> None:
    run = open_run(known_run.folder)
    made = clips_subject(run, count=2)
    names = [name for name, _ in made.stages]  # it has no spatial convolution
    assert names == ["projection", "recurrence", "1 × 1 convolution"]
    assert made.head_stages == 2 and len(made.samples) == 2
    counted = sum(weights.numel() for _, parts in made.stages for weights in parts)
    assert counted == sum(weights.numel() for weights in run.model.parameters())
    for name, maps in made.maps().items():
        assert maps.shape[:2] == (2, run.description.timesteps), name
        assert METHODS[name].clip_maps is not None
