"""How does the reference executor live?

One process, one event loop, one owner of the store: uvicorn answers, one loop works (ends what is due, starts what may, looks
again when the next card ends), one loop delivers. Commands run in threads that only wait; which of them should run is read
from the store each time and compared with those that do, so a cancel, a pause and a restart after a kill are the same case.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvicorn

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput, PlmsError
from plms_pipeline.instance.files.lock import exclusive
from plms_pipeline.instance.service import bound_socket, interruptible
from plms_pipeline.pas.protocol import JobCard
from plms_pipeline.pas.reference import store
from plms_pipeline.pas.reference.actions.telling import due_deliveries, record_deliveries
from plms_pipeline.pas.reference.actions.working import CommandEnd, end_command, work
from plms_pipeline.pas.reference.actions.world import LANE_CAPS, World
from plms_pipeline.pas.reference.client import WebhookSender
from plms_pipeline.pas.reference.faults import Faults
from plms_pipeline.pas.reference.files import ArtifactRoot, load_outcomes, prepare_db, scratch
from plms_pipeline.pas.reference.process import Command, Limits, kill_strays
from plms_pipeline.pas.reference.routes import Faces, build_app
from plms_pipeline.pas.reference.store import Card

log = logging.getLogger(__name__)
LONGEST_NAP_S = 1.0
AFTER_ERROR_S = 1.0
DELIVERIES_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `plms pas serve` was asked for. Port 0 takes any free one."""

    host: str
    port: int
    plms_url: str
    secret: bytes
    db: Path
    samples: Path
    artifacts_root: Path
    token: str | None = None
    speed: float = 1000.0
    seed: int = 0
    faults: Faults = field(default_factory=Faults)
    lanes: dict[int, int] = field(default_factory=lambda: dict(LANE_CAPS))
    longest_ms: int = 1_800_000
    slow_s: float = 2.0
    command_s: float = 300.0


@dataclass(slots=True)
class _Slot:
    """A command that a thread has in hand. `command` is None until its process exists."""

    command: Command | None = None
    killed: str | None = None
    is_paused: bool = False


class Executor:
    """The two loops and the commands of one executor."""

    def __init__(self, world: World, sender: WebhookSender, limits: Limits) -> None:
        self._world, self._sender, self._limits = world, sender, limits
        self._mark = store.store_id(world.db)
        self._changed, self._told = asyncio.Event(), asyncio.Event()
        self._slots: dict[str, _Slot] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(max_workers=64, thread_name_prefix="pas-command")

    def changed(self) -> None:
        """There may be work, and something to tell."""
        self._changed.set()
        self._told.set()

    async def work(self) -> None:
        """End and start cards for ever."""
        kill_strays(self._mark)
        while True:
            self._changed.clear()
            nap = AFTER_ERROR_S
            try:
                step = work(self._world)
                self._command()
                if step.ended:
                    self._told.set()
                nap = 0.0 if step.is_full else min(LONGEST_NAP_S, (step.due_at or 2e10) - self._world.now())
            except (store.StoreError, OSError):
                log.exception("event=pas_work_failed tried again in %.0f s", AFTER_ERROR_S)
            await _wait(self._changed, nap)

    async def deliver(self) -> None:
        """Deliver events for ever."""
        while True:
            self._told.clear()
            nap = AFTER_ERROR_S
            try:
                due = due_deliveries(self._world, DELIVERIES_AT_ONCE)
                if due:
                    record_deliveries(self._world, await asyncio.gather(*map(self._sender.send, due)))
                    nap = 0.0
                else:
                    nap = min(LONGEST_NAP_S, (store.next_event_due(self._world.db) or 2e10) - self._world.now())
            except (store.StoreError, OSError):
                log.exception("event=pas_delivery_failed tried again in %.0f s", AFTER_ERROR_S)
            await _wait(self._told, nap)

    async def stop(self) -> None:
        """Kill the commands, which run again after a restart, and let go of threads and connections."""
        for slot in self._slots.values():
            _end(slot, "the executor stopped")
        for task in self._tasks:
            task.cancel()
        self._threads.shutdown(wait=True)
        await self._sender.close()

    def _command(self) -> None:
        """Make the commands that run those that should."""
        wanted = {card.card_key: card for card in store.running_commands(self._world.db)}
        for key, slot in self._slots.items():
            card = wanted.get(key)
            if card is None:
                _end(slot, "cancelled")
            else:
                _pause(slot, is_paused=card.state == "paused")
        for key, card in wanted.items():
            if key not in self._slots:
                slot = self._slots[key] = _Slot(is_paused=card.state == "paused")
                task = asyncio.create_task(self._run(card, slot))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _run(self, card: Card, slot: _Slot) -> None:
        message = JobCard.model_validate_json(card.card_json)
        run = store.run_of(self._world.db, card.run_id)
        folder = None if run is None or run.sandbox else message.payload.artifacts_dir
        loop = asyncio.get_running_loop()
        try:
            ended = await loop.run_in_executor(self._threads, self._in_thread, slot, message, folder)
            end_command(self._world, card.card_key, ended)
        finally:
            self._slots.pop(card.card_key, None)
            self.changed()

    def _in_thread(self, slot: _Slot, message: JobCard, folder: str | None) -> CommandEnd:
        place = scratch() if folder is None else self._world.artifacts.replacing(folder)
        try:
            with place as fresh:
                command = Command(message.payload.command or (), fresh, f"{self._mark}.{uuid4().hex}", self._limits)
                slot.command = command
                # What was asked while there was no process yet.
                if slot.killed is not None:
                    command.kill(slot.killed)
                elif slot.is_paused:
                    command.pause()
                ended = command.wait()
        except (PlmsError, OSError, ValueError) as error:
            return CommandEnd(None, f"it could not be run: {error}", 0)
        return CommandEnd(ended.exit_code, ended.problem, ended.duration_ms)


def _end(slot: _Slot, reason: str) -> None:
    slot.killed = reason
    if slot.command is not None:
        slot.command.kill(reason)


def _pause(slot: _Slot, *, is_paused: bool) -> None:
    slot.is_paused = is_paused
    if slot.command is not None:
        if is_paused:
            slot.command.pause()
        else:
            slot.command.resume()


async def _wait(event: asyncio.Event, most_s: float) -> None:
    """Until the event is set, at most so long; other tasks run in any case."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), max(0.001, most_s))


def serve_pas(options: ServeOptions, on_ready: Callable[[str], None]) -> None:
    """Serve the reference executor until SIGINT or SIGTERM.

    Args:
        options: see there.
        on_ready: called once with the address when it answers.

    Raises:
        BadInput: the address cannot be bound (`port_in_use`, `bad_address`), is open to others without a token
            (`not_loopback`), or the database is not ours.
        NoData: there are no samples to replay.
        VerdictNo: another executor runs on this database (`already_running`).
        KeyboardInterrupt: it was stopped.
    """
    path = prepare_db(options.db)
    with (
        interruptible(),
        _listener(options) as listener,
        exclusive(Path(f"{path}.lock"), f"process {os.getpid()}", "`plms pas serve`"),
    ):
        outcomes = load_outcomes(options.samples, longest_ms=options.longest_ms)
        db = store.open_store(path)
        try:
            with store.writing(db):
                store.know_providers(db, outcomes.providers)
            world = World(
                db=db, clock=SystemClock(), outcomes=outcomes, speed=options.speed, seed=options.seed,
                faults=options.faults, lane_caps=options.lanes,
                artifacts=ArtifactRoot(options.artifacts_root, options.samples),
            )  # fmt: skip
            asyncio.run(_live(options, world, listener, on_ready))
        finally:
            db.close()


async def _live(options: ServeOptions, world: World, listener: socket.socket, on_ready: Callable[[str], None]) -> None:
    executor = Executor(
        world, WebhookSender(options.plms_url, options.secret, world.clock), replace(Limits(), wall_s=options.command_s)
    )
    faces = Faces(world, changed=executor.changed, sleep=asyncio.sleep, slow_s=options.slow_s, token=options.token)
    server = uvicorn.Server(
        uvicorn.Config(
            build_app(faces), log_level="warning", access_log=False, proxy_headers=False, server_header=False,
            timeout_graceful_shutdown=2, lifespan="off",
        )
    )  # fmt: skip
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    loops = [
        asyncio.create_task(_or_stop(executor.work(), server)),
        asyncio.create_task(_or_stop(executor.deliver(), server)),
        asyncio.create_task(_tell(server, url, on_ready)),
    ]
    try:
        await server.serve(sockets=[listener])
    finally:
        for loop in loops:
            loop.cancel()
        results = await asyncio.gather(*loops, return_exceptions=True)
        await executor.stop()
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _or_stop(work: Coroutine[Any, Any, None], server: uvicorn.Server) -> None:
    """An executor that answers and does not work misleads: when a loop dies of a bug, the server ends."""
    try:
        await work
    finally:
        server.should_exit = True


async def _tell(server: uvicorn.Server, url: str, on_ready: Callable[[str], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    on_ready(url)


@contextmanager
def _listener(options: ServeOptions) -> Iterator[socket.socket]:
    with bound_socket(options.host, options.port) as listener:
        if options.token is None and not ip_address(listener.getsockname()[0]).is_loopback:
            raise BadInput(
                f"{options.host} is reachable from other machines, and whoever reaches the executor may run commands; "
                "set PLMS_PAS_TOKEN, or use --host 127.0.0.1.",
                code="not_loopback",
            )
        yield listener
