"""The feature store: what is written comes back, and what cannot be used is named in one line."""

import dataclasses
import errno
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from caf_video.data.features import (
    ClipFeatures,
    FeatureStore,
    FeatureStoreError,
    StoreDescription,
    unstorable,
)
from caf_video.data.sealed import sealed, unsealed
from caf_video.data.store_files import fanned_out
from caf_video.file_names import file_name
from caf_video.files import RECORD

DESCRIPTION = StoreDescription(
    backbone="resnet18",
    weights="IMAGENET1K_V1",
    weights_sha256="ab" * 32,
    stride=32,
    size=(64, 96),
    channels=5,
    grid=(2, 3),
    timesteps=3,
    candidates=4,
)


def features_of(
    clip_id: str, *, candidates: int = 4, maps: Callable[[Tensor], Tensor] = lambda maps: maps
) -> ClipFeatures:
    """Features of a clip that differ from those of any other."""
    generator = torch.Generator().manual_seed(sum(clip_id.encode()))
    indices = torch.arange(3 * candidates).reshape(3, candidates)
    return ClipFeatures(
        clip_id,
        maps(torch.randn(3, candidates, 5, 2, 3, generator=generator)),
        indices,
        indices / 25,
    )


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """An empty store."""
    return FeatureStore.create(tmp_path / "features", DESCRIPTION)


def one_line(error: pytest.ExceptionInfo[FeatureStoreError]) -> str:
    """The message, which must be a single line."""
    assert "\n" not in str(error.value)
    return str(error.value)


def files_in(folder: Path) -> set[str]:
    """Names of all files below a folder, but for the record of which are ours."""
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    return files - {RECORD}


@pytest.mark.parametrize(
    "clip_id", ["drive-7", "a/b\\c:d?*", "..", "", "% 20", "Über die Brücke 橋", "long " * 80]
)
def test_features_come_back_as_written_whatever_the_clip_is_called(
    store: FeatureStore, clip_id: str
) -> None:
    for candidates in (4, 1):
        written = features_of(clip_id, candidates=candidates)
        store.write(written, "key")
        read = FeatureStore.open(store.folder).read(clip_id)
        assert read.clip_id == clip_id
        assert read.feature_maps.dtype == torch.float16
        assert torch.equal(read.feature_maps, written.feature_maps.half())
        assert torch.equal(read.frame_indices, written.frame_indices)
        assert read.frame_indices.dtype == torch.int64
        assert torch.equal(read.times_seconds, written.times_seconds.double())
        assert read.times_seconds.dtype == torch.float64
    assert len(files_in(store.folder / "clips")) == 1
    (file,) = store.folder.glob("clips/**/*.safetensors")
    assert file.parent.parent == store.folder / "clips" and len(file.parent.name) == 2


def test_clips_whose_long_names_begin_alike_do_not_meet(store: FeatureStore) -> None:
    first, second = "x" * 300 + "1", "x" * 300 + "2"
    store.write(features_of(first), "key")
    store.write(features_of(second), "key")
    assert not torch.equal(store.read(first).feature_maps, store.read(second).feature_maps)


def test_maps_that_are_not_contiguous_in_memory_are_stored_right(store: FeatureStore) -> None:
    written = features_of("clip")
    strided = written.feature_maps.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    store.write(
        dataclasses.replace(written, feature_maps=strided.unflatten(0, (3, 4))),
        "key",
    )
    assert torch.equal(store.read("clip").feature_maps, written.feature_maps.half())


def test_the_description_comes_back_and_the_manifest_has_its_place(store: FeatureStore) -> None:
    assert FeatureStore.open(str(store.folder)).description == DESCRIPTION
    assert store.manifest_path == store.folder / "manifest.csv"


def test_an_extraction_goes_on_with_the_clips_it_does_not_hold_yet(store: FeatureStore) -> None:
    store.write(features_of("first"), "drive.mp4|0|4")
    again = FeatureStore.create(store.folder, DESCRIPTION)
    assert again.holds("first", "drive.mp4|0|4")
    assert not again.holds("first", "drive.mp4|1|4"), "the event was moved"
    assert not again.holds("second", "drive.mp4|0|4")


def test_a_file_cut_short_is_not_held_and_can_be_written_again(store: FeatureStore) -> None:
    store.write(features_of("clip"), "key")
    (file,) = (store.folder / "clips").glob("*/*")
    content = file.read_bytes()
    for length in (0, 5, 100, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:length])
        assert not store.holds("clip", "key")
        with pytest.raises(FeatureStoreError, match="damaged.*extract") as caught:
            store.read("clip")
        assert str(file) in one_line(caught)
    store.write(features_of("clip"), "key")
    assert store.holds("clip", "key")


def test_weights_moved_to_another_file_are_the_same_weights(store: FeatureStore) -> None:
    moved = dataclasses.replace(DESCRIPTION, weights="/elsewhere/weights.safetensors")
    assert FeatureStore.create(store.folder, moved).description == DESCRIPTION


OTHER: dict[str, Any] = {
    "backbone": "resnet50",
    "weights_sha256": "cd" * 32,
    "stride": 16,
    "size": (64, 128),
    "channels": 6,
    "grid": (4, 6),
    "timesteps": 4,
    "candidates": 1,
    "precision": "bfloat16",
    "normalization": "bicubic, mean 0.5 0.5 0.5, std 0.5 0.5 0.5",
    "revision": "a commit",
}


@pytest.mark.parametrize("field", OTHER)
def test_other_features_are_refused_with_the_field_and_advice(
    store: FeatureStore, field: str
) -> None:
    store.write(features_of("clip"), "key")
    before = {name: (store.folder / name).read_bytes() for name in files_in(store.folder)}
    other = dataclasses.replace(DESCRIPTION, **{field: OTHER[field]})
    for refuse in (lambda: FeatureStore.create(store.folder, other), lambda: store.require(other)):
        with pytest.raises(
            FeatureStoreError, match=f"{field} is .*, not .*Choose another"
        ) as caught:
            refuse()
        assert str(store.folder) in one_line(caught)
    assert {name: (store.folder / name).read_bytes() for name in files_in(store.folder)} == before


def test_every_field_that_differs_is_named(store: FeatureStore) -> None:
    other = dataclasses.replace(DESCRIPTION, stride=16, channels=6)
    with pytest.raises(FeatureStoreError, match="stride is 32, not 16; channels is 5, not 6"):
        store.require(other)
    store.require(DESCRIPTION)
    assert set(OTHER) | {"weights"} == {f.name for f in dataclasses.fields(StoreDescription)}


# --- features that cannot be stored ---------------------------------------------------------------


def with_value(value: float) -> Callable[[Tensor], Tensor]:
    """Put one value into otherwise good maps."""

    def put(maps: Tensor) -> Tensor:
        maps[1, 2, 3, 1, 1] = value
        return maps

    return put


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (float("nan"), "features of clip 'bad' are not finite"),
        (float("inf"), "features of clip 'bad' are not finite"),
        (-70000.0, "clip 'bad' reach 7e.04, more than float16 holds"),
    ],
)
def test_values_that_float16_cannot_hold_name_the_clip(
    store: FeatureStore, value: float, complaint: str
) -> None:
    with pytest.raises(FeatureStoreError, match=complaint) as caught:
        store.write(features_of("bad", maps=with_value(value)), "key")
    one_line(caught)
    assert files_in(store.folder) == {"store.json"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("at", [0, 31, 32, 999])
def test_maps_can_be_stored_where_all_of_them_are_finite_in_half_precision(dtype, at) -> None:
    for value in (0.0, 65504.0, 65519.0, 65519.99, 65520.0, 65521.0, 1e9, np.inf, np.nan):
        for signed in (value, -value):
            maps = torch.zeros(10, 100, dtype=dtype)
            maps.view(-1)[at] = torch.tensor(signed).to(dtype)
            assert (unstorable(maps) == "") == bool(maps.to(torch.float16).isfinite().all())


def test_the_largest_float16_is_stored(store: FeatureStore) -> None:
    store.write(features_of("edge", maps=with_value(65504.0)), "key")
    assert store.read("edge").feature_maps.max() == 65504


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: dataclasses.replace(f, feature_maps=f.feature_maps[:2]),
        lambda f: dataclasses.replace(f, feature_maps=f.feature_maps[:, :3]),
        lambda f: dataclasses.replace(f, feature_maps=f.feature_maps[:, :, :4]),
        lambda f: dataclasses.replace(f, feature_maps=f.feature_maps[..., :1]),
        lambda f: dataclasses.replace(f, feature_maps=f.feature_maps[0]),
        lambda f: dataclasses.replace(f, frame_indices=f.frame_indices[:, :1]),
        lambda f: dataclasses.replace(f, times_seconds=f.times_seconds[0]),
    ],
)
def test_features_of_another_shape_name_the_clip(
    store: FeatureStore, spoil: Callable[[ClipFeatures], ClipFeatures]
) -> None:
    with pytest.raises(FeatureStoreError, match=r"clip 'odd'.*\(timesteps, candidates") as caught:
        store.write(spoil(features_of("odd")), "key")
    one_line(caught)
    assert files_in(store.folder) == {"store.json"}


# --- files that cannot be used --------------------------------------------------------------------


def rewrite(file: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Change the tensors of a file, and give it the checksum that they then have."""
    tensors, metadata = unsealed(file)
    change(tensors)
    file.write_bytes(sealed(tensors, metadata))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: t.update(feature_maps=t["feature_maps"][:, :, :2].contiguous()), "shape"),
        (lambda t: t.update(frame_indices=t["frame_indices"][:2].contiguous()), "do not belong"),
        (lambda t: t.pop("times_seconds"), "damaged"),
    ],
)
def test_a_stored_file_that_is_wrong_is_named(
    store: FeatureStore, change: Callable[[dict[str, Tensor]], None], complaint: str
) -> None:
    store.write(features_of("clip"), "key")
    (file,) = (store.folder / "clips").glob("*/*")
    rewrite(file, change)
    with pytest.raises(FeatureStoreError, match=complaint) as caught:
        store.read("clip")
    assert str(file) in one_line(caught)


@pytest.mark.parametrize("value", [float("nan"), 1.0])
def test_a_value_that_somebody_changed_is_found_and_the_clip_can_be_written_again(
    store: FeatureStore, value: float
) -> None:
    store.write(features_of("clip"), "key")
    (file,) = (store.folder / "clips").glob("*/*")
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    tensors["feature_maps"].view(-1)[7] = value
    save_file(tensors, file)
    assert not store.holds("clip", "key")
    with pytest.raises(FeatureStoreError, match="is damaged, or was stored by .*extract` again"):
        store.read("clip")
    store.write(features_of("clip"), "key")
    assert torch.equal(store.read("clip").feature_maps, features_of("clip").feature_maps.half())


def test_a_file_of_another_clip_is_refused(store: FeatureStore) -> None:
    store.write(features_of("one"), "key")
    store.write(features_of("two"), "key")
    one, two = (fanned_out(store.folder / "clips", id_, ".safetensors") for id_ in ("one", "two"))
    one.write_bytes(two.read_bytes())
    assert not store.holds("one", "key")
    with pytest.raises(FeatureStoreError, match=r"one\.safetensors holds another clip, 'two'"):
        store.read("one")


@pytest.mark.parametrize(
    "change",
    [
        {"channels": 1 << 40},
        {"channels": "5"},
        {"candidates": True},
        {"timesteps": 0},
        {"grid": [2.0, 3]},
        {"size": [-1, 96]},
        {"backbone": ["resnet18"]},
        {"revision": None},
    ],
)
def test_a_description_of_nothing_that_can_be_is_refused(
    store: FeatureStore, change: dict[str, Any]
) -> None:
    file = store.folder / "store.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(FeatureStoreError, match="is not a description of a feature store"):
        FeatureStore.open(store.folder)


def test_a_description_that_somebody_changed_is_refused(store: FeatureStore) -> None:
    file = store.folder / "store.json"
    file.write_text(file.read_text().replace('"stride": 32', '"stride": 16'))
    with pytest.raises(FeatureStoreError, match=r"store\.json is not as it was written"):
        FeatureStore.open(store.folder)


def test_a_clip_without_features_says_how_to_add_them(store: FeatureStore) -> None:
    with pytest.raises(FeatureStoreError, match="no features of clip 'a/b'.*extract") as caught:
        store.read("a/b")
    assert "a%2Fb.safetensors" in one_line(caught)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "{", '{"backbone": "resnet18"}', '{"size": [1], "grid": [1, 2]}', "\xff"],
)
def test_a_description_that_cannot_be_read_is_named(store: FeatureStore, text: str) -> None:
    file = store.folder / "store.json"
    file.write_bytes(text.encode("latin-1"))
    for use in (FeatureStore.open, lambda folder: FeatureStore.create(folder, DESCRIPTION)):
        with pytest.raises(FeatureStoreError, match="is not a description") as caught:
            use(store.folder)
        assert str(file) in one_line(caught)


def test_an_unknown_field_in_the_description_is_refused(store: FeatureStore) -> None:
    file = store.folder / "store.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "colour": "grey"}))
    with pytest.raises(FeatureStoreError, match="is not a description"):
        FeatureStore.open(store.folder)


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "features"
    file.write_text("mine")
    with pytest.raises(FeatureStoreError, match="is a file, not a folder") as caught:
        FeatureStore.create(file, DESCRIPTION)
    assert str(file) in one_line(caught)
    with pytest.raises(FeatureStoreError, match="cannot write") as caught:
        FeatureStore.create(file / "deeper", DESCRIPTION)
    one_line(caught)
    for folder in (file, file / "deeper", tmp_path / "nowhere"):
        with pytest.raises(FeatureStoreError, match="no feature store at .*extract") as caught:
            FeatureStore.open(folder)
        one_line(caught)
    assert file.read_text() == "mine"


def test_features_of_unknown_origin_are_not_adopted(store: FeatureStore) -> None:
    store.write(features_of("clip"), "key")
    (store.folder / "store.json").unlink()
    with pytest.raises(FeatureStoreError, match="no store.json that says of what") as caught:
        FeatureStore.create(store.folder, DESCRIPTION)
    one_line(caught)


def test_a_full_disk_is_one_line_and_damages_nothing(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(features_of("first"), "key")
    store.write(features_of("second"), "old key")
    before = {name: (store.folder / name).read_bytes() for name in files_in(store.folder)}
    write_bytes = Path.write_bytes

    def half_written(path: Path, content: bytes) -> int:
        write_bytes(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", half_written)
        for clip_id in ("second", "third"):
            with pytest.raises(
                FeatureStoreError, match="cannot write .*: No space left.*goes on"
            ) as caught:
                store.write(features_of(clip_id), "key")
            assert f"{clip_id}.safetensors" in one_line(caught)
        with pytest.raises(FeatureStoreError, match="cannot write .*: No space left"):
            FeatureStore.create(store.folder.parent / "another", DESCRIPTION)
    assert {name: (store.folder / name).read_bytes() for name in files_in(store.folder)} == before
    assert not files_in(store.folder.parent / "another")

    again = FeatureStore.create(store.folder, DESCRIPTION)
    assert again.holds("first", "key")
    assert again.holds("second", "old key")
    assert not again.holds("third", "key")
    again.write(features_of("third"), "key")
    assert again.holds("third", "key")


def test_an_interrupted_write_leaves_no_half_file(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes = Path.write_bytes

    def interrupted(path: Path, content: bytes) -> int:
        write_bytes(path, content[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write(features_of("clip"), "key")
    assert files_in(store.folder) == {"store.json"}


def test_clips_fan_out_over_folders_that_a_digest_of_the_id_names(store: FeatureStore) -> None:
    names = [f"drive {number}" for number in range(40)]
    for name in names:
        store.write(features_of(name), "key")
    folders = {
        file.stem: file.parent.name for file in (store.folder / "clips").glob("*/*.safetensors")
    }
    assert folders == {
        file_name(name): hashlib.sha256(name.encode()).hexdigest()[:2] for name in names
    }
    assert store.stored() == set(folders) and not store.failed()


def test_what_is_stored_and_what_failed_is_told_by_name(store: FeatureStore) -> None:
    odd = ["a/b", "左" * 60, "caf\udce9", "gone"]
    for name in odd[:2]:
        store.write(features_of(name), "key")
    (store.folder / "clips" / "00").mkdir(exist_ok=True)
    (store.folder / "clips" / "00" / ".half.part.safetensors").write_bytes(b"")
    (store.folder / "clips" / "old.safetensors").write_bytes(b"")  # of an earlier version
    for name in odd[2:]:
        store.note_failure(name, f"no video of {name}")
    assert store.stored() == {file_name(name) for name in odd[:2]}
    assert store.failed() == {file_name(name) for name in odd[2:]}
    assert store.failure(odd[2]) == f"no video of {odd[2]}" and store.failure("a/b") == ""
    store.forget_failure(odd[2])
    store.forget_failure("never noted")
    assert store.failed() == {"gone"}


def test_a_store_that_another_process_makes_meanwhile_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one comes between any two looks that this one takes at the folder."""
    looks = 0
    exists = Path.exists

    def other(folder: Path) -> None:
        store = FeatureStore.create(folder, DESCRIPTION)
        store.manifest_path.write_text("path,label\n")
        store.write(features_of("clip"), "key")

    for moment in range(1, 4):
        looks, folder = 0, tmp_path / f"{moment}"

        def exists_meanwhile(path: Path) -> bool:
            nonlocal looks
            looks += 1
            if looks == moment:  # noqa: B023
                other(folder)  # noqa: B023
            return exists(path)

        monkeypatch.setattr(Path, "exists", exists_meanwhile)
        store = FeatureStore.create(folder, DESCRIPTION)
        monkeypatch.undo()
        assert looks >= moment and store.holds("clip", "key")


def test_a_store_of_other_features_made_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two write their descriptions at once: the one whose own did not stay is told."""
    from caf_video.data import features

    whole = features.written_whole

    @contextmanager
    def overtaken(path: Path, *args: Any, **settings: Any) -> Iterator[Path]:
        with whole(path, *args, **settings) as part:
            yield part
        monkeypatch.undo()
        other = dataclasses.asdict(dataclasses.replace(DESCRIPTION, channels=6))
        with whole(path, *args, **settings) as part:
            part.write_text(json.dumps(other))

    monkeypatch.setattr(features, "written_whole", overtaken)
    with pytest.raises(FeatureStoreError, match="channels is 6, not 5"):
        FeatureStore.create(tmp_path / "store", DESCRIPTION)


def test_chosen_maps_are_those_of_the_whole_clip_the_second_time_without_reading_it(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = features_of("clip")
    store.write(features, "key")
    wanted = features.feature_maps.half()
    for chosen in ([0, 3, 1], [2, 2, 0]):
        found = store.read_maps("clip", lambda t, k, chosen=chosen: np.array(chosen))
        assert torch.equal(found, torch.stack([wanted[t, k] for t, k in enumerate(chosen)]))
        monkeypatch.setattr(FeatureStore, "read", None)  # nothing asks for it any more


def test_a_file_that_has_changed_since_it_was_verified_is_verified_again(
    store: FeatureStore,
) -> None:
    def middle(t: int, k: int) -> np.ndarray:
        return np.full(t, k // 2)

    store.write(features_of("clip"), "key")
    store.read_maps("clip", middle)
    store.write(features_of("clip", maps=lambda maps: maps + 1), "key")
    again = store.read("clip").feature_maps[:, 2]
    assert torch.equal(store.read_maps("clip", middle), again)
    file = store._file("clip")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(FeatureStoreError, match="is damaged") as error:
        store.read_maps("clip", middle)
    one_line(error)
    file.unlink()
    with pytest.raises(FeatureStoreError, match="no features of clip 'clip'"):
        store.read_maps("clip", middle)
