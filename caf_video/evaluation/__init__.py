"""Attention measured against ground truth: arrays in, numbers out.

Imports: nothing of ours; torch from outside.
Law: the metric of a perfect and of a useless heatmap is known.
"""

from caf_video.evaluation.pointing import (
    box_area_share,
    box_prior,
    energy_in_box,
    pointing_game,
)

__all__ = ["box_area_share", "box_prior", "energy_in_box", "pointing_game"]
