"""Does everything that can be done in the Dagster UI have a rule?"""

from __future__ import annotations

import pytest

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.roles import ROLES, SCOPES
from plms_pipeline.web.permits import NAMELESS, Grants
from plms_pipeline.web.rules import JOBS, MUTATIONS, PERMISSIONS, STRICTEST, Target, scopes_of_job


def grants(role: str) -> Grants:
    return Grants(Principal(f"a-{role}", ROLES[role], is_verified=True, role=role))


@pytest.mark.live
def test_every_mutation_of_dagster_s_schema_has_a_rule_and_no_other() -> None:
    """An upgrade of Dagster brings mutations that nobody has judged; until somebody has, they are refused to everybody."""
    from dagster_graphql.schema import create_schema

    schema = create_schema().graphql_schema
    assert schema.mutation_type is not None
    fields = schema.mutation_type.fields
    assert set(MUTATIONS) == set(fields)
    for name, rule in MUTATIONS.items():
        target = "reexecutionParams" if rule.target is Target.BACKFILL_AGAIN else rule.target.value
        assert not target or target in fields[name].args, name
    # What launches, repeats or ends takes one of these; nothing that does must be without a target.
    telling = {target.value for target in Target if target} - {Target.BACKFILL_AGAIN.value}
    for name, field in fields.items():
        if telling & set(field.args) and not name.startswith("freeConcurrency") and not name.startswith("delete"):
            assert MUTATIONS[name].target, name
    reading = schema.subscription_type
    assert reading is not None
    assert not set(reading.fields) & set(fields)


def test_every_job_has_a_rule_and_every_rule_a_job() -> None:
    """A job without one could be launched by administrators only, and nobody would know why."""
    from plms_pipeline.definitions import defs

    jobs = {job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
    assert set(JOBS) == jobs


def test_every_permission_of_dagster_has_a_rule() -> None:
    """Dagster greys out its buttons by them."""
    from dagster._core.workspace.permissions import Permissions

    assert set(PERMISSIONS) == {str(permission) for permission in Permissions}


def test_every_rule_asks_for_a_scope_that_exists() -> None:
    """A misspelt one would shut everybody out, or be held by nobody."""
    asked = {rule.scope for rule in MUTATIONS.values()} | set(JOBS.values()) | set(PERMISSIONS.values())
    assert asked <= SCOPES
    assert asked <= STRICTEST


@pytest.mark.parametrize(
    ("job", "scopes"),
    [
        ("__ASSET_JOB", {"projects.start"}),
        ("__ASSET_JOB_3", {"projects.start"}),
        ("__ASSET_JOB_x", STRICTEST),
        ("__ASSET_JOBS", STRICTEST),
        ("approve_project", {"approvals.write"}),
        ("Approve_Project", STRICTEST),
        (None, STRICTEST),
    ],
)
def test_a_job_without_a_rule_needs_all_that_there_is(job: str | None, scopes: set[str]) -> None:
    """Whatever is spelt unlike anything known."""
    assert scopes_of_job(job) == scopes


@pytest.mark.parametrize("permission", sorted(PERMISSIONS))
def test_dagster_s_permissions_follow_the_role(permission: str) -> None:
    """The buttons of the UI, for each role."""
    allowed = {role for role in ROLES if grants(role).reason_against(permission) is None}
    assert allowed in ({"operator", "approver", "admin"}, {"admin"})
    assert Grants(NAMELESS).reason_against(permission) == "You are looking on without a name; sign in at /login."


def test_a_launchpad_is_for_who_may_launch_its_job() -> None:
    """An approval's Launchpad is not shown to an operator, who may launch nearly everything else."""
    assert "approvals.write" in (
        grants("operator").reason_against_job("launch_pipeline_execution", "approve_project") or ""
    )
    assert grants("approver").reason_against_job("launch_pipeline_execution", "approve_project") is None
    assert grants("operator").reason_against_job("launch_pipeline_execution", "nightly") is None
    assert grants("operator").reason_against_job("launch_pipeline_execution", "never_heard_of") is not None
    assert grants("approver").reason_against_job("terminate_pipeline_execution", "killswitch") is not None
    assert grants("operator").reason_against("invented_permission") is not None
    assert grants("admin").reason_against("invented_permission") is None
