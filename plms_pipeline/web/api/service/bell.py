"""How does whoever answers tell whoever works that something is due?

Through a named pipe in a private folder, because the two are processes: the worker holds its reading end, any number of web
processes write a line, and neither waits for the other. A worker that was killed and started again opens the same pipe. A
line that is lost costs a few seconds, because every kind of work also looks without being asked; and whether anybody holds
the reading end is the truth about whether a worker lives, which nobody has to keep up to date.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from plms_pipeline.web.api.health import ComponentStatus

# The variable that carries the path to the processes of `plms serve`; not a setting, so it has not their prefix.
PATH_VARIABLE = "_PLMS_BELL"
# How long a worker that was never there yet counts as on its way.
COMING_S = 30.0
_MOST_BYTES = 65_536


def make(folder: Path) -> Path:
    """The pipe, made in a folder that is ours alone."""
    path = folder / "bell"
    os.mkfifo(path, 0o600)
    return path


class Bell:
    """The web process's end. Safe to share between threads.

    Args:
        path: the named pipe.
        stopwatch: seconds on a clock that never jumps.
    """

    def __init__(self, path: Path, *, stopwatch: Callable[[], float] = time.monotonic) -> None:
        self._path, self._stopwatch = path, stopwatch
        self._end: int | None = None
        self._made_s, self._was_heard = stopwatch(), False

    def ring(self, *names: str) -> bool:
        """Ask for these kinds of work; False when nobody is there to hear it. Returns at once."""
        line = (" ".join(names) + "\n").encode()
        # A line is shorter than PIPE_BUF: it arrives whole or not at all, whoever else writes. The second try is for a
        # worker that was started again.
        for _ in range(2):
            try:
                if self._end is None:
                    self._end = self._opened()
                os.write(self._end, line)
            except BlockingIOError:
                return True  # As many lines wait as the pipe holds: the worker has enough to wake up for.
            except OSError:
                self.close()
                continue
            return True
        return False

    def status(self) -> ComponentStatus:
        """Whether a worker lives: `healthy`, `unknown` while the first one is on its way, `degraded`."""
        try:
            os.close(self._opened())
        except OSError:
            is_coming = not self._was_heard and self._stopwatch() - self._made_s < COMING_S
            return "unknown" if is_coming else "degraded"
        self._was_heard = True
        return "healthy"

    def close(self) -> None:
        """Let go of the pipe."""
        end, self._end = self._end, None
        if end is not None:
            with contextlib.suppress(OSError):
                os.close(end)

    def _opened(self) -> int:
        # Not blocking: refused while nobody holds the reading end.
        return os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)


def heard(path: Path) -> Iterator[tuple[str, ...]]:
    """The worker's end: the names of each line, for ever; waits for the next one."""
    # Writing too, so that it is no end of the file when the last web process goes.
    end = os.open(path, os.O_RDWR)
    try:
        rest = b""
        while True:
            rest += os.read(end, _MOST_BYTES)
            *lines, rest = rest.split(b"\n")
            wanted = dict.fromkeys(name for line in lines for name in line.decode("ascii", "replace").split())
            if wanted:
                yield tuple(wanted)
    finally:
        os.close(end)
