"""Train an image classifier that is to localise (Table 2): `python train/classifier.py data=cub …`.

The same as `caf-video train --config-name classifier`; conf/classifier.yaml lists the settings.
"""

from caf_video.pipeline.train import script

if __name__ == "__main__":
    script("classifier")
