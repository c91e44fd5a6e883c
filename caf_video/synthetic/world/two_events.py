"""Two events in one clip, of which one decides: neither the kinds nor the order tell it alone.

Eight kinds of events in two families. If the two are of one family the later decides, else the
earlier. So of any two kinds each decides as often as the other, in either order as often: what a
single frame shows cannot tell whether it is the one that counts, nor can its place in the clip.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from caf_video.synthetic.world.events import ActorStates, neutral_states
from caf_video.synthetic.world.scene import FRAMES, Place

STANDING = ("stop_sign", "railway_crossing", "red_light", "green_light")
MOVING = ("pedestrian", "brake_lamps", "van_ahead", "van_beside")
TWO_EVENT_CLASSES: tuple[str, ...] = tuple(
    kind for pair in zip(STANDING, MOVING, strict=True) for kind in pair
)

STEP_FRAMES = 2  # a sixth of the clip: events begin and end between two steps
SHOWN_STEPS = 2

_ACTORS = {
    "stop_sign": "sign",
    "railway_crossing": "sign",
    "red_light": "signal",
    "green_light": "signal",
    "pedestrian": "crosser",
    "brake_lamps": "lamps",
    "van_ahead": "joiner",
    "van_beside": "joiner",
}
# Steps round the classes from the deciding event to the other: even, within a family.
_WITHIN, _ACROSS = (2, 4, 6), (1, 3, 5, 7)


def deciding_is_first(deciding: str, other: str) -> bool:
    """Whether the deciding event of two kinds is the earlier one."""
    return (deciding in STANDING) != (other in STANDING)


def pairs_of_session(number: int) -> Iterator[tuple[str, str]]:
    """The 16 pairs (deciding, other) of the session with that number, from 0 on.

    Every class decides twice, once as the earlier and once as the later event, and is twice the
    other. In 12 sessions a kind decides four times over each of its family, and three times over
    each of the other family.
    """
    count = len(TWO_EVENT_CLASSES)
    for away in (_WITHIN[number % len(_WITHIN)], _ACROSS[number % len(_ACROSS)]):
        for position, deciding in enumerate(TWO_EVENT_CLASSES):
            yield deciding, TWO_EVENT_CLASSES[(position + away) % count]


def two_neutral_states(place: Place) -> ActorStates:
    """What the actors do when nothing happens: a bare signpost, and no signal."""
    return replace(neutral_states(place), sign=("none",) * FRAMES, signal=("none",) * FRAMES)


def two_event_states(deciding: str, other: str, place: Place) -> tuple[ActorStates, ActorStates]:
    """What the actors do, twice: `actor` and `telling` are the deciding event's, then the other's.

    Each shows for two of six steps; there is at least one before, between or after them in each
    half of the clip that shows neither.
    """
    early = 0 if place.switch_time < 6.0 else 1
    late = 3 if place.shift_frames < 4.25 else 4
    starts = (early, late) if deciding_is_first(deciding, other) else (late, early)
    states = two_neutral_states(place)
    windows = []
    for kind, step in zip((deciding, other), starts, strict=True):
        first = step * STEP_FRAMES
        shown = np.zeros(FRAMES, dtype=bool)
        shown[first : first + SHOWN_STEPS * STEP_FRAMES] = True
        states = _with_event(states, kind, shown, place)
        windows.append(shown)
    return (
        replace(states, actor=_ACTORS[deciding], telling=windows[0]),
        replace(states, actor=_ACTORS[other], telling=windows[1]),
    )


def _with_event(states: ActorStates, kind: str, shown: np.ndarray, place: Place) -> ActorStates:
    """The states with one more event in the frames `shown` (12,)."""
    if kind in ("stop_sign", "railway_crossing"):
        return replace(states, sign=_where(shown, kind, states.sign))
    if kind in ("red_light", "green_light"):
        colour = kind.removesuffix("_light")
        return replace(states, signal=_where(shown, colour, states.signal))
    if kind == "brake_lamps":
        return replace(states, brake=states.brake | shown)
    nowhere = np.full(FRAMES, np.nan)
    if kind == "pedestrian":
        way = np.linspace(-0.5, 0.5, int(shown.sum())) * place.crosser_reach_metres
        lateral = nowhere if states.crosser_lateral is None else states.crosser_lateral.copy()
        lateral[shown] = place.crosser.lateral + way
        return replace(states, crosser_lateral=lateral)
    lateral = nowhere if states.joiner_lateral is None else states.joiner_lateral.copy()
    beside = place.drive.kerbs.beside * place.shift_share
    lateral[shown] = beside if kind == "van_beside" else 0.0
    return replace(states, joiner_lateral=lateral)


def _where(shown: np.ndarray, told: str, before: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        told if now else earlier for now, earlier in zip(shown.tolist(), before, strict=True)
    )
