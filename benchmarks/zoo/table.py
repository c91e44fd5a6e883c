"""What the zoo found, as JSON for programs and as the Markdown page for people."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import escaped
from caf_video.files import written_whole

LIBRARIES = ("torchvision", "timm", "transformers")
VERDICTS = ("right", "refused", "wrong", "not run")


def read(*files: Path) -> dict[str, dict[str, Any]]:
    """What is known of each network; the last line about it counts."""
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        if file.is_file():
            lines = file.read_text(encoding="utf-8").splitlines()
            found |= {one["name"]: one for one in map(json.loads, lines)}
    return found


def write(folder: Path, found: dict[str, dict[str, Any]], about: dict[str, Any]) -> None:
    """`zoo.json` and `networks.md`, each whole or not at all."""
    everything = {"about": about, "networks": list(found.values())}
    for name, text in (
        ("zoo.json", json.dumps(everything, indent=1, ensure_ascii=False)),
        ("networks.md", to_markdown(found, about)),
    ):
        with written_whole(folder / name) as part:
            part.write_text(text, encoding="utf-8")


def to_markdown(found: dict[str, dict[str, Any]], about: dict[str, Any]) -> str:
    """The page: counts, a line for every family, and what was refused, wrong or not run."""
    counts = {
        library: Counter(one["verdict"] for name, one in found.items() if _library(name) == library)
        for library in LIBRARIES
    }
    total: Counter[str] = sum(counts.values(), Counter())
    lines = [
        "# Networks, and which layer to take",
        "",
        "Each network was explained with random weights by `caf_video.explain(model, x)`, no layer "
        "named. The layer that it takes by itself stands in the table: the last map with cells at "
        "which a filter changes the answer. Name another, earlier one with `layer=` for a finer "
        "grid.",
        "",
        "A network is *right* if the reported loss is that of a plain forward hook which "
        "multiplies the layer's output by the filter along the reported axes, the whole network "
        "run for every step gives the same, the heatmap has the input's size, and its cells move "
        "with their own part of the input.",
        "",
        "| library | " + " | ".join(VERDICTS) + " |",
        "|---|" + "---|" * len(VERDICTS),
        *(_counts(library, counts[library]) for library in LIBRARIES),
        _counts("**all**", total),
        "",
        *(f"* {key}: {value}" for key, value in about.items()),
        "",
        "`until`: a network that ends in a normalisation is explained before it. Time: of "
        "`explain`, in forward passes of the same two samples, the search for the layer included.",
        "",
        "| family | network | layer | axes | filter | until | solver | time |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (_, family), members in _by_family(found).items():
        shown = [one for one in members if one["verdict"] == "right"]
        for layer in dict.fromkeys((one["layer"], _plain(one["axes"])) for one in shown):
            alike = [one for one in shown if (one["layer"], _plain(one["axes"])) == layer]
            lines.append(_line(family, alike))
    for verdict in ("refused", "wrong", "not run"):
        some = {name: one for name, one in found.items() if one["verdict"] == verdict}
        if some:
            lines += ["", f"## {verdict.capitalize()}", ""]
            lines += [f"* `{name}`: {one['why'][:400]}" for name, one in some.items()]
    return "\n".join([*lines, ""])


def _counts(name: str, counts: Counter[str]) -> str:
    return f"| {name} | " + " | ".join(str(counts[verdict]) for verdict in VERDICTS) + " |"


def _by_family(
    found: dict[str, dict[str, Any]],
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    families: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for library in LIBRARIES:
        for name, one in found.items():
            if _library(name) == library:
                families.setdefault((library, one["family"]), []).append(one)
    return families


def _line(family: str, alike: Sequence[dict[str, Any]]) -> str:
    names = ", ".join(one["name"].partition("/")[2] for one in alike)
    one = alike[0]
    times = sorted(one["explain_s"] / one["forward_s"] for one in alike)
    time = "–".join(dict.fromkeys(f"{t:.0f}" for t in (times[0], times[-1])))
    notes = [f"until {one['until']}"] if one["until"] else []
    notes += [f"says nothing ({one['flat']})"] if one["flat"] else []
    size = "×".join(map(str, one["filter"][1:]))
    cells = [
        f"{_library(one['name'])}: {family}",
        names,
        f"`{one['layer']}`",
        f"`{_plain(one['axes'])}`",
        size,
        "; ".join(notes),
        one["solver"],
        time,
    ]
    return "| " + " | ".join(escaped(cell) for cell in cells) + " |"


def _plain(axes: str) -> str:
    """Axes without the sizes that this input gave them."""
    words = [
        word.partition("=")[0] + (")" if "=" in word and word.endswith(")") else "")
        for word in axes.split()
    ]
    return " ".join(words)


def _library(name: str) -> str:
    return name.partition("/")[0]
