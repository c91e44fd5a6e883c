"""Problems in, solutions out: the exact, the spectral and the paper's own solver (maths 1)."""
