"""Studies: the paper's questions about attention, each a table with intervals and a picture."""
