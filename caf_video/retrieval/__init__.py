"""Nearest neighbours and what is measured with them: R@K, NMI, the correctness gate.

Imports nothing of ours but errors; its foreign door is faiss.
Law: agrees with brute force.
"""
