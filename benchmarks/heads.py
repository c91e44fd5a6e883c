"""Heads that are not affine: the spectral solver against batched Adam from ones."""

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from benchmarks.bench import Bench, Contender, ratios
from benchmarks.networks import calibrate_batch_norm, frozen, make_maps, scale_outputs
from benchmarks.peers import batched_adam_contender
from benchmarks.report import at_least, at_most
from caf_video.attention.objectives import SquaredDistance
from caf_video.attention.solvers.problems import pose
from caf_video.attention.solvers.spectral import solve_spectral

CLASSES, EMBEDDING_DIM = 1000, 128


class HeadResponse:
    """FT(x, f) = head(A * f), for the solver."""

    def __init__(self, head: nn.Module, maps: Tensor) -> None:
        self.space = tuple(maps.shape[2:])
        self.dtype, self.device = maps.dtype, maps.device
        self._head, self._maps = head, maps

    def __len__(self) -> int:
        return len(self._maps)

    def __call__(self, filters: Tensor) -> Tensor:
        return self._head(self._maps * filters[:, None])

    def select(self, rows: Tensor) -> "HeadResponse":
        return HeadResponse(self._head, self._maps[rows])


class TransformerHead(nn.Module):
    """Cells as tokens → two pre-norm encoder layers → mean → embedding."""

    def __init__(self, channels: int, cells: int, width: int = 192) -> None:
        super().__init__()
        self.tokens = nn.Linear(channels, width)
        self.places = nn.Parameter(0.5 * torch.randn(cells, width))
        layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=4 * width, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.linear = nn.Linear(width, EMBEDDING_DIM)

    def forward(self, maps: Tensor) -> Tensor:
        tokens = self.tokens(maps.flatten(2).mT) + self.places
        return self.linear(self.encoder(tokens).mean(dim=1))


def mlp() -> tuple[nn.Module, tuple[int, ...]]:
    """Average pooling and two layers, from ResNet-50's last map."""
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2048, 512),
        nn.ReLU(),
        nn.Linear(512, EMBEDDING_DIM),
    )
    return head, (2048, 7, 7)


def vgg() -> tuple[nn.Module, tuple[int, ...]]:
    """VGG-16's three fully connected layers, whole (124 million weights)."""
    head = nn.Sequential(
        nn.Flatten(),
        nn.Linear(512 * 49, 4096),
        nn.ReLU(),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Linear(4096, CLASSES),
    )
    return head, (512, 7, 7)


def transformer() -> tuple[nn.Module, tuple[int, ...]]:
    """`TransformerHead` on ResNet-18's last map."""
    return TransformerHead(512, 49), (512, 7, 7)


def convolutions() -> tuple[nn.Module, tuple[int, ...]]:
    """ResNet-18 from after layer3 on."""
    net = resnet18()
    head = nn.Sequential(net.layer4, net.avgpool, nn.Flatten(), net.fc)
    return head, (256, 14, 14)


HEADS = {
    "MLP head": (mlp, 8),
    "VGG FC head": (vgg, 2),  # few maps where an iteration of Adam is slow
    "transformer head": (transformer, 8),
    "convolutional tail": (convolutions, 4),
}


def head(bench: Bench, case: str, *, name: str) -> None:
    """Time to solve all problems, and the losses."""
    torch.manual_seed(0)
    build, batch = HEADS[name]
    module, shape = build()
    maps = make_maps(batch, *shape, seed=4, device=bench.device)
    module.to(bench.device)
    calibrate_batch_norm(module, maps)
    frozen(module, bench.device)
    wanted = module(maps)
    last = [part for part in module.modules() if isinstance(part, nn.Linear)][-1]
    embeds = wanted.shape[1] == EMBEDDING_DIM
    scale_outputs(last, wanted.norm(dim=1).mean() if embeds else wanted.std(dim=1).mean())
    wanted = module(maps)

    def losses_of(filters: Tensor) -> Tensor:
        return (wanted - module(maps * filters[:, None])).square().sum(dim=1)

    def solve(_: int = 0):
        return solve_spectral(pose(HeadResponse(module, maps), SquaredDistance(wanted)))

    start = torch.ones(batch, *shape[1:], device=bench.device)
    batched, adam = batched_adam_contender("batched Adam from ones", losses_of, start)
    bench.tick(case)
    found = solve()
    seconds = bench.time(case, [Contender("spectral solver", solve), batched])
    steps = found.steps.double()
    speed_up = ratios(seconds["batched Adam from ones"], seconds["spectral solver"])
    bench.row(
        case,
        "over batched Adam",
        speed_up,
        at_least(8, "×"),
        unit="×",
        note=f"{steps.mean():.1f} (at most {steps.max():.0f}) evaluations against "
        f"{int(adam.steps.max())}",
    )
    excess = found.losses - adam.losses
    note = f"losses to {adam.losses.max().item():.2g}"
    above = "loss above that of Adam from ones"
    bench.row(case, above, excess.tolist(), at_most(1e-4), worst=True, note=note)
    # 1e-4 of losses in the hundreds is float32 rounding, so the same in units that scale with them.
    share = (excess / wanted.square().sum(dim=1)).tolist()
    bench.row(case, "the same as a share of ‖NT(x)‖²", share, at_most(1e-4), worst=True)
