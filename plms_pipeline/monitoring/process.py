"""Which process is this, and does that other one still live?"""

from __future__ import annotations

import os
import socket

import psutil


def this_holder() -> str:
    """A name for this process that no later process with the same number can carry: host, pid and start time."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{psutil.Process(pid).create_time():.2f}"


def is_dead(holder: str) -> bool:
    """Whether a holder named by `this_holder` is known to be gone: on this machine, and no such process any more."""
    host, _, rest = holder.rpartition(":")[0].rpartition(":")
    pid, started = rest, holder.rpartition(":")[2]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        process = psutil.Process(int(pid))
        return process.status() == psutil.STATUS_ZOMBIE or f"{process.create_time():.2f}" != started
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
