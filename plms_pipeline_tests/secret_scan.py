"""Does a file hold something that nobody but its owner may read?

Run before each commit and by the tests: `python -m plms_pipeline_tests.secret_scan FILE…` (all tracked files without
arguments). It knows a few shapes with next to no false alarms; it is a net under people, not a reason to be careless.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Passwords that examples and tests may use: everybody knows them.
KNOWN_EXAMPLES = ("hunter2", "s3cret", "deadbeef", "***", "secret", "password", "{", "<", "$")
SHAPES = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
    "AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}\b"),
    "Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "JSON web token": re.compile(r"\beyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\."),
    "vendor API key": re.compile(r"\bsk-[A-Za-z0-9_-]{32,}\b"),
    "password in a URL": re.compile(r"\b[a-z][a-z0-9+.]*://[^/\s:@\"']+:(?!\d+@)(?P<value>[^/\s@\"']{4,})@"),
    "password in a setting": re.compile(
        r"(?i)\b[a-z_]*(?:password|passwd|api_key|secret_key|token)\b[\"']?\s*[:=]\s*[\"'](?P<value>[^\"'\s]{8,})[\"']"
    ),
}


def findings(text: str) -> Iterator[tuple[int, str]]:
    """Line number and kind of everything in `text` that looks like a secret."""
    for number, line in enumerate(text.splitlines(), start=1):
        for kind, shape in SHAPES.items():
            match = shape.search(line)
            value = match.groupdict().get("value") if match else None
            if match and not (value and any(known in value.lower() for known in KNOWN_EXAMPLES)):
                yield number, kind


def tracked_files() -> list[Path]:
    """What a clone would hold; empty where there is no repository."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    return [ROOT / name for name in done.stdout.split("\0") if name]


def scan(paths: Iterable[Path]) -> list[str]:
    """`file:line: kind` for each finding; binary files are skipped."""
    found = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        found += [f"{path}:{number}: {kind}" for number, kind in findings(text)]
    return found


if __name__ == "__main__":
    lines = scan([Path(name) for name in sys.argv[1:]] or tracked_files())
    print("\n".join(lines) or "no secrets found")  # noqa: T201
    sys.exit(1 if lines else 0)
