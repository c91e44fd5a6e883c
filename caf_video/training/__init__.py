"""Lightning modules and data modules: glue, no mathematics.

Imports metric_learning, models, data, retrieval and errors; its foreign door is pytorch_lightning.
Law: a checkpoint holds plain values and loads with ``weights_only=True``.
"""

from caf_video.training.batches import ClipBatch, ClipMaps, EvaluationBatches, TrainingBatches
from caf_video.training.callbacks import RunCheckpoints, TrainingError, TrainingInterrupted
from caf_video.training.checkpoint import CheckpointError, LoadedRun, load_run
from caf_video.training.datamodule import FeatureDataModule
from caf_video.training.loggers import LoggerError, MetricsFile, read_metrics
from caf_video.training.module import RecurrentModule
from caf_video.training.run import Run, train_recurrent

__all__ = [
    "CheckpointError",
    "ClipBatch",
    "ClipMaps",
    "EvaluationBatches",
    "FeatureDataModule",
    "LoadedRun",
    "LoggerError",
    "MetricsFile",
    "RecurrentModule",
    "Run",
    "RunCheckpoints",
    "TrainingBatches",
    "TrainingError",
    "TrainingInterrupted",
    "load_run",
    "read_metrics",
    "train_recurrent",
]
