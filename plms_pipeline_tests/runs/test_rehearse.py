"""Rehearsing a project: priced from the priors at once, or as a canary through the start of any run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from plms_pipeline.errors import BadInput, Conflict, NoData, NotFound, Unprocessable
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry, JobCard, Project, ProjectRun, Rehearsal, RunTask
from plms_pipeline.runs.actions import rehearse
from plms_pipeline.runs.actions.dispatch import dispatch_due
from plms_pipeline.runs.actions.settle import settle_due
from plms_pipeline.runs.actions.start import StartPolicy
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import ask, world
from plms_pipeline_tests.pas.server import ReferencePas, reference_pas
from plms_pipeline_tests.runs.worked import AT, Watch, Worked, ended
from plms_pipeline_tests.runs.worlds import OWNER, PROVIDERS, WORLD, planned_project

TASKS: dict[str, tuple[str, ...]] = {f"t{number:02d}": () for number in range(40)}


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferencePas]:
    """One real executor for the module, so slow that it ends nothing by itself."""
    with reference_pas(tmp_path_factory.mktemp("pas"), speed=0.001) as pas:
        yield pas


@dataclass
class Stage:
    """A project of forty tasks in two strata, and short ways to rehearse it."""

    registry: Registry
    settings: Settings
    clock: Watch
    project_id: int = 42

    def forecast(self, pct: float = 0.05, seed: int | None = 7) -> rehearse.Rehearsed:
        return rehearse.rehearse_by_priors(
            self.registry, self.project_id, pct=pct, seed=seed, clock=self.clock, ids=lambda: str(uuid4()), actor=OWNER,
            alpha=0.3,
        )  # fmt: skip

    def canary(self, key: str | None = None, pct: float = 0.05, **changes: Any) -> rehearse.Rehearsed:
        given: dict[str, Any] = {"seed": None, "stopped": None, **changes}
        return rehearse.start_canary(
            self.registry, self.project_id, key=key or str(uuid4()), pct=pct, clock=self.clock, ids=lambda: str(uuid4()),
            actor=OWNER, world=WORLD, policy=StartPolicy(), **given,
        )  # fmt: skip

    def work(self, found: rehearse.Rehearsed, executor: ReferencePas, *, ok: bool = True) -> None:
        """Hand the canary over, and let the executor say that its tasks ended."""
        with executor.client() as pas:
            dispatch_due(self.registry, clock=self.clock, pas=pas, holder="here", data_dir=str(executor.data_dir))
        worked = Worked(self.registry, self.settings, self.clock)
        with self.registry.reading() as session:
            tasks = session.execute(
                select(RunTask.task_id, RunTask.lane_id, RunTask.provider).where(RunTask.run_id == found.run_id)
            ).all()
        self.clock.passes(minutes=2)
        for task_id, lane, provider in tasks:
            worked.tell(
                ended(
                    found.run_id or "", task_id, ok=ok, at=self.clock.now(), lane=lane, provider=provider, cost=0.5,
                    echo_cos=0.9,
                )
            )  # fmt: skip
        while settle_due(worked.world, holder="here").did_something:
            pass

    def look(self, found: rehearse.Rehearsed) -> rehearse.Rehearsed:
        return rehearse.looked_at(self.registry, found.rehearsal_id, clock=self.clock, alpha=0.3)

    def count(self, table: Any) -> int:
        with self.registry.reading() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
def stage(registry: Registry, settings: Settings) -> Stage:
    planned_project(registry, tasks=TASKS)
    return Stage(registry, settings, Watch(AT))


def test_a_forecast_answers_at_once_and_starts_nothing(stage: Stage) -> None:
    """A question about costs must not cost anything."""
    found = stage.forecast()
    assert (found.state, found.run_id) == ("done", None)
    assert (stage.count(ProjectRun), stage.count(JobCard), stage.count(Rehearsal)) == (0, 0, 1)
    whole = found.answer["simulation_results"]["extrapolated_full"]
    for measure in ("tokens", "duration_ms", "cost_usd"):
        low, high = whole["ci_90"][measure]
        assert low < whole[measure] < high
    assert found.answer["sampling_metrics"]["strata_coverage"] == 1.0
    # Nothing is known of these providers: the factory's centre, and as little confidence as can be.
    assert whole["tokens"] == pytest.approx(3000 * 40, rel=0.1)
    assert found.answer["risk_score"] == 1.0
    with stage.registry.reading() as session:
        assert session.scalars(select(AuditEntry.action)).all() == ["project.rehearse"]


def test_the_same_seed_gives_the_same_answer(stage: Stage) -> None:
    """Otherwise two people who rehearse the same project argue about chance."""
    one, other = stage.forecast().answer, stage.forecast().answer
    assert {**one, "rehearsal_id": ""} == {**other, "rehearsal_id": ""}
    assert stage.forecast(seed=None).answer["seed"] != stage.forecast(seed=None).answer["seed"]


def test_a_canary_is_one_run_of_its_sample_with_writes_suppressed(stage: Stage) -> None:
    """It spends money: once per key, only for the sample, and never on real tables."""
    key = str(uuid4())
    first, again = stage.canary(key), stage.canary(key)
    assert (first.is_running, first.replayed, again.replayed) == (True, False, True)
    assert first.run_id == again.run_id
    assert (stage.count(ProjectRun), stage.count(JobCard), stage.count(Rehearsal)) == (1, 2, 1)
    with stage.registry.reading() as session:
        run = session.execute(
            select(ProjectRun.run_kind, ProjectRun.write_sandbox, ProjectRun.rehearsal_pct, ProjectRun.strata_coverage)
        ).one()
        lanes = set(session.scalars(select(JobCard.lane_id)))
    assert tuple(run) == ("rehearsal", True, 0.05, 1.0)
    assert lanes == {4200, 4202}
    with pytest.raises(Unprocessable):
        stage.canary(key, pct=0.2)


def test_a_canary_that_ended_is_extrapolated_from_what_it_took(stage: Stage, executor: ReferencePas) -> None:
    """The answer of a rehearsal is what the sample really took, times what was not sampled, with how far to trust it."""
    found = stage.canary()
    stage.work(found, executor)
    done = stage.look(found)
    results = done.answer["simulation_results"]
    assert done.state == "done"
    assert results["rehearsal_actual"] == {
        "tokens": 3000, "duration_ms": 120_000, "cost_usd": 1.0, "echo_cos_mean": 0.9,
    }  # fmt: skip
    whole = results["extrapolated_full"]
    low, high = whole["ci_90"]["cost_usd"]
    # Two of forty tasks took 0.50 USD each; what is left is between that and the prior's centre, and the interval says how far.
    assert 1.0 < low < 20.0 < high
    assert done.answer["run_status"] == "SUCCESS"
    with stage.registry.reading() as session:
        risk, status = session.execute(select(ProjectRun.risk_score, Project.status).join(Project)).one()
    assert risk == done.answer["risk_score"]
    assert 0 < risk < 1
    assert status == "approved"
    assert stage.look(found).answer == done.answer


def test_tasks_that_fail_in_the_canary_are_risk_and_not_measure(stage: Stage, executor: ReferencePas) -> None:
    """What a failed attempt took says nothing about what success will take, and everything about the risk."""
    found = stage.canary()
    stage.work(found, executor, ok=False)
    done = stage.look(found)
    factors = done.answer["simulation_results"]["risk_factors"]
    assert {(each["lane"], each["failed"]) for each in factors if each["issue"] == "failed_tasks"} == {
        (4200, 1),
        (4202, 1),
    }
    assert done.answer["risk_score"] == 1.0
    assert done.answer["simulation_results"]["rehearsal_actual"]["cost_usd"] == 1.0


def test_finishing_twice_at_once_gives_one_answer(stage: Stage, executor: ReferencePas) -> None:
    """A GET and the sensor may find the same ended run."""
    found = stage.canary()
    stage.work(found, executor)
    assert rehearse.finish_canaries(stage.registry, clock=stage.clock, alpha=0.3) == 1
    assert rehearse.finish_canaries(stage.registry, clock=stage.clock, alpha=0.3) == 0
    assert stage.look(found).state == "done"


def test_a_canary_obeys_what_every_start_obeys(stage: Stage) -> None:
    """Kill switch, approval and budget: a rehearsal that slips past them is a way around them."""
    with pytest.raises(Conflict) as caught:
        stage.canary(stopped="maintenance")
    assert caught.value.code == "killswitch_on"
    with stage.registry.writing() as session:
        session.get_one(Project, 42).status = "planning"
    with pytest.raises(Conflict) as caught:
        stage.canary()
    assert caught.value.code == "not_approved"
    assert (stage.count(Rehearsal), stage.count(ProjectRun)) == (0, 0)
    assert stage.forecast().state == "done"


def test_a_refused_start_leaves_no_rehearsal(stage: Stage) -> None:
    """The row of a canary stands in the transaction of its run, or nowhere."""
    forecast = {"spend": {"cost_usd": {"median": 1.0, "high": 2.0}}}
    stage.project_id = planned_project(
        stage.registry, project_id=8, tasks=TASKS, budget_usd=Decimal(1), forecast=forecast
    )
    with pytest.raises(Conflict) as caught:
        stage.canary()
    assert caught.value.code == "budget_exceeded"
    assert (stage.count(Rehearsal), stage.count(ProjectRun)) == (0, 0)


@pytest.mark.parametrize(("project_id", "error"), [(4711, NotFound), (7, Conflict)])
def test_what_cannot_be_rehearsed_is_named(stage: Stage, project_id: int, error: type[Exception]) -> None:
    """An unknown project, and one without tasks; the original divided by zero."""
    planned_project(stage.registry, project_id=7, tasks={})
    stage.project_id = project_id
    with pytest.raises(error):
        stage.forecast()
    with pytest.raises(error):
        stage.canary()


def test_a_seed_or_key_that_cannot_be_is_refused(stage: Stage) -> None:
    """A seed beyond 2^53 would come back from JSON as another."""
    with pytest.raises(BadInput):
        stage.forecast(seed=2**53)
    with pytest.raises(BadInput):
        stage.canary("short")


def test_the_newest_rehearsal_is_told_or_that_there_is_none(stage: Stage) -> None:
    """404 before the first, then the newest, of one mode if asked."""
    look = {"clock": stage.clock, "alpha": 0.3}
    with pytest.raises(NoData) as caught:
        rehearse.newest_rehearsal(stage.registry, 42, **look)  # type: ignore[arg-type]  # a clock and a number
    assert (caught.value.code, caught.value.http_status) == ("no_rehearsal", 404)
    stage.forecast()
    stage.clock.passes(seconds=1)
    running = stage.canary()
    found = rehearse.newest_rehearsal(stage.registry, 42, **look)  # type: ignore[arg-type]  # as above
    assert (found.rehearsal_id, found.is_running) == (running.rehearsal_id, True)
    older = rehearse.newest_rehearsal(stage.registry, 42, mode="forecast", **look)  # type: ignore[arg-type]  # as above
    assert older.answer["mode"] == "forecast"


def test_over_http_a_forecast_needs_no_body_and_a_canary_a_key(sqlite_registry: Registry, settings: Settings) -> None:
    """The contract of the sources, and ours: 200 at once; 400 without a key, 202 while it runs, 404 before the first."""
    planned_project(sqlite_registry, tasks=TASKS, providers=tuple(PROVIDERS))
    api = world(settings, sqlite_registry, Watch(AT))
    who, path = api.headers("operator"), "/api/projects/42/simulate"
    assert ask(api.app, "GET", path, headers=who).status_code == 404
    assert ask(api.app, "POST", path, headers=who).status_code == 200
    assert (
        ask(api.app, "POST", path, headers=who, json={"rehearsal_pct": 0.2}).json()["sampling_metrics"]["n_sample"] == 8
    )
    assert ask(api.app, "POST", f"{path}?mode=canary", headers=who).status_code == 400
    for bad in (
        "rehearsal_pct=0.0001",
        "rehearsal_pct=0.21",
        "rehearsal_pct=nan",
        "mode=other",
        "wait_s=31",
        "seed=-1",
    ):
        assert ask(api.app, "POST", f"{path}?{bad}", headers=who).status_code == 422, bad
    assert ask(api.app, "POST", path, headers=api.headers("viewer")).status_code == 403
    assert ask(api.app, "POST", "/api/projects/9/simulate", headers=who).status_code == 404


def test_the_command_says_by_its_exit_code_whether_the_sample_is_representative(
    sqlite_registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    """A script that rehearses before it starts must be able to stop by it."""
    from plms_pipeline.cli import main

    planned_project(sqlite_registry, tasks=TASKS)
    planned_project(sqlite_registry, project_id=7, tasks=dict(list(TASKS.items())[:3]))
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(tmp_path))
    assert main(["run", "rehearse", "42", "--seed", "7"]) == 0
    told = capsys.readouterr().out
    assert "2 of 40 tasks (5.0%), 100.0% of 2 strata, representative" in told
    assert main(["run", "rehearse", "7", "--json"]) == 1
    assert '"is_representative": false' in capsys.readouterr().out
    assert main(["run", "rehearse", "42", "--mode", "dream"]) == 2
