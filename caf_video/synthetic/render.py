"""From a place and what its actors do to frames, boxes and visibility."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from caf_video.errors import InputError
from caf_video.synthetic.painting.actors import Actors
from caf_video.synthetic.painting.backdrop import MARGIN, paint_sky
from caf_video.synthetic.painting.ground import Ground
from caf_video.synthetic.painting.things import Thing, moving_things, standing_things
from caf_video.synthetic.painting.weather import Weather
from caf_video.synthetic.world.camera import HEIGHT, WIDTH, Camera
from caf_video.synthetic.world.events import (
    EVENT_CLASSES,
    ActorStates,
    event_states,
    neutral_states,
)
from caf_video.synthetic.world.scene import FRAMES, Place, draw_place
from caf_video.synthetic.world.truth import camera_at, ground_truth

_FAR_METRES = 28.0  # what stands farther away is painted once, on the backdrop
_BACKDROP_METRES = 45.0  # as far away as the backdrop seems when we drive towards it


@dataclass(frozen=True)
class RenderedClip:
    """A clip and its ground truth.

    Attributes:
        frames: uint8 RGB (12, 256, 448, 3), 4 frames per second.
        boxes: (x1, y1, x2, y2) in pixels of the event's object in each frame, float (12, 4),
            half-open and inside the frame; with the evidence painted out, of the same object in
            its neutral state (zeros: it is not there).
        visible: Whether the evidence can be seen in the state of that frame, bool (12,).
    """

    frames: np.ndarray
    boxes: np.ndarray
    visible: np.ndarray


def render_clip(
    event_class: str, *, session: int, variant: int = 0, evidence: bool = True
) -> RenderedClip:
    """Render one clip: place `variant` of a session, with an event in it.

    Args:
        event_class: One of EVENT_CLASSES.
        session: Seed of the drive: car, camera, season.
        variant: Which clip of the drive: road, hour, weather, traffic, motion.
        evidence: False paints the event out: the neutral clip, the same for every class.

    Raises:
        InputError: If the class is unknown or a seed is negative.
    """
    if event_class not in EVENT_CLASSES:
        raise InputError(f"no event class {event_class!r}; there are {', '.join(EVENT_CLASSES)}")
    if session < 0 or variant < 0:
        raise InputError(f"session {session} and variant {variant} must not be negative")
    place = draw_place(session, variant)
    told = event_states(event_class, place)
    states = told if evidence else neutral_states(place)
    renderer = SceneRenderer(place)
    frames = np.stack([renderer.frame(states, frame) for frame in range(FRAMES)])
    boxes, visible = ground_truth(place, states, told.actor)
    return RenderedClip(frames, boxes, visible)


class SceneRenderer:
    """Draws a place: what does not change in its 12 frames is painted once."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._backdrop = paint_sky(place, np.random.default_rng(place.ground_seed))
        self._ground = Ground(place, self._backdrop, int(place.horizon_y.mean()) + MARGIN)
        standing = sorted(standing_things(place), key=lambda thing: -thing.z)
        self._base = Camera(
            place.drive.focal,
            float(place.center_x.mean()) + MARGIN,
            float(place.horizon_y.mean()) + MARGIN,
            place.drive.camera_height_metres,
            float(place.position_metres.mean()),
        )
        self._ground.draw(self._backdrop, self._base, top=int(self._base.horizon_y))
        for thing in standing:
            if thing.z >= _FAR_METRES:
                thing.draw(self._backdrop, self._base, FRAMES // 2)
        self._things = [thing for thing in standing if thing.z < _FAR_METRES]
        self._things += moving_things(place)
        self._actors = Actors(place)
        self._weather = Weather(place)

    def frame(self, states: ActorStates, frame: int) -> np.ndarray:
        """Frame 0 to 11, uint8 RGB (HEIGHT, WIDTH, 3), with the actors in these states."""
        return self.frame_with(self._actors.things(states, frame), frame)

    def frame_with(self, actors: Iterable[Thing], frame: int) -> np.ndarray:
        """Frame 0 to 11, uint8 RGB (HEIGHT, WIDTH, 3), with these things in place of the actors."""
        camera = camera_at(self._place, frame)
        image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        seam = int(camera.horizon_y + camera.height_metres * camera.focal / _FAR_METRES)
        self._draw_far(image[:seam], camera)
        self._ground.draw(image, camera, top=seam)
        things = [*self._things, *actors]
        for thing in sorted(things, key=lambda thing: -thing.z):
            thing.draw(image, camera, frame)
        self._weather.draw(image, frame)
        return image

    def _draw_far(self, image: np.ndarray, camera: Camera) -> None:
        """The backdrop, swayed and slightly grown as we drive towards it."""
        base = self._base
        driven = camera.position_metres - base.position_metres
        shrink = (_BACKDROP_METRES - driven) / _BACKDROP_METRES
        to_backdrop = np.array(
            [
                [shrink, 0.0, base.center_x - camera.center_x * shrink],
                [0.0, shrink, base.horizon_y - camera.horizon_y * shrink],
            ]
        )
        image[:] = cv2.warpAffine(
            self._backdrop,
            to_backdrop,
            (image.shape[1], image.shape[0]),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
