"""What was found out about one artifact, and how is it told?

One value for library, command line, registry rows and receipt file, so that they cannot say different things.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from plms_pipeline.kpis.gates import Gate, Value, Verdict
from plms_pipeline.kpis.measurement import Measurement
from plms_pipeline.kpis.vocabulary import ECHO, KPIS, VALIDATORS_VERSION

AWAY: Final = "not available: "
"""How the reason of a KPI begins that could not be measured because a system was away: it is tried again."""


@dataclass(frozen=True, slots=True)
class KpiResult:
    """One KPI of an evaluation."""

    gate: Gate
    measurement: Measurement
    logs_path: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the gate holds."""
        return self.gate.holds(self.measurement.value)

    @property
    def value(self) -> Value | None:
        """What was measured, None when nothing was."""
        return self.measurement.value

    @property
    def reason(self) -> str | None:
        """Why there is no value, or what a person should know about it."""
        return AWAY + str(self.measurement.reason) if self.measurement.away else self.measurement.reason

    def as_json(self) -> dict[str, Any]:
        """As a receipt shows it."""
        deciding = self.gate.deciding(self.value)
        is_flag = KPIS[self.gate.kpi].kind == "flag"
        return {
            "name": self.gate.kpi,
            "value": bool(self.value) if is_flag and self.value is not None else self.value,
            "threshold": deciding.threshold,
            "operator": deciding.operator,
            "pass": self.passed,
            "blocks": self.gate.blocks,
            "logs_path": self.logs_path,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One artifact, measured against its gates at one moment."""

    evaluation_id: str
    artifact: str
    lane_id: int
    lane_name: str
    task_id: str | None
    run_id: str | None
    verdict: Verdict
    kpis: tuple[KpiResult, ...]
    echo: KpiResult
    artifact_sha256: str
    gates_sha256: str
    notes: tuple[str, ...]
    isolation: tuple[str, ...]
    measured_at: datetime

    @property
    def recorded(self) -> tuple[KpiResult, ...]:
        """What becomes rows: every gated KPI, and the echo when it was measured or blocks."""
        keeps_echo = self.echo.value is not None or self.echo.gate.blocks
        already = any(result.gate.kpi == ECHO for result in self.kpis)
        return (*self.kpis, self.echo) if keeps_echo and not already else self.kpis

    def as_json(self) -> dict[str, Any]:
        """The receipt: the sources' fields, and what makes it checkable."""
        return {
            "task_id": int(self.task_id) if self.task_id and self.task_id.isdigit() else self.task_id,
            "lane": self.lane_id,
            "kpis": [result.as_json() for result in self.kpis],
            "echo": {
                "cos": self.echo.value,
                "threshold": self.echo.gate.conditions[0].threshold,
                "pass": self.echo.passed,
                "blocks": self.echo.gate.blocks,
                "reason": self.echo.reason,
            },
            "timestamp": self.measured_at.isoformat(),
            "verdict": self.verdict,
            "artifact": self.artifact,
            "lane_name": self.lane_name,
            "run_id": self.run_id,
            "evaluation_id": self.evaluation_id,
            "artifact_sha256": self.artifact_sha256,
            "gates_sha256": self.gates_sha256,
            "isolation": list(self.isolation),
            "notes": list(self.notes),
        }


State = Literal["evaluated", "unchanged", "broken", "postponed"]


@dataclass(frozen=True, slots=True)
class InboxItem:
    """What the night did with one folder of the inbox.

    `unchanged`: the same bytes against the same gates were judged before, and the systems they measure answer the same.
    `broken`: it could not be evaluated, which is a failed verdict. `postponed`: the time of this night was used up.
    """

    name: str
    state: State
    verdict: Verdict | None
    lane_id: int | None
    reason: str | None
    kpis: tuple[KpiResult, ...] = ()
    evaluation_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        """As the night's document shows it; what could not be evaluated has one line that says why."""
        kpis = [result.as_json() for result in self.kpis]
        if self.state in ("broken", "postponed"):
            kpis = [{
                "name": "artifact", "value": None, "operator": "is", "threshold": "readable", "pass": False,
                "blocks": True, "logs_path": None, "reason": self.reason,
            }]  # fmt: skip
        return {
            "artifact": self.name, "state": self.state, "verdict": self.verdict, "lane_id": self.lane_id,
            "reason": self.reason, "kpis": kpis, "evaluation_id": self.evaluation_id,
        }  # fmt: skip


def failures(results: Sequence[KpiResult]) -> str | None:
    """The blocking gates that do not hold, each with its reason; None when all hold."""
    found = [result for result in results if result.gate.blocks and not result.passed]
    return "; ".join(f"{each.gate.kpi}: {each.reason or each.value}" for each in found) or None


def gates_digest(
    *, lane_id: int, gates: Sequence[Gate], echo: Gate, task_id: str | None, run_id: str | None, systems: Sequence[str]
) -> str:
    """The SHA-256 of everything but the artifact that decides about a verdict: when it differs, measure again.

    Args:
        lane_id: the lane.
        gates: the combined gates.
        echo: the echo gate.
        task_id: the task, if any.
        run_id: the run, if any.
        systems: the outside systems that are measured, without their secrets.
    """
    document = {
        "validators": VALIDATORS_VERSION,
        "lane": lane_id,
        "gates": [[gate.kpi, gate.as_json(), gate.blocks] for gate in (*gates, echo)],
        "task": task_id,
        "run": run_id,
        "systems": list(systems),
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
