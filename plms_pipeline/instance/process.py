"""Which account does this process run under, how is it called, and does that other one still live?"""

from __future__ import annotations

import getpass
import os
import socket

import psutil

from plms_pipeline.errors import BadInput


def os_user() -> str:
    """The account of this process; its number when the machine has no name for it, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid{os.getuid()}"


def lives(pid: int) -> bool:
    """Whether a process of this number exists, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def holder_of(pid: int) -> str:
    """A name for a living process that no later process with the same number can carry: host, pid and start time.

    Raises:
        psutil.NoSuchProcess: there is none.
    """
    return f"{socket.gethostname()}:{pid}:{psutil.Process(pid).create_time():.2f}"


def owner_of(pid: int | None) -> str:
    """The holder's name of a living process; of the one that called this program when none is given.

    Raises:
        BadInput: there is no such process.
    """
    try:
        return holder_of(os.getppid() if pid is None else pid)
    except psutil.NoSuchProcess:
        raise BadInput(f"There is no process {pid}; name one that lives.", code="no_such_process") from None


def is_dead(holder: str) -> bool:
    """Whether a holder named by `holder_of` is known to be gone: on this machine, and no such process any more."""
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
