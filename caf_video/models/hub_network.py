"""Vision networks of transformers, `hf/ID`: from a folder, the local cache, or the Hub.

    hf/facebook/dinov2-small      as the Hub calls it; @REVISION behind it pins a commit or a tag
    hf/./folder                   saved with `save_pretrained`, its image processor too

The numbers are the image processor's. A network of transformers is taken without its classifier,
so there are feature maps only.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from caf_video.errors import InputError
from caf_video.models.foreign import Feeding, ForeignNetwork
from caf_video.models.layout import Hints
from caf_video.models.preprocessing import Normalization
from caf_video.models.weights import WeightsError, unavailable

PREFIX = "hf/"
_RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # PIL's numbers
_OF_CLIPS = ("num_frames", "frames_per_clip")  # in the configurations of video networks
_ANY_SIZE = "interpolate_pos_encoding"  # of `forward`, in the networks that have one size
_WITHOUT_NETWORK = (
    "it is downloaded once; without a network give a folder that `save_pretrained` of the network "
    "and of its image processor wrote, hf/./FOLDER"
)


class HubNetwork(ForeignNetwork):
    """A vision network of transformers.

    Args:
        name: `hf/ID`, with or without `@REVISION`; or `hf/` and a folder.

    Raises:
        InputError: transformers is not installed, or this is no network of images.
        WeightsError: Its configuration cannot be had.
    """

    advice = (
        "give a module of your own, package.module.factory, that builds the network with "
        "transformers and returns its map"
    )

    def __init__(self, name: str) -> None:
        identifier, _, revision = name.removeprefix(PREFIX).partition("@")
        if Path(identifier).is_dir():
            identifier = str(Path(identifier).resolve())  # found from other folders, too
        elif identifier.startswith((".", "/")):
            raise InputError(f"no folder {identifier} for the backbone {name}")
        self._identifier = identifier
        self._options = {"revision": revision} if revision else {}
        self.name = f"{PREFIX}{identifier}" + (f"@{revision}" if revision else "")
        config = self._from_hub(_transformers().AutoConfig.from_pretrained)
        commit = getattr(config, "_commit_hash", None)
        self._config = getattr(config, "vision_config", config)  # of a pair, CLIP's or SigLIP's
        # A folder has no commit: what is written in its configuration stands for it.
        settings = self._config.to_dict()
        for passing in ("transformers_version", "_name_or_path", "dtype"):
            settings.pop(passing, None)
        text = json.dumps(settings, sort_keys=True, default=str)
        self.revision = commit or f"config {hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def build(self) -> nn.Module:
        return self._ready(_transformers().AutoModel.from_config(self._config), missing=())

    def pretrained(self) -> nn.Module:
        net, told = self._from_hub(
            _transformers().AutoModel.from_pretrained,
            config=self._config,
            output_loading_info=True,
        )
        return self._ready(net, missing=told["missing_keys"])

    def filled(self, state: Mapping[str, Tensor]) -> nn.Module | None:
        library = _transformers()
        kind = type(library.AutoModel.from_config(self._config))
        with _silence(library):
            net, told = kind.from_pretrained(
                None, config=self._config, state_dict=dict(state), output_loading_info=True
            )
        if any(not key.startswith("pooler.") for key in told["missing_keys"]):
            return None
        return self._ready(net, missing=told["missing_keys"])

    def feeding(self, net: nn.Module | None = None) -> Feeding:
        processor = self._from_hub(_transformers().AutoImageProcessor.from_pretrained).to_dict()
        resampling = int(processor.get("resample", 2))
        mean, std = [0.0] * 3, [1.0] * 3
        if processor.get("do_normalize", True):
            mean, std = processor["image_mean"], processor["image_std"]
        size = getattr(self._config, "image_size", None)
        size = size or processor.get("crop_size") or processor["size"]
        if isinstance(size, Mapping):
            shortest = size.get("shortest_edge")
            size = (size.get("height", shortest), size.get("width", shortest))
        height, width = size if isinstance(size, list | tuple) else (size, size)
        interpolation = _RESAMPLING.get(resampling, f"{resampling} of PIL")
        return Feeding(Normalization.of_unit_scale(interpolation, mean, std), (height, width))

    def features(self, net: nn.Module, images: Tensor) -> Any:
        any_size = _ANY_SIZE in inspect.signature(net.forward).parameters
        output = net(images, **({_ANY_SIZE: True} if any_size else {}))
        return getattr(output, "last_hidden_state", output)

    def hints(self, net: nn.Module) -> Hints:
        widths, stages, patch = (
            getattr(self._config, name, None) for name in ("hidden_sizes", "depths", "patch_size")
        )
        halvings = len(stages) - 1 if isinstance(stages, list) else 0  # one between two stages
        return Hints(
            channels=widths[-1] if widths else getattr(self._config, "hidden_size", None),
            stride=patch * 2**halvings if isinstance(patch, int) else None,
        )

    def _ready(self, net: nn.Module, *, missing: Any) -> nn.Module:
        if getattr(net, "main_input_name", "") != "pixel_values":
            raise InputError(f"{self.name} takes {net.main_input_name}, not images")
        if any(hasattr(self._config, name) for name in _OF_CLIPS):
            raise InputError(f"{self.name} takes clips, not single images: choose one of images")
        lost = [key for key in missing if not key.startswith("pooler.")]
        if lost:
            raise WeightsError(
                f"the weights of {self.name} lack {lost[0]} ({len(lost)} entries missing)"
            )
        pooler = getattr(net, "pooler", None)
        if isinstance(pooler, nn.Module) and any(True for _ in pooler.parameters()):
            # Behind the map, and most files lack it: random weights that would tell one loading
            # from the next.
            net.pooler = None  # type: ignore[assignment]
        return net.float()  # files of half precision are loaded as they are

    def _from_hub(self, load: Callable[..., Any], **options: Any) -> Any:
        """What transformers loads: from what is here if it can be, else from the Hub."""
        options |= self._options
        with _silence(_transformers()):
            return self._loaded(load, options)

    def _loaded(self, load: Callable[..., Any], options: dict[str, Any]) -> Any:
        if not Path(self._identifier).is_dir():
            try:
                return load(self._identifier, local_files_only=True, **options)
            except (OSError, ValueError):  # not in the cache
                pass
        try:
            return load(self._identifier, **options)
        except (OSError, ValueError, KeyError) as error:
            raise unavailable(self.name, error, _WITHOUT_NETWORK) from error


@contextmanager
def _silence(library: ModuleType) -> Iterator[None]:
    """Its bars, and its report of entries that a file lacks, which `_ready` judges."""
    log = library.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def _transformers() -> ModuleType:
    try:
        import transformers
    except ImportError as error:
        raise InputError(
            f"{PREFIX}ID needs transformers, which is not installed: pip install 'caf_video[hf]'"
        ) from error
    return transformers
