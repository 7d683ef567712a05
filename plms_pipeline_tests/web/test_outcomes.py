"""What becomes of every attack, every mutation of every role, and every job."""

from __future__ import annotations

from pathlib import Path

import pytest

from plms_pipeline.settings import project_root
from plms_pipeline.web.rules import JOBS, MUTATIONS
from plms_pipeline_tests.web import outcomes
from plms_pipeline_tests.web.doors import session, signed_door
from plms_pipeline_tests.web.outcomes import LET_THROUGH, ROLES, Behind, known

# Written down here and not taken from the rules: whoever changes them must mean it.
ADMIN_ONLY = {
    "reportRunlessAssetEvents", "reportAssetCheckEvaluations", "deletePipelineRun", "deleteRun", "wipeAssets",
    "deleteDynamicPartitions", "startSchedule", "stopRunningSchedule", "resetSchedule", "startSensor", "stopSensor",
    "resetSensor", "setSensorCursor", "setAutoMaterializePaused", "reloadRepositoryLocation", "reloadWorkspace",
    "shutdownRepositoryLocation", "setAppManagedComponent", "deleteAppManagedComponent", "refreshComponentState",
    "setConcurrencyLimit", "deleteConcurrencyLimit", "freeConcurrencySlotsForRun", "freeConcurrencySlots",
}  # fmt: skip
DECIDED_BY = {
    "approver": {
        "approve_project",
        "override_lane",
        "decide_kpi_override",
        "decide_candidate",
        "promote_candidate",
        "rollback_champion",
    },
    "admin": {
        "accept_ungated_lane",
        "killswitch",
        "reset_guards",
        "purge",
        "back_up",
        "silence_alert",
        "test_alert_channels",
        "job_without_a_rule",
    },
}


def may(codes: tuple[str, ...]) -> set[str]:
    return {role for role, code in zip(ROLES, codes, strict=True) if code == LET_THROUGH}


def test_each_role_may_what_it_may_and_no_other_mutation() -> None:
    """Six kinds of people, every mutation of Dagster's schema, and one that it has not."""
    found = {name: may(codes) for name, codes in outcomes.mutations()}
    assert found.pop("inventedTomorrow") == set()
    assert len(found) == len(MUTATIONS)
    for name, roles in found.items():
        assert roles == ({"admin"} if name in ADMIN_ONLY else {"operator", "approver", "admin"}), name


def test_each_role_launches_what_it_may_and_no_other_job() -> None:
    """A job that decides is launched by who may decide: else the Launchpad would be the way round every approval."""
    found = {name: may(codes) for name, codes in outcomes.jobs()}
    assert len(found) == len(JOBS) + 2
    for name, roles in found.items():
        least = next((role for role, names in DECIDED_BY.items() if name in names), "operator")
        people = ROLES[1:-1]
        assert roles == set(people[people.index(least) :]), name


def test_the_nameless_and_the_executor_change_nothing() -> None:
    """Reading is what a viewer's name is not needed for."""
    for name, codes in [*outcomes.mutations(), *outcomes.jobs()]:
        assert not may(codes) & {"nobody", "viewer", "pas"}, name
        assert codes[0] in ("sign_in_needed", "unknown_mutation")


@pytest.mark.parametrize("field", [name for name, rule in MUTATIONS.items() if rule.target])
@pytest.mark.parametrize("job", ["approve_project", "killswitch", "never_heard_of"])
def test_no_way_of_launching_repeating_or_ending_goes_round_the_job(field: str, job: str) -> None:
    """An operator who repeats an approval's run approves; one who ends the kill switch's run keeps it from working."""
    behind = Behind()
    door = signed_door(behind, look_up=known)
    body = outcomes.document_of(field, outcomes.arguments_of(field, job))
    assert outcomes.outcome(door, behind, "operator", body) == "missing_scope"
    approves = LET_THROUGH if job == "approve_project" else "missing_scope"
    assert outcomes.outcome(door, behind, "approver", body) == approves
    assert outcomes.outcome(door, behind, "admin", body) == LET_THROUGH


def test_no_attack_reaches_dagster() -> None:
    """In the browser of an administrator who is signed in, where each of them would do most."""
    found = dict(outcomes.attacks())
    assert len(found) >= 20
    assert LET_THROUGH not in found.values()
    assert all(code.startswith(("4", "closed")) for code in found.values())


def test_the_page_about_the_door_says_what_the_door_does() -> None:
    """`python -m plms_pipeline_tests.web.outcomes` renews it; a table that is not checked is a promise."""
    root = project_root()
    assert root is not None
    page = Path(root, outcomes.PAGE).read_text(encoding="utf-8")
    assert outcomes.renewed(page) == page
    assert session("admin")[1] not in page
