"""A dozen networks of the zoo, and that its own verdict can fail."""

import pytest
import torch
from torch import Tensor, nn

from benchmarks.zoo import check as zoo
from benchmarks.zoo.hook import multiplier
from benchmarks.zoo.table import to_markdown
from caf_video import explain
from caf_video.attention.explain import Explanation

SMALL = (
    "torchvision/resnet18",
    "torchvision/mobilenet_v3_small",
    "torchvision/squeezenet1_1",
    "timm/convnext_atto",
    "timm/vit_tiny_patch16_224",
    "timm/mambaout_femto",
    "timm/mixer_s32_224",
    "transformers/Swin",
    "transformers/Dinov2WithRegisters",
    "transformers/SegFormerSegmentation",
    "transformers/VideoMAE",
    "transformers/TimeSformer",
)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.filterwarnings("default")  # those of other packages
def test_a_network_is_explained_rightly_at_its_default_layer(name: str) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("transformers")
    from benchmarks.zoo import networks

    found = zoo.check(networks.make(name, millions=30))
    assert found["verdict"] == "right", found["why"]
    assert found["flat"] is None


class Tokens(nn.Module):
    """Patches 8 px wide as tokens (n, h w, c), which windows of 2 by 2 may have sorted."""

    def __init__(self, *, sorted_by_window: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.mix = nn.Linear(8, 8)
        self.head = nn.Linear(8, 5)
        self._sorted = sorted_by_window

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        if self._sorted:
            n, c, h, w = x.shape
            x = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, c, h * w)
        tokens = self.mix(x.flatten(2).transpose(1, 2)).tanh()
        return self.head(tokens.mean(dim=1))


def test_tokens_in_rows_and_columns_are_read_as_a_grid_and_sorted_ones_are_refused(
    generator,
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 32, 64, generator=generator)
    found = explain(Tokens(sorted_by_window=False), x, layer="mix")
    assert found.axes == "n (h=4 w=8) c"
    model = Tokens(sorted_by_window=True)
    with pytest.raises(Exception, match='in another order.*axes="n l c"') as caught:
        explain(model, x, layer="mix")
    assert "\n" not in str(caught.value)
    assert explain(model, x, layer="mix", axes="n l c").filters.shape == (2, 32)


def test_a_filter_is_spread_over_a_map_by_its_axes_and_spares_other_tokens() -> None:
    filters = torch.arange(1.0, 13).view(2, 2, 3)
    factors = multiplier("n (1 h=2 w=3) c", (2, 7, 4), filters)
    assert factors[1, :, 2].tolist() == [1, 7, 8, 9, 10, 11, 12]
    folded = multiplier("(t n) c l", (6, 4, 1), torch.arange(6.0).view(2, 3, 1))
    assert folded[:, 0, 0].tolist() == [0, 3, 1, 4, 2, 5]


def test_a_wrong_filter_a_turned_grid_and_a_foreign_error_are_called_wrong(
    monkeypatch: pytest.MonkeyPatch, generator
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    case = zoo.Case(model.eval(), torch.randn(2, 3, 32, 32, generator=generator))
    assert zoo.check(case)["verdict"] == "right"

    def turned(*args: object, **options: object) -> Explanation:
        found = explain(*args, **options)  # type: ignore[arg-type]
        object.__setattr__(found, "axes", "n c w h")
        object.__setattr__(found, "filters", found.filters.transpose(1, 2))
        return found

    def false(*args: object, **options: object) -> Explanation:
        found = explain(*args, **options)  # type: ignore[arg-type]
        object.__setattr__(found, "losses", found.losses * 1.01)
        return found

    def failing(*args: object, **options: object) -> Explanation:
        raise KeyError("x")

    for broken, why in ((turned, "does not lie along"), (false, "loss"), (failing, "KeyError")):
        monkeypatch.setattr(zoo.caf_video, "explain", broken)
        found = zoo.check(case)
        assert found["verdict"] == "wrong"
        assert why in found["why"]


def test_the_page_counts_verdicts_and_lists_what_was_refused() -> None:
    right = {
        "name": "timm/a", "verdict": "right", "family": "f", "layer": "norm", "until": None,
        "axes": "n (1 h=2 w=3) c", "filter": [2, 2, 3], "solver": "exact", "flat": None,
        "explain_s": 3.0, "forward_s": 1.0, "why": "",
    }  # fmt: skip
    refused = {"name": "timm/b", "verdict": "refused", "family": "f", "why": "write layer="}
    page = to_markdown({"timm/a": right, "timm/b": refused}, {"date": "today"})
    assert "| timm | 1 | 1 | 0 | 0 |" in page
    assert "| timm: f | a | `norm` | `n (1 h w) c` | 2×3 |  | exact | 3 |" in page
    assert "* `timm/b`: write layer=" in page
