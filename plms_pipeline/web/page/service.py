"""How does one process see that something changed, and tell everybody who looks?

One task looks, four times a second and only while somebody listens, whether anybody has committed: on SQLite that is a counter,
on PostgreSQL the snapshot, and neither reads a table. If so one transaction reads what the page knows (`facts.Snapshot`), what
differs from the one before is numbered and told (`changes.Log`), and everybody who asks is answered from that snapshot. So a
hundred pages cost the database what one costs. The obvious version polls for each page, or trusts whoever writes to say so:
writers are other processes, and some of them die between the commit and the telling.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar, cast

from plms_pipeline.access.extras import IS_ENDING
from plms_pipeline.access.routes import AppState
from plms_pipeline.errors import PlmsError, Unavailable
from plms_pipeline.portfolio.files import flag_reason
from plms_pipeline.registry.engine import Registry
from plms_pipeline.web.api.files import newest_proof_mark
from plms_pipeline.web.api.store import version_reader
from plms_pipeline.web.page import changes
from plms_pipeline.web.page.actions.snapshot import read_snapshot
from plms_pipeline.web.page.changes import EVERYTHING, Change, Log
from plms_pipeline.web.page.facts import Snapshot

T = TypeVar("T")
LOOK_EVERY_S: Final = 0.25
# A snapshot may take this share of the time at most: under a storm of commits the page is told less often, never nothing.
MOST_OF_THE_TIME: Final = 0.2
# But however long one took (on a machine that gave it no time, minutes), the next look is not put off for longer than this.
LONGEST_PAUSE_S: Final = 1.0
BEAT_EVERY_S: Final = 5.0
# While somebody looks four times a second anyway, an answer may be as old as that.
FRESH_S: Final = LOOK_EVERY_S
MOST_STREAMS: Final = 1000
WATCH: Final = "page_watch"


@dataclass(slots=True)
class _Held:
    snapshot: Snapshot
    key: object
    at_s: float


@dataclass(slots=True)
class _Derived:
    key: object
    value: Any


@dataclass
class Watch:
    """What this process knows of the books, and who listens.

    Args:
        state: registry, clock, settings, ids.
        read: reads a snapshot; replaced by tests.
    """

    state: AppState
    read: Callable[..., Snapshot] = read_snapshot
    log: Log = field(init=False)
    streams: int = field(default=0, init=False)
    reads: int = field(default=0, init=False)
    _thread: ThreadPoolExecutor = field(init=False)
    _held: _Held | None = field(default=None, init=False)
    _derived: dict[str, _Derived] = field(default_factory=dict, init=False)
    _blind: PlmsError | None = field(default=None, init=False)
    _version: Callable[[], object | None] | None = field(default=None, init=False)
    _looking: asyncio.Task[None] | None = field(default=None, init=False)
    _lock: asyncio.Lock | None = field(default=None, init=False)
    _wake: asyncio.Event | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _read_s: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="plms-page")
        self.log = Log(self.state.ids().replace("-", "")[:12])

    async def snapshot(self) -> Snapshot:
        """The books as they are, or as they were a quarter of a second ago while somebody listens.

        Raises:
            Unavailable: the registry is away.
        """
        self._at_home()
        held = self._held
        is_watched = self._looking is not None and not self._looking.done() and self._blind is None
        if held is not None and is_watched and self._now() - held.at_s < FRESH_S:
            return held.snapshot
        return await self._look()

    async def derived(self, name: str, key: object, read: Callable[[Registry, Snapshot], T]) -> T:
        """What is worked out from the books when somebody asks, and kept while `key` is the same.

        Args:
            key: equal keys mean equal answers.
            read: called in a thread.
        """
        snapshot = await self.snapshot()
        lock = self._lock
        assert lock is not None  # noqa: S101 - snapshot() made it
        async with lock:
            known = self._derived.get(name)
            if known is None or known.key != key:
                known = _Derived(key, await self._aside(read, self.state.registry, snapshot))
                self._derived[name] = known
        return cast("T", known.value)

    async def events(self, last_event_id: str | None, still_may: Callable[[], Awaitable[None]]) -> AsyncIterator[bytes]:
        """A stream of events for one reader: `hello` or what was missed, then `change` and, every five seconds, `beat`.

        Args:
            last_event_id: what the reader saw last.
            still_may: raises when the reader may not read any more.
        """
        self._at_home()
        self.streams += 1
        try:
            await self._first_look()
            self._keep_looking()
            number = self.log.number_of(last_event_id)
            missed = None if number is None else self.log.since(number)
            seen = self.log.last
            if missed is None:
                yield self._event("hello", EVERYTHING)
            else:
                yield self._event("change" if missed else "resumed", missed)
            if self._blind is not None:
                yield self._beat()
            async for part in self._following(seen, still_may):
                yield part
        finally:
            self.streams -= 1

    async def _following(self, seen: int, still_may: Callable[[], Awaitable[None]]) -> AsyncIterator[bytes]:
        blind = self._blind
        while not self._is_ending():
            wake = self._wake
            assert wake is not None  # noqa: S101 - made by `_at_home`
            is_quiet = False
            if seen == self.log.last and blind is self._blind:
                try:
                    await asyncio.wait_for(wake.wait(), BEAT_EVERY_S)
                except TimeoutError:
                    is_quiet = True
            if seen != self.log.last:
                # What the reader was too slow for is one change by now.
                missed, seen = self.log.since(seen), self.log.last
                yield self._event("change", EVERYTHING if missed is None else missed)
            if is_quiet or blind is not self._blind:
                blind = self._blind
                try:
                    await still_may()
                except PlmsError as error:
                    yield changes.event("bye", {"code": error.code, "detail": error.message})
                    return
                yield self._beat()

    def _event(self, name: str, change: Change) -> bytes:
        return changes.event(name, changes.told(change, self.state.clock.now()), self.log.id_of(self.log.last))

    def _beat(self) -> bytes:
        blind = None if self._blind is None else {"code": self._blind.code, "detail": self._blind.message}
        return changes.event("beat", {"at": self.state.clock.now().isoformat(), "blind": blind})

    async def _first_look(self) -> None:
        try:
            await self._look()
        except PlmsError as error:
            self._blind = error

    def _keep_looking(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        while self.streams:
            pause_s = self._read_s * (1 / MOST_OF_THE_TIME - 1)
            await asyncio.sleep(min(max(LOOK_EVERY_S, pause_s), max(LOOK_EVERY_S, LONGEST_PAUSE_S)))
            if self._is_ending():
                self._tell()
                return
            try:
                await self._look()
                blind = None
            except PlmsError as error:
                blind = error
            except Exception as error:  # noqa: BLE001 - a bug here must not leave every page in the belief that all is quiet
                blind = Unavailable(f"The page cannot look into the books ({type(error).__name__}).", code="page_blind")
            if (blind is None) != (self._blind is None):
                self._blind = blind
                self._tell()

    async def _look(self) -> Snapshot:
        """The present snapshot; read only when somebody committed since."""
        lock = self._lock
        assert lock is not None  # noqa: S101 - made by `_at_home`
        async with lock:
            key = await self._key()
            held = self._held
            if held is not None and key is not None and held.key == key:
                held.at_s = self._now()
                return held.snapshot
            began = self._now()
            outside = key[1] if key is not None else await self._aside(self._outside)
            new = await self._aside(
                self.read, self.state.registry, now=self.state.clock.now(), outside=outside
            )  # fmt: skip
            self.reads += 1
            self._read_s = self._now() - began
            self._held = _Held(new, key, began)
            if held is not None and (change := changes.between(held.snapshot, new)):
                self.log.add(change)
                self._tell()
            return new

    async def _key(self) -> tuple[object, tuple[object, ...]] | None:
        """What identifies a state of the books and of what lies beside them; None when the database does not say."""
        if self._version is None:
            # On the thread that will go on asking, as SQLite wants it.
            self._version = version_reader(self.state.registry)
        if self.state.registry.dialect == "sqlite":
            version = self._version()
        else:
            version = await self._aside(self._version)
        return None if version is None else (version, self._outside())

    def _outside(self) -> tuple[object, ...]:
        settings = self.state.settings
        return (flag_reason(settings.data_dir), newest_proof_mark(settings.reports_dir))

    async def _aside(self, read: Callable[..., T], *given: Any, **named: Any) -> T:
        """Read on the one thread that is kept for it: as many connections and caches as threads would be taken otherwise."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(read, *given, **named))

    def _tell(self) -> None:
        """Wake everybody who listens."""
        wake, self._wake = self._wake, asyncio.Event()
        if wake is not None:
            wake.set()

    def _is_ending(self) -> bool:
        ending: Callable[[], bool] | None = self.state.extras.get(IS_ENDING)
        return ending is not None and ending()

    def _now(self) -> float:
        return self.state.stopwatch()

    def _at_home(self) -> None:
        """Begin anew on another event loop than before: its locks are of no use here. Servers have one, tests have many."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._lock, self._wake, self._looking = loop, asyncio.Lock(), asyncio.Event(), None
            self._version = None
            if self._held is not None:
                # Another connection counts from another number.
                self._held.key = None


def watch_of(state: AppState) -> Watch:
    """The watch of an application, made when the first one asks."""
    found: Watch | None = state.extras.get(WATCH)
    if found is None:
        found = state.extras[WATCH] = Watch(state)
    return found


def require_room(watch: Watch) -> None:
    """Refuse one stream too many.

    Raises:
        Unavailable: a thousand are open (`too_many_streams`).
    """
    if watch.streams >= MOST_STREAMS:
        raise Unavailable(
            f"{watch.streams} pages listen to this process already; close some, or serve with more --workers.",
            code="too_many_streams", retry_after_s=30,
        )  # fmt: skip
