"""Lightning modules and data modules: glue, no mathematics.

Imports: metric_learning, models, data and retrieval; torch, pytorch_lightning and omegaconf from
outside.
Law: a checkpoint holds plain values and loads with ``weights_only=True``.
"""

from caf_video.training.batches import (
    Batch,
    EvaluationBatches,
    ShuffledSampler,
    TrainingBatches,
)
from caf_video.training.callbacks import RunCheckpoints, TrainingError, TrainingInterrupted
from caf_video.training.checkpoint import (
    CLASSIFIER,
    KINDS,
    RECURRENT,
    RETRIEVAL,
    CheckpointError,
    ClipRun,
    ImageRun,
    load_clip_run,
    load_image_run,
    load_run,
)
from caf_video.training.clip_data import FeatureDataModule
from caf_video.training.clip_maps import ClipMaps
from caf_video.training.epoch_pictures import EpochPictures
from caf_video.training.image_data import ImageDataModule
from caf_video.training.image_description import ImageDescription
from caf_video.training.image_pixels import ImagePixels
from caf_video.training.loggers import LoggerError, MetricsFile, read_metrics
from caf_video.training.module import ClassifierModule, EmbeddingModule, TrainingModule
from caf_video.training.run import RunFolder, train_run

__all__ = [
    "CLASSIFIER",
    "KINDS",
    "RECURRENT",
    "RETRIEVAL",
    "Batch",
    "CheckpointError",
    "ClassifierModule",
    "ClipMaps",
    "ClipRun",
    "EmbeddingModule",
    "EpochPictures",
    "EvaluationBatches",
    "FeatureDataModule",
    "ImageDataModule",
    "ImageDescription",
    "ImagePixels",
    "ImageRun",
    "LoggerError",
    "MetricsFile",
    "RunCheckpoints",
    "RunFolder",
    "ShuffledSampler",
    "TrainingBatches",
    "TrainingError",
    "TrainingInterrupted",
    "TrainingModule",
    "load_clip_run",
    "load_image_run",
    "load_run",
    "read_metrics",
    "train_run",
]
