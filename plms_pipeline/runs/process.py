"""On which code, interpreter and system does this process run, and how is the process itself called?

Read once per process: a passport states what its run was started with, and a checkout that changes under a living process
does not change the code in its memory.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import uuid
from functools import cache
from pathlib import Path

from plms_pipeline.instance.process import lives
from plms_pipeline.settings import project_root

GIT_TIMEOUT_S = 10
_STARTED = uuid.uuid4().hex[:8]


@cache
def environment() -> tuple[str | None, str, str]:
    """(git commit of the checkout or None, Python's version, operating system) of this process."""
    return _git_commit(project_root()), platform.python_version(), f"{platform.system()}-{platform.machine()}"


def _git_commit(root: Path | None) -> str | None:
    if root is None:
        return None
    command = ["git", "-C", str(root), "rev-parse", "--verify", "HEAD"]
    # A GIT_DIR of whoever calls us (a hook, say) speaks of another repository.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            command,
            env=clean,
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    commit = done.stdout.strip()
    return commit if done.returncode == 0 and len(commit) >= 40 else None


def lease_holder() -> str:
    """A name for this process that no other one carries: host, pid and a random part."""
    return f"{socket.gethostname()}:{os.getpid()}:{_STARTED}"


def is_dead(holder: str) -> bool:
    """Whether a holder (`host:pid:…`) was a process of this machine that is gone. Of another machine's nothing is known."""
    host, _, rest = holder.partition(":")
    pid = rest.partition(":")[0]
    return host == socket.gethostname() and pid.isdigit() and not lives(int(pid))
