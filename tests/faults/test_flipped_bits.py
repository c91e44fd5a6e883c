"""One bit on the disk is another: what is read is as it was written, or is refused in one line."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from caf_video.data.features import ClipFeatures, FeatureStore, FeatureStoreError
from caf_video.data.sealed import DamagedFileError, sealed, unsealed
from caf_video.models.torch_file import DamagedTorchFileError, read_torch_file
from caf_video.pipeline.localize.parts import Parts
from caf_video.training import CheckpointError, load_run

Flips = Callable[..., Iterator[bytes]]


def test_a_damaged_clip_is_never_used_and_is_written_anew(
    store_folder: Path, tmp_path: Path, flips: Flips
) -> None:
    store = FeatureStore.create(tmp_path, FeatureStore.open(store_folder).description)
    maps = torch.rand(3, 3, 6, 2, 3, generator=torch.Generator().manual_seed(0))
    indices = torch.arange(9).view(3, 3)
    written = ClipFeatures("clip", maps, indices, indices / 25)
    store.write(written, "key")
    (file,) = (tmp_path / "clips").glob("*/clip.safetensors")
    content = file.read_bytes()
    for damaged in flips(content, 300):
        file.write_bytes(damaged)
        assert not store.holds("clip", "key")
        with pytest.raises(FeatureStoreError, match=r"clip\.safetensors is damaged[^\n]*extract"):
            store.read("clip")
    store.write(written, "key")
    assert store.holds("clip", "key")
    assert torch.equal(store.read("clip").feature_maps, maps.half())


def test_the_checksum_is_of_the_whole_file_with_zeros_in_its_own_place(tmp_path: Path) -> None:
    import zlib

    tensors = {"a": torch.arange(5), "b": torch.ones(2, 3, dtype=torch.float16)}
    told = {"clip_id": 'x","crc32":"00000000', "Ж": "\u2028"}
    content = sealed(tensors, told)
    file = tmp_path / "file.safetensors"
    file.write_bytes(content)
    read, metadata = unsealed(file)
    assert metadata == told and read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    found = header["__metadata__"]["crc32"]
    assert content.count(found.encode()) == 1
    assert zlib.crc32(content.replace(found.encode(), b"00000000")) == int(found, 16)
    assert torch.equal(load(content)["a"], tensors["a"])  # any reader of safetensors reads it


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    told = {name: name for name in "clip_id clip_key event seconds label".split()}
    tensors = {"a": torch.arange(5), "b": torch.ones(3, dtype=torch.float16)}
    made = {
        sealed(dict(order(tensors.items())), dict(order(told.items())))
        for order in (list, lambda items: reversed(list(items)))
        for _ in range(5)
    }
    assert len(made) == 1


def test_a_file_without_a_checksum_is_not_one_of_these(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(3)}, tmp_path / "old.safetensors", metadata={"clip_id": "a"})
    with pytest.raises(DamagedFileError, match="has no checksum"):
        unsealed(tmp_path / "old.safetensors")


def test_a_damaged_checkpoint_is_refused_or_is_the_same(
    checkpoint: dict, tmp_path: Path, flips: Flips
) -> None:
    file = tmp_path / "best.ckpt"
    torch.save(checkpoint, file)
    wanted = load_run(file)
    refused = 0
    for damaged in flips(file.read_bytes(), 150):
        file.write_bytes(damaged)
        try:
            found = load_run(file)
        except CheckpointError as error:
            assert "\n" not in str(error) and str(file) in str(error)
            refused += 1
            continue
        assert vars(found) | {"model": 0} == vars(wanted) | {"model": 0}
        for name, values in wanted.model.state_dict().items():
            assert torch.equal(found.model.state_dict()[name], values)
    assert refused > 50  # the others are in what is between the records


def test_a_record_that_says_it_is_a_folder_is_refused(checkpoint: dict, tmp_path: Path) -> None:
    file = tmp_path / "best.ckpt"
    torch.save(checkpoint, file)
    content = bytearray(file.read_bytes())
    entry = content.index(b"PK\x01\x02")  # of the archive's directory; attributes are at 38
    assert content[entry + 38] == 0
    content[entry + 38] = 0x10
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        load_run(file)


def test_damaged_weights_are_refused_or_are_the_same(tmp_path: Path, flips: Flips) -> None:
    file = tmp_path / "weights.pth"
    state = {"weight": torch.arange(4000.0), "bias": torch.ones(7)}
    torch.save(state, file)
    refused = 0
    for damaged in flips(file.read_bytes(), 200):
        file.write_bytes(damaged)
        try:
            found = read_torch_file(file, old_format=True)
        except DamagedTorchFileError as error:
            assert str(file) in str(error)
            refused += 1
            continue
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name], values) for name, values in state.items())
    assert refused > 150


def test_a_damaged_part_is_as_none(tmp_path: Path, flips: Flips) -> None:
    parts = Parts(tmp_path / "out.json", {"split": "test"})
    arrays = {
        "reasons": np.array(["", "cannot be read: É"]),
        "ranks|cam": np.array([3]),
        "overlaps|cam|l2-caf": np.linspace(0, 1, 4)[None],
        "negative|cam": np.array([True]),
    }
    parts.write(4, arrays)
    (file,) = tmp_path.glob(".*/000004.*")
    content = file.read_bytes()
    for damaged in (*flips(content, 200), b"", content[:-1], content[:9], b"text"):
        file.write_bytes(damaged)
        assert parts.read(4) is None
    parts.write(4, arrays)
    found = parts.read(4)
    assert found is not None and found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert parts.read(3) is None
    assert not os.listdir(tmp_path)[1:]
