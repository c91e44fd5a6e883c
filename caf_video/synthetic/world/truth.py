"""Where the evidence is: a box for every frame, and whether it can be seen there."""

import numpy as np

from caf_video.synthetic.world.camera import HEIGHT, WIDTH, Camera
from caf_video.synthetic.world.car_shapes import GLOW_METRES, HALF_WIDTH, PROFILES, Profile
from caf_video.synthetic.world.events import ActorStates
from caf_video.synthetic.world.scene import FRAMES, SIGNAL_METRES, Place

_SHOWN = 0.6  # share of a box that must be inside the frame to call it visible


def camera_at(place: Place, frame: int) -> Camera:
    """The camera of one frame."""
    return Camera(
        place.drive.focal,
        float(place.center_x[frame]),
        float(place.horizon_y[frame]),
        place.drive.camera_height_metres,
        float(place.position_metres[frame]),
    )


def lead_at(place: Place, states: ActorStates, frame: int) -> tuple[float, float]:
    """World (x, z) of the lead car's rear."""
    z = float(place.position_metres[frame] + place.lead_gap_metres[frame])
    return float(states.lead_lateral[frame] + place.bend_at(z)), z


def joiner_at(place: Place, states: ActorStates, frame: int) -> tuple[float, float] | None:
    """World (x, z) of the rear of the car that joins or leaves our lane."""
    if states.joiner_lateral is None or np.isnan(states.joiner_lateral[frame]):
        return None
    z = float(place.position_metres[frame] + place.joiner_gap_metres)
    return float(states.joiner_lateral[frame] + place.bend_at(z)), z


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
    if states.crosser_lateral is None or np.isnan(states.crosser_lateral[frame]):
        return None
    z = place.crosser.z
    return np.array([states.crosser_lateral[frame] + place.bend_at(z), 0.0, z])


def ground_truth(place: Place, states: ActorStates, actor: str) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (12, 4) of an actor in its state, cut at the frame's border, and visibility (12,).

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
        return (
            None if states.sign[frame] == "none" else _upright(camera, sign_at(place), half, half)
        )
    if actor == "signal":
        if states.signal[frame] == "none":
            return None
        half_width, half_height = (0.5 * place.signal_scale * side for side in SIGNAL_METRES)
        return _upright(camera, signal_at(place), half_width, half_height)
    if actor == "crosser":
        feet = crosser_at(place, states, frame)
        if feet is None:
            return None
        half_height = place.crosser.height_metres / 2
        return _upright(camera, feet + [0.0, half_height, 0.0], 0.38 * half_height, half_height)
    if actor == "joiner":
        rear = joiner_at(place, states, frame)
        return None if rear is None else _car_box(camera, PROFILES[place.joiner.kind], *rear)
    profile = PROFILES[place.lead.kind]
    x, z = lead_at(place, states, frame)
    _, half_width, low, _ = profile.lamp
    low, high = low - 0.5 * GLOW_METRES, profile.high_lamp + 0.1
    middle = np.array([x, (low + high) / 2, z])
    return _upright(camera, middle, half_width + 0.5 * GLOW_METRES, (high - low) / 2)


def _car_box(camera: Camera, profile: Profile, x: float, z: float) -> np.ndarray:
    """Box of a whole car whose rear is at (x, z)."""
    half_width, half_height = HALF_WIDTH + 0.05, profile.height / 2
    rear = _upright(camera, np.array([x, half_height, z]), half_width, half_height)
    front = _upright(
        camera, np.array([x, half_height, z + profile.length]), half_width, half_height
    )
    return np.array([min(rear[0], front[0]), rear[1], max(rear[2], front[2]), rear[3]])


def _upright(
    camera: Camera, middle: np.ndarray, half_width: float, half_height: float
) -> np.ndarray:
    """Box in pixels of an upright rectangle that faces us."""
    reach = np.array([half_width, -half_height, 0.0])
    return camera.project(np.stack([middle - reach, middle + reach])).ravel()
