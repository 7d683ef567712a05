"""The guides' three demos: a start that is made once, a representative canary, a completion that its gates decide.

Example: python -m plms_pipeline_tests.vectors.demos (`make demo-guides`); each assertion is a promise of the guides. Every demo
makes projects and keys of its own, so the three can be shown any number of times a day, on any server.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from plms_pipeline_tests.vectors.live import Live, any_server, new_key, say
from plms_pipeline_tests.vectors.plans import calculator, guide


def idempotent_start(live: Live) -> None:
    """The same key starts one run and gets one answer; another body under it is refused; another key starts another."""
    project = live.approved(live.created(calculator()))
    path, key, body = f"/api/projects/{project}/start", new_key(), {"run_kind": "baseline"}
    first = live.ask("POST", path, key=key, body=body)
    again = live.ask("POST", path, key=key, body=body)
    assert (first.status_code, again.status_code) == (200, 200), first.text
    assert first.json() == again.json()
    assert first.headers["Idempotent-Replay"] == "false"
    assert again.headers["Idempotent-Replay"] == "true"
    run_id = first.json()["run_id"]
    say(f"  run {run_id} was started once; the repetition got the same answer with Idempotent-Replay: true")
    other = live.ask("POST", path, key=key, body={"run_kind": "hotfix"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    say(f"  the same key with another body: {other.status_code} {other.json()['code']}")
    missing = live.ask("POST", path, body=body)
    assert missing.status_code == 400
    assert "Invalid or missing Idempotency-Key header" in missing.json()["detail"]
    say("  no key: 400")
    second = live.post(path, key=new_key(), body=body)
    assert second["run_id"] != run_id
    say(f"  another key: another run, {second['run_id']}")
    if live.environ is not None:
        runs = live.command("run", "list", "--project", str(project))["runs"]
        assert {run["run_id"] for run in runs} == {run_id, second["run_id"]}
        say("  the books hold exactly these two")


def representative_canary(live: Live) -> None:
    """A sample with a task of every kind really runs, with writes suppressed, and says how far it can be trusted."""
    project = live.approved(live.created(calculator()))
    path, key = f"/api/projects/{project}/simulate", new_key()
    forecast = live.ask("POST", path, rehearsal_pct=0.1)
    assert forecast.status_code == 200, forecast.text
    assert forecast.json()["mode"] == "forecast"
    missing = live.ask("POST", path, mode="canary")
    assert missing.status_code == 400
    answer = live.ask("POST", path, key=key, mode="canary", rehearsal_pct=0.1, wait_s=30)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    metrics, results = told["sampling_metrics"], told["simulation_results"]
    assert metrics["strata_coverage"] == 1.0
    assert metrics["is_representative"] is True
    assert (metrics["n_total"], metrics["n_sample"], metrics["n_strata"]) == (20, 2, 2)
    assert told["write_sandbox"] is True
    say(f"  canary {told['run_id']}: {metrics['n_sample']} of {metrics['n_total']} tasks, every kind of work covered")
    for measure in ("tokens", "duration_ms", "cost_usd"):
        actual, whole = results["rehearsal_actual"][measure], results["extrapolated_full"][measure]
        low, high = results["extrapolated_full"]["ci_90"][measure]
        assert 0 < actual <= low <= whole <= high
        say(f"  {measure}: the sample took {actual:g}, the whole will take {whole:g} (90 %: {low:g} to {high:g})")
    assert 0 <= told["risk_score"] <= 1
    say(f"  risk score {told['risk_score']}, {len(results['risk_factors'])} factors, each with the numbers behind it")
    assert live.get(path) == told
    again = live.ask("POST", path, key=key, mode="canary", rehearsal_pct=0.1)
    assert again.headers["Idempotent-Replay"] == "true"
    assert again.json()["run_id"] == told["run_id"]
    assert live.get(f"/api/projects/{project}/status")["status"] == "approved"
    say("  repeated: the same canary; the project stands where it stood")


def kpi_gated_completion(live: Live) -> None:
    """Work that ended well but fails its gate does not complete a project, until another person than the owner lets it."""
    project = live.approved(live.created(guide()))
    run_id = live.post(f"/api/projects/{project}/start", key=new_key(), body={"run_kind": "baseline"})["run_id"]
    status = live.ended(project, run_id)
    assert (status["run"]["status"], status["run"]["validation"]) == ("SUCCESS", "failed"), status
    assert status["status"] == "needs_review"
    failed = status["quality_slo_status"]["violations"]
    assert [gate["kpi_name"] for gate in failed] == ["readability"]
    say(
        f"  run {run_id} ended SUCCESS, its gate readability (at most grade 10) measured {failed[0]['kpi_value']}: needs_review"
    )
    path = f"/api/runs/{run_id}/kpi-override"
    early = live.ask("POST", f"{path}/decide", role="approver", body={"decision": "approve", "reason": "nobody asked"})
    assert early.status_code == 409
    live.post(f"{path}/request", body={"reason": "its readers are lawyers"})
    alone = live.ask("POST", f"{path}/decide", role="operator", body={"decision": "approve", "reason": "my own"})
    assert alone.status_code == 403
    done = live.post(
        f"{path}/decide", role="approver", body={"decision": "approve", "reason": "read it, and so did they"}
    )
    assert done["validation"] == "failed"
    assert done["validation_pass_override"] is True
    assert done["override_teaches"] is False
    status = live.get(f"/api/projects/{project}/status")
    assert status["status"] == "completed"
    say("  the owner asked, another person decided: completed; the verdict stays failed and the run does not teach")


DEMOS: tuple[Callable[[Live], None], ...] = (idempotent_start, representative_canary, kpi_gated_completion)


def main() -> int:
    """Show all three."""
    began = time.monotonic()
    with any_server(receipts=True) as live:
        for number, demo in enumerate(DEMOS, 1):
            say(f"Demo {number}: {(demo.__doc__ or '').splitlines()[0]}")
            demo(live)
    say(f"All three hold ({time.monotonic() - began:.0f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
