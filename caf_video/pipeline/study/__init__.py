"""The paper's tables and ablations, and ours, as commands: each a table, a record and a picture.

written.py       what every study leaves on disk
attention.py     every method on synthetic clips, where the evidence is known in place and time
tables.py        Tables 1 to 3 from results of `localize`, and Fig. 5's histogram of box sizes
constraints.py   Fig. 11: what keeps a filter from passing everything
convergence.py   the slow motion: the loop's path beside the exact answer
timing.py        Fig. 12: what each way to a heatmap costs
sanity.py        Fig. 10, S5, S6: what is left of heatmaps when weights are made random
"""
