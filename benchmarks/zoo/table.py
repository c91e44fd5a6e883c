"""What the zoo found, as JSON for programs and as a Markdown table for people."""

import json
from pathlib import Path
from typing import Any


def read(lines: Path) -> dict[str, dict[str, Any]]:
    """What is known of each network; the last line about it counts."""
    if not lines.is_file():
        return {}
    found = (json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines())
    return {one["name"]: one for one in found}


def write(folder: Path, found: dict[str, dict[str, Any]]) -> None:
    pass
