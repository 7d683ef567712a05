"""How is this process called as an observer, and does another one still live?"""

from __future__ import annotations

import os
import re
import socket
from uuid import uuid4

from plms_pipeline.instance.process import lives


def observer_name() -> str:
    """A name for an observer that no other one carries: host, pid and a random part."""
    return f"{socket.gethostname()}:{os.getpid()}:observe:{uuid4().hex[:8]}"


def file_name(observer_id: str) -> str:
    """The same as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9-]", "-", observer_id)


def is_dead(observer_id: str) -> bool:
    """Whether it was a process of this machine that is gone. Of another machine's nothing is known."""
    host, _, rest = observer_id.partition(":")
    pid = rest.partition(":")[0]
    return host == socket.gethostname() and pid.isdigit() and not lives(int(pid))
