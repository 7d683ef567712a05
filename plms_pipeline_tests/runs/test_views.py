"""What is told about a project: metrics, drift, status, receipts, artifacts, runway and risk."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, insert, update

from plms_pipeline.errors import NoData, NotFound
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.prepared import AskingDriver, Prepared
from plms_pipeline.registry.tables import (
    Hold,
    KpiReceipt,
    Project,
    ProjectArtifact,
    RunTask,
)
from plms_pipeline.runs import views as rules
from plms_pipeline.runs.actions import views
from plms_pipeline.runs.actions import views_told as told
from plms_pipeline.settings import Settings
from plms_pipeline.web.api.remembered import Remembered
from plms_pipeline_tests.api_world import ask, world
from plms_pipeline_tests.runs.shelf import Shelf
from plms_pipeline_tests.runs.worked import AT, Watch


@pytest.fixture
def shelf(registry: Registry) -> Shelf:
    return Shelf(registry)


def test_metrics_are_those_of_the_projects_own_rows(shelf: Shelf) -> None:
    """The original answered every project, existing or not, with the same three numbers."""
    shelf.project(42, tokens=[3300, 2700, 3000, 4000])
    found = views.metrics(shelf.registry, 42)
    assert found["project_id"] == 42
    assert found["estimated"] == {"tokens": 12_000, "duration_minutes": 20, "cost_usd": 0.72}
    assert found["actual"] == {"tokens": 13_000, "duration_ms": 960_000, "cost_usd": 0.8}
    assert found["accuracy"] == {"token_error_pct": 8.3, "time_error_pct": 20.0, "cost_error_pct": 11.1}
    assert found["calibration"] == {}


def test_metrics_with_intervals_say_what_lies_in_them_and_where_lanes_erred(shelf: Shelf) -> None:
    """The field names and units of the sources: milliseconds here, percent for the lane's error."""
    shelf.project(42, tokens=[3300, 2700, 3000, 4000])
    found = views.metrics(shelf.registry, 42, with_ci=True, with_breakdown=True)
    low, high = found["estimated"]["tokens"]["ci_90"]
    assert low < found["estimated"]["tokens"]["mean"] < high
    # Four tasks of ±18 % each: the whole is known better than one of them.
    assert (high - low) / 12_000 < (3600 - 2500) / 3000
    assert found["estimated"]["duration_ms"]["mean"] == 1_200_000
    assert found["accuracy"]["tokens_in_ci"] is True
    assert found["accuracy"]["duration_ms_in_ci"] is False
    assert found["calibration"]["lane_specific_errors"] == [
        {"lane_id": 4200, "lane_name": "Code-API", "mae_tokens": 400, "mae_pct": 13.3, "n": 4}
    ]
    assert found["quality_slo"] == {"target_echo_cos": 0.82, "actual_mean_cos": 0.9, "violations": []}
    assert found["breakdown"]["energy_kwh"] == 2.0
    assert found["breakdown"]["carbon_kg"] == 0.4


def test_rehearsals_and_sandboxes_are_not_what_a_project_took(shelf: Shelf) -> None:
    """Otherwise whoever rehearses a project makes its estimate look wrong."""
    shelf.project(42, tokens=[3000])
    with shelf.registry.writing() as session:
        shelf.run(session, 42, "canary", run_kind="rehearsal", write_sandbox=True)
        shelf.receipt(session, 42, "canary", "t0", tokens=90_000)
    assert views.metrics(shelf.registry, 42)["actual"]["tokens"] == 3000
    assert views.budget_runway(shelf.registry, 42, clock=Watch(AT))["budget"]["usd_spent"] == 0.4


def test_a_project_that_took_nothing_yet_has_unknowns_not_zeros(shelf: Shelf) -> None:
    """An error of 100 % of a project that has not begun would be an alarm about nothing."""
    shelf.project(42, tokens=[])
    found = views.metrics(shelf.registry, 42, with_ci=True)
    assert found["actual"] == {"tokens": None, "duration_ms": None, "cost_usd": None}
    assert found["accuracy"]["tokens_in_ci"] is None
    assert found["estimated"]["tokens"]["ci_90"] is None
    assert views.status(shelf.registry, 42)["progress"]["tokens_used"] is None


def test_drift_is_the_error_of_the_last_ten_projects_oldest_first(shelf: Shelf) -> None:
    """A lane that gets worse project by project must look so, whichever project is asked."""
    for number in range(1, 13):
        shelf.project(number, tokens=[3000 + 30 * number] * 2)
    found = views.estimation_drift(shelf.registry, 3)
    assert (found["lane_id"], found["lane_name"]) == (4200, "Code-API")
    assert [point["project_id"] for point in found["history"]] == list(range(3, 13))
    assert found["history"][0]["mae_pct"] == pytest.approx(0.03)
    # 1 % more error with every project is on the edge, and the edge is stable.
    assert found["trend"] == "stable"
    with pytest.raises(NotFound):
        views.estimation_drift(shelf.registry, 3, lane_id=9999)


def test_drift_of_a_project_without_tasks_asks_for_a_lane(shelf: Shelf) -> None:
    """There is no lane to guess."""
    shelf.project(1, tokens=[])
    with pytest.raises(NoData):
        views.estimation_drift(shelf.registry, 1)
    assert views.estimation_drift(shelf.registry, 1, lane_id=4200)["history"] == []


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([0.5, 0.1], "stable"),
        ([0.30, 0.28, 0.26, 0.24], "improving"),
        ([0.10, 0.12, 0.14], "degrading"),
        ([0.10, 0.11, 0.12], "stable"),
        ([0.37, 0.33, 0.36, 0.32, 0.31, 0.33, 0.30, 0.28, 0.29, 0.27], "stable"),
    ],
)
def test_the_trend_is_the_slope_of_the_least_squares_line(history: list[float], expected: str) -> None:
    """Fewer than three projects say nothing; within ±0.01 a project is stable."""
    assert rules.trend(history) == expected


def test_status_counts_tasks_and_takes_the_smaller_budget(shelf: Shelf) -> None:
    """Whoever waits for a project looks here."""
    run_id = shelf.project(42, tokens=[3000, 3000], budget_tokens_max=10_000)
    with shelf.registry.writing() as session:
        session.execute(
            insert(RunTask).values(
                run_id=run_id, task_id="t9", lane_id=4200, provider="m", status="RUNNING", queued_at=AT
            )
        )
        session.execute(
            insert(KpiReceipt).values(
                evaluation_id="e", run_id=run_id, task_id="t0", lane_id=4200, kpi_name="test_pass_rate", kpi_value=0.5,
                kpi_threshold={">=": 0.9}, pass_=False, blocks=True, measured_at=AT,
            )
        )  # fmt: skip
    found = views.status(shelf.registry, 42)
    assert found["status"] == "executing"
    assert found["run"] == {"run_id": run_id, "status": "RUNNING", "validation": "pending"}
    progress = found["progress"]
    assert (progress["completed_tasks"], progress["total_tasks"], progress["current_task"]) == (2, 3, "t9")
    assert progress["budget_remaining_pct"] == 40.0
    assert [gate["kpi_name"] for gate in found["quality_slo_status"]["violations"]] == ["test_pass_rate"]


def test_receipts_and_artifacts_come_in_pages_and_name_no_disk_of_ours(shelf: Shelf) -> None:
    """A path that leads out of the data directory is a map of the server."""
    run_id = shelf.project(42, tokens=[3000] * 5)
    first = views.receipts(shelf.registry, 42, limit=3)
    rest = views.receipts(shelf.registry, 42, after=first[-1]["id"], limit=3)
    assert [each["task_id"] for each in first + rest] == [f"t{place}" for place in range(5)]
    assert first[0]["receipt_path"] == f"runs/{run_id}/outputs/t0/1"
    assert first[0]["task_name"] == "task t0"
    with shelf.registry.writing() as session:
        for place, path in enumerate(("t0/1/src/x.py", "/etc/passwd", "a/../../b")):
            session.execute(
                insert(ProjectArtifact).values(
                    run_id=run_id, project_id=42, artifact_path=path, artifact_kind="code", size_bytes=place,
                    sha256="0" * 64, created_at=AT,
                )
            )  # fmt: skip
    assert [each["path"] for each in views.artifacts(shelf.registry, 42)] == ["t0/1/src/x.py", None, None]


@pytest.mark.parametrize(
    ("mae", "width", "n", "risk"),
    [
        (0.12, 0.28, 9, "low"), (0.15, 0.28, 9, "medium"), (0.12, 0.30, 9, "medium"), (0.30, 0.50, 9, "medium"),
        (0.37, 0.55, 9, "high"), (0.12, 0.51, 9, "high"), (0.12, 0.28, 2, "unknown"), (None, 0.28, 9, "unknown"),
    ],
)  # fmt: skip
def test_estimation_risk_has_the_limits_of_the_legend(mae: float | None, width: float, n: int, risk: str) -> None:
    """Limits belong to one side, and fewer than three observations to neither."""
    assert rules.estimation_risk(mae, width, n) == risk


@pytest.mark.parametrize(
    ("bad", "n", "risk"), [(0, 2, "unknown"), (0, 3, "low"), (1, 20, "medium"), (2, 20, "medium"), (3, 20, "high")]
)
def test_execution_and_validation_risk_are_shares_of_what_went_wrong(bad: int, n: int, risk: str) -> None:
    """Low below 5 %, medium up to 10 %."""
    assert rules.ratio_risk(bad, n) == risk


def test_the_heatmap_tells_every_lane_with_its_signals(shelf: Shelf) -> None:
    """One lane, three risks, and the numbers that they rest on."""
    shelf.project(42, tokens=[3300, 2700, 3000, 4000])
    (lane,) = views.risk_heatmap(shelf.registry, 42)["lanes"]
    assert (lane["lane_id"], lane["name"]) == (4200, "Code-API")
    assert (lane["estimation_risk"], lane["execution_risk"], lane["validation_risk"]) == ("low", "low", "unknown")
    assert lane["signals"]["mae_pct"] == pytest.approx(0.1333, abs=1e-4)
    assert 0 < lane["signals"]["ci_width_pct"] < 0.3


VIEWS = (
    "metrics",
    "metrics?with_ci=1",
    "estimation-drift",
    "status",
    "receipts",
    "artifacts",
    "budget-runway",
    "risk-heatmap",
)


def test_over_http_an_unknown_project_is_404_and_garbage_422(sqlite_registry: Registry, settings: Settings) -> None:
    """The original answered 200 for any id, -1 included."""
    Shelf(sqlite_registry).project(42, tokens=[3000])
    api = world(settings, sqlite_registry, Watch(AT))
    who = api.headers("viewer")
    for view in VIEWS:
        assert ask(api.app, "GET", f"/api/projects/42/{view}", headers=who).status_code == 200, view
        assert ask(api.app, "GET", f"/api/projects/77/{view}", headers=who).status_code == 404, view
        assert ask(api.app, "GET", f"/api/projects/x/{view}", headers=who).status_code == 422, view
        assert ask(api.app, "GET", f"/api/projects/42/{view}").status_code == 401, view
    for bad in ("metrics?with_ci=garbage", "metrics?breakdown=some", "receipts?limit=0", "artifacts?after=-1"):
        assert ask(api.app, "GET", f"/api/projects/42/{bad}", headers=who).status_code == 422, bad


ASKED = (
    "42/metrics", "42/metrics?with_ci=1", "42/metrics?with_ci=true&breakdown=all", "42/metrics?n=1", "42/status",
    "42/budget-runway", "42", "?limit=20", "?after=1", "?limit=1&n=7",
)  # fmt: skip
LEFT_TO_THE_ROUTE = (
    "42/metrics?with_ci=yes",
    "42/metrics?with%5Fci=1",
    "?status=executing",
    "?limit=2&limit=1",
    "?after=00",
)


def test_what_is_told_at_once_is_what_the_route_would_tell(
    sqlite_registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ways to one answer must not differ by a byte, or it depends on the spelling of a question what is true."""
    Shelf(sqlite_registry).project(42, tokens=[3000, 3500])
    api = world(settings, sqlite_registry, Watch(AT))
    who = api.headers("viewer")
    short = {
        path: ask(api.app, "GET", f"/api/projects{path if path[0] == '?' else '/' + path}", headers=who)
        for path in ASKED + LEFT_TO_THE_ROUTE
    }
    monkeypatch.setattr(Remembered, "_told", lambda *_: None)
    api = world(settings, sqlite_registry, Watch(AT))
    for path, brief in short.items():
        whole = ask(api.app, "GET", f"/api/projects{path if path[0] == '?' else '/' + path}", headers=who)
        assert (brief.status_code, brief.content) == (whole.status_code, whole.content), path
        assert brief.headers["content-type"] == whole.headers["content-type"], path


def test_usual_questions_never_reach_the_framework_and_others_do(
    sqlite_registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the short way does not know well it must leave alone; what it knows is the reason for having it."""
    Shelf(sqlite_registry).project(42, tokens=[3000])
    was_told: list[bool] = []
    plain = Remembered._told

    def watched(*given: Any) -> Any:
        found = plain(*given)
        was_told.append(found is not None)
        return found

    monkeypatch.setattr(Remembered, "_told", watched)
    api = world(settings, sqlite_registry, Watch(AT))
    for paths, expected in ((ASKED, True), (LEFT_TO_THE_ROUTE, False)):
        for path in paths:
            was_told.clear()
            at = f"/api/projects{path if path[0] == '?' else '/' + path}"
            ask(api.app, "GET", at, headers=api.headers("viewer"))
            assert was_told == [expected], path


def test_an_answer_made_of_the_same_rows_changes_with_any_of_them(shelf: Shelf) -> None:
    """What was worked out once is used again; a budget, a pause or a failed gate must show at once all the same."""
    run_id = shelf.project(42, tokens=[3000])
    before = told.status(shelf.registry, 42)
    assert told.status(shelf.registry, 42) == before
    with shelf.registry.writing() as session:
        session.execute(update(Project).where(Project.id == 42).values(budget_cost_usd_max=Decimal("9.5")))
    budget = told.status(shelf.registry, 42)
    assert json.loads(budget)["progress"]["cost_usd_budget"] == 9.5
    with shelf.registry.writing() as session:
        session.execute(
            insert(Hold).values(subject_type="project", subject_id="42", reason="x", placed_by="t", placed_at=AT)
        )
    assert json.loads(told.status(shelf.registry, 42))["status"] == "paused"
    assert json.loads(told.project(shelf.registry, 42))["pause_reason"] == "x"
    assert json.loads(told.projects(shelf.registry, after=0, limit=5))["projects"][0]["is_paused"] is True
    with shelf.registry.writing() as session:
        shelf.receipt(session, 42, run_id, "t1", tokens=500)
    assert json.loads(told.metrics(shelf.registry, 42, with_ci=True, with_breakdown=True))["actual"]["tokens"] == 3500


@pytest.mark.parametrize("tasks", [3, 60])
def test_a_view_asks_few_questions_however_large_the_project(
    sqlite_registry: Registry, tasks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that asks once per task is fast in tests and slow for the people who need it."""
    Shelf(sqlite_registry).project(42, tokens=[3000] * tasks)
    asked: list[str] = []
    event.listen(sqlite_registry.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    rows = AskingDriver.rows

    def counted(self: AskingDriver, prepared: Prepared, **values: Any) -> Any:
        asked.append(prepared.for_sqlite[0])
        return rows(self, prepared, **values)

    # What is asked of the driver itself passes no event of SQLAlchemy.
    monkeypatch.setattr(AskingDriver, "rows", counted)
    for look, most in (
        (lambda: views.metrics(sqlite_registry, 42), 3),
        (lambda: views.metrics(sqlite_registry, 42, with_ci=True), 6),
        (lambda: views.status(sqlite_registry, 42), 6),
        (lambda: views.budget_runway(sqlite_registry, 42, clock=Watch(AT)), 5),
        (lambda: told.project(sqlite_registry, 42), 3),
        (lambda: views.receipts(sqlite_registry, 42), 3),
        (lambda: views.estimation_drift(sqlite_registry, 42), 6),
        (lambda: views.risk_heatmap(sqlite_registry, 42), 8),
    ):
        asked.clear()
        look()
        assert 0 < len(asked) <= most, asked
