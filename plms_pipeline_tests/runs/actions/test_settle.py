"""Do events become receipts, verdicts, ended runs and moved priors, each once, on both databases?"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from random import Random
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, func, select, text, update

from plms_pipeline.access.actors import Actor
from plms_pipeline.estimates.actions.believing import beliefs_at
from plms_pipeline.estimates.store.summaries import newest_priors
from plms_pipeline.intake.store import inbox
from plms_pipeline.intake.store.importing import mark_changed
from plms_pipeline.kpis.actions.judging import Judge, Judgement, Work
from plms_pipeline.measures import Basis
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    EstimateVersion,
    InboxEvent,
    JobCard,
    KpiReceipt,
    Project,
    ProjectRun,
    ReceiptDay,
    RunTask,
    StateTransition,
    TaskReceipt,
)
from plms_pipeline.runs.actions.decide_lanes import accept_ungated_lane
from plms_pipeline.runs.actions.settle import LEASE, MOST_ATTEMPTS, settle_due
from plms_pipeline.runs.receiving import Delivered, receipt_row
from plms_pipeline.runs.store import completions
from plms_pipeline.settings import Settings
from plms_pipeline_tests.runs.worked import AT, Planned, Worked, ended, outcomes, rows


@pytest.fixture
def worked(registry: Registry, settings: Settings, caplog: pytest.LogCaptureFixture) -> Iterator[Worked]:
    """A registry to work in; a batch that had to be split hid an error, and fails the test."""
    yield Worked(registry, settings)
    hidden = [record.exc_text or record.message for record in caplog.records if record.name.startswith("plms_pipeline")]
    assert not [text for text in hidden if "batch_split" in text or "Traceback" in text]


def test_a_run_whose_tasks_succeed_ends_and_moves_the_priors(worked: Worked) -> None:
    """Otherwise finished work would stay open for ever, and nothing would be learnt from it."""
    run_id = worked.run([Planned("a"), Planned("b")])
    worked.tell(ended(run_id, "a"))
    worked.tell(ended(run_id, "b", cost=0.5))
    result = settle_due(worked.world, holder="here")
    assert (result.settled, result.receipts, result.ended_runs) == (2, 2, (run_id,))
    assert rows(worked.registry, ProjectRun, "status", "validation") == [("SUCCESS", "ungated")]
    assert rows(worked.registry, RunTask, "task_id", "status") == [("a", "SUCCESS"), ("b", "SUCCESS")]
    assert rows(worked.registry, JobCard, "state") == [("ENDED",), ("ENDED",)]
    assert rows(worked.registry, Project, "status", "actual_cost_usd", "actual_tokens", "token_error_pct") == [
        ("completed", Decimal("0.75"), 3000, 200.0)
    ]
    assert rows(worked.registry, ReceiptDay, "day", "summarised_seq") == [(AT.date(), 0)]
    with worked.registry.reading() as session:
        found = session.scalars(
            select(EstimateVersion.n_observations).where(
                EstimateVersion.basis == "spend",
                EstimateVersion.lane_id == 6100,
                EstimateVersion.provider_name == "maker/one",
            )
        ).all()
    assert found == [2]
    assert not settle_due(worked.world, holder="here").did_something


def test_a_failed_task_fails_its_run_and_what_waits_for_it_is_skipped(worked: Worked) -> None:
    """A task that waits for one that failed would otherwise keep its run open for ever."""
    tasks = [Planned("a"), Planned("b", depends_on=["a"], is_submitted=False)]
    run_id = worked.run([*tasks, Planned("c", depends_on=["b"], is_submitted=False)])
    worked.tell(ended(run_id, "a", ok=False))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, RunTask, "task_id", "status") == [("a", "FAIL"), ("b", "SKIPPED"), ("c", "SKIPPED")]
    assert rows(worked.registry, ProjectRun, "status", "validation") == [("FAIL", "failed")]
    assert rows(worked.registry, Project, "status") == [("needs_review",)]
    assert rows(worked.registry, TaskReceipt, "task_id", "status") == [("a", "FAIL")]


def test_an_artifact_that_fails_its_gate_ends_well_and_is_not_good(worked: Worked) -> None:
    """Whether work ended and whether it was good are two questions."""
    run_id = worked.run([Planned("guide", lane_id=4202)])
    worked.stage(run_id, "guide", {"generated_docs.md": "The cat sat on the mat. " * 40})
    worked.tell(ended(run_id, "guide"))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "status", "validation") == [("SUCCESS", "passed")]
    other = worked.run([Planned("nothing", lane_id=4202)])
    worked.tell(ended(other, "nothing"))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "status", "validation") == [("SUCCESS", "failed"), ("SUCCESS", "passed")]
    kpis = rows(worked.registry, KpiReceipt, "task_id", "kpi_name", "pass_")
    assert kpis == [("guide", "readability", True), ("nothing", "readability", False)]
    assert rows(worked.registry, Project, "status") == [("completed",), ("needs_review",)]


def test_a_repeated_event_counts_once(worked: Worked) -> None:
    """At least once is all that an executor can promise."""
    run_id = worked.run([Planned("a"), Planned("b")])
    assert not worked.tell(ended(run_id, "a"), event_id="one").duplicate
    assert worked.tell(ended(run_id, "a"), event_id="one").duplicate
    worked.tell(ended(run_id, "a"), event_id="two")
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, TaskReceipt, "task_id", "attempt") == [("a", 1)]
    assert outcomes(worked.registry) == [
        ("settled", "succeeded, ungated"),
        ("ignored", "this attempt is booked already"),
    ]


def test_a_failed_attempt_is_tried_again_as_often_as_the_project_allows(worked: Worked) -> None:
    """A card of its own, so that the executor cannot take the second attempt for the first."""
    run_id = worked.run([Planned("a")], max_attempts=2)
    worked.tell(ended(run_id, "a", ok=False))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, JobCard, "attempt", "state") == [(1, "ENDED"), (2, "WAITING")]
    assert rows(worked.registry, RunTask, "status") == [("RUNNING",)]
    worked.tell(ended(run_id, "a", ok=False, attempt=2))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "status") == [("FAIL",)]
    assert rows(worked.registry, TaskReceipt, "attempt", "status") == [(1, "FAIL"), (2, "FAIL")]


READABLE = {"generated_docs.md": "The cat sat on the mat. " * 40}


def taught(worked: Worked, basis: Basis) -> dict[int, int]:
    """Lane → receipts that teach on a basis."""
    with worked.registry.reading() as session:
        tallies = beliefs_at(session, AT + timedelta(hours=1), alpha=0.3).bases[basis].tallies
    return {lane: tally.included for (lane, _), tally in tallies.items() if tally.included}


def test_a_failed_first_attempt_of_a_run_that_passes_teaches_spend_and_not_effort(worked: Worked) -> None:
    """What a failure took is no estimate of what success takes; the money is spent all the same."""
    run_id = worked.run([Planned("guide", lane_id=4202)], max_attempts=2)
    worked.tell(ended(run_id, "guide", ok=False, cost=9.0))
    settle_due(worked.world, holder="here")
    worked.stage(run_id, "guide", READABLE, attempt=2)
    worked.tell(ended(run_id, "guide", attempt=2))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "status", "validation") == [("SUCCESS", "passed")]
    assert (taught(worked, "effort"), taught(worked, "spend")) == ({4202: 1}, {4202: 2})
    with worked.registry.reading() as session:
        found = {row.basis: row for row in newest_priors(session) if row.lane_id == 4202 and row.provider_name != "*"}
    assert (found["effort"].n_observations, found["spend"].n_observations) == (1, 2)
    assert found["spend"].attempts_per_task == 2.0


def test_a_task_without_gates_teaches_only_after_its_lane_was_accepted(worked: Worked) -> None:
    """Its run passes by the gates of its neighbours, which say nothing about work that nobody judged."""
    run_id = worked.run([Planned("guide", lane_id=4202), Planned("free", lane_id=6100)])
    worked.stage(run_id, "guide", READABLE)
    for name in ("guide", "free"):
        worked.tell(ended(run_id, name))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "validation") == [("passed",)]
    assert rows(worked.registry, RunTask, "task_id", "validation") == [("free", "ungated"), ("guide", "passed")]
    assert taught(worked, "effort") == {4202: 1}
    assert taught(worked, "spend") == {4202: 1, 6100: 1}
    accept_ungated_lane(
        worked.registry, "6100", clock=worked.clock, ids=lambda: str(uuid4()), actor=Actor("lead", is_verified=True),
        reason="looked at",
    )  # fmt: skip
    assert taught(worked, "effort") == {4202: 1, 6100: 1}


def test_a_verdict_of_a_task_that_somebody_changes_marks_its_days(worked: Worked) -> None:
    """It moves receipts in or out of what teaches; a day that is not marked keeps its summary for ever."""
    run_id = worked.run([Planned("a")])
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    (before,) = rows(worked.registry, ReceiptDay, "changed_seq")
    with worked.registry.writing() as session:
        session.execute(update(RunTask).values(validation="passed"))
    assert rows(worked.registry, ReceiptDay, "changed_seq") == [(before[0] + 1,)]


def test_a_rehearsal_in_the_sandbox_is_ungated_where_nothing_was_written(worked: Worked) -> None:
    """Its writes are suppressed: no artifact is what was asked for, not a failed gate. What it did stage is measured."""
    run_id = worked.run([Planned("a", lane_id=4200), Planned("b", lane_id=4202)], kind="rehearsal")
    for name in ("a", "b"):
        worked.tell(ended(run_id, name))
    assert settle_due(worked.world, holder="here").ended_runs == (run_id,)
    assert rows(worked.registry, ProjectRun, "status", "validation") == [("SUCCESS", "ungated")]
    assert rows(worked.registry, KpiReceipt, "id") == []
    other = worked.run([Planned("c", lane_id=4202)], kind="rehearsal")
    worked.stage(other, "c", {"generated_docs.md": "Incomprehensibilities notwithstanding, " * 60})
    worked.tell(ended(other, "c"))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "validation") == [("failed",), ("ungated",)]
    assert taught(worked, "effort") == {}


def test_what_one_measurement_answers_is_settled_together(
    sqlite_registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version of every prior for each of two hundred equal artifacts would fill the books with what nobody ever asks."""
    worked = Worked(sqlite_registry, settings)
    run_id = worked.run([Planned(name, lane_id=4202) for name in "abcdef"])
    for name in "abcdef":
        worked.stage(run_id, name, READABLE)
        worked.tell(ended(run_id, name))
    result = settle_due(worked.world, holder="here")
    assert (result.settled, result.ended_runs) == (6, (run_id,))
    versions = rows(worked.registry, EstimateVersion, "lane_id", "provider_name", "basis", "version")
    assert max(version for *_, version in versions) == 1


def test_a_settler_that_lost_its_events_meanwhile_takes_nothing_from_who_has_them(
    worked: Worked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that slept through its lease and then failed would refuse, or set free, what another is about to settle."""
    run_id = worked.run([Planned("a", lane_id=4202)])
    worked.stage(run_id, "a", READABLE)
    worked.tell(ended(run_id, "a"))
    with worked.registry.writing() as session:
        session.execute(update(InboxEvent).values(attempts=MOST_ATTEMPTS))
    taken: list[object] = []

    def overslept(self: Judge, work: Work) -> Judgement:
        worked.clock.passes(minutes=60)
        with worked.registry.writing() as session:
            now = worked.clock.now()
            taken.extend(inbox.claim(session, holder="other", now=now, lease_until=now + LEASE, limit=9))
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Judge, "judge", overslept)
    assert settle_due(worked.world, holder="here").refused == 0
    assert len(taken) == 1
    assert rows(worked.registry, InboxEvent, "state", "lease_holder") == [("pending", "other")]


def test_events_that_were_only_put_back_were_not_tried(worked: Worked) -> None:
    """A sensor that may not measure would use up the tries of a measurement that has a system to wait for."""
    run_id = worked.run([Planned("a", lane_id=4202)])
    worked.stage(run_id, "a", READABLE)
    worked.tell(ended(run_id, "a"))
    for _ in range(MOST_ATTEMPTS):
        assert settle_due(worked.world, holder="here", may_measure=False).deferred == 1
    assert rows(worked.registry, InboxEvent, "attempts") == [(0,)]


@pytest.mark.parametrize("lost", [{"cost_usd": None}, {"time_ms": None}, {"tokens_in": None, "tokens_out": None}])
def test_what_an_attempt_took_may_be_unknown(worked: Worked, lost: dict[str, None]) -> None:
    """Unknown is no zero: it is left out of sums and priors, and stops nothing."""
    run_id = worked.run([Planned("a"), Planned("b")])
    worked.tell(ended(run_id, "a", **lost))
    worked.tell(ended(run_id, "b"))
    assert settle_due(worked.world, holder="here").ended_runs == (run_id,)
    assert rows(worked.registry, Project, "status", "actual_cost_usd") == [
        ("completed", Decimal("0.25") if lost == {"cost_usd": None} else Decimal("0.5"))
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"cost_usd": -1}, {"cost_usd": float("nan")}, {"time_ms": 10**40}, {"tokens_in": 2**62}, {"cost_usd": 99_999}],
)
def test_impossible_numbers_are_refused_with_their_reason_and_never_booked(
    worked: Worked, wrong: dict[str, float]
) -> None:
    """A NaN in the books would poison every prior that it touches."""
    run_id = worked.run([Planned("a")])
    worked.tell(ended(run_id, "a", **wrong))
    settle_due(worked.world, holder="here")
    ((state, said),) = outcomes(worked.registry)
    assert state == "refused"
    assert said.startswith("receipt.")
    assert rows(worked.registry, TaskReceipt, "id") == []
    assert rows(worked.registry, RunTask, "status") == [("RUNNING",)]


def test_a_late_event_books_what_was_spent_and_moves_no_state(worked: Worked) -> None:
    """Money that was spent is a fact, and an ended run never changes."""
    run_id = worked.run([Planned("a")])
    worked.tell({"run_id": run_id, "reason": "the executor does not know this run"}, endpoint="run_lost")
    settle_due(worked.world, holder="here")
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "status") == [("FAIL",)]
    assert rows(worked.registry, RunTask, "status") == [("FAIL",)]
    assert rows(worked.registry, TaskReceipt, "task_id") == [("a",)]
    assert outcomes(worked.registry)[1][0] == "settled"


def test_an_event_faster_than_the_note_of_the_submission_is_booked_all_the_same(worked: Worked) -> None:
    """The executor may end a task before the process that submitted it has written so down."""
    run_id = worked.run([Planned("a")], status="QUEUED")
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, ProjectRun, "status") == [("SUCCESS",)]


def books(registry: Registry) -> dict[str, list[tuple[object, ...]]]:
    """Everything that settlement writes, but for ids and moments of writing."""
    with registry.reading() as session:
        newest = {(row.lane_id, row.provider_name, row.basis): row.priors_json for row in newest_priors(session)}
    return {
        "runs": rows(registry, ProjectRun, "run_id", "status", "validation"),
        "tasks": rows(registry, RunTask, "run_id", "task_id", "status", "validation"),
        "cards": rows(registry, JobCard, "run_id", "task_id", "attempt", "state"),
        "receipts": rows(registry, TaskReceipt, "run_id", "task_id", "attempt", "cost_usd", "status", "row_sha256"),
        "projects": rows(registry, Project, "id", "status", "actual_cost_usd", "actual_tokens"),
        "priors": sorted((str(key), text) for key, text in newest.items()),
    }


@pytest.mark.parametrize("seed", range(3))
def test_the_books_do_not_know_in_which_order_or_how_often_events_came(
    worked: Worked, seed: int, tmp_path: Path, migrated_sqlite: Path
) -> None:
    """The same events in another order, some of them twice, in other batches: equal books, the priors to the last digit."""
    random = Random(seed)
    shutil.copyfile(migrated_sqlite, tmp_path / "plain.db")
    plain = Worked(Registry.open(f"sqlite:///{tmp_path}/plain.db"), worked.settings, worked.clock)
    names = [f"t{number}" for number in range(8)]
    ids = [str(uuid4()) for _ in range(3)]
    for place in (plain, worked):
        for run_id in ids:
            place.run([Planned(name, lane_id=random_lane(name)) for name in names], run_id=run_id)
    told = [
        ended(run_id, name, ok=(hash_of(run_id, name) % 5 > 0), cost=0.01 * (1 + hash_of(run_id, name) % 97))
        for run_id in ids
        for name in names
    ]
    mixed = [*told, *random.choices(told, k=10)]
    random.shuffle(mixed)
    for number, document in enumerate(told):
        plain.tell(document, event_id=f"plain-{number}")
    settle_due(plain.world, holder="here")
    for number, document in enumerate(mixed):
        worked.tell(document, event_id=f"mixed-{number}")
        if random.random() < 0.2:
            settle_due(worked.world, holder="here", limit=random.randint(1, 5))
    while settle_due(worked.world, holder="here", limit=3).did_something:
        pass
    assert books(worked.registry) == books(plain.registry)
    plain.registry.close()


def random_lane(name: str) -> int:
    return (6100, 6101)[int(name[1:]) % 2]


def hash_of(run_id: str, name: str) -> int:
    return int(sha256(f"{run_id}{name}".encode()).hexdigest()[:8], 16)


def test_a_settlement_reads_a_whole_run_once(worked: Worked, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of ten thousand tasks takes a tenth of a second to read: read twice, its events settle at half the pace."""
    run_id = worked.run([Planned(f"t{number}") for number in range(30)])
    read: list[int] = []
    whole = completions.books_of

    def counted(*args: Any, **kwargs: Any) -> Any:
        books = whole(*args, **kwargs)
        read.append(sum(len(run.tasks) for run in books.runs.values()))
        return books

    monkeypatch.setattr(completions, "books_of", counted)
    for number in (3, 4, 30):
        worked.tell(ended(run_id, f"t{number}"))
    result = settle_due(worked.world, holder="here")
    assert (result.settled, result.refused) == (2, 1)
    assert read == [2, 30]


def test_two_settlements_at_once_end_a_run_once(worked: Worked) -> None:
    """Each of them settles one of the last two tasks; neither may overlook the other's, nor both end the run."""
    for _ in range(5):
        run_id = worked.run([Planned("a"), Planned("b")])
        for name in ("a", "b"):
            worked.tell(ended(run_id, name))
        at_once = Barrier(2)

        def settle(holder: str, at_once: Barrier = at_once) -> None:
            at_once.wait()
            while settle_due(worked.world, holder=holder, limit=1).did_something:
                pass

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(settle, name) for name in ("one", "two")]:
                done.result()
        with worked.registry.reading() as session:
            ends = session.scalar(
                select(func.count())
                .select_from(StateTransition)
                .where(StateTransition.subject_id == run_id, StateTransition.is_terminal)
            )
        assert ends == 1
    assert {status for (status,) in rows(worked.registry, ProjectRun, "status")} == {"SUCCESS"}


def test_a_crash_before_the_commit_leaves_nothing_and_the_events_are_due_again(
    worked: Worked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a settlement would be a receipt without its prior, or a run without its verdict."""
    run_id = worked.run([Planned("a")])
    worked.tell(ended(run_id, "a"))
    before = books(worked.registry)
    monkeypatch.setattr("plms_pipeline.runs.actions.settle.refresh_priors", _crash)
    with pytest.raises(KeyboardInterrupt):
        settle_due(worked.world, holder="here")
    monkeypatch.undo()
    assert books(worked.registry) == before
    assert not settle_due(worked.world, holder="other").did_something
    worked.clock.passes(minutes=2)
    assert settle_due(worked.world, holder="other").ended_runs == (run_id,)


def waits_for_a_lock(registry: Registry) -> bool:
    # In a transaction of its own each time: PostgreSQL shows one the same activity until it ends.
    asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with registry.reading() as session:
        return bool(session.scalar(text(asked)))


def test_a_settlement_and_an_import_never_wait_for_each_other(postgres_registry_url: str, settings: Settings) -> None:
    """PostgreSQL would end one of the two; an import of an hour would fail because a run ended."""
    registry = Registry.open(postgres_registry_url)
    worked = Worked(registry, settings)
    run_id = worked.run([Planned("a"), Planned("b")])
    worked.tell(ended(run_id, "a", at=AT - timedelta(days=1)))
    settle_due(worked.world, holder="here")
    with registry.writing() as session:
        mark_changed(session, [AT.date()])
    worked.tell(ended(run_id, "b"))
    with ThreadPoolExecutor(1) as pool:
        with registry.writing() as importing:
            mark_changed(importing, [AT.date() - timedelta(days=1)])
            settling = pool.submit(settle_due, worked.world, holder="here")
            while not waits_for_a_lock(registry) and not settling.done():
                time.sleep(0.01)
            mark_changed(importing, [AT.date()])
        assert settling.result().ended_runs == (run_id,)
    assert rows(registry, ReceiptDay, "day", "changed_seq") == [
        (AT.date() - timedelta(days=1), 4), (AT.date(), 5),
    ]  # fmt: skip
    registry.close()


class Killed(BaseException):
    """What no program may catch."""


# A cursor that a kill leaves behind complains when it is collected; a killed process collects nothing.
@pytest.mark.live
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_kill_between_any_two_statements_leaves_nothing_or_everything(worked: Worked) -> None:
    """Not only before the commit: at each statement that writes, of which every one is somewhere the first that is missing.

    A kill before a question leaves what a kill before the next writing statement leaves.
    """
    seen, limit = 0, 0
    # Where a transaction begins and ends is the same on both; statement by statement it is tried on the faster one.
    step = 1 if worked.registry.dialect == "sqlite" else 4

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal seen
        if statement.lstrip().upper().startswith("SELECT"):
            return
        seen += 1
        if seen == limit:
            raise Killed

    def whole(run_id: str) -> tuple[object, ...]:
        with worked.registry.reading() as session:
            return (
                session.scalar(select(ProjectRun.status).where(ProjectRun.run_id == run_id)),
                session.scalar(select(func.count()).select_from(TaskReceipt).where(TaskReceipt.run_id == run_id)),
                session.scalar(select(func.count()).select_from(KpiReceipt).where(KpiReceipt.run_id == run_id)),
                session.scalar(select(InboxEvent.state).where(InboxEvent.run_id == run_id)),
            )

    done, nothing, kills = ("SUCCESS", 1, 1, "settled"), ("RUNNING", 0, 0, "pending"), 0
    while kills * step == limit:
        run_id = worked.run([Planned("guide", lane_id=4202)])
        worked.stage(run_id, "guide", READABLE)
        worked.tell(ended(run_id, "guide"))
        seen, limit = 0, limit + step
        event.listen(worked.registry.engine, "before_cursor_execute", count)
        try:
            settle_due(worked.world, holder=f"killed-{limit}")
        except Killed:
            kills += 1
        finally:
            event.remove(worked.registry.engine, "before_cursor_execute", count)
        assert whole(run_id) in (done, nothing)
        settle_due(worked.world, holder="next", is_dead=lambda holder: holder.startswith("killed"))
        assert whole(run_id) == done
    assert limit > 15
    with worked.registry.reading() as session:
        receipts = session.scalar(select(func.count()).select_from(TaskReceipt))
        newest = {(row.lane_id, row.provider_name, row.basis): row.n_observations for row in newest_priors(session)}
    assert {newest[4202, "maker/one", basis] for basis in ("effort", "spend")} == {receipts}


def test_an_event_of_an_attempt_that_another_one_followed_changes_nothing(worked: Worked) -> None:
    """An executor that changes its mind about the first attempt would otherwise end the task under the second's hands."""
    run_id = worked.run([Planned("a")], max_attempts=2)
    worked.tell(ended(run_id, "a", ok=False), event_id="first")
    settle_due(worked.world, holder="here")
    worked.tell(ended(run_id, "a", cost=7.0), event_id="second thoughts")
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, JobCard, "attempt", "state") == [(1, "ENDED"), (2, "WAITING")]
    worked.tell(ended(run_id, "a", attempt=2))
    worked.tell(ended(run_id, "a", attempt=3))
    settle_due(worked.world, holder="here")
    assert rows(worked.registry, TaskReceipt, "attempt", "status", "cost_usd") == [
        (1, "FAIL", Decimal("0.25")), (2, "SUCCESS", Decimal("0.25")),
    ]  # fmt: skip
    assert [state for state, _ in outcomes(worked.registry)] == ["settled", "ignored", "settled", "refused"]
    assert rows(worked.registry, ProjectRun, "status") == [("SUCCESS",)]


def _crash(*_: object, **__: object) -> int:
    raise KeyboardInterrupt


def test_one_event_that_cannot_be_settled_does_not_hold_up_the_others(
    sqlite_registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in one corner must not stop all runs; after some tries the event is put aside with its reason."""
    worked = Worked(sqlite_registry, settings)
    run_id = worked.run([Planned("a"), Planned("b")])
    worked.tell(ended(run_id, "a"))
    worked.tell(ended(run_id, "b"))
    real = receipt_row

    def broken(found: Delivered, *arguments: Any, **more: Any) -> dict[str, Any]:
        if found.done.task_id == "a":
            raise ZeroDivisionError("a bug")
        return real(found, *arguments, **more)

    monkeypatch.setattr("plms_pipeline.runs.actions.settle_rows.receipt_row", broken)
    for _ in range(MOST_ATTEMPTS):
        settle_due(worked.world, holder="here")
        worked.clock.passes(minutes=1)
    assert [state for state, _ in outcomes(worked.registry)] == ["refused", "settled"]
    assert "ZeroDivisionError: a bug" in outcomes(worked.registry)[0][1]
    assert rows(worked.registry, RunTask, "task_id", "status") == [("a", "RUNNING"), ("b", "SUCCESS")]


def test_a_clock_that_jumps_back_stops_nothing(worked: Worked) -> None:
    """A run never ends before it began, and beliefs do not move backwards."""
    run_id = worked.run([Planned("a")])
    worked.tell(ended(run_id, "a", at=AT - timedelta(hours=3)))
    with worked.registry.writing() as session:
        session.execute(update(RunTask).values(started_at=AT + timedelta(minutes=10)))
    worked.clock.passes(hours=-2)
    settle_due(worked.world, holder="here")
    with worked.registry.reading() as session:
        started, completed = session.execute(select(ProjectRun.started_at, ProjectRun.completed_at)).one()
        begun, done = session.execute(select(RunTask.started_at, RunTask.completed_at)).one()
    assert completed >= started
    assert done >= begun
    assert rows(worked.registry, ProjectRun, "status") == [("SUCCESS",)]


@pytest.mark.parametrize("holder", ["elsewhere:1:1", None])
def test_what_a_wrong_clock_claimed_or_put_off_for_years_is_settled_now(worked: Worked, holder: str | None) -> None:
    """A machine that believed it was 2030 claimed an event and died: its run would have waited until 2030."""
    run_id = worked.run([Planned("a")])
    worked.tell(ended(run_id, "a"))
    claimed = {"lease_holder": holder, "lease_expires_at": AT + timedelta(days=1500)}
    with worked.registry.writing() as session:
        session.execute(update(InboxEvent).values(**claimed))
    assert settle_due(worked.world, holder="here").settled == 1
    assert rows(worked.registry, ProjectRun, "status") == [("SUCCESS",)]


def test_what_is_measured_for_as_long_as_the_settings_allow_is_left_to_who_measures(worked: Worked) -> None:
    """The bound must not take a claim from a settler that lives: both would measure the same work."""
    run_id = worked.run([Planned("a")])
    worked.tell(ended(run_id, "a"))
    longest = LEASE + 2 * timedelta(seconds=worked.world.settings.kpi_timeout_s)
    with worked.registry.writing() as session:
        session.execute(update(InboxEvent).values(lease_holder="elsewhere:1:1", lease_expires_at=AT + longest))
    assert settle_due(worked.world, holder="here").claimed == 0


def test_who_stood_still_before_it_claims_leaves_what_another_claimed_meanwhile(
    worked: Worked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop that was closed between its look and its claim knows yesterday's time: every lease of today seemed to be from
    before a clock went back, and was taken from who works."""
    worked.tell(ended(worked.run([Planned("a")]), "a"))

    def overslept(_session: object, **_given: object) -> int:
        worked.clock.passes(days=1)
        now = worked.clock.now()
        with worked.registry.writing() as session:
            inbox.claim(session, holder="other", now=now, lease_until=now + LEASE, limit=9)
        return 1

    monkeypatch.setattr(inbox, "count_due", overslept)
    assert settle_due(worked.world, holder="here").claimed == 0
    assert rows(worked.registry, InboxEvent, "state", "lease_holder") == [("pending", "other")]


def test_a_receipt_from_a_clock_ahead_of_ours_moves_the_priors_at_once(worked: Worked) -> None:
    """Beliefs rest on receipts completed by their instant: ours would leave out what the executor says ended in a second."""
    run_id = worked.run([Planned("a")])
    worked.tell(ended(run_id, "a", at=AT + timedelta(seconds=30)))
    settle_due(worked.world, holder="here")
    assert (6100, 1) in rows(worked.registry, EstimateVersion, "lane_id", "n_observations")


def test_an_event_of_an_unknown_run_waits_a_while_and_is_then_refused(worked: Worked) -> None:
    """An executor that names runs itself may tell of one before its name is noted; a run that never was is said to be none."""
    worked.tell(ended("nobody", "a"))
    assert settle_due(worked.world, holder="here").deferred == 1
    assert not settle_due(worked.world, holder="here").did_something
    worked.clock.passes(minutes=2)
    assert settle_due(worked.world, holder="here").refused == 1
    assert outcomes(worked.registry) == [("refused", "no run nobody was ever started here")]


def test_a_measured_system_that_is_away_is_waited_for_and_not_for_ever(
    sqlite_registry: Registry, settings: Settings
) -> None:
    """The work did nothing wrong; but a run that waits for ever helps nobody either."""
    away = settings.model_copy(update={"kpi_database_url": "postgresql+psycopg://127.0.0.1:1/none"})
    worked = Worked(sqlite_registry, away)
    run_id = worked.run([Planned("a", lane_id=5102)])
    worked.stage(run_id, "a", {"expected_row_count.json": '{"table_fq": "x.y", "row_count": 3}'})
    worked.tell(ended(run_id, "a"))
    for _ in range(MOST_ATTEMPTS - 1):
        assert settle_due(worked.world, holder="here").deferred == 1
        assert not settle_due(worked.world, holder="here").did_something
        worked.clock.passes(minutes=1)
    assert settle_due(worked.world, holder="here").settled == 1
    assert rows(worked.registry, ProjectRun, "status", "validation") == [("SUCCESS", "failed")]
    assert "not available" in str(rows(worked.registry, KpiReceipt, "reason"))


def test_without_leave_to_measure_only_what_costs_nothing_is_settled(worked: Worked) -> None:
    """A sensor's tick has seconds, a test suite may take minutes."""
    run_id = worked.run([Planned("a", lane_id=4202), Planned("b"), Planned("c", lane_id=4202)])
    worked.stage(run_id, "a", {"generated_docs.md": "The cat sat on the mat. " * 40})
    for name in ("a", "b", "c"):
        worked.tell(ended(run_id, name))
    found = settle_due(worked.world, holder="here", may_measure=False)
    assert (found.settled, found.deferred) == (2, 1)
    assert rows(worked.registry, RunTask, "task_id", "status") == [("a", "RUNNING"), ("b", "SUCCESS"), ("c", "SUCCESS")]
    assert settle_due(worked.world, holder="here").ended_runs == (run_id,)


def test_a_judge_that_breaks_on_one_work_does_not_stop_the_others(
    sqlite_registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One artifact that no validator foresaw must not stop all runs."""
    worked = Worked(sqlite_registry, settings)
    run_id = worked.run([Planned("a"), Planned("b")])
    worked.tell(ended(run_id, "a"))
    worked.tell(ended(run_id, "b"))
    real = Judge.known

    def broken(self: Judge, work: Work) -> Judgement | None:
        if work.task_id == "a":
            raise ZeroDivisionError("a bug")
        return real(self, work)

    monkeypatch.setattr(Judge, "known", broken)
    found = settle_due(worked.world, holder="here")
    assert (found.settled, found.deferred) == (1, 1)
    assert rows(worked.registry, RunTask, "task_id", "status") == [("a", "RUNNING"), ("b", "SUCCESS")]
