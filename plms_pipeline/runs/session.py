"""What does the report of a run say, given what the books hold?

The rules by which facts become the fields of `session_fields`. The sources' writer called an unknown state harmless, a run
without cases a pass, and `false` unknown; here each of these is a rule of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from plms_pipeline.runs.lifecycle import TERMINAL
from plms_pipeline.runs.session_fields import Result, SessionReport, Validations
from plms_pipeline.runs.verdicts import asked

MOST_REASONS: Final = 5


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """One task of the run: how it ended, how often it was tried, and why it failed if it did."""

    task_id: str
    lane_id: int
    provider: str
    status: str
    validation: str
    attempts: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class KpiFacts:
    """One measured KPI of the run."""

    task_id: str | None
    kpi: str
    passed: bool
    blocks: bool
    value: float | None
    threshold: Any
    reason: str | None


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What the books hold about a run that ended."""

    run_id: str
    project_id: int
    project_name: str
    run_kind: str
    status: str
    validation: str
    is_sandbox: bool
    is_sample: bool
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    reason: str | None
    override: bool | None
    override_reason: str | None
    overridden_by: str | None
    budget_usd: Decimal | None
    estimated_tokens: int | None
    estimated_usd: Decimal | None
    passport_sha256: str | None
    is_passport_intact: bool | None
    git_commit: str | None
    parent_relation: str | None
    teaches: bool
    n_artifacts: int
    provider_mismatch: str | None = None
    # Dead letters of the project that are still owed, and the run that the newest of all its letters is about.
    dlq_count: int | None = None
    last_dlq_run_id: str | None = None
    tasks: tuple[TaskFacts, ...] = ()
    kpis: tuple[KpiFacts, ...] = ()
    costs: tuple[Decimal | None, ...] = ()
    durations_ms: tuple[int | None, ...] = field(default=())


def result_of(status: str, validation: str, cases: int, *, override: bool | None = None) -> Result:
    """PASS, FAIL, WARN or SKIPPED.

    A run without cases proved nothing and is FAIL, whatever its state; an unknown state is FAIL, and so is one that is no end:
    a report is only written of what ended, so the run died. Work that no gate was asked about is WARN.
    """
    if cases == 0:
        return "FAIL"
    if status == "SKIPPED":
        return "SKIPPED"
    if status != "SUCCESS":
        return "FAIL"
    if override is not None:
        return "PASS" if override else "FAIL"
    if validation == "passed":
        return "PASS"
    return "WARN" if validation == "ungated" else "FAIL"


def gate_of(validation: str, *, override: bool | None) -> str:
    """The effective verdict in one word, an override beside what it overrides."""
    if override is None:
        return validation
    return f"overridden to {'pass' if override else 'fail'} ({validation})"


@dataclass(frozen=True, slots=True)
class _Sums:
    """What several fields are made of: cases, money in USD, and the KPIs by how they came out."""

    cases: int
    passed: int
    cost: float | None
    within: bool | None
    result: Result
    red: tuple[KpiFacts, ...]
    advice: tuple[KpiFacts, ...]
    unmeasured: tuple[KpiFacts, ...]


def _sums(facts: SessionFacts) -> _Sums:
    known = [cost for cost in facts.costs if cost is not None]
    cost = float(sum(known)) if known else None
    return _Sums(
        cases=len(facts.tasks),
        passed=sum(_is_good(task) for task in facts.tasks),
        cost=cost,
        within=None if facts.budget_usd is None or cost is None else cost <= float(facts.budget_usd),
        result=result_of(facts.status, facts.validation, len(facts.tasks), override=facts.override),
        red=tuple(kpi for kpi in facts.kpis if kpi.blocks and not kpi.passed),
        advice=tuple(kpi for kpi in facts.kpis if not kpi.blocks and not kpi.passed),
        unmeasured=tuple(kpi for kpi in facts.kpis if kpi.value is None),
    )


def report_of(facts: SessionFacts, *, now: datetime) -> SessionReport:
    """The report of a run.

    Args:
        facts: of the run.
        now: when it is written.
    """
    sums = _sums(facts)
    found = {
        **_who(facts, sums),
        **_how(facts, sums),
        **_gate(facts, sums),
        "TIMESTAMP": now,
        "DLQ_COUNT": facts.dlq_count,
        "LAST_DLQ_RUN_ID": facts.last_dlq_run_id,
        # Not known until there are guards and a build that says its name.
        **dict.fromkeys(
            (
                "RUNTIME_GUARDS",
                "CI_BUILD_ID",
                "CI_PROVIDER",
                "CI_BRANCH",
                "CI_PR_NUMBER",
            )
        ),
    }
    return SessionReport.model_validate(found)


def _who(facts: SessionFacts, sums: _Sums) -> dict[str, Any]:
    """Which run it was, of what, on which code."""
    providers = sorted({task.provider for task in facts.tasks})
    return {
        "SESSION_ID": f"{facts.created_at:%Y%m%d_%H%M%S}_{facts.run_id[:8]}",
        "RUN_ID": facts.run_id,
        "TARGET": f"project-{facts.project_id}: {facts.project_name}",
        "PROFILE": facts.run_kind,
        "MODE": "sample" if facts.is_sample else "full",
        "DRY_RUN": facts.is_sandbox,
        "OFFLINE_MODE": False,
        "BUDGET_USD": _number(facts.budget_usd),
        "COST_USD": sums.cost,
        "DURATION_MS": _span(facts.started_at, facts.completed_at),
        "MODEL_ID": ", ".join(providers) or None,
        "PANEL_SIZE": len(providers),
        "TOKENS_EST": facts.estimated_tokens,
        "COST_EST_USD": _number(facts.estimated_usd),
        "TRACE_ID": facts.passport_sha256,
        "GIT_COMMIT": facts.git_commit[:12] if facts.git_commit else None,
        "GIT_COMMIT_FULL": facts.git_commit,
    }


def _how(facts: SessionFacts, sums: _Sums) -> dict[str, Any]:
    """How it went."""
    durations = sorted(duration for duration in facts.durations_ms if duration is not None)
    return {
        "CASES_TOTAL": sums.cases,
        "CASES_PASSED": sums.passed,
        "PASS_RATE": sums.passed / sums.cases if sums.cases else None,
        "MEAN_SCORE": _mean([float(kpi.passed) for kpi in facts.kpis if kpi.blocks]),
        "P50_MS": _quantile(durations, 0.50),
        "P95_MS": _quantile(durations, 0.95),
        "TOP_FAIL_REASONS": fail_reasons(facts),
        "ERROR_CLASS": error_class(facts, sums.cases),
        "RUN_STATE": facts.status,
        "RETRY_COUNT": sum(max(0, task.attempts - 1) for task in facts.tasks),
        "RETRY_FROM_DLQ": facts.parent_relation == "retry",
        "RESULT": sums.result,
        "WARNINGS": _warnings(facts, sums),
        "CHANGED_FILES": facts.n_artifacts,
        "NOTES": facts.reason,
    }


def _gate(facts: SessionFacts, sums: _Sums) -> dict[str, Any]:
    """Whether it was good, and who said so."""
    return {
        "CAN_PROCEED": sums.result in ("PASS", "WARN"),
        "GATE_STATUS": gate_of(facts.validation, override=facts.override),
        "P0_VIOLATIONS": len(sums.red),
        "P1_WARNINGS": len(sums.advice),
        "P2_ISSUES": len(sums.unmeasured),
        "THRESHOLD_SOURCE": "lane_gates",
        "PROFILE_USED": facts.run_kind,
        "AUTOCALIBRATION_ENABLED": facts.teaches,
        "MANIFEST_HASH": facts.passport_sha256,
        "MANIFEST_INTEGRITY": facts.is_passport_intact,
        "BUDGET_COMPLIANCE": sums.within,
        "TOTAL_COST_USD": sums.cost,
        "DECISION_RATIONALE": _rationale(facts),
        "BLOCKING_ISSUES": tuple(_issue(kpi) for kpi in sums.red),
        "RECOMMENDATIONS": recommendations(facts, sums.result, within=sums.within),
        "VALIDATIONS": Validations(
            cases_total_valid=sums.cases > 0,
            threshold_compliance=not sums.red if facts.kpis else None,
            manifest_integrity=facts.is_passport_intact,
            budget_compliance=sums.within,
        ),
    }


def fail_reasons(facts: SessionFacts) -> tuple[str, ...]:
    """Why tasks failed or gates do not hold, the most frequent first; at most five."""
    counts: dict[str, int] = {}
    for task in facts.tasks:
        if task.status in ("FAIL", "SKIPPED"):
            reason = task.reason or f"task {task.status}"
            counts[reason] = counts.get(reason, 0) + 1
    for kpi in facts.kpis:
        if kpi.blocks and not kpi.passed:
            reason = f"{kpi.kpi}: {kpi.reason or kpi.value}"
            counts[reason] = counts.get(reason, 0) + 1
    ordered = sorted(counts, key=lambda reason: (-counts[reason], reason))[:MOST_REASONS]
    return tuple(f"{counts[reason]} × {reason}" for reason in ordered)


def error_class(facts: SessionFacts, cases: int) -> str | None:
    """The class of what went wrong; None when nothing did."""
    if cases == 0:
        return "no_cases"
    if facts.status not in TERMINAL["run"]:
        return "unknown_state"
    if facts.status == "FAIL":
        lost = facts.reason is not None and "does not know" in facts.reason
        return "executor_lost_the_run" if lost else "task_failed"
    return "gate_failed" if facts.status == "SUCCESS" and facts.validation == "failed" and not facts.override else None


def recommendations(facts: SessionFacts, result: Result, *, within: bool | None) -> tuple[str, ...]:
    """What a person may do next."""
    found = []
    if facts.status == "FAIL":
        found.append(f"Start the project again when the cause is mended: plms run start {facts.project_id}")
    elif facts.validation == "failed" and facts.override is None:
        found.append(
            "Mend what the gates measured and start again, or, as the owner, ask for an override: plms run override request "
            f"{facts.run_id} --reason …"
        )
    if result == "WARN":
        found.append("This work was not measured; it teaches after a decision accept_ungated for its lanes.")
    if within is False:
        found.append(f"The budget is exceeded: plms project budget {facts.project_id}")
    return tuple(found)


def same_content(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> bool:
    """Whether two reports say the same, whenever they were written."""
    return old is not None and {**new, "TIMESTAMP": None} == {**old, "TIMESTAMP": None}


def _warnings(facts: SessionFacts, sums: _Sums) -> tuple[str, ...]:
    found = [f"advice: {_issue(kpi)}" for kpi in sums.advice]
    found += [f"{len(sums.unmeasured)} KPIs could not be measured"] if sums.unmeasured else []
    found += [f"providers changed: {facts.provider_mismatch}"] if facts.provider_mismatch else []
    found += ["the run cost more than its project's budget"] if sums.within is False else []
    found += ["the passport's hash is wrong"] if facts.is_passport_intact is False else []
    unknown = sum(cost is None for cost in facts.costs)
    found += [f"the cost of {unknown} attempts is not known"] if unknown else []
    return tuple(found)


def _rationale(facts: SessionFacts) -> str | None:
    if facts.override is not None:
        return f"overridden by {facts.overridden_by}: {facts.override_reason}"
    return facts.reason


def _issue(kpi: KpiFacts) -> str:
    where = f"{kpi.task_id}: " if kpi.task_id else ""
    return (
        f"{where}{kpi.kpi} is {'not measured' if kpi.value is None else f'{kpi.value:g}'}, asked {asked(kpi.threshold)}"
        + (f" ({kpi.reason})" if kpi.reason else "")
    )


def _is_good(task: TaskFacts) -> bool:
    return task.status == "SUCCESS" and task.validation in ("passed", "ungated")


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _span(start: datetime | None, end: datetime | None) -> int | None:
    return None if start is None or end is None else round((end - start) / timedelta(milliseconds=1))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _quantile(ordered: Sequence[int], q: float) -> int | None:
    """The nearest-rank quantile of ascending values: one that was really seen."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * round(q * 100) // 100) - 1))]
