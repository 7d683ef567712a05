"""Is a process that lives told from one that is gone?"""

from __future__ import annotations

import os
import subprocess
import sys

from plms_pipeline.instance.process import holder_of, is_dead, lives


def test_who_is_gone_does_not_live() -> None:
    """Sweeping what a living process writes destroys it; never sweeping fills the disk."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert lives(child.pid)
        holder = holder_of(child.pid)
        assert not is_dead(holder)
        child.communicate(b"\n")
    assert not lives(child.pid)
    assert is_dead(holder)


def test_somebody_elses_process_lives() -> None:
    """An account that may not signal it must not take it for dead."""
    assert lives(1)
    assert lives(os.getpid())
