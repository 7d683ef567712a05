"""Does Dagster load this home, asked of a process of its own?

In this process Dagster would be imported for every `plms doctor`, could have been configured by something else already, and
would print its own opinion. The child says nothing but whether the instance opened and its storage answered.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TIMEOUT_S = 60
_SCRIPT = "import dagster as dg; instance = dg.DagsterInstance.get(); instance.get_runs_count(); instance.dispose()"


def dagster_problem(home: Path) -> str:
    """Why Dagster cannot open the instance of `home`: the last line of what it said; empty when it can."""
    environment = {**os.environ, "DAGSTER_HOME": str(home), "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            env=environment, cwd=home, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT_S} s"
    except OSError as error:
        return str(error.strerror or error)
    if done.returncode == 0:
        return ""
    said = [line for line in done.stderr.splitlines() if line.strip()]
    return said[-1].strip()[:300] if said else f"exit code {done.returncode}"
