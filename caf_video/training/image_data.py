"""A set of labelled images as training, validation and test batches."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from caf_video.data.images import ImageSet, read_image_set
from caf_video.errors import InputError
from caf_video.metric_learning import PKBatchSampler
from caf_video.models.image_network import image_preprocessing
from caf_video.models.preprocessing import Preprocessing
from caf_video.training.batches import Sampler, ShuffledSampler
from caf_video.training.datamodule import BatchesDataModule
from caf_video.training.image_description import ImageDescription, digest_of
from caf_video.training.image_pixels import ImagePixels


class ImageDataModule(BatchesDataModule):
    """Training, validation and test batches of the images of a set.

    Training batches are P classes with K images each, for a ranking loss; or, for a classifier, go
    through all images in a new order each time. In training an image is resized to a little more
    than the input and a window of it drawn, half of the time mirrored; elsewhere the whole image is
    resized to the input.

    Args:
        dataset, root, protocol: As `read_image_set` takes them.
        backbone: Whose preprocessing; a key of `IMAGE_BACKBONES`.
        size: Of the input, (height, width).
        window: Share of each side of an image that a training window covers.
        batch_size: Images in a training batch; with `samples_per_class`, P is what it has room for.
        samples_per_class: K; None shuffles all images.
        batches_per_epoch: Training batches between two validations; None: a whole pass.
        seed: Of batches and windows.
        workers: Processes that make batches ahead; 0 makes them in the training's own.
        memory_gb: A split that needs more GB than this is read from disk batch by batch.
        evaluation_batch_size: Images at once in validation and test.

    Attributes:
        description: What made the inputs.
        images: The set; its `skipped` are those that are listed and cannot be used.
        label_names: Of all classes of the set.

    Raises:
        CafVideoError: The set cannot be read, a number is out of range, or, from `setup` on, a
            split cannot serve as what it is for, or an image cannot be read.
    """

    description: ImageDescription

    def __init__(
        self,
        dataset: str,
        root: str | Path,
        *,
        protocol: str,
        backbone: str,
        size: Sequence[int],
        window: float,
        batch_size: int,
        samples_per_class: int | None = None,
        batches_per_epoch: int | None,
        seed: int,
        workers: int = 0,
        memory_gb: float = 4.0,
        evaluation_batch_size: int = 64,
    ) -> None:
        super().__init__(seed=seed, evaluation_batch_size=evaluation_batch_size, workers=workers)
        if not isinstance(size, Sequence) or len(size) != 2:
            raise InputError(f"size is {size}: wanted [height, width]")
        if not 0 < window <= 1:
            raise InputError(f"a window of {window} of an image's sides: wanted above 0, up to 1")
        height, width = size
        self._whole = image_preprocessing(backbone, (height, width))
        self._enlarged = dataclasses.replace(
            self._whole, resized=(round(height / window), round(width / window))
        )
        self._batch_size = batch_size
        self._samples_per_class = samples_per_class
        self._batches_per_epoch = batches_per_epoch
        self._memory_gb = memory_gb
        self.images: ImageSet = read_image_set(dataset, root, protocol=protocol)
        self.label_names = list(self.images.label_names)
        self.description = ImageDescription(
            dataset,
            str(self.images.root),
            protocol,
            (height, width),
            digest_of(self.images.split("train")),
        )

    @property
    def validates(self) -> bool:
        """Whether there is a val split; CUB and CARS have none."""
        return any(image.split == "val" for image in self.images.images)

    def labels(self, split: str) -> list[str]:
        """The label of every image of a split."""
        return [self.label_names[image.label] for image in self.images.split(split)]

    def setup(self, stage: str) -> None:
        """Check and load the splits of a stage, "fit" or "test", once."""
        if stage == "test":
            self._load("test", self._whole)
            return
        self._require_trainable()
        self._load("train", self._enlarged)
        if self.validates:
            self._load("val", self._whole)

    def _require_trainable(self) -> None:
        """Refuse what no batch or no validation can be made of."""
        self._sampler()
        if self._samples_per_class is None:
            missing = self.images.labels_without_images("train")
            if missing:
                raise InputError(
                    f"{len(missing)} of the {len(self.label_names)} classes in {self.images.root} "
                    f"have no image to train on, the first of them {missing[0]!r}: a classifier "
                    "needs some of each"
                )
        elif self.validates and max(Counter(self.labels("val")).values()) < 2:
            raise InputError(
                f"no class has two images in the val split of {self.images.root}: nothing there "
                "has a right neighbour"
            )

    def _sampler(self) -> Sampler:
        labels = self.labels("train")
        if self._samples_per_class is None:
            return ShuffledSampler(
                len(labels),
                batch_size=self._batch_size,
                batches_per_epoch=self._batches_per_epoch,
                seed=self._seed,
            )
        return PKBatchSampler(
            labels,
            classes_per_batch=self._batch_size // max(1, self._samples_per_class),
            samples_per_class=self._samples_per_class,
            batches_per_epoch=self._batches_per_epoch,
            seed=self._seed,
        )

    def _load(self, split: str, preprocessing: Preprocessing) -> None:
        if split not in self._samples:
            self._samples[split] = ImagePixels(
                self.images.split(split), preprocessing, memory_gb=self._memory_gb
            )
