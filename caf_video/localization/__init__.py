"""Heatmaps to boxes and to numbers, under named protocols; agreement with published evaluators.

Imports: nothing of ours; cv2 from outside.
Law: agrees with the known answers.
"""

from caf_video.localization.boxes import box_iou
from caf_video.localization.cam import cam_boxes
from caf_video.localization.curves import ThresholdCurve, localization_hits, threshold_curve
from caf_video.localization.gates import (
    RESAMPLES,
    Estimate,
    estimate,
    estimates,
    gate,
    true_class_ranks,
)
from caf_video.localization.geometry import Geometry
from caf_video.localization.protocols import (
    OF_BOXES,
    PROTOCOLS,
    Protocol,
    cut_levels,
    enlarge,
    localize,
    measure,
    measure_all,
    require_protocol,
    sweep,
)
from caf_video.localization.pxap import (
    joined_masks,
    pixel_average_precision,
    pixel_counts,
    pixel_estimates,
)

__all__ = [
    "OF_BOXES",
    "PROTOCOLS",
    "RESAMPLES",
    "Estimate",
    "Protocol",
    "ThresholdCurve",
    "Geometry",
    "box_iou",
    "cam_boxes",
    "cut_levels",
    "enlarge",
    "estimate",
    "estimates",
    "gate",
    "joined_masks",
    "localization_hits",
    "localize",
    "measure",
    "measure_all",
    "pixel_average_precision",
    "pixel_counts",
    "pixel_estimates",
    "require_protocol",
    "sweep",
    "threshold_curve",
    "true_class_ranks",
]
