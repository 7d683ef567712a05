"""Is the artifact's own source tree free of findings?

ruff judges with a rule set of ours: `--isolated`, because the artifact's own `ruff.toml` or `pyproject.toml` could switch
every rule off; `--ignore-noqa`, because a comment that says "do not look here" is a statement of the artifact, not a
measurement; no default exclusions, because a folder called `build` or `venv` would otherwise never be looked at. The
original scanned two folders above the artifact, which is another tree altogether.
"""

from __future__ import annotations

import json
from typing import Any, Final

from plms_pipeline.kpis.measurement import Measurement, unmeasured

RULES: Final = "E4,E7,E9,F"
"""ruff's own default rules, pinned: errors of imports, statements and syntax, and everything pyflakes knows."""

ARGUMENTS: Final = (
    "check", "--isolated", "--ignore-noqa", "--no-cache", "--no-respect-gitignore", "--exit-zero",
    "--output-format", "json", "--select", RULES, "--target-version", "py311", "--config", "exclude=[]",
)  # fmt: skip


def measure_lint(output: str, *, exit_code: int | None, stopped: str | None, python_files: int) -> Measurement:
    """Whether ruff found nothing.

    Args:
        output: what ruff printed: a JSON list of findings.
        exit_code: 0 whatever was found (`--exit-zero`); anything else means ruff itself failed.
        stopped: why we killed it, or None.
        python_files: how many Python files the artifact has; without any there is nothing to judge.
    """
    if python_files == 0:
        return unmeasured("the artifact holds no Python source to lint")
    if stopped is not None or exit_code != 0:
        return unmeasured(f"ruff did not finish: {stopped or f'it exited with {exit_code}'}", log=output)
    try:
        findings = json.loads(output)
    except ValueError:
        return unmeasured("ruff's output is not JSON", log=output)
    if not isinstance(findings, list):
        return unmeasured("ruff's output is not a list of findings", log=output)
    if not findings:
        return Measurement(True, log=f"ruff {RULES}: no findings in {python_files} files\n")
    lines = [_line(each) for each in findings]
    return Measurement(False, f"{len(findings)} findings; first: {lines[0]}", log="\n".join(lines[:2000]) + "\n")


def _line(finding: dict[str, Any]) -> str:
    place = finding.get("location") or {}
    name = str(finding.get("filename", "?")).rpartition("/copy/")[2]
    return f"{name}:{place.get('row', '?')}: {finding.get('code') or 'syntax'} {finding.get('message', '')}"
