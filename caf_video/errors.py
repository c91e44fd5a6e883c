"""The expected failures: what the command line prints in one line, without a traceback."""


class CafVideoError(Exception):
    """An expected failure: one line that names the thing and, where there is one, the mend."""


class InputError(CafVideoError, ValueError):
    """A wrong argument or tensor: the message says what came, what was wanted, of which thing."""
