"""How does one child run so that hostile code inside it can hurt neither us nor the verdict?

This file is a program, started by `children.py` as `python -I -S launcher.py '<plan as JSON>' command…`. It narrows its own
rights step by step and then becomes the command. The obvious version, `preexec_fn`, runs Python between fork and exec of a
process that has threads (Dagster has many) and is known to deadlock.

In order, each step only where the system allows it (Linux; in a container some are refused):
own namespaces for network (loopback only), processes, IPC and mounts; the whole file system read-only but for the work
folder; an own user id when we are root, so that the process limit counts (the kernel exempts uid 0 from it) and nothing
of ours can be written or signalled; no new privileges; limits for CPU, memory, file size, open files and processes.
What holds is written to the status pipe, so that a receipt never claims a protection that was not there.

Only the limits and the clean environment are promised everywhere. Without a network namespace the child can reach the
network; without own user id or read-only mounts it can write what the user who runs the pipeline can write.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
from typing import Any, NoReturn

NEW_NS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
MS_PRIVATE_REC, MS_BIND, MS_SAFE = 0x44000, 0x1000, 0xE  # safe: nosuid, nodev, noexec
MOUNT_ATTR_RDONLY, AT_RECURSIVE, AT_FDCWD = 0x1, 0x8000, -100
SYS_MOUNT_SETATTR = 442  # the same number on every architecture since Linux 5.12
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 8, 38, 47
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> None:
    if getattr(_libc(), name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _die_with_parent() -> None:
    _call("prctl", PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _map_user(user: int, group: int) -> None:
    """Inside a new user namespace: the same numbers as outside, nobody else."""
    with contextlib.suppress(OSError):
        _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _unshare() -> list[str]:
    """Leave the shared namespaces; the names of what was left."""
    user, group = os.geteuid(), os.getegid()
    extra = 0 if user == 0 else NEW_USER
    wanted = NEW_NET | NEW_PID | NEW_NS | NEW_IPC
    for flags, held in (
        (wanted, ["no network", "own processes", "own mounts"]),
        (NEW_NET | NEW_PID, ["no network", "own processes"]),
        (NEW_NET, ["no network"]),
    ):
        try:
            _call("unshare", flags | extra)
        except (OSError, AttributeError):
            continue
        if extra:
            _map_user(user, group)
        return held
    return []


def _loopback_up() -> None:
    """A fresh network namespace has its loopback down; honest tests start servers on it."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(probe, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | IFF_UP))


def _read_only_but(folder: str) -> None:
    """Everything mounted becomes read-only in our mount namespace; `folder` stays writable."""

    class MountAttributes(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]

    path = os.fsencode(folder)
    _call("mount", None, b"/", None, ctypes.c_ulong(MS_PRIVATE_REC), None)
    _call("mount", path, path, None, ctypes.c_ulong(MS_BIND), None)
    size = ctypes.c_size_t(ctypes.sizeof(MountAttributes))
    lock = MountAttributes(attr_set=MOUNT_ATTR_RDONLY)
    _call("syscall", ctypes.c_long(SYS_MOUNT_SETATTR), AT_FDCWD, b"/", AT_RECURSIVE, ctypes.byref(lock), size)
    free = MountAttributes(attr_clr=MOUNT_ATTR_RDONLY)
    _call("syscall", ctypes.c_long(SYS_MOUNT_SETATTR), AT_FDCWD, path, 0, ctypes.byref(free), size)


def _own_proc() -> None:
    """`/proc` of the new process namespace, so that the child sees no process but its own."""
    _call("mount", b"proc", b"/proc", b"proc", ctypes.c_ulong(MS_SAFE), None)


def _own_shared_memory(folder: str) -> None:
    """A small writable `/dev/shm`: multiprocessing needs one, and ours is read-only by now.

    Where `folder` itself lies there, it would be hidden: then the child does without.
    """
    if folder.startswith("/dev/shm/"):  # noqa: S108 - a mount point, not a file of ours
        return
    _call("mount", b"tmpfs", b"/dev/shm", b"tmpfs", ctypes.c_ulong(MS_SAFE), b"size=64m,mode=1777")


def _limit(plan: dict[str, Any]) -> None:
    for name, wanted in plan["limits"].items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None:
            continue
        _, ceiling = resource.getrlimit(kind)
        soft, hard = wanted if ceiling == resource.RLIM_INFINITY else (min(each, ceiling) for each in wanted)
        with contextlib.suppress(ValueError, OSError):  # macOS refuses RLIMIT_AS
            resource.setrlimit(kind, (soft, hard))


def _set_capabilities(mask: int) -> None:
    header = struct.pack("Ii", CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = struct.pack("6I", low, low, low, high, high, high)
    _call("capset", ctypes.create_string_buffer(header), ctypes.create_string_buffer(data))


def _become(user: int, *, may_read: bool) -> list[str]:
    """Give up root for an unused user id; `may_read` keeps the one right to read what root's home hides.

    The interpreter itself may live below a folder that only root may enter; without that right it could not start.
    """
    if may_read:
        _call("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if may_read:
        _set_capabilities(1 << CAP_DAC_READ_SEARCH)
        _call("prctl", PR_CAP_AMBIENT, 2, CAP_DAC_READ_SEARCH, 0, 0)
        return ["own user", "may read files of root"]
    return ["own user"]


def _serve_as_init(child: int) -> NoReturn:
    """Process 1 of the namespace: reap everything, end with the main child; the kernel then kills the rest."""
    while True:
        pid, status = os.wait()
        if pid == child:
            _end_like(status)


def _end_like(status: int) -> NoReturn:
    """Exit as the child did: same code, or 128 + signal."""
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _isolate(plan: dict[str, Any]) -> list[str]:
    """Namespaces and mounts; afterwards this process may be another one (a child inside the process namespace)."""
    held = _unshare() if plan["namespaces"] and sys.platform == "linux" else []
    if "no network" in held:
        with contextlib.suppress(OSError):
            _loopback_up()
    if "own processes" in held:
        inner = os.fork()
        if inner:
            _end_like(os.waitpid(inner, 0)[1])
        _die_with_parent()
    if "own mounts" in held:
        with contextlib.suppress(OSError):
            _read_only_but(plan["work"])
            held.append("read-only files")
        with contextlib.suppress(OSError):
            _own_proc()
        with contextlib.suppress(OSError):
            _own_shared_memory(plan["work"])
    if "own processes" in held:
        main = os.fork()
        if main:
            _serve_as_init(main)
        _die_with_parent()
    return held


def _drop(plan: dict[str, Any]) -> list[str]:
    held: list[str] = []
    if plan["user"] is not None and os.geteuid() == 0:
        with contextlib.suppress(OSError):
            held += _become(plan["user"], may_read=plan["may_read"])
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            held.append("no new privileges")
        with contextlib.suppress(OSError):
            _die_with_parent()  # forgotten by the kernel when the user changed
    return held


def main() -> NoReturn:
    """Narrow the rights of this process as the plan says and become the command."""
    plan = json.loads(sys.argv[1])
    command = sys.argv[2:]
    status = plan["status_fd"]
    os.set_inheritable(status, False)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            _die_with_parent()
    held = _isolate(plan)
    os.chdir(plan["cwd"])
    _limit(plan)
    held += _drop(plan)
    held.append("limits")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.write(status, json.dumps({"held": held}).encode() + b"\n")
    try:
        os.execve(command[0], command, plan["environment"])  # noqa: S606  to become it is the point
    except OSError as error:
        os.write(
            status, json.dumps({"failed": f"{command[0]} could not be started: {error.strerror}"}).encode() + b"\n"
        )
        os._exit(127)


if __name__ == "__main__":
    main()
