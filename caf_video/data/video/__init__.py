"""Frame-exact reading of any video: decord where it can be trusted, PyAV elsewhere (maths 5)."""
