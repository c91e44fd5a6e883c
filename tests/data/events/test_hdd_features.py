"""HDD's feature release: shapes that tell the channels, labels of steps, arrays never unpickled."""

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from caf_video.data.events.events import EventError
from caf_video.data.events.hdd import EventRule
from caf_video.data.events.hdd_features import find_targets, open_array, open_maps, target_runs
from caf_video.data.events.hdd_labels import LAYERS, classes_named

GOAL, CAUSE = LAYERS["goal"], LAYERS["cause"]
SESSION = "201702271017"


def saved(folder: Path, *shapes: tuple[int, ...], dtype: type = np.float16) -> Path:
    folder.mkdir(exist_ok=True)
    for number, shape in enumerate(shapes):
        np.save(folder / f"2017022710{17 + number}.npy", np.zeros(shape, dtype))
    return folder


@pytest.mark.parametrize(
    ("shape", "said", "wanted"),
    [
        ((1536, 8, 8), None, (1536, (8, 8), False)),
        ((8, 8, 1536), None, (1536, (8, 8), True)),
        ((6, 8, 8), None, (6, (8, 8), False)),
        ((7, 4, 12), "first", (7, (4, 12), False)),
        ((7, 4, 12), "last", (12, (7, 4), True)),
        ((8, 8, 8), "last", (8, (8, 8), True)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_axis_that_differs_from_two_equal_ones_is_the_channels(
    tmp_path, shape, said, wanted, dtype
) -> None:
    maps = open_maps(saved(tmp_path / "net", (5, *shape), (3, *shape), dtype=dtype), said)
    assert (maps.channels, maps.grid, maps.channels_last) == wanted
    assert maps.steps == {SESSION: 5, "201702271018": 3}


@pytest.mark.parametrize("shape", [(7, 4, 12), (8, 8, 8), (8, 1536, 8)], ids=str)
def test_where_the_shape_does_not_tell_the_channels_it_asks(tmp_path, shape) -> None:
    with pytest.raises(EventError, match=r"does not tell.*--channels first or --channels last$"):
        open_maps(saved(tmp_path / "net", (5, *shape)), None)
    with pytest.raises(EventError, match="^--channels middle: it is first or last$"):
        open_maps(tmp_path / "net", "middle")


def test_arrays_of_other_shapes_are_told(tmp_path) -> None:
    with pytest.raises(EventError, match="wanted float16 or float32"):
        open_maps(saved(tmp_path / "a", (5, 6, 2)), None)
    with pytest.raises(EventError, match="wanted float16 or float32"):
        open_maps(saved(tmp_path / "b", (5, 6, 2, 2), dtype=np.int64), None)
    with pytest.raises(EventError, match=r"1018.npy: shape \(6, 3, 3\) a step, the others have"):
        open_maps(saved(tmp_path / "c", (5, 6, 2, 2), (5, 6, 3, 3)), None)
    with pytest.raises(EventError, match="holds no array of a session"):
        open_maps(saved(tmp_path / "d"), None)
    with pytest.raises(EventError, match="^no folder at"):
        open_maps(tmp_path / "none", None)


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_an_array_stays_on_disk_and_a_pickle_is_never_opened(tmp_path) -> None:
    file = saved(tmp_path / "net", (5, 6, 2, 2)) / f"{SESSION}.npy"
    assert isinstance(open_array(file), np.memmap)
    np.save(file, np.array([Trap(tmp_path / "sprung")], dtype=object), allow_pickle=True)
    with pytest.raises(EventError, match="is not an array of numbers"):
        open_array(file)
    for data in (pickle.dumps(Trap(tmp_path / "sprung")), b"", b"\x93NUMPY\x01\x00"):
        file.write_bytes(data)
        with pytest.raises(EventError, match="is not an array of numbers"):
            open_array(file)
    with file.open("wb") as archive:
        np.savez(archive, a=np.zeros(3))
    with pytest.raises(EventError, match="is not an array of numbers"):
        open_array(file)
    with pytest.raises(EventError, match=r"^there is no file .*none\.npy$"):
        open_array(tmp_path / "none.npy")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("folder", ["target", "20200710_labels/target"])
def test_labels_of_steps_are_found_where_releases_have_them(tmp_path, folder) -> None:
    (tmp_path / folder).mkdir(parents=True)
    np.save(tmp_path / folder / f"{SESSION}.npy", np.zeros(3, int))
    assert find_targets(tmp_path, GOAL) == {SESSION: tmp_path / folder / f"{SESSION}.npy"}
    with pytest.raises(EventError, match="no folder of labels at .*target_cause or "):
        find_targets(tmp_path, CAUSE)
    with pytest.raises(EventError, match="has no labels of the layer stimuli$"):
        find_targets(tmp_path, LAYERS["stimuli"])


def test_runs_of_one_label_are_events(tmp_path) -> None:
    labels = [0] * 6 + [2] * 5 + [3] * 4 + [9] * 6 + [11] * 9
    np.save(file := tmp_path / f"{SESSION}.npy", np.array(labels))

    def runs(classes: str, steps: int = 30) -> tuple[list[tuple[str, int, int]], Counter[str]]:
        rule = EventRule(GOAL, classes_named(GOAL, classes, None))
        found, dropped = target_runs(file, steps, rule)
        return [(run.label, run.first, run.stop) for run in found], dropped

    short = {"shorter than 5 steps of 1/3 s": 1}
    turns = [("left turn", 6, 11), ("U-turn", 21, 30)]
    railroad = ("railroad passing", 15, 21)
    assert runs("all") == ([turns[0], railroad, turns[1]], Counter(short))
    assert runs("trn")[0] == [("background", 0, 6), turns[0], railroad, turns[1]]
    kept = [("background", 0, 6), turns[0], ("background", 15, 21), turns[1]]
    assert runs("author") == (
        kept,
        Counter({"railroad passing, not among the classes": 1, **short}),
    )
    # Labels of a step or two that nothing was made of: the event ends before.
    assert runs("all", 28)[0][-1] == ("U-turn", 21, 28)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.array([0, 12] * 5), "label 12: those of the layer goal are 0 to 11"),
        (np.array([0, -1] * 5), "label -1"),
        (np.zeros(10), "float64 of shape"),
        (np.zeros((10, 1), int), "int64 of shape"),
        (np.zeros(20, int), "labels of 20 steps, but maps of 10"),
    ],
    ids=str,
)
def test_labels_that_belong_to_nothing_are_told(tmp_path, labels, told) -> None:
    np.save(file := tmp_path / f"{SESSION}.npy", labels)
    with pytest.raises(EventError, match=told):
        target_runs(file, 10, EventRule(GOAL, classes_named(GOAL, "all", None)))
