"""Options that several commands share, and what their texts stand for."""

from typing import Annotated

import typer

from caf_video.cli.console import out
from caf_video.errors import InputError
from caf_video.shards import WHOLE, Shard, shard_of

BackboneName = Annotated[
    str,
    typer.Option(
        help="Frozen network: efficientnet_lite0 (its weights come installed), resnet18, resnet34, "
        "resnet50, resnet101, googlenet, densenet121, densenet161, vgg16 or resnetv2_50 (timm's); "
        "timm/NAME; hf/ID or hf/./FOLDER; or package.module.factory, a module of your own."
    ),
]
Weights = Annotated[
    str,
    typer.Option(
        help="'default' (downloaded once; of your own module as it makes them), a torchvision name "
        "such as IMAGENET1K_V1, a file (.safetensors or .pth), or 'none' (random)."
    ),
]
Stride = Annotated[int, typer.Option(help="Pixels a cell of the feature map: 32 or 16.")]
Timesteps = Annotated[int, typer.Option(help="Frames that stand for a clip.", min=1)]
Candidates = Annotated[
    int,
    typer.Option(help="Frames per timestep that training chooses from, an odd number.", min=1),
]
ShardText = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do the I-th of N parts, from 1/N to N/N; unless given, what a Slurm array, srun or "
        "torchrun says, else all.",
    ),
]


def open_shard(text: str | None) -> Shard:
    """The shard that was asked for, and a word on it where it is not all."""
    shard = shard_of(text)
    if shard != WHOLE:
        out.print(f"Shard {shard}.", highlight=False)
    return shard


def open_backbone(name: str, weights: str, stride: int, precision: str):  # type: ignore[no-untyped-def]
    from caf_video.models.backbones import fastest_precision, load_backbone

    chosen = fastest_precision() if precision == "fastest" else precision
    return load_backbone(name, weights=weights, stride=stride, precision=chosen)


def split_names(values: list[str] | None) -> list[str]:
    """Options given several times, or with commas."""
    return [name.strip() for value in values or [] for name in value.split(",") if name.strip()]


def parse_size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise InputError(f"size {text!r} is not HEIGHTxWIDTH, such as 256x448")
    return int(height), int(width)
