"""The files that GitHub and git read, against what they speak of."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def parsed(path: str | Path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_workflow_runs_targets_that_the_makefile_has() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    steps = [
        step
        for job in parsed(".github/workflows/test.yml")["jobs"].values()
        for step in job["steps"]
    ]
    commands = [step["run"].split() for step in steps if "run" in step]
    assert {command[1] for command in commands} == {"test", "test-oldest"} <= set(targets)
    assert all(command[0] == "make" for command in commands)


def test_the_workflow_tests_the_pythons_that_the_package_claims() -> None:
    (newest, oldest) = parsed(".github/workflows/test.yml")["jobs"].values()
    claimed = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if " :: 3." in c]
    assert newest["strategy"]["matrix"]["python"] == claimed
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert claimed[0] == lowest
    assert [
        s["with"]["python-version"] for s in oldest["steps"] if "python" in s.get("uses", "")
    ] == [lowest]


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_has_what_github_wants_of_one(form: Path) -> None:
    read = parsed(form)
    assert read["name"] and read["description"]
    ids = [field["id"] for field in read["body"]]
    assert len(set(ids)) == len(ids)
    assert all(field["attributes"]["label"] for field in read["body"])


def test_a_bug_report_needs_version_command_and_output() -> None:
    body = parsed(".github/ISSUE_TEMPLATE/bug.yml")["body"]
    required = {field["id"] for field in body if field.get("validations", {}).get("required")}
    assert {"version", "command", "output"} <= required


def test_the_citation_names_the_software_and_the_paper() -> None:
    citation = parsed("CITATION.cff")
    assert citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == [
        a["name"] for a in PROJECT["authors"]
    ]
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == [
        "Taha",
        "Yang",
        "Shrivastava",
        "Davis",
    ]


def test_the_hooks_run_the_programs_of_make_lint() -> None:
    local = [repo for repo in parsed(".pre-commit-config.yaml")["repos"] if repo["repo"] == "local"]
    programs = [hook["entry"].split()[0] for repo in local for hook in repo["hooks"]]
    assert programs == [".venv/bin/ruff", ".venv/bin/ruff", ".venv/bin/mypy"]
