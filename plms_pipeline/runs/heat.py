"""From which facts of a run is its heat made?"""

from __future__ import annotations

from plms_pipeline.evidence.heat import Heat, heat_of, share
from plms_pipeline.runs.session import SessionFacts
from plms_pipeline.runs.session_fields import SessionReport


def run_heat(facts: SessionFacts, report: SessionReport) -> Heat | None:
    """How hot a run that ended ran; None when nothing is known of it."""
    blocking = [kpi for kpi in facts.kpis if kpi.blocks]
    overrun = share(report.COST_USD, report.COST_EST_USD)
    return heat_of(
        {
            "exposure": share(report.COST_USD, report.BUDGET_USD),
            "drawdown": share(sum(task.status == "FAIL" for task in facts.tasks), len(facts.tasks)),
            "burst": None if overrun is None else overrun - 1,
            "fee": share(sum(not kpi.passed for kpi in blocking), len(blocking)),
            "churn": share(sum(max(0, task.attempts - 1) for task in facts.tasks), len(facts.tasks)),
        }
    )
