"""Where feature maps of clips come from: files of our own, or windows into arrays of others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from caf_video.data.features import Choose, ClipFeatures, FeatureStore, StoreDescription
from caf_video.data.session_store import SessionStore, sessions_file


class ClipStore(Protocol):
    """Clips by id and the features of each: a `FeatureStore` or a `SessionStore`."""

    folder: Path
    description: StoreDescription
    manifest_path: Path

    def read(self, clip_id: str) -> ClipFeatures:
        """The features of a clip, feature maps (t, k, c, h, w) in float16."""
        ...

    def read_maps(self, clip_id: str, choose: Choose) -> Tensor:
        """Of each timestep one candidate's feature map, (t, c, h, w) in float16."""
        ...

    def event(self, clip_id: str) -> str:
        """Which event of which video a clip is; "" where it is not known or not stored."""
        ...

    def digest(self, clip_ids: Sequence[str]) -> str:
        """Digest of what is stored of some clips: another one as soon as that has changed."""
        ...


def open_store(folder: str | Path) -> ClipStore:
    """Open a store of either kind.

    Raises:
        FeatureStoreError: There is none, or its description cannot be read.
    """
    if sessions_file(Path(folder)).is_file():
        return SessionStore.open(folder)
    return FeatureStore.open(folder)
