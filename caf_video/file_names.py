"""File names made of names that others gave: clips' ids, videos' names. One rule for all stages."""

import hashlib
import re
from urllib.parse import quote

# File systems allow 255 bytes a name; the rest is for a digest, a suffix and what marks a file
# that is being written.
_LONGEST = 160
# Windows has devices of these names, whatever the suffix.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|conin|conout)(\.|%24|$)", re.IGNORECASE)
_CUT_ESCAPE = re.compile(r"%.?$")


def file_name(name: str) -> str:
    """A file name, without suffix, that any file system takes: at most 177 bytes of ASCII.

    What it may not hold is percent-encoded, also the first letter of a device's name, and a dot
    that would hide the file. The end of a long name gives way to a digest. Names that differ have
    file names that differ, on some systems in case alone.

    >>> file_name("left/café 1"), file_name(".hidden"), file_name("aux.1")
    ('left%2Fcaf%C3%A9 1', '%2Ehidden', '%61ux.1')
    """
    # Bytes of a file name that are no UTF-8 are lone surrogates in Python.
    encoded = quote(name, safe=" ", errors="surrogateescape")
    if encoded[:1] == "." or _DEVICE.match(encoded):
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    if len(encoded) <= _LONGEST:
        return encoded
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{_CUT_ESCAPE.sub('', encoded[:_LONGEST])}-{digest[:16]}"
