"""Files to tensors: videos, clip manifests, stores of feature maps, labelled images.

video/ reads frames, images/ pictures and their data sets, events/ what annotation tools export;
manifest.py and clips.py say which clips there are (columns.py, times.py and class_folders.py what
people mean by their lists), sampling.py which of their frames, features.py keeps what a network
made of them, session_store.py reads what others' made. Names are imported from these modules: what
opens many videos in many processes needs no torch.

Imports: nothing of ours; decord, av, PIL, defusedxml, scipy, torch and safetensors from outside.
Law: order, dtype and range are as documented; the numbered test video reads back frame-exact.
"""
