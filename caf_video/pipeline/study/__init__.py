"""The paper's tables and ablations, and ours, as commands: each a table, a record and a picture.

written.py       what every study leaves on disk
attention.py     every method on synthetic clips, where the evidence is known in place and time
"""
