"""Ranking losses on embeddings and the class-balanced batch sampler.

Imports nothing of ours but errors; its foreign door is torch.
Law: same input, same output.
"""
