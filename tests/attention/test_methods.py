"""The register of attention methods: one spelling, and for clips what the functions say."""

import re

import pytest
import torch
from torch import nn

from caf_video import cli
from caf_video.attention import (
    explain_clip,
    feature_norm,
    passed,
    path_shares,
    retrieval_grad_cam,
    sharp,
)
from caf_video.attention.methods import METHODS, Given, require_methods
from caf_video.errors import InputError


class TinyClips(nn.Module):
    """`features` doubles the maps; `head` weighs cells and frames."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weights = nn.Parameter(torch.randn(4, 2 * 3 * 2 * 2, generator=generator))

    def features(self, feature_maps: torch.Tensor) -> torch.Tensor:
        return 2 * feature_maps

    def head(self, maps: torch.Tensor) -> torch.Tensor:
        return (maps.flatten(1) @ self.weights.T).tanh()


@pytest.fixture
def clips(generator: torch.Generator) -> torch.Tensor:
    """Maps (b, t, c, h, w)."""
    return torch.rand(2, 2, 3, 2, 2, generator=generator) * 0.3


def test_heat_of_frames_is_what_the_functions_say_of_the_filtered_maps(clips) -> None:
    network = TinyClips()
    reference, center = torch.tensor([0.3, 0.1, -0.2, 0.4]), torch.tensor([0.1, 0.0, 0.1, -0.1])
    joint = explain_clip(network, clips, filters="joint").filters
    embeddings = network.head(2 * clips).detach()

    def like(center: torch.Tensor | str | None) -> torch.Tensor:
        return explain_clip(
            network, clips, filters="joint", reference=reference, center=center
        ).heatmaps

    def grad_cam(similarity: str) -> torch.Tensor:
        return retrieval_grad_cam(
            network.head, 2 * clips, axes="n t c h w", reference=reference, similarity=similarity
        )

    wanted = {
        "l2-caf-joint": joint.clamp(min=0),
        "l2-caf-passed": passed(joint, 2 * clips),
        "l2-caf-sharp": sharp(network, clips, joint, center),
        "path-shares": path_shares(network.head, 2 * clips, embeddings - center).clamp(min=0),
        "l2-caf-pair": like(None),
        "l2-caf-like": like("map"),
        "l2-caf-like-mean": like(center),
        "grad-cam-cosine": grad_cam("cosine"),
        "similarity": grad_cam("dot"),
        "l2-caf": explain_clip(network, clips).filters.abs(),
        "retrieval-grad-cam": retrieval_grad_cam(
            network.head, 2 * clips, mode="relu", axes="n t c h w"
        ),
        "retrieval-grad-cam-abs": retrieval_grad_cam(
            network.head, 2 * clips, mode="abs", axes="n t c h w"
        ),
        "feature-norm": feature_norm(2 * clips),
    }
    for name, heat in wanted.items():
        assert heat.shape == (2, 2, 2, 2)
        found = METHODS[name].heat_of_frames(network, clips, reference=reference, center=center)
        torch.testing.assert_close(found, heat)
        assert found.min() >= 0
    assert {name for name, method in METHODS.items() if method.clip_maps} == set(wanted)


def test_a_method_of_pictures_alone_says_so(clips) -> None:
    with pytest.raises(InputError, match="method cam explains pictures"):
        METHODS["cam"].heat_of_frames(TinyClips(), clips)


def test_a_method_of_clips_alone_says_so() -> None:
    with pytest.raises(InputError, match="method l2-caf-joint explains the frames of a clip"):
        METHODS["l2-caf-joint"].of_pictures(nn.Flatten(), torch.rand(1, 2, 2, 2), Given())


def test_what_a_method_needs_is_asked_for(clips) -> None:
    for method in METHODS.values():
        if method.clip_maps is None or not method.needs:
            continue
        with pytest.raises(InputError, match=f"{method.name} needs .*: {method.needs[0]}="):
            method.heat_of_frames(TinyClips(), clips)


def test_only_filters_of_single_frames_forbid_to_compare_frames() -> None:
    assert [name for name, method in METHODS.items() if not method.compares_frames] == ["l2-caf"]


def test_a_name_that_is_none_is_answered_with_all_names() -> None:
    with pytest.raises(InputError, match=f"'l2_caf': it is one of {', '.join(METHODS)}"):
        require_methods(["l2_caf"])
    assert [method.name for method in require_methods(["cam", "l2-caf", "cam"])] == [
        "cam",
        "l2-caf",
    ]


def test_a_head_without_maps_of_its_own_has_no_acol() -> None:
    with pytest.raises(InputError, match="tuned by ACoL"):
        given = Given(classes=torch.zeros(1).long())
        METHODS["acol"].of_pictures(nn.Flatten(), torch.rand(1, 2, 2, 2), given)


def test_help_names_every_method(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["caf-video", "localize", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    text = re.sub(r"[\s│]", "", capsys.readouterr().out)  # a name may be broken over two lines
    (names,) = re.findall(r"l2-caf,[^;]*", text)
    assert names.split(",") == [name for name, method in METHODS.items() if method.maps]
