"""How is everything read in time, once for whoever scrapes at the same moment, and told?

Each part is read in a thread of its own and has a time limit: a registry that hangs costs a scrape that time and the series of
the registry, and nothing else. While such a thread hangs no second one is started for its part. What was not read is absent: an
old figure would be taken for a new one, and a zero for good news.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from contextlib import ExitStack
from types import FrameType
from typing import Any, Final

from plms_pipeline import __version__
from plms_pipeline.access.hosts import metrics_hosts
from plms_pipeline.clock import Clock, SystemClock
from plms_pipeline.instance.files.home import prepare_instance
from plms_pipeline.monitoring.exporter import client, files
from plms_pipeline.monitoring.exporter.actions import others
from plms_pipeline.monitoring.exporter.actions.books import BooksReader
from plms_pipeline.monitoring.exporter.catalogue import CATALOGUE
from plms_pipeline.monitoring.exporter.metrics import expose, page, text_of
from plms_pipeline.monitoring.exporter.series import PARTS, Part, Samples, merged
from plms_pipeline.portfolio.files import flag_reason
from plms_pipeline.registry.engine import Registry, sqlite_file
from plms_pipeline.settings import Settings

log = logging.getLogger(__name__)
# A person who asks for one page waits for it.
ONCE_S: Final = 60.0
Read = Callable[[], Samples]
UP: Final[Mapping[Part, str]] = {
    "registry": "plms_registry_up",
    "dagster": "plms_dagster_up",
    "redis": "plms_redis_up",
    "nights": "plms_reports_up",
}


class Source:
    """One part, read by one thread at a time.

    Args:
        read: reads it; whatever it raises counts as not read.
    """

    def __init__(self, part: Part, read: Read) -> None:
        self.part = part
        self.errors = 0
        self._read = read
        self._under_way: Future[Samples] | None = None
        self._began = 0.0
        self._hangs = False
        self.took_s = 0.0

    def begin(self) -> None:
        """Start reading, unless the last reading still hangs."""
        self._hangs = self._under_way is not None and not self._under_way.done()
        if self._hangs:
            return
        self._under_way, self._began = Future(), time.monotonic()
        threading.Thread(target=self._fill, args=(self._under_way,), name=f"exporter-{self.part}", daemon=True).start()

    def end(self, deadline: float) -> Samples | None:
        """What was read by the deadline (on the monotonic clock), or None."""
        assert self._under_way is not None  # noqa: S101 - begun before
        if self._hangs:
            # What it will say, it saw before this scrape began.
            self._failed("the reading before this one still hangs")
            return None
        try:
            found = self._under_way.result(max(0.0, deadline - time.monotonic()))
        except NoAnswer:
            self._failed("it took too long")
            return None
        except Exception as error:  # noqa: BLE001 - nothing that a part meets may end the page
            self._failed(f"{type(error).__name__}: {error}")
            return None
        return found

    def _fill(self, future: Future[Samples]) -> None:
        try:
            future.set_result(self._read())
        except BaseException as error:  # noqa: BLE001 - handed over to whoever waits
            future.set_exception(error)
        self.took_s = time.monotonic() - self._began

    def _failed(self, why: str) -> None:
        self.errors += 1
        self.took_s = time.monotonic() - self._began
        log.warning("event=not_read part=%s reason=%.200s", self.part, why)


class Exporter:
    """Reads all parts for one page; whoever asks meanwhile gets the same page.

    Args:
        reads: how each part that is configured is read.
        build: version, Dagster's version, kind of database.
        timeout_s: how long a part may take.
    """

    def __init__(
        self, reads: Mapping[Part, Read], build: tuple[str, str, str], *, clock: Clock, timeout_s: float
    ) -> None:
        self._sources = [Source(part, read) for part, read in reads.items()]
        self._build = build
        self._clock = clock
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._flight: Future[Samples] | None = None

    def collect(self) -> Samples:
        """The samples of one page."""
        with self._lock:
            flight, is_mine = self._flight, self._flight is None
            if flight is None:
                flight = self._flight = Future()
        if is_mine:
            try:
                flight.set_result(self._collect())
            except BaseException as error:
                flight.set_exception(error)
                raise
            finally:
                with self._lock:
                    self._flight = None
        return flight.result()

    def _collect(self) -> Samples:
        now = self._clock.now().timestamp()
        deadline = time.monotonic() + self._timeout_s
        for source in self._sources:
            source.begin()
        found = {source.part: source.end(deadline) for source in self._sources}
        own = Samples(CATALOGUE)
        own.put("plms_exporter_up", float(all(samples is not None for samples in found.values())))
        for part, samples in found.items():
            if part in UP:
                own.put(UP[part], float(samples is not None))
        for source in self._sources:
            own.put("plms_exporter_collect_seconds", source.took_s, source.part)
        errors = {source.part: source.errors for source in self._sources}
        own.put_by("plms_exporter_collect_errors_total", {part: errors.get(part, 0) for part in PARTS})
        own.put("plms_exporter_collected_timestamp_seconds", now)
        own.put("plms_build_info", 1, *self._build)
        return merged(CATALOGUE, [own, *(samples for samples in found.values() if samples is not None)])


class Books:
    """The registry, opened when it is first asked, and anew when another file lies in its place (a backup was restored)."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._file = sqlite_file(settings.database_url)
        self._opened: tuple[Registry, BooksReader, object] | None = None

    def read(self) -> Samples:
        """Everything that the registry knows.

        Raises:
            Unavailable: it is away.
        """
        lies = files.identity(self._file)
        if self._opened is not None and self._opened[2] != lies:
            self.close()
        if self._opened is None:
            registry = Registry.open(self._settings.database_url, read_only=True)
            reader = BooksReader(self._settings, self._clock, lambda: flag_reason(self._settings.data_dir))
            self._opened = (registry, reader, lies)
        registry, reader, _ = self._opened
        return reader.read(registry)

    def close(self) -> None:
        """Close it."""
        if self._opened is not None:
            self._opened[0].close()
            self._opened = None


class Instance:
    """Dagster's instance of DAGSTER_HOME, opened when it is first asked, and anew after whatever went wrong."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._opened: tuple[ExitStack, Any] | None = None

    def read(self) -> Samples:
        """Everything that Dagster's storage knows; raises what keeps it from being read."""
        from plms_pipeline.monitoring.exporter import defs

        try:
            if self._opened is None:
                stack = ExitStack()
                self._opened = (stack, stack.enter_context(defs.opened_instance()))
            return defs.read(self._opened[1], self._clock.now())
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Close it."""
        if self._opened is not None:
            self._opened[0].close()
            self._opened = None


def exporter_of(settings: Settings, clock: Clock, stack: ExitStack) -> Exporter:
    """The exporter of an installation; what it opens is closed with the stack."""
    # Imported before the first scrape, which would take a second longer.
    from plms_pipeline.monitoring.exporter.defs import DAGSTER_VERSION

    prepare_instance(settings)
    books, instance, nights = Books(settings, clock), Instance(clock), files.NightReader(settings.reports_dir)
    stack.callback(books.close)
    stack.callback(instance.close)
    reads: dict[Part, Read] = {
        "registry": books.read,
        "dagster": instance.read,
        "disk": lambda: others.disk(settings),
        "nights": lambda: others.nights(nights, clock),
    }
    url = settings.redis_url if settings.redis_is_used or settings.evidence_backend == "redis" else None
    if url is not None:
        reads["redis"] = lambda: _redis(url)
    kind = "sqlite" if sqlite_file(settings.database_url) is not None else "postgresql"
    build = (__version__, DAGSTER_VERSION, kind)
    return Exporter(reads, build, clock=clock, timeout_s=settings.exporter_timeout_s)


def _redis(url: str) -> Samples:
    samples = Samples(CATALOGUE)
    client.ask(url, samples)
    return samples


def page_once(settings: Settings) -> str:
    """One page as text."""
    patient = settings.model_copy(update={"exporter_timeout_s": max(settings.exporter_timeout_s, ONCE_S)})
    with ExitStack() as stack:
        return text_of(page(exporter_of(patient, SystemClock(), stack).collect))


def serve_exporter(settings: Settings, *, host: str, port: int, on_ready: Callable[[int], None]) -> None:
    """Answer scrapes until SIGINT or SIGTERM.

    Args:
        port: 0 takes any free one.
        on_ready: told the port, once scrapes are answered.

    Raises:
        BadInput: the address cannot be bound, Dagster's home cannot be written, or PLMS_METRICS_HOSTS holds no names.
    """
    over, allowed = threading.Event(), metrics_hosts(settings.metrics_hosts)

    def stop(_number: int, _frame: FrameType | None) -> None:
        over.set()

    with ExitStack() as stack:
        exporter = exporter_of(settings, SystemClock(), stack)
        # The first reading opens and compiles, which would make a busy machine miss the time limit of the first scrape.
        exporter.collect()
        bound, close = expose(page(exporter.collect), host, port, allowed)
        stack.callback(close)
        for number in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, number, signal.signal(number, stop))
        on_ready(bound)
        # A wait without end would not be woken by a signal on every platform.
        while not over.wait(1.0):
            pass
