"""image set + network ─► heatmaps of every method ─► boxes under every protocol ─► the table.

stage.py              all of it: where to start reading
explained_network.py  the network: a pretrained classifier, or what `caf-video train` made
methods.py            from its feature maps to heatmaps on the grid
inputs.py             what the network is shown of an image, for which protocols
measure.py            one pass over the images, in parts that are kept
parts.py              those parts on disk
scores.py             from what was measured to figures with intervals
table.py              those as Markdown and JSON
pictures.py           boxes drawn on some of the images (Fig. 7)
"""
