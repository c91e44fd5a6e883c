"""Benchmarks: ratios against named peers, measured side by side in one run.

`python -m benchmarks` writes a table (Markdown) and everything it was made of (JSON).
Law: what is compared is run in turns on the same inputs; nothing is tuned to a target.
"""
