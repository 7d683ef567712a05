"""One project from its file to its report: created, estimated, approved, started, worked, gated, learnt from (`make demo-run`).

On a fresh instance in a temporary folder: the shipped receipts are imported, so that the estimate rests on something, and the
reference executor works at a thousand times the speed of life. What it shows is also what it asserts.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from sqlalchemy import select

from plms_pipeline.clock import SystemClock
from plms_pipeline.estimates.actions.refreshing import hold_books, refresh_priors
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import KpiReceipt
from plms_pipeline.settings import load_settings
from plms_pipeline_tests.vectors.live import ROOT, Live, fresh, new_key, say

PROJECT = ROOT / "data/samples/projects/1-roman-numerals.yaml"
LANES = (4200, 4201, 4202)


def first_priors(live: Live) -> None:
    """What a night would have learnt from the imported receipts, so that there is something to move."""
    assert live.environ is not None
    settings, now = load_settings(live.environ), SystemClock().now()
    registry = Registry.open(settings.database_url)
    try:
        with registry.writing() as session:
            hold_books(session)
            refresh_priors(session, at_least=now, now=now, alpha=settings.alpha)
    finally:
        registry.close()


def priors(live: Live) -> dict[tuple[Any, str], dict[str, Any]]:
    """What is believed of effort, by lane and provider."""
    found = live.command("priors", "--basis", "effort")["priors"]
    return {(prior["lane_id"], prior["provider"]): prior for prior in found}


def kpi_receipts(live: Live, run_id: str) -> list[tuple[Any, ...]]:
    """(task, lane, KPI, value, threshold, pass) of a run."""
    assert live.environ is not None
    registry = Registry.open(f"sqlite:///{Path(live.environ['PLMS_DATA_DIR']) / 'registry.db'}", read_only=True)
    try:
        with registry.reading() as session:
            rows = session.execute(
                select(
                    KpiReceipt.task_id, KpiReceipt.lane_id, KpiReceipt.kpi_name, KpiReceipt.kpi_value,
                    KpiReceipt.kpi_threshold, KpiReceipt.pass_,
                ).where(KpiReceipt.run_id == run_id).order_by(KpiReceipt.id)
            ).all()  # fmt: skip
    finally:
        registry.close()
    return [tuple(row) for row in rows]


def show(live: Live) -> None:
    """The whole story."""
    assert live.environ is not None
    project = int(live.command("project", "create", "--from", str(PROJECT))["project_id"])
    live.approved(project, budget_usd=25)
    metrics = live.get(f"/api/projects/{project}/metrics", with_ci=1)
    cost = metrics["estimated"]["cost_usd"]
    say(f"project {project} from {PROJECT.name}: estimated {cost['mean']:.2f} USD (90 %: {cost['ci_90'][0]:.2f} to "
        f"{cost['ci_90'][1]:.2f}), approved by the-approver")  # fmt: skip
    first_priors(live)
    before = priors(live)
    began = time.monotonic()
    run_id = live.post(f"/api/projects/{project}/start", key=new_key(), body={"run_kind": "baseline"})["run_id"]
    status = live.ended(project, run_id)
    took = time.monotonic() - began
    assert (status["run"]["status"], status["run"]["validation"], status["status"]) == (
        "SUCCESS",
        "passed",
        "completed",
    ), status
    progress = status["progress"]
    say(f"run {run_id}: SUCCESS, passed; {progress['completed_tasks']} tasks worked in {took:.1f} s, "
        f"{progress['cost_usd']:.2f} USD; project completed")  # fmt: skip
    gates = kpi_receipts(live, run_id)
    assert gates
    for task, lane, kpi, value, threshold, passed in gates:
        say(f"  KPI {task:12} lane {lane} {kpi:16} {value:g} {threshold} {'pass' if passed else 'FAIL'}")
    report = live.until(lambda: reported(live, run_id), what="the session report")
    assert report["RESULT"] == "PASS"
    assert report["CASES_TOTAL"] == report["CASES_PASSED"] == progress["total_tasks"]
    folder = Path(live.environ["PLMS_REPORTS_DIR"]) / "sessions" / run_id
    assert (folder / "session_report.md").is_file()
    say(f"session report: {report['RESULT']}, {len(report)} fields, {report['CASES_PASSED']}/{report['CASES_TOTAL']} cases, "
        f"cost {report['COST_USD']} USD of {report['BUDGET_USD']}")  # fmt: skip
    show_learning(before, priors(live))


def reported(live: Live, run_id: str) -> dict[str, Any] | None:
    """The session report, or None while it is not written."""
    try:
        found: dict[str, Any] = live.command("run", "report", run_id)
    except SystemExit:
        return None
    return found


def show_learning(before: dict[tuple[Any, str], dict[str, Any]], after: dict[tuple[Any, str], dict[str, Any]]) -> None:
    """What the run taught: priors with more receipts than before."""
    learnt = [
        (key, prior, before.get(key))
        for key, prior in after.items()
        if key[0] in LANES and key[1] != "*" and prior["n"] > (before[key]["n"] if key in before else 0)
    ]
    assert learnt, "no prior moved"
    for (lane, provider), prior, old in learnt:
        cost = prior["cost_usd"]
        was = f"{old['n']} receipts, {old['cost_usd']['median']:.4f} USD" if old else "nothing"
        say(f"  learnt: lane {lane}, {provider}: from {was} to {prior['n']} receipts, {cost['median']:.4f} USD "
            f"(90 %: {cost['low']:.4f} to {cost['high']:.4f})")  # fmt: skip


def main() -> int:
    """Show it, and say how long it took."""
    began = time.monotonic()
    with fresh(receipts=True) as live:
        show(live)
    say(f"{time.monotonic() - began:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
