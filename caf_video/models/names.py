"""Every name that a backbone may have, and what stands behind it.

resnet50, …                    a chain of ours: see `architectures`
resnetv2_50                     of Table 1, which timm has: see OF_TIMM
timm/NAME                      a network of timm
hf/ID, hf/./folder             a vision network of transformers
package.module.factory         a module of one's own
{_target_: package.module.factory, depth: 3}    the same with arguments (a mapping, or JSON)
"""

from collections.abc import Mapping
from typing import Any

from caf_video.errors import InputError
from caf_video.models import hub_network, timm_network
from caf_video.models.architectures import Architecture
from caf_video.models.foreign import ForeignNetwork
from caf_video.models.own_network import own_network

Name = str | Mapping[str, Any]

# With timm's tag of the weights: another of its versions would take others. The paper's own are
# TensorFlow's (He et al. 2016, "Identity Mappings"), of the same network.
OF_TIMM = {"resnetv2_50": "timm/resnetv2_50.a1h_in1k"}


def named(name: Name, chains: Mapping[str, Architecture]) -> Architecture | ForeignNetwork:
    """What a name means.

    Args:
        name: One of the above.
        chains: The networks that are laid out here, by name.

    Raises:
        InputError: It means nothing, or a package for it is not installed.
    """
    if isinstance(name, str):
        if name in chains:
            return chains[name]
        name = OF_TIMM.get(name, name)
        if name.startswith(timm_network.PREFIX):
            return timm_network.TimmNetwork(name)
        if name.startswith(hub_network.PREFIX):
            return hub_network.HubNetwork(name)
    if not isinstance(name, str) or name.startswith("{") or "." in name:
        return own_network(name)
    known = ", ".join([*chains, *OF_TIMM])
    raise InputError(
        f"no backbone {name!r}: choose one of {known}; or timm/NAME, hf/ID, or "
        "package.module.factory for a module of your own"
    )
