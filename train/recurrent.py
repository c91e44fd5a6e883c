"""Train the recurrent embedder of clips (Fig. 8): `python train/recurrent.py features=… run_dir=…`.

The same as `caf-video train`; conf/recurrent.yaml lists the settings.
"""

from caf_video.pipeline.train import script

if __name__ == "__main__":
    script("recurrent")
