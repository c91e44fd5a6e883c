"""The networks and inputs that benchmarks run on, all seeded."""

from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.functional import normalize, pil_to_tensor

from caf_video.models.weights import network_with_weights

LAYERS = {"resnet50": "layer4", "googlenet": "inception5b"}
SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EMBEDDING_DIM = 128
CALIBRATION_IMAGES = 8


@dataclass(frozen=True)
class ImageNetwork:
    """A classifier or an image embedder whose head is global average pooling and one layer.

    Attributes:
        model: torchvision's own module, in eval mode.
        layer: The name of its last convolutional stage.
        linear: Its last layer.
    """

    model: nn.Module
    layer: str
    linear: nn.Linear

    def feature_map(self, images: Tensor) -> Tensor:
        """A (n, c, h, w)."""
        return _output_of(self.model, self.model.get_submodule(self.layer), images)

    def head(self) -> nn.Module:
        """From A to the outputs, the network's own modules; a copy that wants no gradients."""
        pool = self.model.get_submodule("avgpool")
        return deepcopy(nn.Sequential(pool, nn.Flatten(), self.linear)).requires_grad_(False)


@lru_cache(maxsize=2)
def image_network(
    name: str, output: str, weights: str, images: Path | None, device: torch.device
) -> ImageNetwork:
    """ "resnet50" or "googlenet" with logits (1000) or an embedding (128).

    Random weights are brought to the scale of trained ones: batch norm is calibrated on a few
    images, and the last layer is scaled to logits of unit deviation or embeddings of unit norm.
    """
    torch.manual_seed(0)
    model, _ = network_with_weights(name, weights)
    calibration = make_images(CALIBRATION_IMAGES, folder=images, seed=1)
    if weights == "none":
        calibrate_batch_norm(model, calibration)
    if output == "embedding":
        model.fc = nn.Linear(model.fc.in_features, EMBEDDING_DIM)
    model.eval()
    if output == "embedding" or weights == "none":
        with torch.no_grad():
            outputs = model(calibration)
        by = outputs.norm(dim=1).mean() if output == "embedding" else outputs.std(dim=1).mean()
        scale_outputs(model.fc, by)
    model.to(device)
    return ImageNetwork(model, LAYERS[name], model.fc)


def make_images(count: int, *, folder: Path | None, seed: int) -> Tensor:
    """Photographs (count, 3, 224, 224), or smooth coloured noise with a few hard-edged things."""
    if folder is not None:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
        chosen = torch.randperm(len(files), generator=torch.Generator().manual_seed(seed))[:count]
        return torch.stack([_photograph(files[i]) for i in chosen.tolist()])
    generator = torch.Generator().manual_seed(seed)
    images = torch.zeros(count, 3, SIZE, SIZE)
    for cells, strength in ((4, 1.0), (14, 0.6), (56, 0.4), (SIZE, 0.2)):
        noise = torch.randn(count, 3, cells, cells, generator=generator)
        images += strength * functional.interpolate(noise, size=(SIZE, SIZE), mode="bilinear")
    for image in images:
        for _ in range(4):
            top, left = torch.randint(0, SIZE - 48, (2,), generator=generator).tolist()
            height, width = torch.randint(16, 96, (2,), generator=generator).tolist()
            colour = torch.randn(3, 1, 1, generator=generator)
            image[:, top : top + height, left : left + width] = 1.5 * colour
    return images


def make_maps(*shape: int, seed: int, device: torch.device) -> Tensor:
    """Feature maps (…, c, h, w) as a ReLU leaves them: sparse, with things that span cells."""
    generator = torch.Generator().manual_seed(seed)
    *lead, channels, height, width = shape
    count = torch.Size(lead).numel()
    coarse = torch.randn(count, channels, 3, 3, generator=generator)
    maps = functional.interpolate(coarse, size=(height, width), mode="bilinear")
    maps += 0.5 * torch.randn(count, channels, height, width, generator=generator)
    return maps.sub_(0.3).relu_().view(shape).to(device)


def frozen(module: nn.Module, device: torch.device) -> nn.Module:
    """In eval mode, without gradients of parameters: what is fair to a loop that needs none."""
    return module.eval().requires_grad_(False).to(device)


def scale_outputs(linear: nn.Linear, by: Tensor) -> None:
    """Divide what a layer returns by a number."""
    with torch.no_grad():
        linear.weight /= by
        if linear.bias is not None:
            linear.bias /= by


def calibrate_batch_norm(model: nn.Module, inputs: Tensor) -> None:
    """Running statistics of random weights as training would leave them; ends in train mode."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain mean of what it sees
    model.train()
    with torch.no_grad():
        model(inputs)


def _output_of(model: nn.Module, module: nn.Module, images: Tensor) -> Tensor:
    kept: list[Tensor] = []
    hook = module.register_forward_hook(lambda m, args, output: kept.append(output.clone()))
    try:
        with torch.no_grad():
            model(images)
    finally:
        hook.remove()
    return kept[0]


def _photograph(file: Path) -> Tensor:
    with Image.open(file) as image:
        pixels = pil_to_tensor(image.convert("RGB").resize((SIZE, SIZE)))
    return normalize(pixels / 255, MEAN, STD)
