"""caf_video: where a network looked, in an image and in every frame of a clip."""
