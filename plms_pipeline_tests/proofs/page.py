"""Does every page that is open hear of every change, and does it cost nothing to leave a hundred of them open?

`make prove-page` starts the real `plms serve` with one worker on a working day of a hundred projects, opens a hundred streams,
and commits changes one after the other, some in bursts. Every commit must be named to every stream; a part of the streams asks
again for what was named, as the page does, and must find the change or a later one; another part breaks its connection again
and again and comes back with the id of the last event that it saw. The memory of the serving process is sampled all the while:
what it has after the first fifth it must have at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from plms_pipeline.clock import SystemClock
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import load_settings
from plms_pipeline_tests.proofs.api import environment, say, server
from plms_pipeline_tests.web.page.worlds import Made, control_room, work

# Each project is changed again only after the change before must have been seen: so an event can stand for one change alone.
ASK_SHARE, BREAK_SHARE = 5, 10
BURST = 8
FLAT_MB = 8.0
WARM_SHARE = 0.2


@dataclass
class Reader:
    """One page: what it heard of each project and when, and what it found when it asked."""

    number: int
    heard: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    everything: list[float] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)
    last_id: str | None = None
    events: int = 0
    breaks: int = 0
    is_ready: bool = False

    @property
    def asks(self) -> bool:
        return self.number % ASK_SHARE == 0

    @property
    def breaks_off(self) -> bool:
        return self.number % BREAK_SHARE == 3

    def when(self, project_id: int, since: float) -> float | None:
        """When it first heard of a project at or after a moment."""
        moments = [at for at in (*self.heard[project_id], *self.everything) if at >= since]
        return min(moments, default=None)


@dataclass
class Stage:
    """What everybody shares: the address, the newest value of each project that is committed, and the end."""

    host: str
    port: int
    committed: dict[int, float] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)


async def ask(stage: Stage, path: str, headers: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(stage.host, stage.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode())
    await writer.drain()
    return reader, writer


async def listen(stage: Stage, me: Reader, chance: random.Random) -> None:
    """One page, until the end."""
    while not stage.over.is_set():
        head = f"Last-Event-ID: {me.last_id}\r\n" if me.last_id else ""
        reader, writer = await ask(stage, "/api/events", head)
        leaves_at = time.monotonic() + (chance.uniform(2, 9) if me.breaks_off else 1e9)
        name, event_id = "", me.last_id
        try:
            while not stage.over.is_set() and time.monotonic() < leaves_at:
                try:
                    line = (await asyncio.wait_for(reader.readline(), 1.0)).decode().strip()
                except TimeoutError:
                    continue
                if not line and reader.at_eof():
                    break
                if line.startswith("id: "):
                    event_id = line[4:]
                elif line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: ") and name in ("hello", "change"):
                    # Only now has it been seen: who breaks off before comes back with the id before.
                    me.last_id = event_id
                    await hear(stage, me, name, json.loads(line[6:]))
        finally:
            writer.close()
        me.breaks += 1


async def hear(stage: Stage, me: Reader, name: str, told: dict[str, list[int]]) -> None:
    me.events += 1
    me.is_ready = True
    if name == "hello":
        me.everything.append(time.monotonic())
    for project in told["projects"]:
        me.heard[project].append(time.monotonic())
    if me.asks and told["projects"]:
        await look(stage, me, told["projects"])


async def look(stage: Stage, me: Reader, projects: list[int]) -> None:
    """Ask for what was named, and compare with what had been committed when it was named."""
    must = {number: stage.committed[number] for number in projects if number in stage.committed}
    query = "&".join(f"project_id={number}" for number in projects)
    reader, writer = await ask(stage, f"/api/page/projects?{query}", "Connection: close\r\n")
    try:
        body = (await reader.read()).partition(b"\r\n\r\n")[2]
        for one in json.loads(body)["projects"]:
            number = one["project_id"]
            if (one["budget"]["usd_max"] or 0.0) + 1e-9 < must.get(number, 0.0):
                me.behind.append(f"project {number}: {one['budget']['usd_max']} after {must[number]} was committed")
    finally:
        writer.close()


async def write(
    stage: Stage, registry: Registry, made: list[Made], options: argparse.Namespace, chance: random.Random
) -> list[tuple[int, float]]:
    """Commit changes until the time is over: (project, when its commit began)."""
    clock, commits, step = SystemClock(), [], 0
    until = time.monotonic() + options.seconds
    while time.monotonic() < until:
        for _ in range(BURST if step % 40 == 0 else 1):
            one, began = made[step % len(made)], time.monotonic()
            await asyncio.to_thread(work, registry, made, chance, clock.now(), step)
            stage.committed[one.project_id] = (step + 1000) / 100
            commits.append((one.project_id, began))
            step += 1
        await asyncio.sleep(1 / options.rate)
    return commits


async def sample(stage: Stage, process: psutil.Process, every_s: float) -> list[float]:
    found = []
    while not stage.over.is_set():
        found.append(process.memory_info().rss / 2**20)
        await asyncio.sleep(every_s)
    return found


async def prove(
    url: str, process: psutil.Process, registry: Registry, made: list[Made], options: argparse.Namespace
) -> list[str]:
    place = urlsplit(url)
    stage, chance = Stage(str(place.hostname), int(place.port or 0)), random.Random(options.seed)
    readers = [Reader(number) for number in range(options.streams)]
    listening = [asyncio.create_task(listen(stage, one, random.Random(options.seed + one.number))) for one in readers]
    while not all(one.is_ready for one in readers):
        failed = [task for task in listening if task.done()]
        if failed:
            await failed[0]
        await asyncio.sleep(0.05)
    say(f"{len(readers)} streams are open; {len(made)} projects at work")
    sampling = asyncio.create_task(sample(stage, process, max(0.2, options.seconds / 100)))
    before = process.cpu_times()
    began = time.monotonic()
    commits = await write(stage, registry, made, options, chance)
    took = time.monotonic() - began
    after = process.cpu_times()
    await asyncio.sleep(options.within + 0.5)
    stage.over.set()
    memory = await sampling
    await asyncio.gather(*listening)
    cpu = (after.user + after.system - before.user - before.system) / took
    return judged(readers, commits, memory, options, cpu)


def judged(
    readers: list[Reader],
    commits: list[tuple[int, float]],
    memory: list[float],
    options: argparse.Namespace,
    cpu: float,
) -> list[str]:
    """What is wrong; nothing when all is well."""
    problems: list[str] = []
    waits: list[float] = []
    for one in readers:
        for project, began in commits:
            at = one.when(project, began)
            if at is None:
                problems.append(f"stream {one.number} never heard of a change of project {project}")
            else:
                # Who was away at that moment is told when he is back.
                if not one.breaks_off:
                    waits.append(at - began)
        problems += [f"stream {one.number} found less than it was told of: {what}" for what in one.behind[:3]]
    late = sum(wait > options.within for wait in waits)
    if late:
        problems.append(f"{late} of {len(waits)} changes were heard later than {options.within} s")
    ranked = sorted(waits)
    say(
        f"{len(commits)} commits × {len(readers)} streams: heard after {1000 * statistics.median(ranked):.0f} ms (median), "
        f"{1000 * ranked[int(0.99 * len(ranked))]:.0f} ms in 99 of 100, {1000 * ranked[-1]:.0f} ms at the latest; "
        f"{sum(wait <= 2 for wait in waits) / len(waits):.2%} within 2 s"
    )
    say(
        f"{sum(one.events for one in readers)} events; {sum(one.breaks - 1 for one in readers if one.breaks_off)} broken "
        f"connections; {sum(one.asks for one in readers)} readers asked again each time; {cpu:.0%} of a core"
    )
    warm = memory[int(len(memory) * WARM_SHARE) :]
    third = max(1, len(warm) // 3)
    first, last = statistics.fmean(warm[:third]), statistics.fmean(warm[-third:])
    say(
        f"memory: {memory[0]:.1f} MB at first, {first:.1f} MB once warm, {last:.1f} MB in the end ({len(memory)} samples)"
    )
    if last - first > FLAT_MB:
        problems.append(f"memory grew from {first:.1f} to {last:.1f} MB")
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=540.0, help="how long changes are committed")
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--projects", type=int, default=100)
    parser.add_argument("--rate", type=float, default=4.0, help="commits a second, beside the bursts")
    parser.add_argument("--within", type=float, default=5.0, help="seconds after which a change is missed")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plms-prove-page-") as name:
        folder = Path(name)
        environ = environment(folder, PLMS_AUTH="disabled", P28_LATE_OBS_ENABLED="0")
        settings = load_settings({key: value for key, value in environ.items() if key.startswith("PLMS_")})
        settings.data_dir.mkdir(parents=True)
        migrate.upgrade(settings.database_url)
        registry = Registry.open(settings.database_url)
        made = control_room(registry, SystemClock().now(), projects=options.projects, seed=options.seed)
        known = {child.pid for child in psutil.Process(os.getpid()).children()}
        with server(environ, folder / "serve.log", "serve", "--port", "0") as url:
            process = next(child for child in psutil.Process(os.getpid()).children() if child.pid not in known)
            problems = asyncio.run(prove(url, process, registry, made, options))
        registry.close()
        if "Traceback" in (log := (folder / "serve.log").read_text()):
            problems.append(f"the server logged an error: {log[-1500:]}")
    for problem in problems[:20]:
        say(f"WRONG: {problem}")
    say("no stream missed a change, and memory is flat" if not problems else f"{len(problems)} problems")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
