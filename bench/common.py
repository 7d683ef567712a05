"""What every bench shares: rounds, medians, peak memory of a child, and rows for the table.

Figures are ratios measured in one run on one machine, because absolute times of somebody else's machine say nothing.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS_PYTHON = Path(os.environ.get("BENCH_PEERS_PYTHON", ROOT / ".bench-peers" / "bin" / "python"))
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `ratio` is theirs / ours for a peer, ours / theirs for a limit; `goal` says which is good."""

    bench: str
    what: str
    against: str
    ours_s: float | None
    theirs_s: float | None
    ratio: float | None
    goal: str
    holds: bool | None
    peak_mib: float | None = None
    note: str = ""


def timed(function: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """The median wall time of `rounds` calls, in seconds."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        function()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def interleaved(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, float]:
    """Medians of two functions called in turn, so that a busy moment of the machine hits both."""
    a, b = [], []
    for _ in range(rounds):
        a.append(timed(ours, 1))
        b.append(timed(theirs, 1))
    return statistics.median(a), statistics.median(b)


def in_child(code: str, *arguments: str, python: Path | None = None) -> dict[str, Any]:
    """Run `code` in a fresh interpreter; it prints one JSON object, to which the child's peak memory (MiB) is added."""
    wrapper = (
        "import json, resource, sys\n"
        f"exec(compile({code!r}, 'bench', 'exec'))\n"
        "print(json.dumps({'peak_mib': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))\n"
    )
    done = subprocess.run(
        [str(python or sys.executable), "-c", wrapper, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            found.update(json.loads(line))
    return found


def has_peers() -> bool:
    """Whether `make bench-peers` made the peers' environment."""
    return PEERS_PYTHON.is_file()


def as_json(rows: list[Row]) -> str:
    """The rows for machines."""
    return json.dumps([asdict(row) for row in rows], indent=1)
