"""`caf-video …`: read the command line, call the pipeline, print one line per expected failure.

Imports the whole package, but only inside a command: `--help` waits for no torch.
Law: no mathematics.
"""

from caf_video.cli.app import app, main

__all__ = ["app", "main"]
