"""Everything neutral that is drawn in every frame, or once when it is far."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from caf_video.synthetic.painting.buildings import building_mesh
from caf_video.synthetic.painting.drawing import glow
from caf_video.synthetic.painting.people import Person
from caf_video.synthetic.painting.roadside import (
    STREET_LIGHT_ARM,
    STREET_LIGHT_METRES,
    street_light_mesh,
)
from caf_video.synthetic.painting.trees import tree_picture
from caf_video.synthetic.painting.vehicles import CarBody
from caf_video.synthetic.world.camera import Camera
from caf_video.synthetic.world.scene import FPS, Place
from caf_video.synthetic.world.surroundings import Car, Tree, Walker

_PASSED_METRES = 6.0  # traffic nearer than this is beside us, out of the picture
_LAMP_GLOW = np.array([1.0, 0.82, 0.52])


@dataclass(frozen=True)
class Thing:
    """Something to draw into a frame; what is farther away is drawn first."""

    z: float
    draw: Callable[[np.ndarray, Camera, int], None]


def standing_things(place: Place) -> Iterator[Thing]:
    """Buildings, street lights, trees and parked cars."""
    light = place.light
    for building in place.buildings:
        yield Thing(building.far_z, building_mesh(building, place).draw)
    for lateral, z in place.street_lights:
        x = lateral + place.bend_at(z)
        yield Thing(z, street_light_mesh(x, z, light).draw)
        if light.darkness > 0.4:
            yield _lamp_glow(x, z, place)
    for tree in place.trees:
        yield _tree(tree, place)
    for car in place.cars:
        if not car.speed:
            yield _car(car, place)


def moving_things(place: Place) -> Iterator[Thing]:
    """Traffic and people on foot."""
    for car in place.cars:
        if car.speed:
            yield _car(car, place)
    for walker in place.walkers:
        yield _walker(walker, place)


def _lamp_glow(x: float, z: float, place: Place) -> Thing:
    light = place.light
    reach = x - float(np.sign(x)) * STREET_LIGHT_ARM
    strength = 0.7 * light.darkness * float(np.exp(-z / (2 * light.fog_metres)))

    def draw(image: np.ndarray, camera: Camera, frame: int) -> None:
        at = camera.pixel(reach, STREET_LIGHT_METRES + 0.1, z)
        glow(image, at, 1.5 * camera.scale_at(z) + 3, _LAMP_GLOW, strength)

    return Thing(z - 0.1, draw)


def _tree(tree: Tree, place: Place) -> Thing:
    picture = tree_picture(tree, place)
    x, half = tree.lateral + place.bend_at(tree.z), tree.height_metres * 0.375

    def draw(image: np.ndarray, camera: Camera, frame: int) -> None:
        left, bottom = camera.pixel(x - half, 0.0, tree.z)
        right, top = camera.pixel(x + half, tree.height_metres, tree.z)
        picture.paste(image, (left, top, right, bottom))

    return Thing(tree.z, draw)


def _car(car: Car, place: Place) -> Thing:
    body = CarBody(car.kind, car.paint, place.light, car.z, oncoming=car.speed < 0)

    def draw(image: np.ndarray, camera: Camera, frame: int) -> None:
        z = car.z + car.speed * frame / FPS
        if z - camera.position_metres > _PASSED_METRES:
            body.draw(image, camera, car.lateral + place.bend_at(z), z)

    return Thing(car.z, draw)


def _walker(walker: Walker, place: Place) -> Thing:
    person = Person(walker, place.light, walker.z)

    def draw(image: np.ndarray, camera: Camera, frame: int) -> None:
        way = walker.speed * frame / FPS
        z = walker.z + way
        person.draw(image, camera, walker.lateral + place.bend_at(z), z, way, crossing=False)

    return Thing(walker.z, draw)
