"""Train the recurrent embedder of clips (Fig. 8): `python train/recurrent.py features=… run_dir=…`.

The same as `caf-video train`; conf/recurrent.yaml lists the settings.
"""

import sys

import hydra
from omegaconf import DictConfig

from caf_video.configuration import conf_dir
from caf_video.errors import CafVideoError
from caf_video.pipeline.train import train


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="recurrent")
def main(config: DictConfig) -> None:
    """Train as configured; an expected failure is one line and exit code 2."""
    try:
        run = train(config)
    except CafVideoError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from error
    print(f"Trained: {run}")


if __name__ == "__main__":
    main()
