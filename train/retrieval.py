"""Train an image embedding (Table 3): `python train/retrieval.py data=cub loss=n_pair …`.

The same as `caf-video train --config-name retrieval`; conf/retrieval.yaml lists the settings.
"""

from caf_video.pipeline.train import script

if __name__ == "__main__":
    script("retrieval")
