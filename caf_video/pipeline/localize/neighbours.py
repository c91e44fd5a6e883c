"""The nearest other image of each: what the methods of pairs compare an image with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from caf_video.attention import Given
from caf_video.data.images import ImageError, LabelledImage, read_image
from caf_video.errors import InputError
from caf_video.pipeline.localize.explained_network import ExplainedNetwork
from caf_video.pipeline.localize.inputs import NetworkInput
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.retrieval import EmbeddingIndex

IMAGES_AT_ONCE = 32


@dataclass(frozen=True)
class Neighbours:
    """What each image is compared with.

    Attributes:
        references: By image id, the raw output for its nearest other image, (d,).
        center: The mean raw output of all images, (d,).
    """

    references: Mapping[str, Tensor] = field(default_factory=dict)
    center: Tensor | None = None

    def given(self, images: Sequence[LabelledImage], labels: Tensor) -> Given:
        """What methods are told of some images of these classes (n,)."""
        if self.center is None:
            return Given(classes=labels)
        found = torch.stack([self.references[image.image_id] for image in images])
        return Given(labels, found.to(labels.device), self.center.to(labels.device))


NO_NEIGHBOURS = Neighbours()


def nearest_others(
    images: Sequence[LabelledImage],
    network: ExplainedNetwork,
    network_input: NetworkInput,
    *,
    track: Track = quietly,
) -> Neighbours:
    """Each image's nearest other, as retrieval compares them: a pass of the network of its own.

    Raises:
        InputError: There are fewer than two images that can be read.
    """
    preprocess = network.halves.preprocessing(network_input.size, network_input.resized)
    batches = [images[i : i + IMAGES_AT_ONCE] for i in range(0, len(images), IMAGES_AT_ONCE)]
    names: list[str] = []
    parts: list[Tensor] = []
    for batch in track(batches, description="Looking for neighbours", total=len(batches)):
        frames = []
        for image in batch:
            try:
                frames.append(read_image(image.path))
            except ImageError:  # reported where it is measured
                continue
            names.append(image.image_id)
        if frames:
            inputs = torch.cat([preprocess(frame[None]) for frame in frames]).to(device())
            with torch.no_grad():
                outputs = network.halves.tail(network.halves.features(inputs))
            parts.append(outputs.float().cpu())
    if len(names) < 2:
        raise InputError(f"{len(names)} images can be read: a pair needs two")
    outputs = torch.cat(parts)
    comparable = network.comparable(outputs)
    found = EmbeddingIndex(comparable, names).search(comparable, neighbours=1, query_ids=names)
    nearest = found.positions[:, 0].tolist()
    return Neighbours(
        {name: outputs[row] for name, row in zip(names, nearest, strict=True)}, outputs.mean(dim=0)
    )
