"""The expected failures: what the command line prints in one line, without a traceback."""


class CafVideoError(Exception):
    """An expected failure. The message is one line: it names the thing and, where there is one, the mend."""


class InputError(CafVideoError, ValueError):
    """A wrong argument or tensor: the message says what came, what was wanted, of which thing."""
