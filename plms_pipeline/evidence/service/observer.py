"""How does one process observe thousands of obligations without a thread for each?

One asyncio loop with three tasks: needs that are handed in are gathered for a few milliseconds and committed together; what
waits is looked for in rounds; what ended is told on the stream. Everything that blocks runs in a few threads. What is held
in memory is bounded: a queue that spills into the spool, and as many places in flight as the settings give.

Fail-open to the pipeline: nobody who hands in a need waits for the registry longer than one commit, or learns that it is away.
Never to the books: what could not be written is on the disk before the answer, and replayed before anything else.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError, Unavailable
from plms_pipeline.evidence.actions.leading import lead, resign
from plms_pipeline.evidence.actions.observing import Flight, Round, Watch, observe_round, replay, tell_due
from plms_pipeline.evidence.actions.owing import Accepted, Said, accept_group
from plms_pipeline.evidence.files import SpoolFile, drop_spool, read_spool, set_aside, spool_folder, take_spools
from plms_pipeline.evidence.metrics import ObserverMetrics
from plms_pipeline.evidence.obligations import Need, evidence_config
from plms_pipeline.evidence.process import file_name, is_dead, observer_name
from plms_pipeline.evidence.spool import line_of, read_lines
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.leases import Held
from plms_pipeline.settings import Settings

GATHER_S: Final = 0.005
MOST_IN_GROUP: Final = 500
MOST_QUEUED: Final = 10_000
IDLE_S: Final = 0.25
STANDBY_S: Final = 2.0
TELL_EVERY_S: Final = 0.5
AWAY_S: Final = 1.0
T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    said: Said
    answer: asyncio.Future[Accepted]


class Observer:
    """Accepts needs and observes them until told to stop.

    Args:
        settings: of this process.
        registry: open, at head.
        clock: what time it is.
        metrics: where it is counted; of its own when omitted.
        leads: whether it looks; False only accepts.

    Raises:
        BadInput: the settings do not say where evidence lies.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        clock: Clock,
        *,
        metrics: ObserverMetrics | None = None,
        leads: bool = True,
    ) -> None:
        self.config = evidence_config(settings)
        self.observer_id = observer_name()
        self.metrics = metrics or ObserverMetrics()
        self.metrics.belong_to(self.observer_id)
        self._registry, self._clock, self._leads = registry, clock, leads
        self._folder = spool_folder(settings.data_dir)
        self._spool = SpoolFile(self._folder, file_name(self.observer_id))
        self._redis = None
        if self.config.backend == "redis" and settings.redis_url is not None:
            from plms_pipeline.evidence.client import RedisEvidence

            self._redis = RedisEvidence(settings.redis_url)
        self._pool = ThreadPoolExecutor(settings.late_obs_max_workers, thread_name_prefix="plms-observe")
        self._watch = Watch(
            registry, clock, self.config, self.observer_id, lambda: time.monotonic() * 1000, self._spooled,
            look_in_redis=self._redis.look if self._redis is not None else None,
        )  # fmt: skip
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(MOST_QUEUED)
        self._stopping = asyncio.Event()
        self._awake = asyncio.Event()
        self._held: Held | None = None
        self.is_leading = False
        self.started = threading.Event()

    # -- handing in ----------------------------------------------------------------------------------------------------

    async def accept(self, need: Need) -> Accepted:
        """Accept one need, committed when this returns. Only from the observer's own loop.

        Raises:
            OSError: neither the registry nor the disk takes it: it is not accepted.
        """
        said = Said(need, self._clock.now())
        waiting = _Waiting(said, asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(waiting)
        except asyncio.QueueFull:
            # Memory stays bounded: what finds no place in it goes to the disk.
            return (await self._in_thread(lambda: self._spill([said])))[0]
        return await waiting.answer

    def submit(self, need: Need) -> Future[Accepted]:
        """The same from any other thread; returns at once.

        Raises:
            RuntimeError: the observer does not run.
        """
        if self._loop is None:
            raise RuntimeError("the observer does not run yet")
        return asyncio.run_coroutine_threadsafe(self.accept(need), self._loop)

    def nudge(self) -> None:
        """There is something new to look for; from any thread, returns at once."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._awake.set)

    def stop(self) -> None:
        """End after the present step; from any thread, returns at once. What waits, waits in the registry."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ask_to_stop)
        else:
            self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        self._stopping.set()
        self._awake.set()

    # -- running -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until stopped."""
        self._loop = asyncio.get_running_loop()
        self.started.set()
        accepting = asyncio.create_task(self._accept_for_ever())
        others = [asyncio.create_task(self._tell_for_ever())] if self._redis is not None else []
        if self._leads:
            others.append(asyncio.create_task(self._observe_for_ever()))
        try:
            await self._stopping.wait()
            await asyncio.gather(*others)
            await self._queue.join()
        finally:
            for task in (accepting, *others):
                task.cancel()
            await asyncio.gather(accepting, *others, return_exceptions=True)
            await self._resign()
            self._pool.shutdown()
            if self._redis is not None:
                self._redis.close()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless somebody nudges or the end has come."""
        try:
            await asyncio.wait_for(self._awake.wait(), seconds)
        except TimeoutError:
            return
        self._awake.clear()

    async def _accept_for_ever(self) -> None:
        while True:
            group = [await self._queue.get()]
            await asyncio.sleep(GATHER_S)
            while len(group) < MOST_IN_GROUP and not self._queue.empty():
                group.append(self._queue.get_nowait())
            said = [each.said for each in group]
            try:
                answers = await self._in_thread(partial(self._commit, said))
            except Exception as error:
                log.exception("needs_not_accepted count=%d", len(group))
                for each in group:
                    _tell(each.answer, error)
            else:
                for each, answer in zip(group, answers, strict=True):
                    _tell(each.answer, answer)
                self._awake.set()
            for _ in group:
                self._queue.task_done()

    def _commit(self, said: Sequence[Said]) -> list[Accepted]:
        began = time.monotonic()
        try:
            answers = accept_group(
                self._registry, said, self.config, observer_id=self.observer_id, now=self._clock.now()
            )
        except Unavailable:
            return self._spill(said)
        self.metrics.commit.observe(time.monotonic() - began)
        for each, answer in zip(said, answers, strict=True):
            if answer.is_new:
                self.metrics.accepted(each.need.obs_point)
            if answer.is_dropped and answer.is_new:
                self.metrics.ended(each.need.obs_point, "dropped")
        return answers

    def _spill(self, said: Sequence[Said]) -> list[Accepted]:
        """The registry is away, or there is too much at once: onto the disk with it."""
        rows = [each.need.row(self.config, now=each.at) for each in said]
        self._spool.append([line_of("obligation", row) for row in rows])
        self.metrics.spooled.inc(len(rows))
        return [Accepted(str(row["obligation_id"]), is_new=True, is_dropped=False) for row in rows]

    def _spooled(self, lines: Sequence[str]) -> None:
        self._spool.append(lines)
        self.metrics.spooled.inc(len(lines))

    # -- looking -------------------------------------------------------------------------------------------------------

    async def _observe_for_ever(self) -> None:
        flight: Flight = {}
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self.is_leading = await self._in_thread(self._lead)
                if not self.is_leading:
                    flight = {}
                    await self._pause(STANDBY_S)
                    continue
                await self._in_thread(self._replay)
                done = await self._in_thread(partial(observe_round, self._watch, flight))
            except (PlmsError, OSError) as error:
                log.warning("round_failed error=%s", error)
                await self._pause(AWAY_S)
                continue
            except Exception:
                # A bug in one round must not end the observer for good: what waits is still in the registry.
                log.exception("round_failed")
                flight = {}
                await self._pause(AWAY_S)
                continue
            flight = done.flight
            self._count(done)
            if done.may_have_more and done.looked >= self.config.max_inflight:
                continue
            wanted = self.config.poll_ms / 1000 if flight else max(IDLE_S, self.config.poll_ms / 1000)
            await self._pause(max(0.0, wanted - (time.monotonic() - began)))
            if flight:
                # Nudges are for the idle: what is in flight keeps its pace.
                await asyncio.sleep(max(0.0, wanted - (time.monotonic() - began)))

    def _lead(self) -> bool:
        try:
            self._held = lead(
                self._registry, self._held, observer_id=self.observer_id, config=self.config, clock=self._clock,
                is_dead=is_dead,
            )  # fmt: skip
        except Unavailable:
            # Who leads is not known while the registry is away: what is in flight is looked for, and spooled.
            return self._held is not None
        return self._held is not None

    async def _resign(self) -> None:
        if self._held is not None:
            try:
                resign(self._registry, self._held)
            except PlmsError as error:
                log.warning("lease_not_given_back code=%s", error.code)

    def _replay(self) -> None:
        """Bring what was spooled into the registry, of this process and of those that died."""
        if not self._folder.is_dir():
            return
        for path in take_spools(self._folder, file_name(self.observer_id)):
            spooled = read_lines(read_spool(path))
            if not spooled.is_empty:
                new, ended = replay(self._watch, spooled)
                log.warning("spool_replayed obligations=%d observations=%d", new, len(ended))
                for row in ended:
                    if row["observer_id"] == self.observer_id:
                        self.metrics.ended(row["obs_point"], row["reason"], row["wait_ms"])
            if spooled.broken:
                log.error("spool_broken lines=%d kept=%s", spooled.broken, set_aside(path))
            else:
                drop_spool(path)

    def _count(self, done: Round) -> None:
        self.metrics.inflight.set(len(done.flight))
        for verdict in done.ended:
            self.metrics.ended(verdict.pending.obs_point, verdict.reason, verdict.wait_ms)

    # -- telling -------------------------------------------------------------------------------------------------------

    async def _tell_for_ever(self) -> None:
        while not self._stopping.is_set():
            told = 0
            try:
                if self.is_leading:
                    told = await self._in_thread(self._tell_due)
                    self.metrics.told.inc(told)
            except PlmsError as error:
                log.warning("observations_untold code=%s", error.code)
                await asyncio.sleep(AWAY_S)
            except Exception:
                log.exception("observations_untold")
                await asyncio.sleep(AWAY_S)
            if not told:
                await asyncio.sleep(TELL_EVERY_S)

    def _tell_due(self) -> int:
        return 0 if self._redis is None else tell_due(self._watch, self._redis.tell)


def _tell(answer: asyncio.Future[Accepted], outcome: Accepted | Exception) -> None:
    if answer.done():  # whoever asked went away
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


def spool_files(data_dir: Path) -> list[Path]:
    """What waits in spools."""
    folder = spool_folder(data_dir)
    return sorted(folder.glob("*")) if folder.is_dir() else []
