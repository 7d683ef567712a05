"""Which account does this process run under?"""

from __future__ import annotations

import getpass
import os


def os_user() -> str:
    """The account of this process; its number when the machine has no name for it, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid{os.getuid()}"
