"""One control room with everything that may happen to it, driven by one seed.

Time passes only here. The wall clock may jump; how much time really passed is kept beside it, and how much of it a clock that
jumped ahead may have added, so that rates are judged fairly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from plms_pipeline.budget.ledger import Purse
from plms_pipeline.errors import PlmsError
from plms_pipeline.evidence.obligations import EvidenceConfig, evidence_config
from plms_pipeline.portfolio.actions.scheduling import DispatchPolicy
from plms_pipeline.portfolio.buckets import Rate
from plms_pipeline.portfolio.policies import LauncherPolicy
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.simulation.executor import Executor, Faults
from plms_pipeline_tests.simulation.home import Home
from plms_pipeline_tests.simulation.journal import Journal
from plms_pipeline_tests.simulation.rules import Leases, Rule, States, Violated, watched
from plms_pipeline_tests.simulation.rules_money import Money
from plms_pipeline_tests.simulation.rules_proof import Evidence, Letters, Priors
from plms_pipeline_tests.simulation.rules_work import Once, Outgoing, Places
from plms_pipeline_tests.simulation.seam import Crash, SeamCalls, SeamRegistry
from plms_pipeline_tests.simulation.turns import Strand, Turns

BEGIN = datetime(2026, 3, 1, 6, tzinfo=UTC)
STORMY = Faults(
    away=0.04, ambiguous=0.05, failed=0.3, lost=0.1, duplicate=0.15, late=0.1, forged=0.01, outlier=0.03, forgets=0.01,
    silent=0.2, slowness=7.5,
)  # fmt: skip
CALM = Faults()
DAILY_USD = Decimal(3)
PLENTY_USD = Decimal(1_000_000)
MOST_WAITING = 3


@dataclass
class Clock:
    """The simulated wall clock, which may jump.

    Attributes:
        at: what it shows.
        latest: the latest that it ever showed.
        passed_s: how much time really passed.
        generous_s: the same, and what jumps ahead added.
    """

    at: datetime = BEGIN
    latest: datetime = BEGIN
    passed_s: float = 0.0
    generous_s: float = 0.0

    def now(self) -> datetime:
        return self.at

    def right(self) -> datetime:
        """What a clock shows that nobody sets: the executor's."""
        return BEGIN + timedelta(seconds=self.passed_s)

    def passes(self, seconds: float) -> None:
        """Time goes on."""
        self.passed_s += seconds
        self._shift(seconds)

    def is_set(self, ahead_s: float) -> None:
        """Somebody sets it, to so many seconds ahead of the right time."""
        self._shift(ahead_s - (self.at - self.right()).total_seconds())

    def _shift(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.latest = max(self.latest, self.at)
        self.generous_s += max(0.0, seconds)


@dataclass
class Process:
    """One process; when it dies another takes its place under another name. `memory` dies with it."""

    role: str
    number: int
    generation: int = 0
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How it signs leases."""
        return f"{self.role}{self.number}.{self.generation}"


@dataclass
class Room:
    """The control room, its executor, its rules, and the chance that moves them all."""

    folder: Path
    seed: int
    registry: Registry
    settings: Settings
    clock: Clock = field(default_factory=Clock)
    turns: Turns = field(default_factory=Turns)
    trace: list[str] = field(default_factory=list)
    crashes: int = 0
    steps: int = 0
    commits: int = 0
    is_calm: bool = False
    flag: str | None = None
    processes: dict[tuple[str, int], Process] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    projects: list[int] = field(default_factory=list)
    starts: list[tuple[int, str, str, float]] = field(default_factory=list)
    answered: dict[str, tuple[str, float]] = field(default_factory=dict)
    spools: dict[str, list[str]] = field(default_factory=dict)
    needs: list[str] = field(default_factory=list)
    owed: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    moved: int = 0
    violated: Violated | None = None
    happened: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        self.ids_rng = Random(self.rng.random())
        self.executor = Executor(self.clock.right, Random(self.rng.random()), begins=self._begins)
        self.seen = SeamRegistry.over(self.registry, self.turns.seam)
        self.pas: Any = SeamCalls(self.executor, self.turns.seam)
        self.evidence: EvidenceConfig = evidence_config(self.settings)
        self.launcher = LauncherPolicy(2, Rate(0.2), Decimal(5), "America/New_York", timedelta(minutes=10))
        self.journal = Journal(self.folder / "registry.db")
        self.places, self.outgoing, self.once = Places(self), Outgoing(self), Once(self)
        self.proof = Evidence(self)
        self.rules: list[Rule] = [
            States(self), Leases(self), self.outgoing, self.places, self.once, Money(self), self.proof, Letters(self),
        ]  # fmt: skip
        self.at_the_end: list[Rule] = [Priors(self)]
        self._reads = watched(self.rules)
        self.turns.idle.committed = self.committed

    @classmethod
    def open(cls, home: Home, seed: int) -> Room:
        """A new room in an empty home."""
        room = cls(home.folder, seed, home.registry, home.settings)
        home.stated = lambda: room.turns.seam().state()
        return room

    def close(self) -> None:
        """Let everything go."""
        self.turns.close()
        self.journal.close()

    # -- what actions reach the world through

    def new_id(self) -> str:
        """The next id of this world's own."""
        return str(UUID(int=self.ids_rng.getrandbits(128), version=4))

    def elapsed_s(self) -> float:
        """Seconds of a clock that never jumps."""
        return self.clock.passed_s

    @property
    def daily_usd(self) -> Decimal:
        """What all approved projects may take in a day; in a calm the owner is generous."""
        return PLENTY_USD if self.is_calm else DAILY_USD

    @property
    def policy(self) -> DispatchPolicy:
        """What bounds approved projects: one card per 15 seconds, two at once, six runs, so many dollars a day."""
        rate = Rate(5, 50.0) if self.is_calm else Rate(1 / 15, 2.0)
        most = 50 if self.is_calm else 6
        return DispatchPolicy(rate, lambda now: Purse(f"portfolio:{now:%Y-%m-%d}", self.daily_usd), max_runs=most)

    def process(self, role: str, count: int = 2) -> Process | None:
        """One of the processes of a role that is not busy; None when all wait for their turn."""
        busy = {strand.process for strand in self.turns.waiting}
        all_of_it = [self.processes.setdefault((role, number), Process(role, number)) for number in range(count)]
        free = [process for process in all_of_it if process.name not in busy]
        return self.rng.choice(free) if free else None

    def is_dead(self, holder: str) -> bool:
        """Whether a holder is known to have died: of those on this machine it is, of the others (odd numbers) never."""
        return holder in self.dead and int(holder.partition(".")[0][-1]) % 2 == 0

    def is_alive(self, holder: str) -> bool:
        """Whether a process of that name still lives."""
        return holder not in self.dead

    # -- how things happen

    def passes(self, seconds: float) -> None:
        """Time goes on, and the executor works."""
        self.clock.passes(seconds)
        self.executor.work()

    def act(self, name: str, process: Process, action: Callable[[], object]) -> Strand:
        """Let a process do one thing: to its end, to its death, or until it loses its turn."""
        strand = Strand(name, process.name, action)
        strand.seam.committed = self.committed
        may_wait = False
        if not self.is_calm:
            chance = self.rng.random()
            if chance < 0.08:
                strand.seam.arm(dies_at=int(self.rng.expovariate(1 / 8)))
            elif chance < 0.11:
                strand.seam.arm(dies_at_statement=int(self.rng.expovariate(1 / 10)))
            elif chance < 0.13:
                strand.seam.arm(away_at=self.rng.randrange(8))
            elif chance < 0.43 and len(self.turns.waiting) < MOST_WAITING:
                may_wait = True
                where = self.rng.random()
                if where < 0.35:
                    strand.seam.arm(waits_at=frozenset(int(self.rng.expovariate(1 / 8)) for _ in range(2)))
                elif where < 0.65:
                    strand.seam.arm(waits_at_call=self.rng.randrange(1, 7))
                else:
                    # With something in its hand that it has just claimed.
                    strand.seam.arm(waits_at_commit=self.rng.choice((1, 1, 1, 2, 2, 3)))
                # Some go on after a moment, others after much has happened, or the next day.
                strand.sleeps_until = self.steps + self.rng.choice((0, 2, 4, 8, 12, 20))
        self.turns.begin(strand, may_wait=may_wait)
        self._note(strand)
        return strand

    def go_on(self) -> None:
        """One of those that wait has its turn again, or dies where it waits."""
        strand = min(self.turns.waiting, key=lambda each: each.sleeps_until)
        self.turns.resume(strand, kill=not self.is_calm and self.rng.random() < 0.15)
        self._note(strand)

    def _note(self, strand: Strand) -> None:
        self.steps += 1
        error, said = strand.error, "waits"
        if strand.has_ended:
            said = f"done {strand.outcome}"
            if isinstance(error, Crash):
                said = "died"
                self._bury(strand.process)
            elif isinstance(error, PlmsError):
                said = f"{error.code}: {error.message}"
        self.trace.append(f"{self.clock.at:%m-%d %H:%M:%S.%f} {strand.process} {strand.name}: {said}"[:400])
        if self.violated is None and self.executor.problems:
            self.violated = Violated("the protocol is kept", self.executor.problems[0])
        if self.violated is not None:
            raise self.violated
        if error is not None and strand.has_ended and not isinstance(error, (Crash, PlmsError)):
            raise error

    def _bury(self, name: str) -> None:
        if self.violated is None:
            self.crashes += 1
        self.dead.add(name)
        for process in self.processes.values():
            if process.name == name:
                process.generation += 1
                process.memory.clear()

    # -- what the rules are told

    def committed(self) -> None:
        """A transaction was committed: every rule looks at what it changed.

        Raises:
            Crash: a rule does not hold; which one is in `violated`.
        """
        self.commits += 1
        changes = self.journal.new()
        if not changes:
            return
        # A claim that changes nothing else is no progress.
        self.moved += sum(change.was != change.now for change in changes)
        try:
            for change in changes:
                self.happened[change.table, f"{change.was or ''}>{change.now}"] += 1
                for saw in self._reads.get(change.table, ()):
                    saw(change)
            for rule in self.rules:
                rule.committed()
        except Violated as error:
            # Not as an Exception through the product's code, which may catch it.
            self.violated = error
            raise Crash from None

    def _begins(self, attempt: Any) -> None:
        try:
            self.places.begins(attempt)
            present = self.turns.present
            if present is not None and present.told is not None:
                raise Violated("the kill switch stops", f"{attempt.name} was sent after it was said: {present.told}")
        except Violated as error:
            self.violated = error
            raise Crash from None

    def rest(self) -> None:
        """Everything has come to rest: what must be true then.

        Raises:
            Violated: it is not.
        """
        self.committed_by_hand()
        for rule in (*self.rules, *self.at_the_end):
            rule.settled()

    def committed_by_hand(self) -> None:
        """Read what was written past the seam: by the people of this world."""
        try:
            self.committed()
        except Crash:
            assert self.violated is not None
            raise self.violated from None

    def storm(self) -> None:
        """Faults from now on."""
        self.executor.faults = STORMY
        self.is_calm = False

    def calm(self) -> None:
        """No faults from now on."""
        self.executor.faults = CALM
        self.is_calm = True
