"""People decide in Dagster: jobs with small typed configs, executed for real, and the classifier's asset."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest

from plms_pipeline.definitions import defs
from plms_pipeline.instance.actors import ACTOR_TAG, LAUNCHED_FROM_TAG, VERIFIED_TAG
from plms_pipeline.registry.engine import Registry
from plms_pipeline.resources import DOCUMENTS, Documents, Plms
from plms_pipeline.runs.actions.decide_lanes import override_lane
from plms_pipeline.runs.actions.projects import create_project, project
from plms_pipeline.runs.defs.lanes import lane_classifier
from plms_pipeline.runs.files.lane_classifier import learnt_lanes
from plms_pipeline.runs.plan_document import from_json
from plms_pipeline.settings import Settings
from plms_pipeline_tests.runs.desk import ANN, BEN, Desk
from plms_pipeline_tests.runs.test_lane_classifier import FEEDS, LEDGER, PORTAL

JOBS = ("approve_project", "override_lane", "accept_ungated_lane", "request_kpi_override", "decide_kpi_override")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings, sqlite_registry: Registry) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))


@pytest.fixture
def desk(sqlite_registry: Registry) -> Desk:
    return Desk(sqlite_registry)


def launched(
    job: str, config: dict[str, Any], actor: str = "ben", *, fails: bool = False, verified: str = "yes"
) -> dict[str, Any]:
    """Run a job as somebody whom the front door vouched for; the metadata of its one op."""
    definition = defs.resolve_job_def(job)
    [op] = [node.name for node in definition.nodes]
    with dg.DagsterInstance.ephemeral() as instance:
        result = definition.execute_in_process(
            run_config={"ops": {op: {"config": config}}}, instance=instance, raise_on_error=False,
            tags={ACTOR_TAG: actor, LAUNCHED_FROM_TAG: "ui", VERIFIED_TAG: verified},
        )  # fmt: skip
    assert result.success is not fails
    if fails:
        [failure] = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
        return {"failure": str(failure.event_specific_data)}
    # Dagster would keep an op's output as a pickle; what there is to say is metadata.
    assert not [event for event in result.all_events if event.event_type_value == "HANDLED_OUTPUT"]
    [output] = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def test_the_jobs_of_people_say_what_they_do_and_end_by_themselves() -> None:
    """The Launchpad is read by somebody who decides twice a year."""
    for name in JOBS:
        job = defs.resolve_job_def(name)
        assert len(job.description or "") > 40, name
        assert int(job.tags["dagster/max_runtime"]) <= 600
        [node] = job.nodes
        assert node.definition.config_schema is not None
        shown = str(node.definition.config_schema.config_type)
        assert shown


def test_a_project_is_approved_from_the_launchpad(desk: Desk) -> None:
    """And shows the plan that was approved."""
    view = desk.submitted()
    told = launched(
        "approve_project", {"project_id": view.id, "decision": "approve", "reason": "fine", "budget_usd": "7.50"}
    )
    assert (told["status"], told["budget_usd"], told["decided_by"]) == ("approved", 7.5, "ben")
    assert "| api | An endpoint | 4200 Code-API |" in told["plan"]
    assert project(desk.registry, view.id).status == "approved"


def test_a_project_is_sent_back_from_the_launchpad(desk: Desk) -> None:
    """The same job, the other word."""
    view = desk.submitted()
    told = launched("approve_project", {"project_id": view.id, "decision": "reject", "reason": "too dear"})
    assert told["status"] == "planning"


@pytest.mark.parametrize(
    ("actor", "verified"),
    [("ann", "yes"), ("ben", "no"), ("ben", ""), ("local:ben", "yes"), ("anonymous:unguarded", "yes")],
)
def test_the_launchpad_knows_no_other_second_person(desk: Desk, actor: str, verified: str) -> None:
    """Run configuration and tags are written by whoever launches; only the front door's name counts."""
    view = desk.submitted()
    config = {"project_id": view.id, "decision": "approve", "reason": "fine"}
    told = launched("approve_project", config, actor, fails=True, verified=verified)
    assert "same_person" in told["failure"] or "unverified_decider" in told["failure"]
    assert project(desk.registry, view.id).status == "pending_approval"


def test_one_person_alone_decides_when_nobody_is_checked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """PLMS_AUTH=disabled on a laptop."""
    monkeypatch.setenv("PLMS_AUTH", "disabled")
    view = desk.submitted()
    config = {"project_id": view.id, "decision": "approve", "reason": "fine"}
    assert launched("approve_project", config, "local:ann")["decided_by"] == "local:ann (unverified)"


def test_bad_input_fails_with_its_sentence_and_is_not_retried(desk: Desk) -> None:
    """Validators of pydantic do not run in the Launchpad, so the domain says what is wrong."""
    view = desk.submitted()
    for config, word in (
        ({"project_id": view.id, "decision": "approve", "reason": " "}, "missing_reason"),
        ({"project_id": view.id, "decision": "approve", "reason": "x", "budget_usd": "lots"}, "bad_amount"),
        ({"project_id": 99, "decision": "approve", "reason": "x"}, "unknown_project"),
    ):
        assert word in launched("approve_project", config, fails=True)["failure"]


def test_an_override_is_asked_for_and_decided_from_the_launchpad(desk: Desk) -> None:
    """Both show KPI receipts; the second is somebody else."""
    project_id = desk.approved().id
    desk.run(project_id, "run-1")
    desk.put(project_id, "needs_review")
    asked = launched("request_kpi_override", {"run_id": "run-1", "reason": "runner down", "teach": True}, "ann")
    assert "| api | test_pass_rate | 0.8 |" in asked["kpi_receipts"]
    config = {
        "run_id": "run-1", "decision": "approve", "reason": "I ran them", "evidence_sha256": asked["evidence_sha256"],
    }  # fmt: skip
    assert "same_person" in launched("decide_kpi_override", config, "ann", fails=True)["failure"]
    told = launched("decide_kpi_override", config)
    assert (told["validation"], told["effective_verdict"], told["teaches"]) == ("failed", "passed", True)
    assert told["project_status"] == "completed"
    assert "too few tests pass" in told["kpi_receipts"]


def test_lanes_are_decided_from_the_launchpad(desk: Desk) -> None:
    """A correction, and a lane whose ungated work teaches."""
    view = desk.planned()
    task = view.tasks[0].id
    told = launched("override_lane", {"task_id": task, "lane": "Data-Ingest", "reason": "it fetches"})
    assert (told["predicted_lane"], told["corrected_lane"], told["task"]) == (4200, 5101, "An endpoint")
    accepted = launched("accept_ungated_lane", {"lane": "6100", "reason": "looked at"})
    assert (accepted["accepted"], accepted["lane_name"]) == (True, "Model-Train")
    assert "already_decided" in launched("accept_ungated_lane", {"lane": "6100", "reason": "x"}, fails=True)["failure"]


def night() -> dict[str, Any]:
    result = dg.materialize([lane_classifier], resources={"plms": Plms(), DOCUMENTS: Documents()})
    [found] = result.asset_materializations_for_node("lane_classifier")
    return {name: value.value for name, value in found.metadata.items()}


@pytest.mark.live
def test_corrections_teach_the_next_project(desk: Desk, settings: Settings) -> None:
    """Correct two dozen tasks, let a night pass, and the next one of that kind finds its lane by itself."""
    assert night()["state"] == "too_little"
    texts = [(text, lane) for group, lane in ((LEDGER, "5102"), (PORTAL, "4201"), (FEEDS, "5101")) for text in group]
    view = desk.planned(tasks=[{"key": f"t{n}", "name": text, "lane": 4200} for n, (text, _) in enumerate(texts)])
    for task, (_, lane) in zip(view.tasks, texts, strict=True):
        override_lane(
            desk.registry, task.id, lane, clock=desk.clock, ids=desk.ids, actor=BEN, reason="ours", alpha=0.3
        )  # fmt: skip
    told = night()
    assert (told["state"], told["dagster/row_count"], told["speaks"]) == ("trained", 24, True)
    assert told["accuracy"] > told["keyword_accuracy"]
    again = json.loads((settings.data_dir / "documents" / "lane_classifier.json").read_text())
    night()
    assert json.loads((settings.data_dir / "documents" / "lane_classifier.json").read_text()) == again
    root = from_json({"name": "next", "provider": "m", "tasks": [{"key": "a", "name": "close the ledger"}]})
    learnt = learnt_lanes(settings.data_dir)
    made = create_project(desk.registry, root, "next", clock=desk.clock, actor=ANN, learnt=learnt)
    [task] = made.tasks
    assert (task.lane_id, task.lane_source) == (5102, "classifier")
    assert task.lane_confidence is not None


def test_a_broken_document_is_no_suggestion(settings: Settings) -> None:
    """Somebody edited it, or the disk was full; projects are created all the same."""
    path = settings.data_dir / "documents" / "lane_classifier.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    assert learnt_lanes(settings.data_dir) is None
    for text in ("", "{", "[]", '{"version": 1, "state": "trained"}', '{"version": 1, "state": "too_little"}'):
        path.write_text(text)
        assert learnt_lanes(settings.data_dir) is None
