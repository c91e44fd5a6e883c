"""The actors of an event, drawn in the state that they are in."""

from collections.abc import Iterator

import numpy as np

from caf_video.synthetic.painting.drawing import Picture
from caf_video.synthetic.painting.people import Person
from caf_video.synthetic.painting.roadside import Signal, post_mesh
from caf_video.synthetic.painting.signs import sign_picture
from caf_video.synthetic.painting.things import Thing
from caf_video.synthetic.painting.vehicles import CarBody
from caf_video.synthetic.world.camera import Camera
from caf_video.synthetic.world.events import ActorStates
from caf_video.synthetic.world.scene import Place
from caf_video.synthetic.world.truth import crosser_at, joiner_at, lead_at, sign_at, signal_at

_SIGN_NEAREST_METRES = 7.0


class Actors:
    """The lead car, the signpost, the signal, who crosses and the car that joins, of one clip."""

    def __init__(self, place: Place) -> None:
        self._place = place
        light, lead, joiner = place.light, place.lead, place.joiner
        self._lead = CarBody(lead.kind, lead.paint, light, float(place.lead_gap_metres[0]))
        self._joiner = CarBody(joiner.kind, joiner.paint, light, place.joiner_gap_metres)
        self._crosser = Person(place.crosser, light, place.crosser.z)
        x, y, z = sign_at(place)
        self._signpost = post_mesh(x, z, y, light)
        self._sign_width = place.sign_width_metres * place.drive.focal / _SIGN_NEAREST_METRES
        x, y, z = signal_at(place)
        self._signal_post = post_mesh(x, z, y, light)
        self._signs: dict[str, Picture] = {}
        self._signal = Signal(light, z, place.signal_scale)

    def things(self, states: ActorStates, frame: int) -> Iterator[Thing]:
        """What to draw in a frame."""
        yield self._lead_car(states, frame)
        yield self._sign(states.sign[frame])
        yield self._signal_head(states)
        yield from self._whoever_crosses(states, frame)
        yield from self._whoever_joins(states, frame)

    def _lead_car(self, states: ActorStates, frame: int) -> Thing:
        x, z = lead_at(self._place, states, frame)
        brake = bool(states.brake[frame])

        def draw(image: np.ndarray, camera: Camera, frame: int) -> None:
            self._lead.draw(image, camera, x, z, brake=brake)

        return Thing(z, draw)

    def _sign(self, carried: str) -> Thing:
        place = self._place
        x, y, z = sign_at(place)
        half = place.sign_width_metres / 2

        def draw(image: np.ndarray, camera: Camera, frame: int) -> None:
            self._signpost.draw(image, camera, frame)
            if carried != "none":
                left, bottom = camera.pixel(x - half, y - half, z)
                right, top = camera.pixel(x + half, y + half, z)
                self._sign_picture(carried).paste(image, (left, top, right, bottom))

        return Thing(z, draw)

    def _sign_picture(self, name: str) -> Picture:
        if name not in self._signs:
            light, z = self._place.light, self._place.sign_z
            self._signs[name] = sign_picture(name, light, z, self._sign_width)
        return self._signs[name]

    def _signal_head(self, states: ActorStates) -> Thing:
        place = signal_at(self._place)

        def draw(image: np.ndarray, camera: Camera, frame: int) -> None:
            self._signal_post.draw(image, camera, frame)
            self._signal.draw(image, camera, place, states.signal[frame])

        return Thing(float(place[2]), draw)

    def _whoever_crosses(self, states: ActorStates, frame: int) -> Iterator[Thing]:
        feet = crosser_at(self._place, states, frame)
        if feet is not None:
            x, _, z = feet.tolist()

            def draw(image: np.ndarray, camera: Camera, frame: int) -> None:
                self._crosser.draw(image, camera, x, z, x, crossing=True)

            yield Thing(z, draw)

    def _whoever_joins(self, states: ActorStates, frame: int) -> Iterator[Thing]:
        rear = joiner_at(self._place, states, frame)
        if rear is not None:
            x, z = rear

            def draw(image: np.ndarray, camera: Camera, frame: int) -> None:
                self._joiner.draw(image, camera, x, z)

            yield Thing(z, draw)
