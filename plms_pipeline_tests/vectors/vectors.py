"""The guides' ten test vectors, with assertions.

Example: python -m plms_pipeline_tests.vectors.vectors. Their order and subjects are the guide's ("Expected Results"): 1-2
idempotency, 3-4 metrics without and with intervals, 5 lane overrides, 6-7 budget runway and risk heatmap, 8 rehearsal,
9 errors, 10 a batch. The original script printed answers and judged none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from plms_pipeline_tests.vectors.live import Live, any_server, new_key, say
from plms_pipeline_tests.vectors.plans import calculator

SAMPLES = (1, 2, 3, 42)
_STATE: dict[str, str] = {}


def project_of(live: Live) -> int:
    """The project that the vectors ask about: approved, one for all of them."""
    if live.url not in _STATE:
        _STATE[live.url] = str(live.approved(live.created(calculator())))
    return int(_STATE[live.url])


def vector_01(live: Live) -> None:
    """A fresh start: 200, a run id, the providers' versions, the passport, and Idempotent-Replay: false."""
    project, key = project_of(live), new_key()
    answer = live.ask("POST", f"/api/projects/{project}/start", key=key, body={"run_kind": "baseline"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["status"] == "executing"
    assert told["provider_matrix"]
    assert all(told["provider_matrix"].values())
    assert told["replay_passport_path"].endswith(f"{told['run_id']}/passport.json")
    assert answer.headers["Idempotent-Replay"] == "false"
    _STATE[f"{live.url} key"], _STATE[f"{live.url} run"] = key, told["run_id"]


def vector_02(live: Live) -> None:
    """The same start again: the same answer and Idempotent-Replay: true."""
    if f"{live.url} key" not in _STATE:
        vector_01(live)
    project, key = project_of(live), _STATE[f"{live.url} key"]
    answer = live.ask("POST", f"/api/projects/{project}/start", key=key, body={"run_kind": "baseline"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["run_id"] == _STATE[f"{live.url} run"]
    assert answer.headers["Idempotent-Replay"] == "true"


def vector_03(live: Live) -> None:
    """Metrics without intervals: estimates in minutes, errors in percent that follow from the numbers beside them."""
    found = live.get(f"/api/projects/{project_of(live)}/metrics", with_ci=0)
    assert set(found["estimated"]) == {"tokens", "duration_minutes", "cost_usd"}
    assert set(found["actual"]) == {"tokens", "duration_ms", "cost_usd"}
    assert found["calibration"] == {}
    for name, measure in (("token", "tokens"), ("cost", "cost_usd")):
        estimated, actual = found["estimated"][measure], found["actual"][measure]
        if actual is not None:
            assert found["accuracy"][f"{name}_error_pct"] == round(abs(actual - estimated) / estimated * 100, 1)


def vector_04(live: Live) -> None:
    """Metrics with intervals: each estimate lies in its 90 % interval, durations are milliseconds."""
    found = live.get(f"/api/projects/{project_of(live)}/metrics", with_ci=1)
    assert set(found["estimated"]) == {"tokens", "duration_ms", "cost_usd"}
    for measure, estimate in found["estimated"].items():
        low, high = estimate["ci_90"]
        assert low <= estimate["mean"] <= high, measure
        assert f"{measure}_in_ci" in found["accuracy"]
    for lane in found["calibration"]["lane_specific_errors"]:
        assert set(lane) >= {"lane_id", "lane_name", "mae_tokens", "mae_pct"}


def vector_05(live: Live) -> None:
    """A corrected lane is listed, with what was predicted, what holds, who and when."""
    project = live.created(calculator())
    task = live.get(f"/api/projects/{project}")["tasks"][0]
    path = f"/api/projects/{project}/lane-overrides"
    assert live.get(path) == []
    live.post(
        path, role="approver", body={"task_id": task["id"], "corrected_lane": 4201, "reason": "it only writes tests"}
    )
    (found,) = live.get(path)
    assert (found["task_id"], found["predicted_lane"], found["corrected_lane"]) == (task["id"], 4200, 4201)
    assert found["corrected_by"]
    assert found["corrected_at"]


def vector_06(live: Live) -> None:
    """The budget runway: the sources' three parts, and a status that is one of theirs."""
    found = live.get(f"/api/projects/{project_of(live)}/budget-runway")
    assert set(found["budget"]) >= {"usd_max", "usd_spent", "burn_per_min"}
    assert set(found["runway"]) >= {"minutes_to_depletion", "projected_overrun_usd"}
    assert found["status"] in ("ok", "warning", "critical")
    assert 0 <= found["budget"]["usd_spent"] <= found["budget"]["usd_max"] == 100


def vector_07(live: Live) -> None:
    """The risk heatmap: every lane of the project with three risks, their signals, and the legend."""
    found = live.get(f"/api/projects/{project_of(live)}/risk-heatmap")
    assert [lane["lane_id"] for lane in found["lanes"]] == [4200, 4202]
    for lane in found["lanes"]:
        risks = {lane[f"{name}_risk"] for name in ("estimation", "execution", "validation")}
        assert risks <= {"low", "medium", "high", "unknown"}
    assert found["legend"]["medium"] == {"mae_pct_le": 0.30, "ci_width_le": 0.50}


def vector_08(live: Live) -> None:
    """A rehearsal without a body: the sources' fields, an interval for each measure, true sampling metrics."""
    answer = live.ask("POST", f"/api/projects/{project_of(live)}/simulate", rehearsal_pct=0.1)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    whole = told["simulation_results"]["extrapolated_full"]
    for measure in ("tokens", "duration_ms", "cost_usd"):
        low, high = whole["ci_90"][measure]
        assert low < whole[measure] < high
    metrics = told["sampling_metrics"]
    assert (metrics["n_total"], metrics["n_sample"], metrics["strata_coverage"]) == (20, 2, 1.0)
    assert isinstance(told["warnings"], list)


def vector_09(live: Live) -> None:
    """What is wrong is refused with the status that the contract names, and the sources' words."""
    path = f"/api/projects/{project_of(live)}"
    start = {"run_kind": "baseline"}
    assert live.ask("POST", f"{path}/start", body=start).status_code == 400
    short = live.ask("POST", f"{path}/start", key="short", body=start)
    assert (short.status_code, short.json()["code"]) == (400, "invalid_idempotency_key")
    kind = live.ask("POST", f"{path}/start", key=new_key(), body={"run_kind": "INVALID_KIND"})
    assert kind.json()["detail"] == "invalid run_kind"
    assert kind.status_code == 400
    assert live.ask("POST", f"{path}/simulate", rehearsal_pct=0.5).status_code == 422
    assert live.ask("GET", f"{path}/metrics", with_ci="garbage").status_code == 422
    assert live.ask("GET", "/api/projects/2147483647/metrics").status_code == 404
    sandbox = live.ask("POST", f"{path}/start", key=new_key(), body={"run_kind": "baseline", "write_sandbox": True})
    assert sandbox.status_code == 422
    if live.tokens["viewer"] != live.tokens["operator"]:
        refused = live.ask("POST", f"{path}/start", role="viewer", key=new_key(), body=start)
        assert (refused.status_code, refused.json()["detail"]) == (403, "Missing scope: projects.start")


def vector_10(live: Live) -> None:
    """A batch: every project answers with its own id in its metrics, where the original printed null."""
    ids = [project["project_id"] for project in live.get("/api/projects", limit=100)["projects"]]
    if live.environ is not None:
        assert set(SAMPLES) <= set(ids)
    for project in ids:
        assert live.get(f"/api/projects/{project}/metrics")["project_id"] == project


VECTORS: tuple[Callable[[Live], None], ...] = (
    vector_01, vector_02, vector_03, vector_04, vector_05, vector_06, vector_07, vector_08, vector_09, vector_10,
)  # fmt: skip


def main() -> int:
    """Run all ten."""
    with any_server() as live:
        for number, vector in enumerate(VECTORS, 1):
            vector(live)
            say(f"ok {number:2} {(vector.__doc__ or '').splitlines()[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
