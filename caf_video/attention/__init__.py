"""Attention: pure mathematics on tensors: cut a network, solve for filters, make heatmaps.

Imports nothing of ours but errors; its foreign door is torch.
Law: same input, same output; the model is left as it was found.
"""
