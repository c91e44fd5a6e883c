"""Attention: pure mathematics on tensors: cut a network, solve for filters, make heatmaps.

Imports nothing of ours but errors; its foreign door is torch.
Law: same input, same output; the model is left as it was found.
"""

from caf_video.attention.gradcam import feature_norm, retrieval_grad_cam
from caf_video.attention.heatmap import filters_to_heatmaps
from caf_video.attention.recurrent import ClipExplanation, explain_clip, frame_influence
from caf_video.attention.solution import FilterSolution

__all__ = [
    "ClipExplanation",
    "FilterSolution",
    "explain_clip",
    "feature_norm",
    "filters_to_heatmaps",
    "frame_influence",
    "retrieval_grad_cam",
]
