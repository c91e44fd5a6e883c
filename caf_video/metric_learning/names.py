"""What a loss is called, for people."""

from collections.abc import Mapping
from typing import Any

_ROOM = "caf_video.metric_learning"
_NAMES = {
    f"{_ROOM}.NPairLoss": "N-pair",
    f"{_ROOM}.ProxyAnchorLoss": "Proxy-Anchor",
    f"{_ROOM}.MultiSimilarityLoss": "Multi-Similarity",
}


def loss_name(section: Mapping[str, Any]) -> str:
    """The name of the loss that a section `loss` of a configuration describes.

    "triplet (semi-hard)", "N-pair" …; the class of another's, with its miner if it has one.
    """
    target = section["_target_"]
    if target == f"{_ROOM}.TripletLoss":
        return f"triplet ({section.get('mining', 'semi_hard').replace('_', '-')})"
    if target in _NAMES:
        return _NAMES[target]
    parts = [target, section["miner"]["_target_"]] if section.get("miner") else [target]
    return " with ".join(part.rpartition(".")[2] for part in parts)
