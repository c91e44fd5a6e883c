"""`python -m caf_video` is the command `caf-video`."""

from caf_video.cli import main

if __name__ == "__main__":
    main()
