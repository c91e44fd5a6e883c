"""Attention measured against ground truth.

Imports attention, retrieval, localization, models and errors.
Law: the metric of a perfect and of a useless heatmap is known.
"""
