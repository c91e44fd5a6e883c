"""The recurrent clip embedder of Fig. 8: shallow CNN → *filters* → LSTM → embedding (Sec. 4.3)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from caf_video.errors import InputError

CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}
POOLINGS = ("average", "flatten")


class RecurrentEmbedder(nn.Module):
    """A clip's frozen feature maps to one embedding, in two halves with the filter between them.

    `features`, shared by all frames: standardise channels → 1x1 convolution → ReLU → two coordinate
    channels joined → 3x3 convolution → ReLU. `head`: average-pool or flatten each frame's map →
    LSTM or GRU over the frames → last output → fully connected, raw (not unit norm).

    Args:
        in_channels: Channels of the frozen maps.
        grid: (h, w) of the frozen maps, fixed.
        channels: Of the shallow CNN.
        coordinates: Join each cell's (x, y) in [-1, 1] before the spatial convolution, so that it
            knows left from right.
        spatial_kernel: Cells across of the second convolution, odd; None leaves it out.
        pooling: "average" or "flatten", between filter and recurrence.
        hidden: Width of the recurrence.
        embedding_dim: Width of the embedding.
        cell: "lstm" or "gru".
        dropout: Probability, while training, that a channel of the first convolution is dropped,
            from all frames of a clip together: frames stay comparable, and no channel can be leaned
            on alone.

    Raises:
        InputError: An argument out of range.
    """

    channel_mean: Tensor
    channel_std: Tensor
    cell_coordinates: Tensor

    def __init__(
        self,
        *,
        in_channels: int,
        grid: Sequence[int],
        channels: int = 64,
        coordinates: bool = True,
        spatial_kernel: int | None = 3,
        pooling: str = "average",
        hidden: int = 128,
        embedding_dim: int = 128,
        cell: str = "lstm",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        # A list and plain numbers, so that YAML and `torch.load(weights_only=True)` take them.
        self.hyperparameters: dict[str, Any] = {
            "in_channels": in_channels,
            "grid": list(grid),
            "channels": channels,
            "coordinates": coordinates,
            "spatial_kernel": spatial_kernel,
            "pooling": pooling,
            "hidden": hidden,
            "embedding_dim": embedding_dim,
            "cell": cell,
            "dropout": dropout,
        }
        _check_hyperparameters(self.hyperparameters)
        self.in_channels, self.channels = in_channels, channels
        self.grid = (int(grid[0]), int(grid[1]))
        self.coordinates = coordinates
        self.pooling = pooling
        self.dropout = dropout

        self.register_buffer("channel_mean", torch.zeros(in_channels))
        self.register_buffer("channel_std", torch.ones(in_channels))
        self.register_buffer("cell_coordinates", _cell_coordinates(self.grid), persistent=False)

        self.reduction = nn.Linear(in_channels, channels)  # of each cell: the 1x1 convolution
        self.spatial: nn.Conv2d | None = None
        if spatial_kernel is not None:
            joined = channels + 2 if coordinates else channels
            self.spatial = nn.Conv2d(joined, channels, spatial_kernel, padding=spatial_kernel // 2)
        width = channels if pooling == "average" else channels * self.grid[0] * self.grid[1]
        self.lstm: nn.RNNBase = CELLS[cell](width, hidden, batch_first=True)  # or a GRU
        self.projection = nn.Linear(hidden, embedding_dim)

    def fit_standardization(self, mean: Tensor, std: Tensor) -> None:
        """Set the mean and deviation that each input channel is standardised with, both (c,).

        A channel that never varies (deviation 0) is only centred.

        Raises:
            InputError: A wrong shape, or a non-finite or negative value; names the channel.
        """
        for name, values in (("mean", mean), ("deviation", std)):
            if tuple(values.shape) != (self.in_channels,):
                raise InputError(
                    f"channel {name} of shape {tuple(values.shape)}, wanted ({self.in_channels},)"
                )
            wrong = ~torch.isfinite(values)
            if name == "deviation":
                wrong |= values < 0
            if wrong.any():
                channel = int(wrong.nonzero()[0])
                raise InputError(f"{name} of channel {channel} is {float(values[channel])}")
        self.channel_mean.copy_(mean)
        self.channel_std.copy_(torch.where(std > 0, std, torch.ones_like(std)))

    def features(self, feature_maps: Tensor) -> Tensor:
        """Frozen maps (b, t, in_channels, h, w) to A, what the filters multiply (b, t, c, h, w).

        Half precision is cast to the network's own.

        Raises:
            InputError: Maps of another shape.
        """
        return self.mix_cells(self.cellwise_features(feature_maps))

    def cellwise_features(self, feature_maps: Tensor) -> Tensor:
        """The first half of `features`, in which no cell has seen another: (b, t, c, h, w)."""
        self._require(feature_maps, self.in_channels, "feature maps")
        # W ((x - mean) / std) + b as one product: the wide maps are only cast, never rewritten, and
        # not even copied if they are float32 with channels last. In that layout the product and its
        # gradient are fastest (measured: a step 1.7 times as fast as from other float16).
        weight = self.reduction.weight / self.channel_std
        bias = self.reduction.bias - weight @ self.channel_mean
        images = feature_maps.flatten(0, 1).to(weight.dtype, memory_format=torch.channels_last)
        maps = functional.conv2d(images, weight[:, :, None, None], bias).relu()  # (b*t, c, h, w)

        if self.training and self.dropout:
            clips, timesteps = feature_maps.shape[:2]
            kept = functional.dropout(maps.new_ones(clips, self.channels), self.dropout)
            maps = maps * kept.repeat_interleave(timesteps, dim=0)[:, :, None, None]
        return maps.unflatten(0, feature_maps.shape[:2])

    def mix_cells(self, maps: Tensor) -> Tensor:
        """The second half: coordinates and the spatial convolution, if there is one."""
        if self.spatial is None:
            return maps
        frames = maps.flatten(0, 1)
        if self.coordinates:
            place = self.cell_coordinates.expand(len(frames), -1, -1, -1)
            frames = torch.cat([frames.movedim(1, 3), place], dim=3).movedim(3, 1)
        return self.spatial(frames).relu().unflatten(0, maps.shape[:2])

    def head(self, maps: Tensor) -> Tensor:
        """A (b, t, c, h, w) to raw embeddings (b, embedding_dim).

        Raises:
            InputError: Maps of another shape.
        """
        self._require(maps, self.channels, "maps")
        inputs = maps.mean(dim=(3, 4)) if self.pooling == "average" else maps.flatten(2)
        outputs, _ = self.lstm(inputs)  # (b, t, hidden)
        embeddings: Tensor = self.projection(outputs[:, -1])
        return embeddings

    def forward(self, feature_maps: Tensor) -> Tensor:
        """Frozen maps (b, t, in_channels, h, w) to raw embeddings (b, embedding_dim)."""
        return self.head(self.features(feature_maps))

    def _require(self, maps: Tensor, channels: int, name: str) -> None:
        height, width = self.grid
        fits = maps.ndim == 5 and tuple(maps.shape[2:]) == (channels, height, width)
        if not fits or not maps.shape[0] or not maps.shape[1]:
            raise InputError(
                f"{name} of shape {tuple(maps.shape)}, "
                f"wanted (clips, timesteps, {channels}, {height}, {width})"
            )


def _cell_coordinates(grid: tuple[int, int]) -> Tensor:
    """(x, y) of each cell, from -1 to 1 across the grid, (h, w, 2)."""
    y, x = (torch.linspace(-1, 1, cells) if cells > 1 else torch.zeros(1) for cells in grid)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=2)


def _check_hyperparameters(values: dict[str, Any]) -> None:
    for name in ("in_channels", "channels", "hidden", "embedding_dim"):
        if values[name] < 1:
            raise InputError(f"{name} is {values[name]}, wanted 1 or more")
    if len(values["grid"]) != 2 or min(values["grid"]) < 1:
        raise InputError(f"grid is {values['grid']}, wanted (height, width) in cells")
    if values["pooling"] not in POOLINGS:
        raise InputError(f"pooling is {values['pooling']!r}, wanted {' or '.join(POOLINGS)}")
    if values["cell"] not in CELLS:
        raise InputError(f"cell is {values['cell']!r}, wanted {' or '.join(CELLS)}")
    if not 0 <= values["dropout"] < 1:
        raise InputError(f"dropout is {values['dropout']}, wanted a share from 0 to below 1")
    kernel = values["spatial_kernel"]
    if kernel is None:
        if values["coordinates"]:
            raise InputError(
                "coordinates go into the spatial convolution: "
                "without one (spatial_kernel null) set coordinates to false"
            )
    elif kernel < 1 or kernel % 2 == 0:
        raise InputError(f"spatial_kernel is {kernel}, wanted an odd number of cells or null")
