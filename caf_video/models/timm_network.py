"""Networks of timm by name, `timm/NAME`: built, filled and fed as timm says.

The numbers are those of `pretrained_cfg`: mean, deviation, interpolation, and the size of the
images it was trained on; not its crop, for the whole frame is shown. Vision transformers take
other sizes than that: their position embeddings are interpolated.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from caf_video.errors import InputError
from caf_video.models.foreign import Feeding, ForeignNetwork
from caf_video.models.layout import Hints
from caf_video.models.preprocessing import Normalization
from caf_video.models.weights import unavailable

PREFIX = "timm/"
# How timm's networks of one size are told to take others: Swins one way, ViTs another. In this
# order, for an older Swin takes ViT's word and does nothing.
_ANY_SIZE: tuple[dict[str, bool], ...] = ({"strict_img_size": False}, {"dynamic_img_size": True})
_WITHOUT_NETWORK = (
    "they are downloaded once; without a network give a file of them (--weights FILE, of `train` "
    "model.weights=FILE), or 'none' for random ones"
)


class TimmNetwork(ForeignNetwork):
    """A network of timm.

    Args:
        name: `timm/NAME`, with or without timm's tag of its weights (`resnet50.a1_in1k`).

    Raises:
        InputError: timm is not installed, or has no such network.
    """

    advice = (
        "give a module of your own, package.module.factory, that builds the network with timm and "
        "returns its map"
    )

    def __init__(self, name: str) -> None:
        timm = _timm()
        self._wanted = name.removeprefix(PREFIX)
        if not timm.is_model(self._wanted):
            near = get_close_matches(self._wanted.split(".")[0], timm.list_models(), n=3)
            advice = f"did you mean {', '.join(near)}?" if near else "timm.list_models() names them"
            raise InputError(f"timm has no network {self._wanted!r}: {advice}")
        try:
            config = timm.get_pretrained_cfg(self._wanted)
        except RuntimeError as error:  # the tag
            tags = timm.list_pretrained(f"{self._wanted.split('.')[0]}.*")
            raise InputError(
                f"timm has no weights {self._wanted!r}: choose one of {', '.join(tags)}"
            ) from error
        self._config: dict[str, Any] = {} if config is None else config.to_dict()
        # The tag that timm takes where none is named differs between its versions.
        tag = self._config.get("tag")
        self.name = f"{PREFIX}{self._wanted.split('.')[0]}" + (f".{tag}" if tag else "")
        self.revision = "" if tag else f"timm {timm.__version__}"

    def build(self) -> nn.Module:
        return self._create()

    def pretrained(self) -> nn.Module:
        try:
            return self._create(pretrained=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise unavailable(f"the weights of {self.name}", error, _WITHOUT_NETWORK) from error

    def filled(self, state: Mapping[str, Tensor]) -> nn.Module | None:
        overlay = {"state_dict": dict(state), "custom_load": False}
        try:
            return self._create(pretrained=True, pretrained_cfg_overlay=overlay)
        except (RuntimeError, KeyError, ValueError, AttributeError, IndexError):
            return None  # timm's converters meet a stranger's names as they happen to

    def feeding(self, net: nn.Module | None = None) -> Feeding:
        data = _timm().data.resolve_data_config({}, pretrained_cfg=self._config)
        channels, height, width = data["input_size"]
        if channels != 3:
            raise InputError(f"{self.name} takes images of {channels} channels, not of 3")
        return Feeding(
            Normalization.of_unit_scale(data["interpolation"], data["mean"], data["std"]),
            (height, width),
        )

    def features(self, net: nn.Module, images: Tensor) -> Any:
        return net.forward_features(images)  # type: ignore[operator]

    def has_head(self, net: nn.Module) -> bool:
        return True

    def head(self, net: nn.Module, output: Tensor) -> Tensor:
        logits: Tensor = net.forward_head(output)  # type: ignore[operator]
        return logits

    def hints(self, net: nn.Module) -> Hints:
        stages = getattr(net, "feature_info", None)
        return Hints(
            channels=getattr(net, "num_features", None),
            prefix_tokens=getattr(net, "num_prefix_tokens", None),
            stride=stages[-1]["reduction"] if isinstance(stages, list) and stages else None,
        )

    def without_head(self, net: nn.Module) -> nn.Module:
        net.reset_classifier(0)  # type: ignore[operator]
        return net

    def _create(self, **options: Any) -> nn.Module:
        create = _timm().create_model
        for any_size in _ANY_SIZE:
            try:
                return create(self._wanted, **any_size, **options)
            except TypeError as error:
                if next(iter(any_size)) not in str(error):
                    raise
        return create(self._wanted, **options)


def _timm() -> ModuleType:
    try:
        import timm
        import timm.data
    except ImportError as error:
        raise InputError(
            f"{PREFIX}NAME needs timm, which is not installed: pip install 'caf_video[timm]'"
        ) from error
    return timm
