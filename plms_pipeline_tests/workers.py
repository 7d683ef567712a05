"""How do the tests use all cores without importing everything once for each of them?

`pytest --workers=3` (with the sign: pytest takes a number that stands alone for a path) collects once and then forks. To
import Dagster, scipy and seven thousand tests takes ten seconds and, where nothing is compiled yet, twenty; xdist spends
them in each of its workers. Tests marked as one `xdist_group` stay on one worker, and the largest groups go first, as with
xdist, so that either may run them.

A worker that dies fails the test that it was at, and another one takes over what it still had.
"""

from __future__ import annotations

import atexit
import gc
import os
import random
import signal
import traceback
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

import pytest
from _pytest.unraisableexception import collect_unraisable, gc_collect_harder


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that `make test` gives."""
    parser.addoption("--workers", type=int, default=0, metavar="N", help="run the tests in N forks of this process")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Hand the tests out instead of running them here, if workers were asked for."""
    wanted = session.config.getoption("workers")
    if not wanted or not session.items or session.config.option.collectonly or session.testsfailed:
        return None
    if session.config.pluginmanager.has_plugin("dsession"):
        raise pytest.UsageError("--workers and -n are two ways to do the same: give one of them")
    Office(session).run(wanted)
    return True


@dataclass(slots=True)
class Worker:
    """What the office knows of one worker."""

    number: int
    process: int
    line: Connection
    # The tests that it was given and has not ended, in order.
    given: deque[int] = field(default_factory=deque)
    is_told_the_end: bool = False
    broken: str = ""


class Office:
    """Hands out tests and gathers what became of them."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session
        self._waiting = grouped(session.items)
        self._workers: dict[Connection, Worker] = {}
        self._started = 0

    def run(self, wanted: int) -> None:
        """Run all tests; returns or raises what pytest's own loop would."""
        # Made here once, so that the workers' folders lie in it.
        self._session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        try:
            while (self._waiting or self._workers) and not self._stops():
                while self._waiting and len(self._workers) < wanted:
                    self._start()
                for line in wait(list(self._workers)):
                    assert isinstance(line, Connection)
                    self._hear(self._workers[line])
        finally:
            self._send_home()
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)

    def _stops(self) -> bool:
        return bool(self._session.shouldfail or self._session.shouldstop)

    def _start(self) -> None:
        ours, theirs = Pipe()
        number, self._started = self._started, self._started + 1
        with warnings.catch_warnings():
            # Newer Pythons warn of threads; those of numerical libraries are idle here and know of forks.
            warnings.simplefilter("ignore")
            process = os.fork()
        if process == 0:
            ours.close()
            for other in self._workers:
                other.close()
            work(self._session, number, theirs)
        theirs.close()
        self._workers[ours] = Worker(number, process, ours)

    def _hear(self, worker: Worker) -> None:
        try:
            kind, *what = worker.line.recv()
        except (EOFError, ConnectionResetError):
            self._lost(worker)
            return
        hook = self._session.config.hook
        if kind == "wants":
            self._give(worker)
        elif kind == "report":
            report = hook.pytest_report_from_serializable(config=self._session.config, data=what[0])
            hook.pytest_runtest_logreport(report=report)
        elif kind == "warning":
            hook.pytest_warning_recorded.call_historic(kwargs=what[0])
        elif kind == "broken":
            worker.broken = what[0]
        else:
            item = self._session.items[worker.given.popleft()]
            hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _give(self, worker: Worker) -> None:
        unit = self._waiting.popleft() if self._waiting else []
        worker.is_told_the_end = not unit
        worker.given.extend(unit)
        # If it died, what it said before is still to be read, and then the end.
        with suppress(BrokenPipeError, ConnectionResetError):
            worker.line.send(unit)

    def _lost(self, worker: Worker) -> None:
        """The line is closed: the worker is done, or it died in the middle of something."""
        del self._workers[worker.line]
        worker.line.close()
        _, status = os.waitpid(worker.process, 0)
        code = os.waitstatus_to_exitcode(status)
        if worker.is_told_the_end and not worker.given and code == 0:
            return
        ended = f"{worker.broken}worker {worker.number} ended with {signal.Signals(-code).name if code < 0 else code}"
        if worker.given:
            self._fail(self._session.items[worker.given.popleft()], f"{ended} in this test")
        else:
            self._fail(self._session.items[0], f"{ended} after its last test")
        if worker.given:
            self._waiting.appendleft(list(worker.given))

    def _fail(self, item: pytest.Item, why: str) -> None:
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call")
        self._session.config.hook.pytest_runtest_logreport(report=report)

    def _send_home(self) -> None:
        """Whoever is still there lost the office: its line closes, it clears up and goes."""
        for line in self._workers:
            line.close()
        for worker in self._workers.values():
            os.waitpid(worker.process, 0)


def grouped(items: list[pytest.Item]) -> deque[list[int]]:
    """What is handed out at once, largest first: a group's tests, or one test of no group."""
    groups: dict[object, list[int]] = {}
    for index, item in enumerate(items):
        mark = item.get_closest_marker("xdist_group")
        groups.setdefault(
            index if mark is None else str(mark.args[0] if mark.args else mark.kwargs["name"]), []
        ).append(index)
    return deque(sorted(groups.values(), key=len, reverse=True))


def work(session: pytest.Session, number: int, line: Connection) -> None:
    """The life of a worker: it never returns."""
    code = 1
    try:
        settle_in(session.config, number, line)
        try:
            following = assigned(line)
            index = next(following, None)
            while index is not None:
                coming = next(following, None)
                item = session.items[index]
                item.config.hook.pytest_runtest_protocol(
                    item=item, nextitem=None if coming is None else session.items[coming]
                )
                line.send(("ended",))
                index = coming
        finally:
            session._setupstate.teardown_exact(None)
        gc_collect_harder(1)
        collect_unraisable(session.config)
        code = 0
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        code = 2  # nobody listens any more
    except BaseException:
        line.send(("broken", traceback.format_exc()))
    finally:
        atexit._run_exitfuncs()
        os._exit(code)


def assigned(line: Connection) -> Iterator[int]:
    """The tests that the office hands out, one after the other."""
    while True:
        line.send(("wants",))
        unit = line.recv()
        if not unit:
            return
        yield from unit


def settle_in(config: pytest.Config, number: int, line: Connection) -> None:
    """Part with what a fork shares by mistake: exit handlers, captured output, temporary folder, chance, the terminal."""
    atexit._clear()
    random.seed()
    gc.enable()
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    folders: Any = config._tmp_path_factory  # type: ignore[attr-defined]
    folders._given_basetemp = folders.getbasetemp() / f"worker-{number}"
    folders._basetemp = None
    terminal: Any = config.get_terminal_writer()
    terminal._file = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    config.pluginmanager.register(Reporter(config, line), "reporter-of-a-worker")


class Reporter:
    """Tells the office what happens."""

    def __init__(self, config: pytest.Config, line: Connection) -> None:
        self._config = config
        self._line = line

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """How a phase of a test ended."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._line.send(("report", data))

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: Any
    ) -> None:
        """A warning that no test turned into a failure."""
        self._line.send(
            ("warning", {"warning_message": warning_message, "when": when, "nodeid": nodeid, "location": location})
        )
