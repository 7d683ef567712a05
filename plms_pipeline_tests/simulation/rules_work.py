"""Does the work that goes out respect caps, order, holds, switches and rates, and does it go out once?"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plms_pipeline_tests.simulation.journal import Change
from plms_pipeline_tests.simulation.rules import ENDS, Rule, holds

if TYPE_CHECKING:
    from plms_pipeline_tests.simulation.executor import Attempt


@dataclass
class Places(Rule):
    """No cap is passed, no slot given back for work that goes on, and none kept by work whose end is booked."""

    tables = ("lanes", "slots", "job_cards", "task_receipts")
    caps: dict[str, int] = field(default_factory=dict)
    held: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    ended: set[str] = field(default_factory=set)

    def saw(self, change: Change) -> None:
        if change.table == "lanes":
            self.caps[f"lane:{change.key}"] = int(change.a)
        elif change.table == "slots":
            self._slot(change)
        elif change.table == "task_receipts":
            run, task, attempt = change.key.rsplit("/", 2)
            self.ended.add(self.room.outgoing.cards[run, task, int(attempt)])
        elif change.now == "ENDED" and change.was != "ENDED":
            self.ended.add(change.key)

    def _slot(self, change: Change) -> None:
        resource = change.a
        mine = self.held[resource]
        if change.now == "RELEASED":
            mine.discard(change.key)
            working = self.room.executor.attempts.get(change.key)
            holds(
                "slots follow work", working is None or not working.is_running,
                f"the slot of {change.key} was given back while the executor works on it",
            )  # fmt: skip
        elif change.was is None:
            mine.add(change.key)
            cap = self.caps.get(resource, self.room.launcher.places)
            holds("no cap is passed", len(mine) <= cap, f"{resource} holds {len(mine)} of {cap}")

    def committed(self) -> None:
        for card in self.ended:
            kept = [resource for resource, mine in self.held.items() if card in mine]
            holds(
                "what ended holds no slot", not kept, f"the end of {card} was booked, and it still has a slot of {kept}"
            )
        self.ended.clear()

    def begins(self, attempt: Attempt) -> None:
        """The executor takes work on."""
        card = attempt.card
        holds(
            "slots follow work", card.card_key in self.held[f"lane:{card.lane}"],
            f"the executor works on {'/'.join(map(str, attempt.name))}, which holds no slot",
        )  # fmt: skip


@dataclass
class Outgoing(Rule):
    """What goes out may go: its run runs, its dependencies have succeeded, no hold, no switch, and a token of the rate."""

    tables = ("project_runs", "run_tasks", "job_cards", "outbox_events", "kill_switches", "holds")
    runs: dict[str, str] = field(default_factory=dict)
    projects: dict[str, int] = field(default_factory=dict)
    tasks: dict[str, str] = field(default_factory=dict)
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    cards: dict[tuple[str, str, int], str] = field(default_factory=dict)
    switches: dict[int, tuple[str, str]] = field(default_factory=dict)
    held: dict[int, tuple[str, str]] = field(default_factory=dict)
    claimed: dict[str, int] = field(default_factory=dict)
    states_of_cards: dict[str, str] = field(default_factory=dict)
    tokens: float | None = None
    counted_at: float = 0.0

    def saw(self, change: Change) -> None:
        getattr(self, f"_{change.table}")(change)

    def _kill_switches(self, change: Change) -> None:
        # A mirror tells of the flag file or of an outage; nobody is stopped by the row.
        if change.now == "on" and not (change.a == "global" and change.b):
            self.switches[int(change.key)] = (change.a, change.b)
        else:
            self.switches.pop(int(change.key), None)

    def _holds(self, change: Change) -> None:
        if change.now == "held":
            self.held[int(change.key)] = (change.a, change.b)
        else:
            self.held.pop(int(change.key), None)

    def _project_runs(self, change: Change) -> None:
        self.runs[change.key] = str(change.now)
        if change.was is None:
            self.projects[change.key] = int(change.a)
            self._may_start(f"run {change.key} was started", int(change.a), None)

    def _run_tasks(self, change: Change) -> None:
        self.tasks[change.key] = str(change.now)

    def _outbox_events(self, change: Change) -> None:
        if change.e != "start_run" or int(change.d) <= self.claimed.get(change.key, 0):
            return
        self.claimed[change.key] = int(change.d)
        project = self.projects[change.f]
        self._may_start(f"run {change.f} was announced", project, None)
        self._is_not_held(f"run {change.f} was announced", project, change.f, None)

    def _job_cards(self, change: Change) -> None:
        run, task, attempt, lane = change.e.rsplit("/", 3)
        if change.was is None:
            needed = json.loads(change.f) if change.f else []
            self.needs[change.key] = tuple(f"{run}/{need}" for need in needed)
            self.cards[run, task, int(attempt)] = change.key
        self.states_of_cards[change.key] = str(change.now)
        before = self.claimed.get(change.key, 0)
        self.claimed[change.key] = int(change.d)
        if int(change.d) <= before:
            return
        what = f"a card of {run}/{task} was taken to go out"
        project = self.projects[run]
        holds("only what may goes out", self.runs[run] == "RUNNING", f"{what} while its run is {self.runs[run]}")
        missing = [need for need in self.needs[change.key] if self.tasks.get(need) != "SUCCESS"]
        holds("only what may goes out", not missing, f"{what} before {missing}")
        holds("only what may goes out", self.tasks[f"{run}/{task}"] not in ENDS, f"{what} after its end")
        self._may_start(what, project, lane)
        self._is_not_held(what, project, run, lane)
        self._spend_token(what)

    def _may_start(self, what: str, project: int, lane: str | None) -> None:
        stopping = {("global", ""), ("project", str(project)), ("lane", str(lane))} & set(self.switches.values())
        holds("the kill switch stops", not stopping, f"{what} while a switch is on: {stopping}")

    def _is_not_held(self, what: str, project: int, run: str, lane: str | None) -> None:
        holding = {("project", str(project)), ("run", run), ("lane", str(lane))} & set(self.held.values())
        holds("holds hold", not holding, f"{what} in spite of {holding}")

    def stands_still(self) -> None:
        """Somebody has looked after the switches, and nothing of that waits any more: what is in their scope is paused.

        Raises:
            Violated: the executor works on.
        """
        kinds = "('pause_run', 'terminate_run', 'pause_task', 'cancel_task')"
        waits = f"SELECT 1 FROM outbox_events WHERE state = 'pending' AND kind IN {kinds} LIMIT 1"
        if not (self.switches or self.room.flag) or self.room.journal.ask(waits):
            return
        stopped = set(self.switches.values()) | ({("global", "")} if self.room.flag else set())
        for attempt in self.room.executor.running():
            run, lane = attempt.card.run_id, str(attempt.card.lane)
            is_out = self.states_of_cards.get(attempt.card.card_key) == "SUBMITTED" and self.runs[run] == "RUNNING"
            of_run = {("global", ""), ("project", str(self.projects[run]))} & stopped
            is_paused = run in self.room.executor.paused_runs
            if is_out and not is_paused:
                holds("the kill switch pauses", not of_run, f"{run} is worked on in spite of {of_run}")
                in_lane = ("lane", lane) in stopped and attempt.paused_at is None
                holds(
                    "the kill switch pauses",
                    not in_lane,
                    f"{attempt.name} is worked on in lane {lane}, which is stopped",
                )

    def _spend_token(self, what: str) -> None:
        rate = self.room.policy.rate
        if rate is None:
            return
        generous_s = self.room.clock.generous_s
        tokens = rate.burst if self.tokens is None else self.tokens
        tokens = min(rate.burst, tokens + rate.per_s * max(0.0, generous_s - self.counted_at)) - 1.0
        self.counted_at = max(generous_s, self.counted_at)
        self.tokens = tokens
        holds("the rate is kept", tokens >= -1e-6, f"{what}: {1 - tokens:.3f} tokens more than the rate gives")


@dataclass
class Once(Rule):
    """No task twice and none lost: receipts are what the executor did, to the micro-dollar, each once."""

    tables = ("task_receipts", "inbox_events", "run_lineage", "project_runs")
    receipts: dict[tuple[str, str, int], int | None] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def saw(self, change: Change) -> None:
        if change.table == "task_receipts":
            self._receipt(change)
        elif change.table == "inbox_events":
            said = change.d or ""
            holds("settlement has no bug", not said.startswith("cannot be settled"), f"event {change.key}: {said}")
        elif change.table == "run_lineage" and change.now == "retry":
            known = self.parents.get(change.a)
            holds("a failure is retried once", known is None, f"run {change.a} is retried by {known} and {change.key}")
            self.parents[change.a] = change.key

    def _receipt(self, change: Change) -> None:
        run, task, attempt = change.key.rsplit("/", 2)
        name = (run, task, int(attempt))
        holds("no task twice", name not in self.receipts, f"{change.key} has two receipts")
        self.receipts[name] = change.a
        done = self.room.executor.named.get(name)
        holds("receipts are true", done is not None, f"a receipt tells of {change.key}, which nobody worked on")
        assert done is not None
        holds("receipts are true", done.ended_at is not None, f"a receipt tells of {change.key}, which has not ended")
        right = round(done.cost_usd * 1_000_000)
        holds("receipts are true", change.a == right, f"{change.key} took {right}, its receipt says {change.a}")
        holds("receipts are true", (change.now == "SUCCESS") == done.is_good, f"{change.key} ended otherwise")

    def settled(self) -> None:
        attempts = self.room.executor.attempts.values()
        # What the executor itself forgot before anybody heard of it, nobody can tell.
        truth = {each.name for each in attempts if each.ended_at is not None and not each.is_forgotten}
        lost = truth - self.receipts.keys()
        holds("no work is lost", not lost, f"work was done that no receipt tells of: {sorted(lost)[:3]}")
        running = [each.name for each in self.room.executor.running()]
        holds("nothing is stuck", not running, f"the executor still works on {running[:3]}")
        for key, (run_id, _) in self.room.answered.items():
            found = self.room.journal.ask("SELECT count(*) FROM project_runs WHERE run_id = ?", run_id)
            holds("no start is lost", found[0][0] == 1, f"key {key} was answered with run {run_id}, which is gone")
