"""Projects in both databases: stored whole or not at all, found again, estimated from what is believed."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
from sqlalchemy import func, select

from plms_pipeline.errors import BadInput, Conflict, NotFound
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project, ProjectPolicy, TaskEstimate, TaskPlan
from plms_pipeline.runs.actions.projects import Shelf, create_project, project, projects
from plms_pipeline.runs.plan_document import BadPlan, from_json
from plms_pipeline.runs.project_view import evidence_of, project_json
from plms_pipeline_tests.runs.desk import ANN, TASKS, Desk


@pytest.fixture
def desk(registry: Registry) -> Desk:
    return Desk(registry)


def counts(registry: Registry) -> tuple[int, ...]:
    with registry.reading() as session:
        tables = (Project, ProjectPolicy, TaskEstimate, TaskPlan)
        return tuple(int(session.scalar(select(func.count()).select_from(table)) or 0) for table in tables)


def test_a_project_is_stored_with_everything_that_its_plan_says(desk: Desk) -> None:
    """What is lost here is never worked, never gated and never paid attention to."""
    tasks = [
        {**TASKS[1], "command": ["python", "-c", "x"], "kpi_formula": {"readability": {"<=": 8}}, "kind": "docs",
         "complexity": "complex", "store_hint": "text", "description": "a page"},
        TASKS[0],
    ]  # fmt: skip
    made = desk.planned(
        tags=["a", "b"], owner="eve", budget={"usd": 2.5, "tokens": 9000}, breach_policy="ask", max_attempts=2,
        gates={"4202": {"readability": {"<=": 9}}}, tasks=tasks, description="two tasks",
    )  # fmt: skip
    view = project(desk.registry, made.id)
    assert view == made
    assert (view.name, view.status, view.owner, view.created_by) == ("Calculator", "planning", "eve", "ann")
    assert (view.budget_cost_usd_max, view.budget_tokens_max, view.breach_policy) == (Decimal("2.5"), 9000, "ask")
    assert (view.tags, view.max_attempts, view.lane_gates) == (("a", "b"), 2, {"4202": {"readability": {"<=": 9}}})
    api, docs = view.tasks
    assert (api.key, api.lane_id, api.lane_name, api.lane_source) == ("api", 4200, "Code-API", "given")
    assert (docs.depends_on, docs.command, docs.complexity) == (("api",), ("python", "-c", "x"), "complex")
    assert docs.own_formula == docs.kpi_formula == '{"readability":{"<=":8}}'
    assert desk.states(view.id) == ["planning"]
    assert desk.audited("project.create") == [("ann", "done")]


def test_a_bad_plan_leaves_nothing_behind(desk: Desk) -> None:
    """Half a project would be found by the nightly proof, weeks later."""
    with pytest.raises(BadPlan):
        desk.planned(tasks=[TASKS[0], {"key": "x", "lane": 9999}])
    assert counts(desk.registry) == (0, 0, 0, 0)


def test_projects_are_listed_by_state_tag_and_page(desk: Desk) -> None:
    """A tag must not match a part of another, and the page after the last one is empty."""
    first = desk.planned(tags=["data", 'odd "tag"']).id
    second = desk.planned(tags=["data_science"]).id
    third = desk.submitted(tags=["data"]).id

    def ids(**wanted: object) -> list[int]:
        return [view.id for view in projects(desk.registry, **wanted)]  # type: ignore[arg-type]

    assert ids() == [first, second, third]
    assert ids(tags=["data"]) == [first, third]
    assert ids(tags=["data", 'odd "tag"']) == [first]
    assert ids(tags=["dat%"]) == []
    assert ids(status="planning") == [first, second]
    assert ids(status="paused") == []
    assert ids(limit=2) == [first, second]
    assert ids(after=second, limit=2) == [third]
    assert ids(source="swebench") == []
    with pytest.raises(BadInput, match="no state of a project"):
        ids(status="on fire")


def test_an_id_that_is_taken_is_a_conflict(desk: Desk) -> None:
    """A script that starts project 42 must never start somebody else's."""
    root = from_json({"name": "x", "provider": "m", "tasks": list(TASKS)})
    create_project(desk.registry, root, "x", clock=desk.clock, actor=ANN, shelf=Shelf(42, "forty-two"))
    with pytest.raises(Conflict, match="exists already") as error:
        create_project(desk.registry, root, "x", clock=desk.clock, actor=ANN, shelf=Shelf(42))
    assert error.value.code == "project_id_taken"
    assert desk.planned().id == 43


def test_an_unknown_project_is_not_found(desk: Desk) -> None:
    """The prototype answered 200 for any id; and an id that is typed wrong is looked up where the message says."""
    with pytest.raises(NotFound, match=r"Project 7 not found; `plms project list` and GET /api/projects"):
        project(desk.registry, 7)


def test_an_estimate_covers_every_task_and_the_whole(desk: Desk) -> None:
    """Without receipts it is the factory default, and the interval says how little that is."""
    project_id = desk.planned().id
    found = desk.estimated(project_id)
    view = project(desk.registry, project_id)
    assert found.view == view
    assert view.is_estimated
    assert (view.estimated_tokens, view.estimated_duration_minutes, view.estimated_cost_usd) == (
        6000,
        10,
        Decimal("0.36"),
    )
    for task in view.tasks:
        assert task.forecast is not None
        assert (task.estimated_tokens, task.estimated_duration_minutes) == (3000, 5)
        for basis in ("effort", "spend"):
            for cell in task.forecast[basis].values():
                assert cell["low"] <= cell["median"] <= cell["high"]
    totals = found.totals
    assert totals["ci_90"]["cost_usd"][0] < 0.36 < totals["ci_90"]["cost_usd"][1]
    assert totals["suggested_budget_usd"] > 0.36
    assert set(totals["rests_on_receipts"].values()) == {0}


def test_the_forecast_of_the_whole_is_kept_and_shown_with_its_intervals(desk: Desk) -> None:
    """Adding up the tasks' intervals would say that everything goes wrong at once; only the simulation knows the whole."""
    view = desk.planned()
    assert view.forecast is None
    found = desk.estimated(view.id)
    shown = project(desk.registry, view.id)
    assert shown.forecast == found.view.forecast == found.total.forecast
    cost = project_json(shown)["forecast"]["effort"]["cost_usd"]
    assert [cost["low"], cost["high"]] == found.totals["ci_90"]["cost_usd"]
    assert "forecast" not in project_json(shown, with_tasks=False)
    desk.later()
    again = desk.estimated(view.id)
    assert project(desk.registry, view.id).forecast == again.total.forecast != found.total.forecast


def test_estimating_again_is_the_same_estimate(desk: Desk) -> None:
    """The forecast is seeded: two people who look see one number."""
    project_id = desk.planned().id
    assert desk.estimated(project_id).totals == desk.estimated(project_id).totals


def test_what_is_approved_is_not_estimated_anew(desk: Desk) -> None:
    """The approver signed other numbers."""
    with pytest.raises(Conflict) as error:
        desk.estimated(desk.approved().id)
    assert error.value.code == "already_approved"


def test_the_evidence_changes_with_the_plan_and_only_with_it(desk: Desk) -> None:
    """It is what the approver signs."""
    project_id = desk.planned().id
    before = evidence_of(project(desk.registry, project_id))
    assert before == evidence_of(project(desk.registry, project_id))
    desk.estimated(project_id)
    after = evidence_of(project(desk.registry, project_id))
    assert after != before
    other = desk.planned()
    assert evidence_of(other) != before


def test_json_shows_money_as_numbers_and_moments_as_text(desk: Desk) -> None:
    """What a page or a script reads."""
    shown = project_json(desk.approved())
    assert (shown["project_id"], shown["budget_cost_usd_max"]) == (1, 2.0)
    assert shown["approved_at"] == "2026-03-01T12:00:00+00:00"
    assert shown["quality_slo"] == {"min_echo_cos": 0.82, "lane_gates": {}}
    assert [task["tmd_lane"] for task in shown["tasks"]] == [4200, 4202]
    assert (shown["is_paused"], shown["pause_reason"]) == (False, None)


def test_many_may_create_at_once(desk: Desk) -> None:
    """Two people press the button in the same second."""
    threads = [threading.Thread(target=desk.planned) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts(desk.registry) == (6, 6, 12, 12)
