"""How do several processes take turns, always in the same order for the same seed?

Each action runs on a strand: a thread that works only while it has the turn, and hands it back when it waits or ends. One
works at a time, so nothing depends on the machine's scheduler. An action that will not wait runs where it is called: most do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from plms_pipeline_tests.simulation.seam import Crash, Seam


@dataclass(eq=False)
class Strand:
    """One action of one process under way.

    Attributes:
        name: the action, for the trace.
        process: which process does it.
        outcome: what it returned or raised, once it has ended.
        sleeps_until: after how many steps of the world it should go on, if it waits.
        told: why nothing may start, as the action heard it last; None: it may, or has not asked.
    """

    name: str
    process: str
    action: Callable[[], object]
    seam: Seam = field(default_factory=Seam)
    outcome: object = None
    error: BaseException | None = None
    has_ended: bool = False
    was_killed: bool = False
    told: str | None = None
    sleeps_until: int = 0
    worker: Any = None
    _turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _back: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def run(self) -> None:
        """The action, from its beginning to its end; in whichever thread has the turn."""
        try:
            self.outcome = self.action()
        except BaseException as error:  # told to whoever gave the turn
            self.error = error
        self.has_ended = True

    def wait(self) -> None:
        """Give the turn back until somebody gives it again.

        Raises:
            Crash: the process was killed meanwhile.
        """
        self._back.release()
        self._turn.acquire()
        if self.was_killed:
            raise Crash


class Turns:
    """Who has the turn, and whose actions wait for another."""

    def __init__(self) -> None:
        self.waiting: list[Strand] = []
        self.present: Strand | None = None
        self.idle = Seam()
        self._threads: list[_Worker] = []

    def seam(self) -> Seam:
        """The seam of whoever has the turn."""
        return self.idle if self.present is None else self.present.seam

    def begin(self, strand: Strand, *, may_wait: bool) -> None:
        """Let an action begin; it has ended when this returns, or waits."""
        before, self.present = self.present, strand
        try:
            if not may_wait:
                strand.run()
                return
            strand.seam.waits = strand.wait
            worker = self._threads.pop() if self._threads else _Worker()
            worker.take(strand)
            self._until_back(strand, worker)
        finally:
            self.present = before

    def resume(self, strand: Strand, *, kill: bool = False) -> None:
        """Give an action the turn again, or let its process die where it waits."""
        self.waiting.remove(strand)
        strand.was_killed = kill
        before, self.present = self.present, strand
        try:
            strand._turn.release()
            self._until_back(strand, strand.worker)
        finally:
            self.present = before

    def _until_back(self, strand: Strand, worker: _Worker) -> None:
        strand.worker = worker
        strand._back.acquire()
        if strand.has_ended:
            self._threads.append(worker)
        else:
            self.waiting.append(strand)

    def close(self) -> None:
        """Kill what waits, and let the threads end."""
        while self.waiting:
            self.resume(self.waiting[0], kill=True)
        for worker in self._threads:
            worker.end()
        self._threads.clear()


class _Worker:
    """A thread that runs strands one after the other."""

    def __init__(self) -> None:
        self._given = threading.Semaphore(0)
        self._strand: Strand | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def take(self, strand: Strand) -> None:
        self._strand = strand
        self._given.release()

    def end(self) -> None:
        self._strand = None
        self._given.release()
        self._thread.join()

    def _work(self) -> None:
        while True:
            self._given.acquire()
            strand: Any = self._strand
            if strand is None:
                return
            strand.run()
            strand._back.release()
