"""Is anything lost, doubled or half-written when import and night are killed at any moment?

`make prove-kill` starts the real `plms` on a tenth of the samples, sends SIGKILL to its whole process group at random
moments, starts it again (the new start may be the next victim) and lets every command finish in the end. What then stands in
the books must equal, byte for byte but for ids and times of writing, what an undisturbed instance holds.

The work is cut into worlds, each a data directory of its own with at most nine kills, so that every world imports into empty
books and at least every tenth start is left to finish. A kill moment is drawn over the true duration of the command, as
measured undisturbed; three quarters of them fall after its first write, where there is something to break.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from plms_pipeline_tests.proofs.books import differences, duplicates

ROOT = Path(__file__).resolve().parents[2]
PLMS = Path(sys.executable).with_name("plms")
SAMPLES = {"swebench": "swebench_agent_runs.csv.gz", "metr": "metr_agent_runs.csv.gz"}
KILLS_PER_WORLD = 9
COMMAND_TIMEOUT_S = 240
WATCH_EVERY_S = 0.02
MAX_MISSES = 20
# Beside another world on the same two cores a command takes longer than it took alone.
STRETCH = 1.3


@dataclass(frozen=True)
class Step:
    """One command of the story that every world lives through."""

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Timing:
    """How long a command took undisturbed, and after how long it changed the first file; seconds."""

    duration: float
    first_write: float


@dataclass
class World:
    """A data directory with its own fate."""

    folder: Path
    kills: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PLMS_", "DAGSTER_"))}
        return {**kept, "PLMS_DATA_DIR": str(self.folder / "data"), "PLMS_REPORTS_DIR": str(self.folder / "reports")}

    def start(self, step: Step) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{step.name}.log").open("ab")
        with log:
            return subprocess.Popen(
                [PLMS, *step.arguments], env=self.environment, cwd=self.folder, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def finish(self, step: Step) -> float:
        """Run a command to its end; seconds. An exit code other than 0 is a problem of this world."""
        started = time.monotonic()
        process = self.start(step)
        try:
            code = process.wait(COMMAND_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = None
        if code != 0:
            said = (self.folder / f"{step.name}.log").read_text(errors="replace").strip().splitlines()[-4:]
            outcome = f"exit {code}" if code is not None else f"still running after {COMMAND_TIMEOUT_S} s"
            self.problems.append(f"{self.folder.name}: {step.name}: {outcome}: {' | '.join(said)}")
        return time.monotonic() - started

    def kill(self, step: Step, after: float) -> float | None:
        """Start a command and kill its process group after some seconds; when it was faster, the seconds it took."""
        started = time.monotonic()
        process = self.start(step)
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.kills[step.name] += 1
            return None
        return time.monotonic() - started


def write_tenth(folder: Path) -> tuple[datetime, datetime]:
    """Write every tenth row of the samples; the middle and the last moment that a receipt was completed at."""
    moments = []
    for name in SAMPLES.values():
        with gzip.open(ROOT / "data" / "samples" / name, "rt", encoding="utf-8", newline="") as source:
            rows = list(csv.reader(source))
        with gzip.open(folder / name, "wt", encoding="utf-8", newline="") as target:
            csv.writer(target).writerows([rows[0], *rows[1::10]])
        for row in rows[1::10]:
            known = dict(zip(rows[0], row, strict=True))
            day = known.get("run_date")
            moments.append(datetime.fromisoformat(day) if day else _from_ms(known["completed_at"]))
    return sorted(moments)[len(moments) // 2], max(moments)


def _from_ms(text: str) -> datetime:
    return datetime(1970, 1, 1) + timedelta(milliseconds=int(text))  # noqa: DTZ001 - only its date is used


def story(inputs: Path, middle: datetime, last: datetime) -> list[Step]:
    """What every world lives through: both imports, a night in the middle of the data and one after its end."""
    nights = {"night-1": middle, "night-2": last + timedelta(days=2)}
    return [
        *(Step(f"import-{kind}", ("import", kind, str(inputs / name))) for kind, name in SAMPLES.items()),
        *(Step(name, ("nightly", "--date", f"{moment:%Y-%m-%d}")) for name, moment in nights.items()),
    ]


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


UPGRADE = Step("upgrade", ("db", "upgrade"))
PROVE = Step("invariants", ("invariants", "--full"))


def live_undisturbed(world: World, steps: list[Step]) -> dict[str, Timing]:
    """The instance that all others must equal; measures each command on the way."""
    world.finish(UPGRADE)
    timings = {}
    for step in steps:
        first_write: list[float] = []
        stop = threading.Event()
        started = time.monotonic()
        watcher = threading.Thread(target=_watch, args=(world.folder, step, started, stop, first_write))
        watcher.start()
        duration = world.finish(step)
        stop.set()
        watcher.join()
        timings[step.name] = Timing(duration, first_write[0] if first_write else duration / 2)
    world.finish(PROVE)
    # The first night on a machine also compiles; the kernels are then kept on disk for all others.
    quickest = min(timings[step.name].duration for step in steps if step.name.startswith("night"))
    return {name: Timing(min(t.duration, quickest), t.first_write) for name, t in timings.items()}


def _watch(folder: Path, step: Step, started: float, stop: threading.Event, found: list[float]) -> None:
    """Note when the first file below `folder` changes, the log of the step apart."""
    before = _state(folder, step)
    while not stop.wait(WATCH_EVERY_S):
        if _state(folder, step) != before:
            found.append(time.monotonic() - started)
            return


def _state(folder: Path, step: Step) -> dict[str, tuple[int, int]]:
    state = {}
    for path in folder.rglob("*"):
        try:
            found = path.stat()
        except OSError:
            continue
        # Opening SQLite already makes an index and an empty write-ahead log; neither is a write.
        if path.is_file() and found.st_size and path.name != f"{step.name}.log" and not path.name.endswith("-shm"):
            state[str(path)] = (found.st_size, found.st_mtime_ns)
    return state


def moments(timing: Timing, random: Random) -> float:
    """A moment to kill at, in seconds after the start."""
    begin = timing.first_write * 0.9 if random.random() < 0.75 else 0.0
    return random.uniform(begin, timing.duration) * STRETCH


def live_disturbed(world: World, steps: list[Step], timings: dict[str, Timing], kills: int, seed: int) -> None:
    """Kill `kills` times in all, at commands drawn with equal chance, then let each command finish."""
    random = Random(seed)
    world.finish(UPGRADE)
    drawn = Counter(step.name for step in random.choices(steps, k=kills))
    for step in steps:
        timing, missed = timings[step.name], 0
        while drawn[step.name] and missed < MAX_MISSES:
            took = world.kill(step, moments(timing, random))
            if took is None:
                drawn[step.name] -= 1
            else:
                # Faster than measured: what the first run of all compiled is kept on disk for those after it.
                missed += 1
                duration = min(timing.duration, took / STRETCH)
                timing = Timing(duration, min(timing.first_write, duration * 0.9))
        world.finish(step)
    world.finish(PROVE)


def worlds(folder: Path, count: int) -> Iterator[tuple[World, int]]:
    """As many worlds as the kills need, with the number of kills of each."""
    for number, done in enumerate(range(0, count, KILLS_PER_WORLD)):
        world = World(folder / f"world-{number}")
        world.folder.mkdir()
        yield world, min(KILLS_PER_WORLD, count - done)


def prove(count: int, seed: int, folder: Path) -> list[str]:
    """Run the proof in `folder`; every problem found, none when the promise holds."""
    started = time.monotonic()
    inputs = folder / "inputs"
    inputs.mkdir()
    steps = story(inputs, *write_tenth(inputs))
    undisturbed = World(folder / "undisturbed")
    undisturbed.folder.mkdir()
    timings = live_undisturbed(undisturbed, steps)
    for name, timing in timings.items():
        say(f"  {name}: {timing.duration:.1f} s undisturbed, first write after {timing.first_write:.1f} s")
    if undisturbed.problems:
        return undisturbed.problems
    planned = list(worlds(folder, count))
    with ThreadPoolExecutor(max_workers=2) as pool:
        futures = [
            pool.submit(live_disturbed, world, steps, timings, kills, seed * 1000 + number)
            for number, (world, kills) in enumerate(planned)
        ]
        for future in futures:
            future.result()
    problems, kills = [], Counter[str]()
    for world, _ in planned:
        kills += world.kills
        problems += world.problems
        problems += [f"{world.folder.name}: {text}" for text in duplicates(world.folder)]
        problems += [f"{world.folder.name}: {text}" for text in differences(undisturbed.folder, world.folder)]
    told = ", ".join(f"{name} {kills[name]}" for name in timings)
    say(f"  {sum(kills.values())} kills ({told}) in {len(planned)} worlds, {time.monotonic() - started:.0f} s")
    if sum(kills.values()) < count:
        problems.append(f"only {sum(kills.values())} of {count} kills hit a living process")
    return problems


def main() -> int:
    """The command line: `python -m plms_pipeline_tests.proofs.kill --count 50 --seed 1`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=50, help="kills (default 50)")
    parser.add_argument("--seed", type=int, default=None, help="repeats the moments of an earlier proof")
    parser.add_argument("--keep", action="store_true", help="keep the data directories and name them")
    given = parser.parse_args()
    if given.count < 1:
        parser.error("--count must be at least 1")
    seed = given.seed if given.seed is not None else time.time_ns() % 100_000
    say(f"kill proof: {given.count} kills, seed {seed}")
    folder = Path(tempfile.mkdtemp(prefix="plms-kill-"))
    try:
        problems = prove(given.count, seed, folder)
    finally:
        if not given.keep:
            shutil.rmtree(folder)
    for problem in problems:
        say(f"  FAIL {problem}")
    if given.keep:
        say(f"  kept in {folder}")
    say(f"kill proof: {'FAILED' if problems else 'holds'} (seed {seed})")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
