"""What Lightning starts, by this file's name, for every further process of `caf-video train`."""

from caf_video.pipeline.train import script

if __name__ == "__main__":
    script("recurrent")
