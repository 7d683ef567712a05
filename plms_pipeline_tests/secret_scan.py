"""Does a file hold something that nobody but its owner may read?

Run before each commit and by the tests: `python -m plms_pipeline_tests.secret_scan FILE…` (all tracked files without
arguments). It knows a few shapes with next to no false alarms; it is a net under people, not a reason to be careless.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from plms_pipeline.alerts.secret_shapes import KNOWN_EXAMPLES, SHAPES, findings

__all__ = ["KNOWN_EXAMPLES", "SHAPES", "findings", "scan", "tracked_files"]
ROOT = Path(__file__).resolve().parent.parent


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
