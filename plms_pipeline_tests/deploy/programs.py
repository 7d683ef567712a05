"""Programs of others that prove what deploy/ holds: promtool and prometheus, from Debian's package `prometheus`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MISSING = "{} is not on PATH; `apt-get install prometheus` brings it (.ci/run fetches it by itself)"


def program(name: str) -> str:
    """The path of a program. Where CI runs, a missing one is a failure; elsewhere the test is skipped and says why."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING.format(name))
        pytest.skip(MISSING.format(name))
    return found


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def said(*arguments: str | Path, cwd: Path = ROOT, timeout_s: float = 170) -> str:
    """What a program says that must succeed."""
    done = subprocess.run(
        [str(each) for each in arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=timeout_s
    )
    assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
