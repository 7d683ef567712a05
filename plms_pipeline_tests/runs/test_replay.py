"""Does a replay repeat what was done, and say so when it cannot?"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select, text, update

from plms_pipeline.clock import Clock
from plms_pipeline.errors import Conflict, NoData, NotFound
from plms_pipeline.portfolio.buckets import Rate
from plms_pipeline.portfolio.policies import LauncherPolicy
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    AuditEntry,
    JobCard,
    OutboxEvent,
    Project,
    ProjectArtifact,
    ProjectRun,
    RunLineage,
    RunPassport,
    SessionReport,
    TaskPlan,
)
from plms_pipeline.runs.actions.replay import check_replay, compare_due, comparison_of, replay_run
from plms_pipeline.runs.actions.start import StartPolicy, start_run
from plms_pipeline.runs.passport import PassportWorld
from plms_pipeline.runs.replaying import compare
from plms_pipeline.runs.starting import StartAnswer, StartRequest
from plms_pipeline_tests.runs.worlds import AT, OWNER, PROVIDERS, WORLD, planned_project


def original(registry: Registry, clock: Clock, *, ended: bool = True, **asked: object) -> str:
    """A run that ended."""
    answer = start_run(
        registry, clock=clock, ids=lambda: str(uuid4()), actor=OWNER, world=WORLD, stopped=None,
        request=StartRequest(42, str(uuid4()), **asked),  # type: ignore[arg-type]
    )  # fmt: skip
    if ended:
        end(registry, answer.run_id)
    return answer.run_id


def end(registry: Registry, run_id: str) -> None:
    with registry.writing() as session:
        session.execute(update(ProjectRun).where(ProjectRun.run_id == run_id).values(status="RUNNING", started_at=AT))
        session.execute(update(ProjectRun).where(ProjectRun.run_id == run_id).values(status="SUCCESS", completed_at=AT))


def closed(registry: Registry, run_id: str, files: dict[str, str]) -> None:
    """As the closing of a run leaves it: files and a report."""
    with registry.writing() as session:
        for path, sha256 in files.items():
            session.execute(
                insert(ProjectArtifact).values(
                    run_id=run_id,
                    project_id=42,
                    artifact_path=f"runs/{run_id}/outputs/{path}",
                    sha256=sha256,
                    created_at=AT,
                )
            )
        session.execute(
            insert(SessionReport).values(run_id=run_id, sha256="0" * 64, report_json={}, path="p", written_at=AT)
        )


def replayed(
    registry: Registry, clock: Clock, run_id: str, *, world: PassportWorld = WORLD, drift: bool = False
) -> StartAnswer:
    return replay_run(
        registry, run_id, clock=clock, ids=lambda: str(uuid4()), actor=OWNER, key=str(uuid4()), world=world, stopped=None,
        accept_drift=drift,
    )[0]  # fmt: skip


def test_a_replay_is_a_run_of_its_own_that_names_its_parent(registry: Registry, clock: Clock) -> None:
    """The sources' script would have started under the original's id, and the executor would have refused or mixed both."""
    planned_project(registry)
    run_id = original(registry, clock)
    again = replayed(registry, clock, run_id)
    with registry.reading() as session:
        run = session.scalars(select(ProjectRun).where(ProjectRun.run_id == again.run_id)).one()
        lineage = session.scalars(select(RunLineage)).one()
        cards = session.scalars(select(JobCard.task_id).where(JobCard.run_id == again.run_id)).all()
    assert again.run_id != run_id
    assert (run.run_kind, lineage.parent_run_id, lineage.relation) == ("replay", run_id, "replay")
    assert sorted(cards) == ["a", "b", "c", "d"]


def test_a_completed_project_may_be_replayed_and_stays_completed(registry: Registry, clock: Clock) -> None:
    """What one wants to repeat is most often finished; repeating it must not reopen it."""
    planned_project(registry)
    run_id = original(registry, clock)
    with registry.writing() as session:
        session.execute(update(Project).values(status="completed"))
    assert replayed(registry, clock, run_id).run_id
    with pytest.raises(Conflict):
        original(registry, clock)
    with pytest.raises(Conflict):
        original(registry, clock, run_kind="replay")


def test_a_replay_of_a_completed_project_passes_the_launchers_guards(registry: Registry, clock: Clock) -> None:
    """Otherwise finished work is repeated without limit: its project's approval is over."""
    planned_project(registry)
    run_id = original(registry, clock)
    with registry.writing() as session:
        session.execute(update(Project).values(status="completed"))
    policy = StartPolicy(launcher=LauncherPolicy(1, Rate(100.0, 100.0), Decimal(50), "UTC", timedelta(hours=1)))

    def again() -> StartAnswer:
        return replay_run(
            registry, run_id, clock=clock, ids=lambda: str(uuid4()), actor=OWNER, key=str(uuid4()), world=WORLD,
            stopped=None, accept_drift=False, policy=policy,
        )[0]  # fmt: skip

    first = again()
    with pytest.raises(Conflict, match="concurrency_limited") as refused:
        again()
    assert refused.value.http_status == 429
    end(registry, first.run_id)
    assert again().run_id != first.run_id


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (update(TaskPlan).where(TaskPlan.task_key == "b").values(provider="openai/gpt-4"), "task b, provider"),
        (update(TaskPlan).where(TaskPlan.task_key == "b").values(command_json=["rm", "x"]), "task b, inputs_sha256"),
        (update(TaskPlan).where(TaskPlan.task_key == "d").values(depends_on_json=[]), "task d, depends_on"),
    ],
)
def test_a_changed_plan_refuses_the_replay_and_says_where(
    registry: Registry, clock: Clock, statement: object, named: str
) -> None:
    """`the hashes differ` helps nobody; a replay on other inputs proves nothing."""
    planned_project(registry)
    run_id = original(registry, clock)
    with registry.writing() as session:
        session.execute(statement)  # type: ignore[call-overload]
    with pytest.raises(Conflict) as refused:
        replayed(registry, clock, run_id)
    assert refused.value.code == "replay_differs"
    assert named in refused.value.message
    again = replayed(registry, clock, run_id, drift=True)
    with registry.reading() as session:
        noted = session.scalars(select(AuditEntry).where(AuditEntry.action == "run.replay")).one()
    assert noted.subject == f"run:{again.run_id}"
    assert named in noted.details_json["drift"]


def test_another_provider_version_refuses_the_replay(registry: Registry, clock: Clock) -> None:
    """The same prompt to another model is another experiment."""
    planned_project(registry)
    run_id = original(registry, clock)
    drifted = replace(WORLD, providers={**PROVIDERS, "openai/gpt-4": "gpt-4-0314"})
    with pytest.raises(Conflict, match="gpt-4-0613 then, gpt-4-0314 now"):
        replayed(registry, clock, run_id, world=drifted)


def test_newer_code_is_told_and_does_not_refuse(registry: Registry, clock: Clock) -> None:
    """Every commit would forbid every replay; the difference is noted all the same."""
    planned_project(registry)
    run_id = original(registry, clock)
    newer = replace(WORLD, git_commit="b" * 40)
    checked = check_replay(registry, run_id, world=newer)
    assert [difference.what for difference in checked.differences] == ["env.git_commit"]
    assert checked.refusing == ()
    assert replayed(registry, clock, run_id, world=newer).run_id


@pytest.mark.parametrize("table", ["passport", "run"])
def test_an_altered_passport_is_never_replayed(registry: Registry, clock: Clock, table: str) -> None:
    """Whoever can edit a row must not be able to make a replay agree with it, not even with --accept-drift."""
    planned_project(registry)
    run_id = original(registry, clock)
    with registry.writing() as session:
        if table == "passport":
            altered = session.scalars(select(RunPassport.passport_json)).one().replace("gpt-4-0613", "gpt-4-0314")
            session.execute(update(RunPassport).values(passport_json=altered))
        else:
            session.execute(text("UPDATE project_runs SET passport_sha256 = :sha"), {"sha": "f" * 64})
    with pytest.raises(Conflict) as refused:
        replayed(registry, clock, run_id, drift=True)
    assert refused.value.code == "passport_altered"


def test_what_is_under_way_or_unknown_is_not_replayed(registry: Registry, clock: Clock) -> None:
    """There is nothing to compare with yet."""
    planned_project(registry)
    run_id = original(registry, clock, ended=False)
    with pytest.raises(Conflict) as refused:
        replayed(registry, clock, run_id)
    assert refused.value.code == "run_not_ended"
    with pytest.raises(NotFound):
        replayed(registry, clock, "nobody")


def test_a_sample_is_replayed_as_the_same_sample(registry: Registry, clock: Clock) -> None:
    """A canary's replay that runs the whole plan spends twenty times as much."""
    planned_project(registry)
    run_id = original(
        registry, clock, run_kind="rehearsal", write_sandbox=True, tasks=frozenset({"a", "d"}), rehearsal_pct=0.5
    )
    again = replayed(registry, clock, run_id)
    with registry.reading() as session:
        assert sorted(session.scalars(select(JobCard.task_id).where(JobCard.run_id == again.run_id))) == ["a", "d"]


def test_the_files_of_both_runs_are_compared_once_both_are_closed(registry: Registry, clock: Clock) -> None:
    """A replay that nobody compares is a second bill; one that is compared too early finds everything missing."""
    planned_project(registry)
    run_id = original(registry, clock)
    closed(registry, run_id, {"a/1/x.py": "1" * 64, "a/1/y.py": "2" * 64})
    again = replayed(registry, clock, run_id).run_id
    written: dict[str, str] = {}

    def write(replay_id: str, document: str) -> bool:
        written[replay_id] = document
        return True

    assert compare_due(registry, clock=clock, holder="h", write=write) == 0
    with pytest.raises(NoData):
        comparison_of(registry, again)
    end(registry, again)
    closed(registry, again, {"a/1/x.py": "1" * 64, "a/1/y.py": "3" * 64})
    assert compare_due(registry, clock=clock, holder="h", write=write) == 1
    assert compare_due(registry, clock=clock, holder="h", write=write) == 0
    assert set(written) == {again}
    found = comparison_of(registry, again)
    assert (found.same, found.different, found.is_identical) == (("a/1/x.py",), ("a/1/y.py",), False)
    with registry.reading() as session:
        fact = session.scalars(select(AuditEntry).where(AuditEntry.action == "run.replay.compared")).one()
    assert (fact.subject, fact.outcome) == (f"run:{again}", "different")
    with pytest.raises(Conflict):
        comparison_of(registry, run_id)


def test_a_comparison_that_cannot_be_written_is_due_again(registry: Registry, clock: Clock) -> None:
    """A full disk must not lose it."""
    planned_project(registry)
    run_id = original(registry, clock)
    closed(registry, run_id, {})
    again = replayed(registry, clock, run_id).run_id
    end(registry, again)
    closed(registry, again, {})

    def full(_run: str, _text: str) -> bool:
        raise OSError(28, "No space left on device")

    assert compare_due(registry, clock=clock, holder="h", write=full) == 0
    with registry.reading() as session:
        row = session.scalars(select(OutboxEvent).where(OutboxEvent.kind == "compare_replay")).one()
    assert (row.state, row.due_at > clock.now()) == ("pending", True)


digests = st.dictionaries(st.sampled_from("abcdef"), st.none() | st.sampled_from(["1", "2"]))


@given(digests, digests)
def test_a_comparison_accounts_for_every_file_once(mine: dict[str, str | None], theirs: dict[str, str | None]) -> None:
    """Whatever both produced is the same, different, missing or extra, and nothing of unknown digest is the same."""
    found = compare("r", "p", mine, theirs)
    parts = [*found.same, *found.different, *found.missing, *found.extra]
    assert sorted(parts) == sorted({*mine, *theirs})
    assert all(mine[path] is not None and mine[path] == theirs[path] for path in found.same)
    assert found.is_identical == (mine == theirs and None not in mine.values())
    assert found.as_json()["n_same"] == len(found.same)
