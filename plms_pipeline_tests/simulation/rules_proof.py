"""Is every obligation accounted for, every failure kept, and every prior what the receipts say?"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from plms_pipeline_tests.simulation.journal import Change
from plms_pipeline_tests.simulation.rules import Rule, holds

MOST_RETRIES = 3
# The trend of a cell begins where the factory default stands: 0.18 USD.
FACTORY_MICRO = 180_000.0


@dataclass
class Evidence(Rule):
    """Accepted = ended + pending, each end with one observation; what is owed stands in the books."""

    tables = ("obligations", "observations", "project_runs", "outbox_events")
    states: dict[str, str] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    owing: dict[tuple[str, str], str] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)
    observed: list[str] = field(default_factory=list)

    def saw(self, change: Change) -> None:
        if change.table == "obligations":
            self.states[change.key] = str(change.now)
            self.owing[change.b, change.c] = change.key
            if change.now == "terminal":
                self.ended.append(change.key)
        elif change.table == "observations":
            holds("an obligation ends once", change.key not in self.seen, f"obligation {change.key} was observed twice")
            self.seen[change.key] = str(change.now)
            self.observed.append(change.key)
        elif change.table == "outbox_events" and change.e == "snapshot" and change.now == "pending":
            self.announced.append(change.f)

    def committed(self) -> None:
        holds(
            "accepted = ended + pending", sorted(self.ended) == sorted(self.observed),
            f"in one transaction {sorted(self.ended)} ended and {sorted(self.observed)} were observed",
        )  # fmt: skip
        for run_id in self.announced:
            holds(
                "what is owed is written", (run_id, "provider_snapshot") in self.owing or self._owes(run_id),
                f"run {run_id} was announced, and nobody owes its snapshot",
            )  # fmt: skip
        self.ended.clear()
        self.observed.clear()
        self.announced.clear()

    def _owes(self, run_id: str) -> bool:
        return any(subject == run_id and "snapshot" in kind for subject, kind in self.owing)

    def accepted(self, obligation_id: str, *, is_dropped: bool) -> None:
        """Somebody was told that a need is in the books."""
        state = self.states.get(obligation_id)
        holds("no obligation is lost", state is not None, f"obligation {obligation_id} was accepted, and is nowhere")
        if is_dropped:
            reason = self.seen.get(obligation_id)
            holds("drops are recorded", reason == "dropped", f"{obligation_id} was dropped, the books say {reason}")


@dataclass
class Letters(Rule):
    """What failed is kept, retried at most three times between two decisions of a person, and by one at a time."""

    tables = ("dead_letters", "project_runs", "run_lineage")
    about: dict[str, str] = field(default_factory=dict)
    begun: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    failed: list[str] = field(default_factory=list)
    parents: dict[str, str] = field(default_factory=dict)

    def saw(self, change: Change) -> None:
        if change.table == "project_runs":
            if change.now == "FAIL" and change.was != "FAIL":
                self.failed.append(change.key)
        elif change.table == "run_lineage":
            if change.now == "retry":
                self.parents[change.key] = change.a
        else:
            self._letter(change)

    def _letter(self, change: Change) -> None:
        self.about[change.f] = change.key
        attempts, before = int(change.d or 0), int(change.e or 0)
        holds(
            "retries are counted", 0 <= attempts <= MOST_RETRIES and attempts - before <= 1,
            f"letter {change.key} counts {attempts} after {before}",
        )  # fmt: skip
        if change.was == "ready" and change.now == "processing":
            holds("retries are counted", attempts == before + 1, f"letter {change.key} began a retry uncounted")

    def committed(self) -> None:
        for run_id in self.failed:
            root = run_id
            while root in self.parents:
                root = self.parents[root]
            asked = "SELECT 1 FROM outbox_events WHERE kind = 'terminate_run' AND subject_id = ?"
            is_kept = f"run:{root}" in self.about or self.room.journal.ask(asked, run_id)
            holds("failures are kept", bool(is_kept), f"run {run_id} failed, and no letter tells of it")
        self.failed.clear()


@dataclass
class Priors(Rule):
    """Priors are what the receipts say: counts and trend, by a plain loop over them in canonical order."""

    alpha: float = 0.3

    def settled(self) -> None:
        cells: dict[tuple[int, str], list[tuple[int | None, int | None, int | None]]] = defaultdict(list)
        rows = self.room.journal.ask(
            "SELECT t.lane_id, t.provider, t.tokens, t.duration_ms, t.cost_usd FROM task_receipts t"
            " JOIN project_runs r USING (run_id) WHERE r.run_kind IN ('baseline', 'hotfix') AND NOT r.write_sandbox"
            " ORDER BY t.completed_at, t.natural_key"
        )
        for lane, provider, *measures in rows:
            cells[lane, provider].append(tuple(measures))
        newest = {
            (lane, provider): count
            for lane, provider, count in self.room.journal.ask(
                "SELECT lane_id, provider_name, n_observations FROM estimate_versions WHERE basis = 'spend'"
                " AND lane_id IS NOT NULL AND provider_name <> '*' ORDER BY version"
            )
        }
        for cell, found in cells.items():
            holds(
                "priors are the receipts", cell in newest, f"nothing is believed of {cell} after {len(found)} receipts"
            )
            count = newest[cell]
            holds(
                "priors are the receipts", count == len(found),
                f"{cell} has {len(found)} receipts, its prior rests on {count}",
            )  # fmt: skip
            self._same_trend(cell, [cost for _, _, cost in found if cost is not None])

    def _same_trend(self, cell: tuple[int, str], costs: list[int]) -> None:
        row = self.room.journal.ask(
            "SELECT cost_usd_mean FROM estimate_versions WHERE basis = 'spend' AND lane_id = ? AND provider_name = ?"
            " ORDER BY version DESC LIMIT 1", *cell,
        )  # fmt: skip
        mean = FACTORY_MICRO
        for cost in costs:
            mean = (1 - self.alpha) * mean + self.alpha * cost
        told = row[0][0]
        holds(
            "priors are the receipts", told is not None and math.isclose(told, mean, rel_tol=1e-6, abs_tol=1.0),
            f"the trend of {cell} is {mean:.1f} micro-dollars, its prior says {told}",
        )  # fmt: skip
