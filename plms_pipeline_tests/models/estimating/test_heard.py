"""Is a promoted model heard by estimates and rehearsals of projects, and the priors where it may not be?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import Conflict, NoData
from plms_pipeline.estimates.outlook import outlook_of, sha_of, text_of
from plms_pipeline.models.actions.estimates_watching import look_at_estimates, reading_due
from plms_pipeline.models.actions.promotion import rollback
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import EstimateOutlook, LiveSnapshot, TaskPlan
from plms_pipeline.runs.actions.project_estimates import estimate_project
from plms_pipeline.runs.actions.rehearse import rehearse_by_priors
from plms_pipeline.runs.money import cap_of
from plms_pipeline_tests.models.candidates import NOW, REVIEWER, house
from plms_pipeline_tests.models.estimating.test_life import Life, fill
from plms_pipeline_tests.runs.worlds import planned_project

# Of the world: t3 takes most, t7 little; the last task is one that nobody ever did.
TASKS: Mapping[str, tuple[str, ...]] = {"t0": (), "t3": (), "t4": (), "t7": (), "new": ()}


@dataclass
class Heard:
    """A house with a champion of estimates, and a project that wants to know what it will take."""

    life: Life

    def forecasts(self, *, after: timedelta = timedelta(0)) -> dict[str, Any]:
        """The forecast of each task as the books keep it then."""
        clock = FrozenClock(self.life.home.clock.at + after)
        estimate_project(self.life.home.registry, 42, clock=clock, actor=REVIEWER, alpha=0.3)
        with self.life.home.registry.reading() as session:
            rows = session.execute(select(TaskPlan.task_key, TaskPlan.forecast_json).where(TaskPlan.project_id == 42))
            return {row.task_key: row.forecast_json for row in rows}

    def look(self, **span: float) -> Any:
        clock = FrozenClock(self.life.home.clock.at + timedelta(**span))
        return look_at_estimates(self.life.home.registry, data_dir=self.life.home.root, clock=clock)

    def rehearsed(self) -> dict[str, Any]:
        home = self.life.home
        return rehearse_by_priors(
            home.registry, 42, pct=1.0, seed=1, clock=home.clock, ids=home.ids, actor=REVIEWER, alpha=0.3
        ).answer

    def file(self) -> Path:
        return next((self.life.home.root / "automation_runs").rglob("candidate.npz"))

    def put(self, change: Any) -> None:
        """Write another outlook in place of the one that is there, with its own hash."""
        with self.life.home.registry.writing() as session:
            text = text_of(change(outlook_of(session.scalars(select(EstimateOutlook.document)).one())))
            session.execute(update(EstimateOutlook).values(document=text, sha256=sha_of(text)))


@pytest.fixture
def promoted(sqlite_registry: Registry, tmp_path: Path) -> Heard:
    life = Life(house(sqlite_registry, tmp_path))
    fill(sqlite_registry)
    planned_project(sqlite_registry, status="planning", tasks=TASKS, providers=("a", "b"))
    life.train("est-1")
    life.home.decide("est-1", "approve")
    return Heard(life)


def cost(found: Mapping[str, Any], task: str, basis: str = "spend") -> Mapping[str, Any]:
    told: Mapping[str, Any] = found[task][basis]["cost_usd"]
    return told


def why(found: Mapping[str, Any]) -> str:
    (said,) = {one["by"]["why"] for one in found.values()}
    assert all(one["by"]["used"] == "priors" for one in found.values())
    return str(said)


@pytest.mark.live
def test_a_promotion_reaches_the_estimate_of_a_project_its_budget_and_its_rehearsal(promoted: Heard) -> None:
    """A promoted model that no forecast asks is a report: that was so until estimates had an outlook."""
    home = promoted.life.home
    before, rehearsal = promoted.forecasts(), promoted.rehearsed()
    assert all("by" not in one for one in before.values())
    assert "by" not in rehearsal
    home.promote("est-1")
    # Until it has read the receipts the priors answer, word for word, and say so.
    unread = promoted.forecasts()
    assert "not read the receipts" in why(unread)
    assert {task: {**one, "by": 0} for task, one in unread.items()} == {
        task: {**one, "by": 0} for task, one in before.items()
    }
    assert reading_due(home.registry, now=NOW, after_s=0) is not None
    look = promoted.look()
    assert reading_due(home.registry, now=NOW, after_s=0) is None
    after = promoted.forecasts()
    for task, one in after.items():
        assert one["by"]["used"] == "model"
        assert (one["by"]["candidate_id"], one["by"]["outlook_sha256"]) == ("est-1", look.outlook_sha256)
        assert {name: cost(after, task)["priors"][name] for name in ("median", "low", "high")} == {
            name: cost(before, task)[name] for name in ("median", "low", "high")
        }
    known = [task for task in TASKS if task != "new"]
    assert len({cost(after, task)["factor"] for task in known}) == len(known)
    assert cost(after, "new")["factor"] == 1.0
    # What is known of a task narrows what it may take, and so what is reserved for it.
    assert all(
        cost(after, task)["high"] / cost(after, task)["low"] < cost(before, task)["high"] / cost(before, task)["low"]
        for task in known
    )
    most = max(known, key=lambda task: float(cost(after, task)["factor"]))
    assert float(cap_of(after[most]) or 0) == pytest.approx(cost(after, most)["high"], abs=1e-6)
    told = promoted.rehearsed()
    assert told["by"]["used"] == "model"
    was = rehearsal["simulation_results"]["extrapolated_full"]["cost_usd"]
    assert told["simulation_results"]["extrapolated_full"]["cost_usd"] != was


@pytest.mark.live
def test_what_may_not_be_heard_leaves_the_priors_and_says_why(promoted: Heard) -> None:
    """A model that is gone, altered, stale or rolled back and is asked all the same is worse than none."""
    home = promoted.life.home
    home.promote("est-1")
    promoted.look()
    assert promoted.forecasts()["t3"]["by"]["used"] == "model"
    assert "last read the receipts" in why(promoted.forecasts(after=timedelta(hours=27)))
    assert "not there yet" in why(promoted.forecasts(after=timedelta(hours=-1)))
    for change, said in (
        (lambda one: replace(one, promotion_id="p"), "another model"),
        (lambda one: replace(one, model_sha256="ab" * 32), "another model"),
        (lambda one: replace(one, parts={}, withdrawn=(("cost_usd", "spend"),)), "stopped holding"),
    ):
        promoted.look()
        promoted.put(change)
        assert said in why(promoted.forecasts())
    promoted.look()
    with home.registry.writing() as session:
        session.execute(update(EstimateOutlook).values(document=EstimateOutlook.document + " "))
    assert "altered" in why(promoted.forecasts())
    promoted.look()
    content = promoted.file().read_bytes()
    promoted.file().write_bytes(content[:-1] + b"x")
    with pytest.raises(Conflict, match="not the model"):
        promoted.look()
    assert "not read the receipts" in why(promoted.forecasts())
    promoted.file().unlink()
    with pytest.raises(NoData):
        promoted.look()
    assert "not read the receipts" in why(promoted.forecasts())


@pytest.mark.live
def test_a_rollback_is_heard_by_the_next_forecast(promoted: Heard) -> None:
    """Who rolls back does not want the numbers of the one that was rolled back."""
    home = promoted.life.home
    home.promote("est-1")
    promoted.life.train("est-2")
    home.decide("est-2", "approve")
    home.promote("est-2")
    promoted.look()
    assert promoted.forecasts()["t3"]["by"]["candidate_id"] == "est-2"
    rollback(
        home.registry, places=home.places, family="estimates", reason="it is worse", actor=REVIEWER, clock=home.clock,
        ids=home.ids,
    )  # fmt: skip
    found = promoted.forecasts()
    assert "not read the receipts" in why(found)
    assert found["t3"]["by"]["candidate_id"] == "est-1"
    promoted.look()
    assert promoted.forecasts()["t3"]["by"]["candidate_id"] == "est-1"
    with home.registry.reading() as session:
        assert len(list(session.scalars(select(EstimateOutlook)))) == 1


@pytest.mark.live
def test_a_look_is_a_row_and_says_that_it_is_too_early_to_judge(promoted: Heard) -> None:
    """Three receipts after a promotion prove nothing."""
    promoted.life.home.promote("est-1")
    look = promoted.look()
    assert (look.action, look.codes, look.document["rows"]) == ("keep", (), 0)
    assert not any(one["judged"] for one in look.document["live"])
    with promoted.life.home.registry.reading() as session:
        (row,) = session.scalars(select(LiveSnapshot))
    assert (row.family, row.action, row.metrics_json["heard"]) == (
        "estimates", "keep", [["cost_usd", "effort"], ["cost_usd", "spend"]],
    )  # fmt: skip
    assert (promoted.life.home.root / row.path).is_file()
    dry = look_at_estimates(
        promoted.life.home.registry, data_dir=promoted.life.home.root, clock=promoted.life.home.clock, is_dry=True
    )
    assert (dry.number, dry.outlook_sha256) == (None, None)
