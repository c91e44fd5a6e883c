"""The recurrent embedder of a clip: a shallow CNN for every frame, an LSTM over them (Fig. 8)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from caf_video.errors import InputError


class RecurrentEmbedder(nn.Module):
    """Frozen feature maps of a clip's frames to one embedding (Fig. 8).

    `features` runs the CNN on every frame alone: standardised channels -> 1x1 convolution, two
    coordinate channels beside it -> ReLU -> 3x3 convolution -> ReLU. What comes out is the map that
    a filter multiplies. `head` pools or flattens each frame's map, runs the LSTM over the frames
    and projects its last output. `forward` is `head(features(maps))`, a raw embedding.

    Args:
        in_channels: Channels of the frozen feature maps.
        grid: Their cells, (h, w).
        channels: Width of the shallow CNN.
        coordinates: Add each cell's place, x and y from 0 to 1, to what the 3x3 convolution sees:
            average pooling has no other way to know it. Without that convolution it would be a
            constant of the head's, so they come together.
        spatial_kernel: Size of the second convolution, odd; None leaves it out.
        pooling: "average" over cells, or "flatten" (Fig. 8) as the authors do for driving clips.
        hidden: Size of the LSTM's state.
        embedding_dim: Outputs.

    Attributes:
        hyperparameters: These arguments, plain values: `RecurrentEmbedder(**hyperparameters)`.
        pooling, lstm, projection: The structure of the head, for exact attention.

    Raises:
        InputError: On an argument out of its range.
    """

    channel_mean: Tensor
    channel_std: Tensor
    places: Tensor | None

    def __init__(
        self,
        in_channels: int,
        grid: tuple[int, int],
        *,
        channels: int = 64,
        coordinates: bool = True,
        spatial_kernel: int | None = 3,
        pooling: str = "average",
        hidden: int = 128,
        embedding_dim: int = 128,
    ) -> None:
        super().__init__()
        height, width = grid
        numbers = {
            "in_channels": in_channels,
            "grid height": height,
            "grid width": width,
            "channels": channels,
            "hidden": hidden,
            "embedding_dim": embedding_dim,
        }
        for name, number in numbers.items():
            if number < 1:
                raise InputError(f"a recurrent embedder with {name} {number}: wanted 1 or more")
        if spatial_kernel is not None and (spatial_kernel < 1 or spatial_kernel % 2 == 0):
            raise InputError(f"spatial_kernel is {spatial_kernel}: wanted an odd size, or none")
        if coordinates and spatial_kernel is None:
            raise InputError("coordinates without a spatial convolution tell the network nothing")
        if pooling not in ("average", "flatten"):
            raise InputError(f"unknown pooling {pooling!r}: it is 'average' or 'flatten'")
        self.hyperparameters: dict[str, Any] = {
            "in_channels": in_channels,
            "grid": (height, width),
            "channels": channels,
            "coordinates": coordinates,
            "spatial_kernel": spatial_kernel,
            "pooling": pooling,
            "hidden": hidden,
            "embedding_dim": embedding_dim,
        }
        self.pooling = pooling
        self.register_buffer("channel_mean", torch.zeros(in_channels))
        self.register_buffer("channel_std", torch.ones(in_channels))
        self.reduce = nn.Linear(in_channels, channels)  # the 1x1 convolution
        self.register_buffer("places", _places(height, width) if coordinates else None, False)
        self.spatial: nn.Conv2d | None = None
        if spatial_kernel is not None:
            self.spatial = nn.Conv2d(
                channels + 2 * coordinates, channels, spatial_kernel, padding=spatial_kernel // 2
            )
        cells = height * width if pooling == "flatten" else 1
        self.lstm = nn.LSTM(channels * cells, hidden, batch_first=True)
        self.projection = nn.Linear(hidden, embedding_dim)

    def fit_standardisation(self, mean: Tensor, std: Tensor) -> None:
        """Set what centres and scales each input channel, each (in_channels,).

        A channel with std 0 is dead in training: it is centred and left at its scale.

        Raises:
            InputError: On another shape, a non-finite value or a negative std; names the channel.
        """
        for name, values in (("mean", mean), ("std", std)):
            if values.shape != self.channel_mean.shape:
                raise InputError(
                    f"channel {name} has shape {tuple(values.shape)}, "
                    f"wanted {tuple(self.channel_mean.shape)}"
                )
        wrong = ~(mean.isfinite() & std.isfinite() & (std >= 0))
        if wrong.any():
            channel = int(wrong.nonzero()[0])
            raise InputError(f"channel {channel} has mean {mean[channel]} and std {std[channel]}")
        self.channel_mean.copy_(mean)
        self.channel_std.copy_(torch.where(std > 0, std, 1))

    def features(self, feature_maps: Tensor) -> Tensor:
        """Frozen maps (b, t, c, h, w) of any float type to A, (b, t, channels, h, w), from 0 up.

        Raises:
            InputError: If the maps do not have the channels and the grid of this network.
        """
        wanted = (self.hyperparameters["in_channels"], *self.hyperparameters["grid"])
        if feature_maps.ndim != 5 or feature_maps.shape[2:] != wanted:
            raise InputError(
                f"feature maps have shape {tuple(feature_maps.shape)}, "
                f"wanted (b, t, {', '.join(map(str, wanted))})"
            )
        clips, timesteps = feature_maps.shape[:2]
        maps = feature_maps.to(self.reduce.weight.dtype).flatten(0, 1)  # (b*t, c, h, w)
        # W (x - mean) / std + b = (W / std) x + (b - (W / std) mean): no pass over the maps for the
        # standardisation, and one matrix product over all cells of all frames.
        weight = self.reduce.weight / self.channel_std
        bias = self.reduce.bias - weight @ self.channel_mean
        reduced = linear(maps.movedim(1, 3), weight, bias)  # (b*t, h, w, channels)
        if self.places is not None:
            places = self.places.to(reduced.dtype).expand(len(reduced), -1, -1, -1)
            reduced = torch.cat([reduced, places], dim=3)
        out = reduced.relu().movedim(3, 1)  # (b*t, channels + 2, h, w)
        if self.spatial is not None:
            out = self.spatial(out).relu()
        return out.unflatten(0, (clips, timesteps))

    def head(self, maps: Tensor) -> Tensor:
        """A (b, t, channels, h, w), filtered or not, to raw embeddings (b, embedding_dim)."""
        frames = maps.mean(dim=(3, 4)) if self.pooling == "average" else maps.flatten(2)
        outputs, _ = self.lstm(frames)
        return self.projection(outputs[:, -1])

    def forward(self, feature_maps: Tensor) -> Tensor:
        """Frozen maps (b, t, c, h, w) to raw embeddings (b, embedding_dim)."""
        return self.head(self.features(feature_maps))


def _places(height: int, width: int) -> Tensor:
    """x and y of every cell, (h, w, 2), from 0 to 1: the ReLU behind leaves them as they are."""
    y = torch.linspace(0, 1, height)[:, None].expand(height, width)
    x = torch.linspace(0, 1, width)[None, :].expand(height, width)
    return torch.stack([x, y], dim=2)
