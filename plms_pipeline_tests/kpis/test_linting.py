"""ruff's answer, judged."""

from __future__ import annotations

import json

import pytest

from plms_pipeline.kpis.linting import ARGUMENTS, measure_lint

FINDING = {
    "code": "F401",
    "message": "`os` imported but unused",
    "filename": "/x/copy/src/a.py",
    "location": {"row": 3},
}


def test_no_findings_pass_and_any_finding_fails() -> None:
    """The gate asks for true."""
    assert measure_lint("[]", exit_code=0, stopped=None, python_files=2).value is True
    found = measure_lint(json.dumps([FINDING, FINDING]), exit_code=0, stopped=None, python_files=2)
    assert found.value is False
    assert found.reason == "2 findings; first: src/a.py:3: F401 `os` imported but unused"


@pytest.mark.parametrize(
    ("output", "exit_code", "stopped", "files", "reason"),
    [
        ("[]", 0, None, 0, "no Python source"),
        ("", 2, None, 1, "exited with 2"),
        ("[]", None, "it was still running after 1 s and was killed", 1, "still running"),
        ("ruff: panic", 0, None, 1, "not JSON"),
        ("{}", 0, None, 1, "not a list"),
    ],
)
def test_what_cannot_be_judged_says_why(
    output: str, exit_code: int | None, stopped: str | None, files: int, reason: str
) -> None:
    """No source is not clean source."""
    found = measure_lint(output, exit_code=exit_code, stopped=stopped, python_files=files)
    assert found.value is None
    assert reason in str(found.reason)


def test_the_artifact_cannot_configure_its_judge() -> None:
    """Its own ruff.toml and its `noqa` comments are statements of the artifact, not measurements."""
    assert {"--isolated", "--ignore-noqa", "--no-respect-gitignore"} <= set(ARGUMENTS)
