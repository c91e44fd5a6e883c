"""From a place and what its actors do to frames, boxes and visibility."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from caf_video.data.synthetic import weather
from caf_video.data.synthetic.backdrop import MARGIN, paint_sky
from caf_video.data.synthetic.camera import HEIGHT, WIDTH, Camera
from caf_video.data.synthetic.drawing import Mesh, glow
from caf_video.data.synthetic.events import (
    EVENT_CLASSES,
    ActorStates,
    event_states,
    neutral_states,
)
from caf_video.data.synthetic.ground import Ground
from caf_video.data.synthetic.people import Person
from caf_video.data.synthetic.roadside import (
    draw_post,
    draw_signal,
    sign_picture,
    street_light_mesh,
)
from caf_video.data.synthetic.scene import (
    FAR_METRES,
    FPS,
    FRAMES,
    Car,
    Place,
    Tree,
    Walker,
    draw_place,
)
from caf_video.data.synthetic.scenery import building_mesh, tree_picture
from caf_video.data.synthetic.truth import (
    camera_at,
    crosser_at,
    ground_truth,
    joiner_at,
    lead_at,
    sign_at,
    signal_at,
)
from caf_video.data.synthetic.vehicles import CarBody
from caf_video.errors import InputError


@dataclass(frozen=True)
class RenderedClip:
    """A clip and its ground truth.

    Attributes:
        frames: uint8 RGB (12, 256, 448, 3).
        boxes: (x1, y1, x2, y2) in pixels of the event's object in each frame, float (12, 4), half-open and
            inside the frame; without evidence, of the same object in its neutral state (zeros: not there).
        visible: Whether the evidence can be seen in the state of that frame, bool (12,).
    """

    frames: np.ndarray
    boxes: np.ndarray
    visible: np.ndarray


@dataclass(frozen=True)
class _Item:
    """Something to draw, with the distance that decides what covers what."""

    z: float
    draw: Callable[[np.ndarray, Camera, int], None]


def render_clip(
    event_class: str, *, session: int, variant: int = 0, evidence: bool = True
) -> RenderedClip:
    """Render one clip: place `variant` of a session, with an event in it.

    Args:
        event_class: One of EVENT_CLASSES.
        session: Seed of the drive: camera, hour, season, town.
        variant: Which clip of the drive: road, weather, traffic, motion.
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
    frames = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    for frame in range(FRAMES):
        frames[frame] = renderer.frame(states, frame)
    boxes, visible = ground_truth(place, states, told.actor)
    return RenderedClip(frames, boxes, visible)


class SceneRenderer:
    """Everything of a clip that is prepared once."""

    def __init__(self, place: Place) -> None:
        self._place = place
        rng = np.random.default_rng(place.ground_seed)
        sky = paint_sky(place, rng)
        self._ground = Ground(place, sky, int(place.horizon_y.mean()) + MARGIN)
        self._weather = weather.Weather(place)
        items = self._standing_items()
        self._backdrop = sky
        self._paint_far([item for item in items if item.z >= FAR_METRES])
        self._near = [item for item in items if item.z < FAR_METRES] + self._moving_items()
        lead = place.lead
        self.lead = CarBody(lead.kind, lead.colour, place.light, float(place.lead_gap_metres[0]))
        joiner = place.joiner
        self._joiner = CarBody(joiner.kind, joiner.colour, place.light, place.joiner_gap_metres)
        self._crosser = Person(place.crosser, place.light, place.crosser.z)
        width = place.sign_width_metres * place.drive.focal / 7.0
        self._signs = {
            name: sign_picture(name, place.light, place.sign_z, width)
            for name in {place.sign_neutral, "stop_sign", "railway_crossing"} - {"none"}
        }

    def frame(self, states: ActorStates, frame: int) -> np.ndarray:
        """One frame, (HEIGHT, WIDTH, 3)."""
        camera = camera_at(self._place, frame)
        image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        seam = int(camera.horizon_y + camera.height_metres * camera.focal / FAR_METRES)
        self._draw_far(image[:seam], camera)
        self._ground.draw(image, camera, top=seam)
        items = sorted(self._near + self._actors(states, frame), key=lambda item: -item.z)
        for item in items:
            item.draw(image, camera, frame)
        self._weather.draw(image, camera, frame)
        return image

    def _draw_far(self, image: np.ndarray, camera: Camera) -> None:
        """The backdrop, swayed and slightly grown as we drive towards it."""
        place = self._place
        middle = float(place.position_metres.mean())
        grow = 70.0 / (70.0 - (camera.position_metres - middle))
        base_x, base_y = (
            float(place.centre_x.mean()) + MARGIN,
            float(place.horizon_y.mean()) + MARGIN,
        )
        to_backdrop = np.array(
            [[1 / grow, 0.0, base_x - camera.centre_x / grow],
             [0.0, 1 / grow, base_y - camera.horizon_y / grow]]
        )  # fmt: skip
        cv2.warpAffine(
            self._backdrop, to_backdrop, (image.shape[1], image.shape[0]), dst=image,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip

    def _paint_far(self, items: list[_Item]) -> None:
        """Paint what is far onto the backdrop, seen from the middle of the way."""
        place = self._place
        camera = Camera(
            place.drive.focal,
            float(place.centre_x.mean()) + MARGIN,
            float(place.horizon_y.mean()) + MARGIN,
            place.drive.camera_height_metres,
            float(place.position_metres.mean()),
        )
        self._ground.draw(self._backdrop, camera, top=int(camera.horizon_y))
        for item in sorted(items, key=lambda item: -item.z):
            item.draw(self._backdrop, camera, FRAMES // 2)

    def _standing_items(self) -> list[_Item]:
        place = self._place
        items = []
        for building in place.buildings:
            items.append(_Item(building.far_z, _mesh_drawer(building_mesh(building, place))))
        items += [self._car_item(car) for car in place.cars if not car.speed]
        for x, z in place.street_lights:
            bend = float(place.bend_at(z))
            items.append(_Item(z, _mesh_drawer(street_light_mesh(x, z, place.light, bend))))
            if place.light.darkness > 0.4:
                items.append(_Item(z - 0.1, self._lamp_glow(x, z, bend)))
        for tree in place.trees:
            items.append(_Item(tree.z, self._tree_drawer(tree)))
        return items

    def _moving_items(self) -> list[_Item]:
        return [self._car_item(car) for car in self._place.cars if car.speed]

    def _lamp_glow(self, x: float, z: float, bend: float) -> Callable[..., None]:
        light = self._place.light
        x = x + bend - float(np.sign(x)) * 1.7
        strength = 0.7 * light.darkness * float(np.exp(-z / (2 * light.fog_metres)))

        def draw(image: np.ndarray, camera: Camera, frame: int) -> None:
            pixel = camera.pixel(x, 7.3, z)
            radius = 1.5 * camera.scale_at(z) + 3
            glow(image, pixel, radius, np.array([1.0, 0.82, 0.52]), strength)

        return draw

    def _tree_drawer(self, tree: Tree) -> Callable[..., None]:
        picture = tree_picture(tree, self._place)
        x = float(tree.lateral + self._place.bend_at(tree.z))
        half = tree.height_metres * 0.375

        def draw(image: np.ndarray, camera: Camera, frame: int) -> None:
            left, bottom = camera.pixel(x - half, 0.0, tree.z)
            right, top = camera.pixel(x + half, tree.height_metres, tree.z)
            picture.paste(image, (left, top, right, bottom))

        return draw

    def _car_item(self, car: Car) -> _Item:
        body = CarBody(car.kind, car.colour, self._place.light, car.z, oncoming=car.speed < 0)

        def draw(image: np.ndarray, camera: Camera, frame: int) -> None:
            z = car.z + car.speed * frame / FPS
            if z - camera.position_metres > 6.0:
                body.draw(image, camera, float(car.lateral + self._place.bend_at(z)), z)

        return _Item(car.z, draw)

    def _walker_drawer(self, walker: Walker) -> Callable[..., None]:
        person = Person(walker, self._place.light, walker.z)

        def draw(image: np.ndarray, camera: Camera, frame: int) -> None:
            way = walker.speed * frame / FPS
            z = walker.z + way
            x = float(walker.lateral + self._place.bend_at(z))
            person.draw(image, camera, x, z, way, crossing=False)

        return draw

    def _actors(self, states: ActorStates, frame: int) -> list[_Item]:
        place, light = self._place, self._place.light
        x, z = lead_at(place, states, frame)
        lit = bool(states.brake[frame])
        items = [_Item(z, lambda image, camera, _: self.lead.draw(image, camera, x, z, brake=lit))]

        beside = joiner_at(place, states, frame)
        if beside is not None:
            items.append(
                _Item(beside[1], lambda image, camera, _: self._joiner.draw(image, camera, *beside))
            )
        sign_x, sign_y, sign_z = sign_at(place)
        half = place.sign_width_metres / 2

        def draw_sign(image: np.ndarray, camera: Camera, frame: int) -> None:
            draw_post(image, camera, light, sign_x, sign_z, sign_y)
            if states.sign != "none":
                left, bottom = camera.pixel(sign_x - half, sign_y - half, sign_z)
                right, top = camera.pixel(sign_x + half, sign_y + half, sign_z)
                self._signs[states.sign].paste(image, (left, top, right, bottom))

        items.append(_Item(place.sign_z, draw_sign))
        head = signal_at(place)

        def draw_lights(image: np.ndarray, camera: Camera, frame: int) -> None:
            draw_post(image, camera, light, head[0], head[2], head[1])
            draw_signal(image, camera, light, head, place.signal_scale, states.signal[frame])

        items.append(_Item(head[2], draw_lights))
        feet = crosser_at(place, states, frame)
        if feet is not None:
            x_crosser, _, z_crosser = feet

            def draw_crosser(image: np.ndarray, camera: Camera, frame: int) -> None:
                self._crosser.draw(image, camera, x_crosser, z_crosser, x_crosser, crossing=True)

            items.append(_Item(z_crosser, draw_crosser))
        return items


def _mesh_drawer(mesh: Mesh) -> Callable[..., None]:
    return lambda image, camera, frame: mesh.draw(image, camera)
