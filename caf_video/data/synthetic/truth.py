"""Where the evidence is: a box for every frame, and whether it can be seen there."""

import numpy as np

from caf_video.data.synthetic.camera import HEIGHT, WIDTH, Camera
from caf_video.data.synthetic.events import ActorStates
from caf_video.data.synthetic.roadside import SIGNAL_HEIGHT_METRES, SIGNAL_WIDTH_METRES
from caf_video.data.synthetic.scene import FRAMES, Place
from caf_video.data.synthetic.vehicles import GLOW_METRES, HALF_WIDTH, car_size, lamp_span

_SHOWN = 0.6  # share of a box that must be inside the frame to call it visible


def camera_at(place: Place, frame: int) -> Camera:
    """The camera of one frame."""
    return Camera(
        place.drive.focal,
        float(place.centre_x[frame]),
        float(place.horizon_y[frame]),
        place.drive.camera_height_metres,
        float(place.position_metres[frame]),
    )


def lead_at(place: Place, states: ActorStates, frame: int) -> tuple[float, float]:
    """World (x, z) of the lead car's rear."""
    z = float(place.position_metres[frame] + place.lead_gap_metres[frame])
    return float(states.lead_lateral[frame] + place.bend_at(z)), z


def sign_at(place: Place) -> np.ndarray:
    """World (x, y, z) of the middle of the sign."""
    x = float(place.sign_lateral + place.bend_at(place.sign_z))
    return np.array([x, place.sign_height_metres, place.sign_z])


def signal_at(place: Place) -> np.ndarray:
    """World (x, y, z) of the middle of the signal."""
    x = float(place.signal_lateral + place.bend_at(place.signal_z))
    return np.array([x, place.signal_height_metres, place.signal_z])


def crosser_at(place: Place, states: ActorStates, frame: int) -> np.ndarray | None:
    """World (x, 0, z) of the feet of whoever crosses."""
    if states.crosser_lateral is None:
        return None
    z = place.crosser.z
    return np.array([states.crosser_lateral[frame] + place.bend_at(z), 0.0, z])


def ground_truth(place: Place, states: ActorStates, actor: str) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (12, 4) of an actor in the state it is in, cut at the frame's border, and visibility (12,).

    A box of zeros: the actor is not there.
    """
    boxes = np.zeros((FRAMES, 4))
    visible = np.zeros(FRAMES, dtype=bool)
    for frame in range(FRAMES):
        box = _box(place, states, actor, frame)
        if box is None:
            continue
        inside = np.clip(box, 0.0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
        width, height = inside[2:] - inside[:2]
        if width > 0 and height > 0:
            boxes[frame] = inside
            shown = width * height >= _SHOWN * (box[2] - box[0]) * (box[3] - box[1])
            visible[frame] = bool(states.telling[frame]) and shown
    return boxes, visible


def _box(place: Place, states: ActorStates, actor: str, frame: int) -> np.ndarray | None:
    camera = camera_at(place, frame)
    if actor == "sign":
        half = place.sign_width_metres / 2
        return None if states.sign == "none" else _upright(camera, sign_at(place), half, half)
    if actor == "signal":
        half_width, half_height = SIGNAL_WIDTH_METRES / 2, SIGNAL_HEIGHT_METRES / 2
        return _upright(camera, signal_at(place), half_width, half_height)
    if actor == "crosser":
        feet = crosser_at(place, states, frame)
        if feet is None:
            return None
        half_height = place.crosser.height_metres / 2
        return _upright(camera, feet + [0.0, half_height, 0.0], 0.38 * half_height, half_height)
    x, z = lead_at(place, states, frame)
    if actor == "lamps":
        half_width, low, high = lamp_span(place.lead.kind)
        glow = 0.5 * GLOW_METRES
        middle = np.array([x, (low - glow + high) / 2, z])
        return _upright(camera, middle, half_width + glow, (high - low + glow) / 2)
    length, height = car_size(place.lead.kind)
    half = HALF_WIDTH + 0.05
    rear = _upright(camera, np.array([x, height / 2, z]), half, height / 2)
    front = _upright(camera, np.array([x, height / 2, z + length]), half, height / 2)
    return np.array([min(rear[0], front[0]), rear[1], max(rear[2], front[2]), rear[3]])


def _upright(
    camera: Camera, middle: np.ndarray, half_width: float, half_height: float
) -> np.ndarray:
    """Box in pixels of an upright rectangle that faces us."""
    reach = np.array([half_width, -half_height, 0.0])
    return camera.project(np.stack([middle - reach, middle + reach])).ravel()
