"""What is handed from one place to another cannot be changed there: every dataclass is frozen."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "caf_video"

# They change step by step, inside one module or room.
CHANGING = {
    "attention/solvers/spectral.py _State",
    "attention/cutting/evidence.py Evidence",
    "attention/cutting/hooks.py Lookers",
    "data/events/events.py EventList",
    "files.py _Record",
}


def is_frozen(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and any(
        option.arg == "frozen" and ast.literal_eval(option.value) is True
        for option in decorator.keywords
    )


def test_every_dataclass_is_frozen_but_those_that_change_step_by_step() -> None:
    changing, frozen = set(), set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for decorator in node.decorator_list if isinstance(node, ast.ClassDef) else ():
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                if ast.unparse(called).endswith("dataclass"):
                    name = f"{path.relative_to(PACKAGE).as_posix()} {node.name}"
                    (frozen if is_frozen(decorator) else changing).add(name)
    assert changing == CHANGING
    assert "localization/protocols.py Protocol" in frozen
