"""Images as batches: what the data module takes from a set, and what it refuses."""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from caf_video.data.images import ImageSetError, read_image
from caf_video.errors import CafVideoError, InputError
from caf_video.models.image_network import ImageNetwork
from caf_video.training import ImageDataModule
from caf_video.training.image_description import digest_of

SETTINGS = {
    "protocol": "classification",
    "backbone": "resnet18",
    "size": [32, 48],
    "window": 0.8,
    "batch_size": 6,
    "batches_per_epoch": 4,
    "seed": 0,
}


def data_of(root: Path, **changes) -> ImageDataModule:
    return ImageDataModule("folder", root, **{**SETTINGS, **changes})


def rewrite(root: Path, change) -> Path:
    """A table with other rows; `change` gets each row's cells."""
    with (root / "images.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    kept = [row for row in map(change, rows) if row is not None]
    with (root / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *kept])
    return root


def test_shuffled_batches_hold_windows_of_the_training_images(pictures) -> None:
    data = data_of(pictures)
    data.setup("fit")
    assert data.label_names == ["blue", "green", "red"] and data.validates
    batches = list(data.train_dataloader())
    assert len(batches) == 4
    train = data.images.split("train")
    for batch in batches:
        assert batch.inputs.shape == (6, 3, 32, 48)
        assert batch.labels.tolist() == [train[position].label for position in batch.positions]
    seen = Counter(torch.cat([batch.positions for batch in batches[:3]]).tolist())
    assert seen == Counter(range(18))  # a pass


def test_batches_for_ranking_hold_as_many_classes_as_there_is_room_for(pictures) -> None:
    data = data_of(pictures, samples_per_class=3, batch_size=7)
    data.setup("fit")
    for batch in data.train_dataloader():
        assert sorted(Counter(batch.labels.tolist()).values()) == [3, 3]


def test_evaluation_takes_the_whole_image_as_the_network_is_fed(pictures) -> None:
    data = data_of(pictures)
    data.setup("fit")
    data.setup("test")
    preprocessing = ImageNetwork("resnet18", outputs=2, weights="none").preprocessing((32, 48))
    for split, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        (batch,) = loader
        images = data.images.split(split)
        wanted = [preprocessing(read_image(image.path)[None]) for image in images]
        assert torch.equal(batch.inputs, torch.cat(wanted))
        assert batch.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3


def test_workers_give_the_same_batches(pictures) -> None:
    here, ahead = (data_of(pictures, workers=workers) for workers in (0, 2))
    for data in (here, ahead):
        data.setup("fit")
    for loader in ("train_dataloader", "val_dataloader"):
        one, other = (list(getattr(data, loader)()) for data in (here, ahead))
        assert len(one) == len(other)
        for batch, wanted in zip(one, other, strict=True):
            assert all(torch.equal(*pair) for pair in zip(batch, wanted, strict=True))


def test_without_a_val_split_nothing_is_validated(make_pictures) -> None:
    data = data_of(make_pictures(val=0), samples_per_class=2)
    data.setup("fit")
    assert not data.validates
    assert len(list(data.train_dataloader())) == 4


def test_its_description_tells_the_images_and_not_where_they_are(make_pictures, pictures) -> None:
    moved = make_pictures()
    one, other = data_of(pictures).description, data_of(moved).description
    assert one.differences(other) == [] and one.root != other.root
    assert (one.dataset, one.protocol, one.size) == ("folder", "classification", (32, 48))
    fewer = rewrite(moved, lambda row: None if row[0] == "train_red_0.png" else row)
    found = data_of(fewer, size=[32, 32]).description
    assert one.differences(found) == ["size", "train_images"]
    assert one.train_images.startswith("18 (") and found.train_images.startswith("17 (")


def test_its_description_tells_another_label_or_order(pictures) -> None:
    images = data_of(pictures).images.split("train")
    first, *others = images
    assert digest_of(images) == digest_of(list(images))
    for changed in ([replace(first, label=first.label + 1), *others], [*others, first]):
        assert digest_of(changed) != digest_of(images)
        assert digest_of(changed).startswith("18 (")


def test_a_training_image_is_enlarged_by_what_the_window_leaves_of_each_side(pictures) -> None:
    data = data_of(pictures, size=[32, 48], window=0.5)
    data.setup("fit")
    enlarged = read_image(data.images.split("train")[0].path)[None]
    network = ImageNetwork("resnet18", outputs=2, weights="none")
    whole = network.preprocessing((64, 96))(enlarged)[0]  # (3, 64, 96)
    shown = next(
        image
        for batch in data.train_dataloader()
        for image, position in zip(batch.inputs, batch.positions.tolist(), strict=True)
        if position == 0
    )
    windows = whole.unfold(1, 32, 1).unfold(2, 48, 1)  # (3, 33, 49, 32, 48)
    found = [(windows == one[:, None, None]).all(dim=(0, 3, 4)) for one in (shown, shown.flip(2))]
    assert sum(int(places.sum()) for places in found) == 1


def refused(kind: type[CafVideoError], root: Path, **changes) -> str:
    with pytest.raises(kind, match="^[^\n]*$") as refusal:
        data_of(root, **changes).setup("fit")
    return str(refusal.value)


def test_no_training_images_are_refused(make_pictures) -> None:
    message = refused(ImageSetError, make_pictures(train=0))
    assert "no image in split 'train'" in message and "9 in 'val'" in message


def test_a_class_with_one_training_image_is_named(make_pictures) -> None:
    root = rewrite(
        make_pictures(), lambda row: None if row[0].startswith("train_red") and "0" not in row[0]
        else row
    )  # fmt: skip
    for count in (2, 3):  # N-pair, triplet
        assert "class 'red' has one sample" in refused(InputError, root, samples_per_class=count)
    data_of(root).setup("fit")  # a classifier can do with one


def test_a_class_that_a_classifier_cannot_learn_is_named(make_pictures) -> None:
    root = rewrite(make_pictures(), lambda row: None if row[0].startswith("train_red") else row)
    message = refused(InputError, root)
    assert "1 of the 3 classes" in message and "'red'" in message
    data_of(root, samples_per_class=2).setup("fit")  # an embedding may meet new classes


def test_a_val_split_without_a_pair_is_refused(make_pictures) -> None:
    root = make_pictures(val=1)
    assert "no class has two images in the val split" in refused(
        InputError, root, samples_per_class=2
    )
    data_of(root).setup("fit")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"size": 64}, r"size is 64: wanted \[height, width\]"),
        ({"size": [64]}, r"size is \[64\]"),
        ({"size": [16, 64]}, "wanted 32 pixels or more"),
        ({"window": 0.0}, "a window of 0.0"),
        ({"window": 1.5}, "a window of 1.5"),
        ({"backbone": "vgg"}, "no backbone 'vgg'"),
        ({"protocol": "few_shot"}, "no protocol 'few_shot'"),
        ({"batch_size": 3, "samples_per_class": 2}, "batches of 1 classes x 2 samples"),
        ({"batch_size": 0}, "0 samples in a batch"),
        ({"protocol": "zero_shot"}, "zero-shot retrieval"),
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused(pictures, changes, told) -> None:
    with pytest.raises(CafVideoError, match=told):
        data_of(pictures, **changes).setup("fit")
