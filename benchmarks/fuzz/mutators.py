"""What may become of a file: damage, slips of whoever wrote it, and malice."""

import json
import os
import pickle
import random
import re
from pathlib import Path
from typing import Any

CANARY = "code-was-run"  # the file that hostile content would make, were any of it run

_TOKENS = (
    b"",
    b"nan",
    b"-1",
    b"1e999",
    b"1e999999999",
    b"9" * 5000,
    b"0x1f",
    b"null",
    b"[red]",
    b"[/x]",
    b"=1+1",
    b"../../x",
    b"\x00",
    b'"',
    b"'",
    b"{",
    b"[",
    b"]",
    b"<",
    b"&x;",
    b"\n",
    b"\r",
    b",",
    b";",
    b"\t",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xe9",
    "\u202e".encode(),
    "\u2028".encode(),
    "\u5de6".encode() * 90,
    b"x" * 300,
    b"x" * 200_000,
    b"-0",
    b"1/0",
    b"True",
    b"$x$",
    b"${x}",
    b"!!x",
    b"*",
    b"a|b",
    b"<!DOCTYPE x [<!ENTITY e 'e'>]>",
    b'encoding="cp037"',
    b'encoding="nope"',
)
_VALUES: tuple[Any, ...] = (
    None,
    [],
    {},
    "",
    "x",
    -1,
    0,
    1e308,
    10**400,
    True,
    [[]],
    {"a": {}},
    [1, 2, 3],
    float("nan"),
    "\udcff",
    "\x00",
    2**63,
    "9" * 5000,
)


class _Payload:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {CANARY}",)


def _deep(pair: bytes) -> bytes:
    return pair[:1] * 100_000 + pair[1:] * 100_000


OTHER_FILES = (
    b"",
    b"\n",
    b"x",
    b"\x00" * 64,
    b"{}",
    b"[]",
    b"null",
    b"1",
    b"[[1]]",
    b'{"a": 1}',
    b"9" * 5000,
    _deep(b"[]"),
    _deep(b"{}"),
    b"<a>" * 50_000,
    b"<a/>",
    b"a,b\n1,2\n",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    b"PK\x03\x04" + b"\x00" * 60,
    b"RIFF\x00\x00\x00\x00AVI ",
    b"\x93NUMPY\x01\x00",
    b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f2', 'fortran_order': False, "
    b"'shape': (9999999999, 9), }" + b" " * 51,
    b"\xff" * 8 + b"{",
    (2**40).to_bytes(8, "little") + b"{}",
    b"MATLAB 5.0 MAT-file" + b" " * 109,
    b"MATLAB 7.3 MAT-file" + b"\x00" * 109,
    b"\x80\x04.",
    pickle.dumps(_Payload()),
    pickle.dumps([1], 0),
    "a,b\n".encode("utf-16"),
    b"a: [1\n",
    b"- a\n",
    b"a: &a [*a]\n",
    f"!!python/object/apply:os.system ['touch {CANARY}']\n".encode(),
    f"import os; os.system('touch {CANARY}')\n".encode(),
)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """The content with one change, or several."""
    kind = draw.randrange(12)
    if kind == 0:
        return draw.choice(OTHER_FILES)
    if kind <= 2 and content[:1] in (b"{", b"["):
        return _reshaped(content, draw)
    if kind <= 5 and _is_text(content):
        return _with_tokens(content, draw)
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        _damage(changed, draw)
    return bytes(changed)


def strange(path: Path, draw: random.Random) -> None:
    """Put what is no regular file in a file's place."""
    path.unlink()
    kind = draw.choice(("missing", "folder", "pipe", "device", "loop"))
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)


def _damage(content: bytearray, draw: random.Random) -> None:
    size = len(content)
    if not size:
        return
    at = draw.randrange(min(size, 400)) if draw.random() < 0.4 else draw.randrange(size)
    length = draw.choice((1, 2, 4, 8, 64, 512))
    kind = draw.randrange(8)
    if kind <= 2:
        content[at] ^= 1 << draw.randrange(8)
    elif kind == 3:
        content[at : at + length] = draw.randbytes(length)
    elif kind == 4:
        content[at : at + length] = b"\x00" * length
    elif kind == 5:
        del content[at : at + length]
    elif kind == 6:
        content[at:at] = content[at : at + length]
    else:
        del content[at:]


def _is_text(content: bytes) -> bool:
    return b"\x00" not in content[:2000] and content[:2000].isascii()


def _with_tokens(content: bytes, draw: random.Random) -> bytes:
    words = re.split(rb"([\w.+-]+)", content)
    for _ in range(draw.choice((1, 1, 2))):
        words[draw.randrange(len(words))] = draw.choice(_TOKENS)
    return b"".join(words)


def _reshaped(content: bytes, draw: random.Random) -> bytes:
    """JSON with another value somewhere."""
    parsed = json.loads(content)
    places: list[tuple[Any, Any]] = []
    waiting = [parsed]
    while waiting:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        places += [(node, key) for key in keys]
        waiting += [node[key] for key in keys if isinstance(node[key], dict | list)]
    node, key = draw.choice(places)
    value = draw.choice(_VALUES)
    if isinstance(node, dict) and draw.random() < 0.2:
        del node[key]
    elif value == 10**400:
        node[key] = "HUGE"
        return json.dumps(parsed).replace('"HUGE"', "1" + "0" * 400).encode()
    else:
        node[key] = value
    return json.dumps(parsed).encode()
