"""Still pictures of one road object each, cut out of a rendered scene; the box is the object's own.

Where the scene is, what is cut out of it, and where an object may stand are drawn before the class
is known: with the object painted out, the picture is the same for every class. A bare post stands
in every picture; signs and signals hang on it, people and cars stand anywhere before it.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from caf_video.errors import InputError
from caf_video.synthetic.painting.people import Person
from caf_video.synthetic.painting.roadside import Signal, post_mesh
from caf_video.synthetic.painting.signs import sign_picture
from caf_video.synthetic.painting.things import Thing
from caf_video.synthetic.painting.vehicles import CarBody
from caf_video.synthetic.render import SceneRenderer
from caf_video.synthetic.world.camera import HEIGHT, WIDTH, Camera
from caf_video.synthetic.world.scene import SIGNAL_METRES, Place, draw_place
from caf_video.synthetic.world.surroundings import Walker, random_paint, random_walker
from caf_video.synthetic.world.truth import camera_at

_SIGNS = {
    "stop_sign": "stop_sign",
    "railway_crossing": "railway_crossing",
    "parking_sign": "parking",
    "speed_sign": "speed",
    "diamond_sign": "diamond",
    "arrow_sign": "arrow",
}
_SIGNALS = {"signal_red": "red", "signal_green": "green"}
_CARS = ("sedan", "suv", "van")

PICTURE_CLASSES: tuple[str, ...] = (*_SIGNS, *_SIGNALS, "pedestrian", *_CARS)

_CAR_FARTHER = 1.4  # cars stand farther away than people: objects are of like size in a picture
_POST_FARTHER = 1.42  # behind the cars
# Signs and signals are larger than life, to be of that size behind the cars.
_SIGN_METRES = (1.85, 2.2)
_SIGNAL_SCALE = 1.35
_TALLEST_METRES = 1.95  # of a person, from the ground
_MARGIN = 3  # pixels of the scene around an object
_COVERED = 0.3  # share of a pixel that an object must cover to own it


@dataclass(frozen=True)
class RenderedPicture:
    """A still picture of one object.

    Attributes:
        pixels: uint8 RGB (size, size, 3).
        box: (x1, y1, x2, y2) of the object in pixels, without its shadow and its shine; half-open
            and inside the picture. Of the object, even where it is painted out.
    """

    pixels: np.ndarray
    box: tuple[float, float, float, float]


def render_picture(
    label: str, *, session: int, variant: int = 0, size: int = 160, evidence: bool = True
) -> RenderedPicture:
    """Render a picture: place `variant` of a session, with an object in it.

    Args:
        label: One of PICTURE_CLASSES.
        session: Seed of the drive: camera, season.
        variant: Which place of the drive: road, hour, weather, what is cut out of the scene.
        size: Height and width of the picture in pixels.
        evidence: False paints the object out: the same picture for every class.

    Raises:
        InputError: If the class is unknown, a seed is negative or the size is not positive.
    """
    if label not in PICTURE_CLASSES:
        raise InputError(f"no picture class {label!r}; there are {', '.join(PICTURE_CLASSES)}")
    if session < 0 or variant < 0:
        raise InputError(f"session {session} and variant {variant} must not be negative")
    if size < 1:
        raise InputError(f"a picture of size {size}: wanted at least 1 pixel")
    stage = _draw_stage(session, variant)
    thing, box = _placed(label, stage)
    things = [stage.post, thing] if evidence else [stage.post]
    frame = SceneRenderer(stage.place).frame_with(things, 0)
    return RenderedPicture(_cut(frame, stage, size), _in_picture(box, stage, size))


def picture_box(
    label: str, *, session: int, variant: int, size: int
) -> tuple[float, float, float, float]:
    """The box of `render_picture`, without rendering the scene."""
    stage = _draw_stage(session, variant)
    return _in_picture(_placed(label, stage)[1], stage, size)


@dataclass(frozen=True)
class _Stage:
    """One picture before its class is known. Metres, in the frame of `Place`.

    Attributes:
        place: A stretch of road with nobody on it.
        camera: The eye.
        left, top, side: The square that is cut out of the scene, in its pixels.
        z: How far away a person stands; a car and the post stand farther away.
        post_x, post_y: Where the post stands, and where on it a sign or a signal hangs.
        sign_metres: Width of a sign.
        along: Where between the left and the right edge a person or a car stands, 0 to 1.
        walker: The looks of a person.
        crossing: Whether a person is seen from the side.
        paint: The colour of a car.
    """

    place: Place
    camera: Camera
    left: int
    top: int
    side: int
    z: float
    post_x: float
    post_y: float
    sign_metres: float
    along: float
    walker: Walker
    crossing: bool
    paint: tuple[float, float, float]

    @property
    def post(self) -> Thing:
        mesh = post_mesh(self.post_x, self.post_z, self.post_y, self.place.light)
        return Thing(self.post_z + 0.01, mesh.draw)

    @property
    def post_z(self) -> float:
        return self.z * _POST_FARTHER


def _draw_stage(session: int, variant: int) -> _Stage:
    # Nobody else is there: the object is the only one of its kind.
    place = replace(draw_place(session, variant), cars=(), walkers=())
    rng = np.random.default_rng([session, variant, 3])
    camera = camera_at(place, 0)
    z = rng.uniform(6.5, 8.0)
    metre = camera.scale_at(z)  # pixels
    side = int(rng.uniform(2.6, 3.6) * metre)

    # A person anywhere between its left and right edge has head and feet in the square.
    ground = camera.horizon_y + camera.height_metres * metre
    lowest = min(ground - _TALLEST_METRES * metre - _MARGIN, HEIGHT - side)
    highest = max(ground + _MARGIN - side, 0.0)
    top = int(highest + rng.random() * max(lowest - highest, 0.0))
    center = camera.center_x + rng.uniform(-2.0, 2.0) * metre
    left = int(np.clip(center - side / 2, 0, WIDTH - side))

    # A sign or a signal is all in the square, and above the ground.
    post_metre = camera.scale_at(z * _POST_FARTHER)
    sign_metres = rng.uniform(*_SIGN_METRES)
    half_width = sign_metres / 2 * post_metre + _MARGIN
    half_height = max(sign_metres, SIGNAL_METRES[1] * _SIGNAL_SCALE) / 2 * post_metre + _MARGIN
    column = rng.uniform(left + half_width, left + side - half_width)
    highest = top + half_height
    lowest = min(top + side, camera.horizon_y + camera.height_metres * post_metre) - half_height
    row = highest + rng.random() * max(lowest - highest, 0.0)
    return _Stage(
        place=place,
        camera=camera,
        left=left,
        top=top,
        side=side,
        z=z,
        post_x=(column - camera.center_x) / post_metre,
        post_y=camera.height_metres - (row - camera.horizon_y) / post_metre,
        sign_metres=sign_metres,
        along=float(rng.random()),
        walker=replace(random_walker(0.0, z, 0.0, rng), phase=float(_wide_step(rng))),
        crossing=bool(rng.random() < 0.6),
        paint=random_paint(rng),
    )


def _wide_step(rng: np.random.Generator) -> float:
    """A phase of the walk in which the legs are apart, forward or back."""
    return rng.uniform(0.12, 0.38) + 0.5 * float(rng.random() < 0.5)


def _placed(label: str, stage: _Stage) -> tuple[Thing, np.ndarray]:
    """The object, and its box (4,) in pixels of the scene."""
    if label in _SIGNS or label in _SIGNALS:
        thing = _on_the_post(label, stage)
        return thing, _silhouette(thing, stage.camera)
    # Moved so that it stands as far along the square as it should, whatever its width. Twice: it
    # changes a little as it moves.
    z = stage.z * _CAR_FARTHER if label in _CARS else stage.z
    middle = stage.left + stage.side / 2
    x = (middle - stage.camera.center_x) / stage.camera.scale_at(z)
    for _ in range(2):
        x1, _, x2, _ = _silhouette(_on_the_ground(label, stage, x, z), stage.camera)
        room = max(stage.side - (x2 - x1) - 2 * _MARGIN, 0.0)
        x += (stage.left + _MARGIN + stage.along * room - x1) / stage.camera.scale_at(z)
    thing = _on_the_ground(label, stage, x, z)
    return thing, _silhouette(thing, stage.camera)


def _on_the_post(label: str, stage: _Stage) -> Thing:
    x, y, z, light = stage.post_x, stage.post_y, stage.post_z, stage.place.light
    if label in _SIGNALS:
        signal = Signal(light, z, _SIGNAL_SCALE)

        def draw_signal(image: np.ndarray, camera: Camera, frame: int) -> None:
            signal.draw(image, camera, np.array([x, y, z]), _SIGNALS[label])

        return Thing(z, draw_signal)
    half = stage.sign_metres / 2
    width = stage.sign_metres * stage.camera.scale_at(z)
    picture = sign_picture(_SIGNS[label], light, z, width)

    def draw_sign(image: np.ndarray, camera: Camera, frame: int) -> None:
        left, bottom = camera.pixel(x - half, y - half, z)
        right, top = camera.pixel(x + half, y + half, z)
        picture.paste(image, (left, top, right, bottom))

    return Thing(z, draw_sign)


def _on_the_ground(label: str, stage: _Stage, x: float, z: float) -> Thing:
    light = stage.place.light
    if label in _CARS:
        car = CarBody(label, stage.paint, light, z)
        return Thing(z, lambda image, camera, frame: car.draw(image, camera, x, z))
    person = Person(stage.walker, light, z)

    def draw(image: np.ndarray, camera: Camera, frame: int) -> None:
        person.draw(image, camera, x, z, 0.0, crossing=stage.crossing)

    return Thing(z - 0.01, draw)


def _silhouette(thing: Thing, camera: Camera) -> np.ndarray:
    """Box (4,) of the pixels that a thing covers, half-open, in the scene."""
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    white = np.full_like(black, 255)
    for canvas in (black, white):
        thing.draw(canvas, camera, 0)
    # A shadow shows on white only, a shine hardly in the green of black and not at all on white.
    own, under = black[..., 1], white[..., 1]
    covered = (own > 0) & (255 - (under - own) >= 255 * _COVERED)
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=float)


def _cut(frame: np.ndarray, stage: _Stage, size: int) -> np.ndarray:
    square = frame[stage.top : stage.top + stage.side, stage.left : stage.left + stage.side]
    way = cv2.INTER_AREA if size <= stage.side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (size, size), interpolation=way))


def _in_picture(box: np.ndarray, stage: _Stage, size: int) -> tuple[float, float, float, float]:
    corner = np.array([stage.left, stage.top, stage.left, stage.top])
    inside = np.clip(box - corner, 0, stage.side) * (size / stage.side)
    x1, y1, x2, y2 = inside.tolist()
    return x1, y1, x2, y2
