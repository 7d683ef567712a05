"""What is known at one instant, on both bases: the folded states and how many receipts and tasks stand behind them?

Built from stored day summaries and, for days that are not summarised or only half over, from their receipts. Night, forecast
and settlement all ask here, so there is one answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final, NamedTuple

from plms_pipeline.estimates.state import Cell, State, fold, state_of
from plms_pipeline.estimates.summary import Summary, decode
from plms_pipeline.measures import BASES, MEASURES, Basis, Measure

# Stands where a measure would: the count of receipts, tasks and exclusions of a day.
RECEIPTS: Final = "receipts"


class DayFact(NamedTuple):
    """One summary of one day, encoded; `measure` is a measure or `RECEIPTS`."""

    day: date
    lane_id: int
    provider: str
    measure: str
    basis: Basis
    n: int
    summary: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Tally:
    """Receipts of one (lane, provider): `included` teach, of `tasks` different tasks; `excluded` by rule."""

    included: int = 0
    tasks: int = 0
    excluded: Mapping[str, int] = field(default_factory=dict)

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        rules = sorted({*self.excluded, *other.excluded})
        excluded = {rule: self.excluded.get(rule, 0) + other.excluded.get(rule, 0) for rule in rules}
        return Tally(self.included + other.included, self.tasks + other.tasks, excluded)

    def encode(self) -> bytes:
        """Canonical JSON."""
        body = {"included": self.included, "tasks": self.tasks, "excluded": dict(self.excluded)}
        return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Tally:
        """The tally behind `encode`."""
        body = json.loads(data)
        return cls(body["included"], body["tasks"], body["excluded"])


@dataclass(frozen=True, slots=True)
class BasisBeliefs:
    """One basis: a state per measure that any receipt knows, and a tally per (lane, provider)."""

    states: Mapping[Measure, State]
    tallies: Mapping[Cell, Tally]

    def total(self) -> Tally:
        """All (lane, provider) together."""
        total = Tally()
        for tally in self.tallies.values():
            total = total.plus(tally)
        return total


@dataclass(frozen=True, slots=True)
class Beliefs:
    """Everything that is believed at one instant; `source_digest` names the summaries that it is a function of."""

    bases: Mapping[Basis, BasisBeliefs]
    source_digest: str
    days: int


def beliefs_of(facts: Iterable[DayFact], *, forgetting: float) -> Beliefs:
    """Fold the facts of days; their order does not matter."""
    ordered = sorted(facts)
    digest = hashlib.sha256()
    parts: dict[tuple[Basis, str], list[tuple[date, Cell, Summary]]] = {}
    tallies: dict[Basis, dict[Cell, Tally]] = {basis: {} for basis in BASES}
    for fact in ordered:
        digest.update(f"{fact.day}|{fact.lane_id}|{fact.provider}|{fact.measure}|{fact.basis}|{fact.digest}\n".encode())
        cell = (fact.lane_id, fact.provider)
        if fact.measure == RECEIPTS:
            known = tallies[fact.basis].get(cell, Tally())
            tallies[fact.basis][cell] = known.plus(Tally.decode(fact.summary))
        else:
            parts.setdefault((fact.basis, fact.measure), []).append((fact.day, cell, decode(fact.summary)))
    bases = {
        basis: BasisBeliefs(
            {
                measure: state_of(measure, fold(parts[basis, measure], forgetting))
                for measure in MEASURES
                if (basis, measure) in parts
            },
            tallies[basis],
        )
        for basis in BASES
    }
    return Beliefs(bases, digest.hexdigest(), len({fact.day for fact in ordered}))
