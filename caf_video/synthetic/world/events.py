"""The event classes: what one object does, and nothing else.

Five actors are in every place: the lead car, a signpost, a signal, somebody who might cross and a
van that might join our lane or leave it. In the neutral state the lead car drives straight on with
unlit brake lamps, the signpost carries nothing or a sign of no importance, the signal is not there,
is dark, blinks or keeps its colour, and nobody crosses, joins or leaves. An event replaces the
state of exactly one of them.
"""

from dataclasses import dataclass, replace

import numpy as np

from caf_video.synthetic.world.scene import FRAMES, Place

_FORWARD_AND_BACK = (
    ("light_to_green", "light_to_red"),
    ("pedestrian_to_left", "pedestrian_to_right"),
    ("brake_lamps_on", "brake_lamps_off"),
    ("car_leaves_left", "car_joins_from_left"),
    ("car_leaves_right", "car_joins_from_right"),
)

EVENT_CLASSES: tuple[str, ...] = (
    "stop_sign",
    "railway_crossing",
    *(name for pair in _FORWARD_AND_BACK for name in pair),
)

OPPOSITES: dict[str, str] = {
    **{first: second for first, second in _FORWARD_AND_BACK},
    **{second: first for first, second in _FORWARD_AND_BACK},
}


@dataclass(frozen=True)
class ActorStates:
    """What the actors do in each frame, and in which frames the event can be seen.

    Attributes:
        lead_lateral: Metres right of the middle of the ego lane, (12,).
        brake: Whether the lead car's brake lamps are lit, (12,) bool.
        sign: What the signpost carries in each frame.
        signal: Colour of the signal in each frame: "red", "green", "dark", or "none": no signal.
        crosser_lateral: Metres right of the middle of the ego lane, (12,), NaN in frames in which
            nobody is there; None: nobody crosses.
        joiner_lateral: The same of the car that joins or leaves our lane.
        actor: The one that the event changes: "lamps", "sign", "signal", "crosser" or "joiner";
            "" if none.
        telling: Frames in whose state that actor tells the event, (12,) bool.
    """

    lead_lateral: np.ndarray
    brake: np.ndarray
    sign: tuple[str, ...]
    signal: tuple[str, ...]
    crosser_lateral: np.ndarray | None
    joiner_lateral: np.ndarray | None
    actor: str
    telling: np.ndarray


def neutral_states(place: Place) -> ActorStates:
    """What the actors do when nothing happens."""
    return ActorStates(
        lead_lateral=place.lead_lateral,
        brake=np.zeros(FRAMES, dtype=bool),
        sign=(place.sign_neutral,) * FRAMES,
        signal=place.signal_neutral,
        crosser_lateral=None,
        joiner_lateral=None,
        actor="",
        telling=np.zeros(FRAMES, dtype=bool),
    )


def event_states(event_class: str, place: Place) -> ActorStates:
    """What the actors do in an event: the neutral states with one actor's replaced."""
    neutral = neutral_states(place)
    frames = np.arange(FRAMES)
    before = frames < place.switch_time
    always = np.ones(FRAMES, dtype=bool)
    if event_class in ("stop_sign", "railway_crossing"):
        return replace(neutral, sign=(event_class,) * FRAMES, actor="sign", telling=always)
    if event_class in ("light_to_green", "light_to_red"):
        first, then = ("red", "green") if event_class == "light_to_green" else ("green", "red")
        signal = tuple(first if early else then for early in before)
        return replace(neutral, signal=signal, actor="signal", telling=always)
    if event_class in ("pedestrian_to_left", "pedestrian_to_right"):
        way = np.linspace(-1.0, 1.0, FRAMES) * place.crosser_reach_metres
        lateral = place.crosser.lateral + (way if event_class.endswith("right") else -way)
        return replace(neutral, crosser_lateral=lateral, actor="crosser", telling=always)
    if event_class in ("brake_lamps_on", "brake_lamps_off"):
        brake = ~before if event_class == "brake_lamps_on" else before
        return replace(neutral, brake=brake, actor="lamps", telling=brake)
    lateral = _lane_change(place, event_class)
    return replace(neutral, joiner_lateral=lateral, actor="joiner", telling=always)


def _lane_change(place: Place, event_class: str) -> np.ndarray:
    """Metres right of the middle of the ego lane in each frame, (12,), from it or into it."""
    kerbs = place.drive.kerbs
    beside = kerbs.beside if event_class.endswith("left") else kerbs.bay
    start = place.switch_time - place.shift_frames / 2
    done = np.clip((np.arange(FRAMES) - start) / place.shift_frames, 0.0, 1.0)
    smooth = done * done * (3.0 - 2.0 * done)
    away: np.ndarray = smooth if event_class.startswith("car_leaves") else 1.0 - smooth
    return away * beside * place.shift_share
