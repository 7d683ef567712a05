"""Does the life of a run owe its evidence in the transactions that make it owed, and does that evidence come?"""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select

from plms_pipeline.evidence.actions import observing
from plms_pipeline.evidence.obligations import evidence_config
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import EvidenceRecord, Obligation, Observation
from plms_pipeline.runs.actions.closing import close_due
from plms_pipeline.runs.actions.dispatch import dispatch_due
from plms_pipeline.runs.actions.settle import settle_due
from plms_pipeline.runs.actions.start import start_run
from plms_pipeline.runs.starting import StartRequest
from plms_pipeline.settings import Settings
from plms_pipeline_tests.pas.server import reference_pas
from plms_pipeline_tests.runs.worked import Planned, Watch, Worked, ended, rows
from plms_pipeline_tests.runs.worlds import AT, OWNER, WORLD, planned_project

GATED = 4202


@pytest.fixture
def worked(registry: Registry, settings: Settings) -> Worked:
    return Worked(registry, settings)


def observed(worked: Worked) -> dict[str, str]:
    """Kind → reason after one round at this moment; what still waits is missing."""
    config = evidence_config(worked.settings)
    watch = observing.Watch(worked.registry, worked.clock, config, "here:1:test", lambda: 0.0, lambda _lines: None)
    observing.observe_round(watch, {})
    with worked.registry.reading() as session:
        found = session.execute(select(Observation.evidence_kind, Observation.reason))
        return dict(found.all())


def test_a_task_that_is_judged_owes_its_kpi_receipts_and_has_them(worked: Worked) -> None:
    """Whether a gate was measured at all is asked by nobody else, once the run has its verdict."""
    run_id = worked.run([Planned("a", lane_id=GATED)])
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    assert (f"{run_id}/a", "kpi_receipts", "after_completion") in rows(
        worked.registry, Obligation, "subject_id", "evidence_kind", "obs_point"
    )
    assert observed(worked)["kpi_receipts"] == "ok"


def test_receipts_that_wait_for_their_measuring_are_owed_from_the_first_moment(worked: Worked) -> None:
    """Owed only when its turn came, a task that waited ten minutes for others to be measured looked punctual."""
    run_id = worked.run([Planned("a", lane_id=4200), Planned("b", lane_id=4200)])
    for task in "ab":
        worked.stage(run_id, task, {"made.py": f"x = '{task}'\n"})
        worked.tell(ended(run_id, task))
    settle_due(worked.world, holder="here", may_measure=False)
    assert {subject for (subject,) in rows(worked.registry, Obligation, "subject_id")} == {f"{run_id}/a", f"{run_id}/b"}
    worked.clock.passes(seconds=30)
    settle_due(worked.world, holder="here")
    assert {reason for _, reason in rows(worked.registry, Observation, "evidence_kind", "reason")} <= {"timeout"}
    assert observed(worked)["kpi_receipts"] == "timeout"


def test_a_lane_without_gates_owes_no_receipts(worked: Worked) -> None:
    """Evidence that nobody will ever write would be a timeout each time, and hide the real ones."""
    run_id = worked.run([Planned("a", lane_id=6100)])
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    assert {kind for (kind,) in rows(worked.registry, Obligation, "evidence_kind")} == {"heat"}


def test_a_run_that_ended_owes_heat_and_closing_it_writes_that(worked: Worked) -> None:
    """Heat is what the closing of a run leaves behind: one that hangs is seen by it."""
    run_id = worked.run([Planned("a", lane_id=6100), Planned("b", lane_id=6100)])
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, Obligation, "subject_id") == []
    worked.tell(ended(run_id, "b", ok=False))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, Obligation, "subject_id", "evidence_kind") == [(run_id, "heat")]
    assert observed(worked) == {}
    worked.clock.passes(seconds=1)
    close_due(worked.registry, settings=worked.settings, clock=worked.clock)
    assert observed(worked) == {"heat": "ok"}
    [(fields,)] = rows(worked.registry, EvidenceRecord, "fields_json")
    assert (fields["heat_level"], fields["drawdown"]) == ("cold", "0.500000")


def test_a_closing_that_hangs_is_a_timeout(worked: Worked) -> None:
    """It would be seen by nobody until somebody misses the report."""
    run_id = worked.run([Planned("a", lane_id=6100)])
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    worked.clock.passes(seconds=3)
    close_due(worked.registry, settings=worked.settings, clock=worked.clock)
    assert observed(worked) == {"heat": "timeout"}


def test_a_submitted_run_owes_its_provider_snapshot(registry: Registry, settings: Settings, tmp_path: Path) -> None:
    """Which provider version did the work is asked once, just after the submission: if that is lost, it is lost."""
    planned_project(registry)
    clock = Watch(AT)
    answer = start_run(
        registry, clock=clock, ids=lambda: str(uuid4()), actor=OWNER, request=StartRequest(42, str(uuid4())), world=WORLD,
        stopped=None,
    )  # fmt: skip
    with reference_pas(tmp_path / "pas", speed=0.001) as executor, executor.client() as pas:
        dispatch_due(
            registry, clock=clock, pas=pas, holder="here", data_dir=str(tmp_path), evidence=evidence_config(settings)
        )
    assert rows(registry, Obligation, "subject_id", "evidence_kind", "obs_point") == [
        (answer.run_id, "provider_snapshot", "after_submission")
    ]
    assert observed(Worked(registry, settings, clock)) == {"provider_snapshot": "ok"}


def test_an_observer_that_is_switched_off_is_owed_nothing(worked: Worked) -> None:
    """Obligations that nobody observes would pend for ever."""
    worked.settings = worked.settings.model_copy(update={"late_obs_enabled": False})
    run_id = worked.run([Planned("a", lane_id=GATED)])
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    close_due(worked.registry, settings=worked.settings, clock=worked.clock)
    assert rows(worked.registry, Obligation, "subject_id") == []
    assert rows(worked.registry, EvidenceRecord, "subject_id") == []


def test_settings_that_do_not_say_where_evidence_lies_stop_no_settlement(worked: Worked) -> None:
    """Fail-open to the pipeline: receipts and verdicts matter more than whether heat is observed."""
    worked.settings = worked.settings.model_copy(update={"evidence_backend": "redis"})
    run_id = worked.run([Planned("a", lane_id=GATED)])
    worked.tell(ended(run_id, "a"))
    assert settle_due(worked.world, holder="here").settled == 1
    assert rows(worked.registry, Obligation, "subject_id") == []


def test_a_redis_that_is_away_stops_no_closing(worked: Worked) -> None:
    """The report of a run must not wait for a cache."""
    worked.settings = worked.settings.model_copy(
        update={
            "evidence_backend": "redis", "redis_url": "redis://127.0.0.1:1/0", "heat_lookup_prefix": "plms:heat:",
        }
    )  # fmt: skip
    run_id = worked.run([Planned("a", lane_id=6100)])
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    assert close_due(worked.registry, settings=worked.settings, clock=worked.clock) == [run_id]
    assert rows(worked.registry, Obligation, "lookup_ref") == [(f"redis:plms:heat:heat:{run_id}",)]
