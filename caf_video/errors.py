"""The expected failures: what the command line prints in one line, without a traceback."""


class CafVideoError(Exception):
    """An expected failure: one line that names the thing and, where there is one, the mend."""


class Interrupted(CafVideoError):
    """Work that was asked to stop, by Ctrl-C: the message says how to go on."""


class InputError(CafVideoError, ValueError):
    """A wrong argument or tensor: the message says what came, what was wanted, of which thing."""
