"""The labels of the Honda driving dataset: layers, classes as written, named class sets.

A label is written in Japanese, a space, and English, with stray spaces and in any case; the end of
it counts. TRN is the network of Xu et al. (ICCV 2019) whose labels the feature release has.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from caf_video.data.events.events import EventError, one_spelling

BACKGROUND = "background"

# Words with a character that English has not, before the English: also of `穿過T字路口`.
_JAPANESE = re.compile(r"^(?:\S*[^\x00-\x7f]\S*\s+)+")

# As the feature release numbers them: 0 is the background.
GOALS = (
    "intersection passing",
    "left turn",
    "right turn",
    "left lane change",
    "right lane change",
    "left lane branch",
    "right lane branch",
    "crosswalk passing",
    "railroad passing",
    "merge",
    "U-turn",
)
CAUSES = (
    "congestion",
    "sign",
    "red light",
    "crossing vehicle",
    "parked vehicle",
    "crossing pedestrian",
)
STIMULI = (
    "stop 4 congestion",
    "stop 4 sign",
    "stop 4 light",
    "avoid parked car",
    "stop 4 pedestrian",
    "stop for others",
    "avoid pedestrian near ego lane",
    "avoid on-road bicyclist",
    "avoid TP",
)
_SEVEN = (
    *("intersection passing", "left turn", "right turn"),
    *("left lane change", "right lane change", "U-turn"),
)


@dataclass(frozen=True)
class Layer:
    """One of HDD's layers of annotation.

    Attributes:
        name: As an option says it.
        tier: What the name of its tier ends with.
        labels: Its classes, in the order of the feature release.
        closed: Whether there are no others.
        targets: The folder of the feature release that holds its labels; "" where it has none.
        class_sets: The classes of each named set; whether the background is one of them.
    """

    name: str
    tier: str
    labels: tuple[str, ...]
    closed: bool
    targets: str
    class_sets: Mapping[str, tuple[tuple[str, ...], bool]]


LAYERS = {
    layer.name: layer
    for layer in (
        Layer(
            "goal",
            "Operation_Goal-oriented",
            GOALS,
            True,
            "target",
            {
                "all": (GOALS, False),
                "trn": (GOALS, True),  # 12
                # 11: railroad passing is background in the code of the retrieval work.
                "author": (tuple(name for name in GOALS if name != "railroad passing"), True),
                "seven": (_SEVEN, True),  # of the work before that
            },
        ),
        Layer("stimuli", "Operation_Stimuli-driven", STIMULI, True, "", {"all": (STIMULI, False)}),
        # Sixteen causes are annotated, six are in the feature release.
        Layer(
            "cause",
            "Cause",
            CAUSES,
            False,
            "target_cause",
            {"all": ((), False), "trn": (CAUSES, True)},
        ),
    )
}


@dataclass(frozen=True)
class Classes:
    """The classes that events are imported as.

    Attributes:
        labels: Their names without the background; empty: whatever is annotated.
        background: Whether stretches without an event are a class.
    """

    labels: tuple[str, ...]
    background: bool

    def hold(self, label: str) -> bool:
        """Whether a label is one of them."""
        return not self.labels or label in self.labels


def classes_named(layer: Layer, name: str, background: bool | None) -> Classes:
    """The class set of a layer, with or without the background; None: as the set has it.

    Raises:
        EventError: The layer has no such set.
    """
    if name not in layer.class_sets:
        raise EventError(
            f"layer {layer.name} has no class set {name!r}: it has {', '.join(layer.class_sets)}"
        )
    labels, own = layer.class_sets[name]
    return Classes(labels, own if background is None else background)


def layer_named(name: str) -> Layer:
    """One of LAYERS.

    Raises:
        EventError: There is none of that name.
    """
    if name not in LAYERS:
        raise EventError(f"unknown layer {name!r}: it is one of {', '.join(LAYERS)}")
    return LAYERS[name]


def canonical(written: str, layer: Layer) -> tuple[str, str]:
    """The class that a label as written stands for, and why it is none: one of them is "".

    >>> canonical("右轉  Right Turn ", LAYERS["goal"])
    ('right turn', '')
    >>> canonical("駕駛者路旁停車 park", LAYERS["goal"])
    ('', 'park')
    """
    plain = one_spelling(written).casefold()
    if not plain:
        return "", "no label"
    english = _JAPANESE.sub("", plain)
    if english.split()[-1:] == ["park"]:
        return "", "park"
    for name in layer.labels:
        if english in (name.casefold(), f"{name} {name}".casefold()):
            return name, ""
    return ("", f"unknown label {one_spelling(written)!r}") if layer.closed else (english, "")


def numbered(layer: Layer) -> Sequence[str]:
    """The labels that the integers of the feature release stand for."""
    return (BACKGROUND, *layer.labels)
