"""Does a start happen once, and does it leave everything or nothing?"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, insert, select, text, update

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.answers import Answer
from plms_pipeline.clock import Clock, FrozenClock
from plms_pipeline.errors import BadInput, Conflict, NotFound, PlmsError, Unprocessable
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.prepared import AskingDriver, Inserts
from plms_pipeline.registry.tables import (
    AuditEntry,
    Hold,
    IdempotencyKey,
    JobCard,
    OutboxEvent,
    Project,
    ProjectRun,
    ProviderSnapshot,
    RunPassport,
    RunTask,
    StateTransition,
)
from plms_pipeline.runs.actions.start import StartPolicy, start_run
from plms_pipeline.runs.ids import card_key
from plms_pipeline.runs.passport import PassportWorld, is_intact
from plms_pipeline.runs.starting import StartAnswer, StartRequest
from plms_pipeline.runs.store import idempotency
from plms_pipeline_tests.runs.worlds import AT, OWNER, PROVIDERS, WORLD, planned_project

POLICY = StartPolicy()
KEY = "7d9f3f0e-1111-4222-8333-444455556666"


def started(
    registry: Registry,
    clock: Clock,
    key: str | None = KEY,
    *,
    body: dict[str, object] | None = None,
    actor: Actor = OWNER,
    world: PassportWorld = WORLD,
    stopped: str | None = None,
    cache: object = None,
    policy: StartPolicy = POLICY,
    request: StartRequest | None = None,
) -> StartAnswer:
    told = body if body is not None else {"run_kind": "baseline"}
    asked = request or StartRequest(
        42,
        key,
        run_kind=str(told.get("run_kind", "baseline")),
        write_sandbox=bool(told.get("write_sandbox")),
        body=told,
    )
    return start_run(
        registry, clock=clock, ids=lambda: str(uuid4()), actor=actor, request=asked, world=world, stopped=stopped,
        cache=cache, policy=policy,  # type: ignore[arg-type] # a test's own cache
    )  # fmt: skip


def count(registry: Registry, table: type) -> int:
    with registry.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_start_leaves_run_tasks_passport_cards_answer_and_what_is_to_be_done(
    registry: Registry, clock: Clock
) -> None:
    """A run without cards never works; one without passport never repeats; one without answer starts twice."""
    planned_project(registry)
    answer = started(registry, clock)
    assert answer.body == {
        "status": "executing",
        "run_id": answer.run_id,
        "provider_matrix": PROVIDERS,
        "replay_passport_path": f"artifacts/{answer.run_id}/passport.json",
        "pas_job_cards": [card_key(answer.run_id, name, 1) for name in "abcd"],
    }
    assert not answer.replayed
    with registry.reading() as session:
        run = session.scalars(select(ProjectRun)).one()
        tasks = session.scalars(select(RunTask).order_by(RunTask.id)).all()
        passport = session.scalars(select(RunPassport)).one()
        cards = {card.task_id: card for card in session.scalars(select(JobCard))}
        effects = session.scalars(select(OutboxEvent.kind).order_by(OutboxEvent.kind)).all()
        births = session.scalars(select(StateTransition.to_state)).all()
        audit = session.scalars(select(AuditEntry)).one()
    assert (run.run_id, run.status, run.validation, run.source) == (answer.run_id, "QUEUED", "pending", "plms")
    assert [task.task_id for task in tasks] == ["a", "b", "c", "d"]
    assert is_intact(passport.passport_json, passport.sha256)
    assert run.passport_sha256 == passport.sha256
    assert passport.is_complete
    assert cards["d"].depends_on_json == ["b", "c"]
    assert effects == ["passport", "start_run"]
    assert births == ["QUEUED"]
    assert (audit.actor, audit.action, audit.subject) == (OWNER.name, "run.start", f"run:{answer.run_id}")


def test_the_same_key_and_body_give_the_same_answer_and_no_second_run(registry: Registry, clock: Clock) -> None:
    """A client whose answer was lost repeats its request: that must never cost a second run."""
    planned_project(registry)
    first, second = started(registry, clock), started(registry, clock)
    assert second.replayed
    assert second.status_code == first.status_code
    # Byte for byte: a client may compare or sign what it was answered.
    assert json.dumps(second.body) == json.dumps(first.body)
    assert count(registry, ProjectRun) == 1


def test_another_key_with_the_same_body_is_another_run(registry: Registry, clock: Clock) -> None:
    """The prototype's key was the body's digest: a second legitimate run was impossible for a day."""
    planned_project(registry)
    first, second = started(registry, clock), started(registry, clock, str(uuid4()))
    assert first.run_id != second.run_id
    assert not second.replayed


@pytest.mark.parametrize("other", [{"run_kind": "hotfix"}, {"run_kind": "baseline", "budget_tokens": 5}, {}])
def test_the_same_key_with_another_body_is_refused(registry: Registry, clock: Clock, other: dict[str, object]) -> None:
    """The prototype silently started a new run; unknown fields belong to the body too."""
    planned_project(registry)
    started(registry, clock)
    with pytest.raises(Unprocessable) as refused:
        started(registry, clock, body=other)
    assert (refused.value.code, refused.value.http_status) == ("idempotency_key_reused", 422)
    assert count(registry, ProjectRun) == 1


def test_a_key_belongs_to_its_user(registry: Registry, clock: Clock) -> None:
    """Whoever guesses a colleague's key must not read the colleague's answer."""
    planned_project(registry)
    mine = started(registry, clock)
    theirs = started(registry, clock, actor=Actor("bo@example.com", is_verified=True))
    assert mine.run_id != theirs.run_id


def test_a_key_is_the_same_key_however_its_letters_are_written(registry: Registry, clock: Clock) -> None:
    """RFC 9562 compares UUIDs without case; a client that changes it repeats its request all the same."""
    planned_project(registry)
    assert started(registry, clock, KEY.upper()).run_id == started(registry, clock, KEY).run_id


@pytest.mark.parametrize("key", [None, "", "short", "demo1-1700000000", f"{{{KEY}}}", KEY.replace("-", ""), KEY + "\n"])
def test_without_a_uuid_nothing_starts(registry: Registry, clock: Clock, key: str | None) -> None:
    """The documents promise 400 for an absent key; the prototype answered 422, and took any eight characters."""
    planned_project(registry)
    with pytest.raises(BadInput) as refused:
        started(registry, clock, key)
    assert (refused.value.code, refused.value.http_status) == ("invalid_idempotency_key", 400)
    assert refused.value.message.startswith("Invalid or missing Idempotency-Key header")


def test_the_examples_keys_are_admitted_by_setting(registry: Registry, clock: Clock) -> None:
    """The guides' first demo sends demo1-<epoch>."""
    planned_project(registry)
    policy = StartPolicy(keys="any")
    first = started(registry, clock, "demo1-1700000000", policy=policy)
    assert started(registry, clock, "demo1-1700000000", policy=policy).run_id == first.run_id
    for bad in ("seven77", "with blank", "x" * 256, "umlaut-ä-key"):
        with pytest.raises(BadInput):
            started(registry, clock, bad, policy=policy)


def test_an_unknown_kind_is_refused_in_the_sources_words_and_not_remembered(registry: Registry, clock: Clock) -> None:
    """400 {"detail": "invalid run_kind"}, and the same key may then be used for a sound request."""
    planned_project(registry)
    with pytest.raises(BadInput) as refused:
        started(registry, clock, body={"run_kind": "INVALID_KIND"})
    assert (refused.value.http_status, refused.value.message) == (400, "invalid run_kind")
    assert not started(registry, clock).replayed


def test_a_baseline_never_starts_in_the_sandbox(registry: Registry, clock: Clock) -> None:
    """The prototype accepted it, although its own invariant forbids it."""
    planned_project(registry)
    with pytest.raises(Unprocessable) as refused:
        started(registry, clock, body={"run_kind": "baseline", "write_sandbox": True})
    assert refused.value.code == "baseline_in_sandbox"
    assert started(registry, clock, body={"run_kind": "rehearsal", "write_sandbox": True}).run_id


def test_a_project_that_nobody_knows_starts_nothing(registry: Registry, clock: Clock) -> None:
    """The prototype answered 200 for any number, also a negative one."""
    with pytest.raises(NotFound) as refused:
        started(registry, clock)
    assert (refused.value.code, refused.value.http_status) == ("project_not_found", 404)
    assert count(registry, IdempotencyKey) == 0


@pytest.mark.parametrize("status", ["planning", "pending_approval", "completed", "cancelled"])
def test_only_an_approved_project_starts(registry: Registry, clock: Clock, status: str) -> None:
    """Work that nobody approved spends money that nobody granted."""
    planned_project(registry, status=status)
    with pytest.raises(Conflict) as refused:
        started(registry, clock)
    assert refused.value.code == "not_approved"
    assert refused.value.http_status == 409


def test_a_project_on_hold_starts_nothing(registry: Registry, clock: Clock) -> None:
    """A pause that new runs ignore is no pause."""
    planned_project(registry)
    with registry.writing() as session:
        session.execute(
            insert(Hold).values(subject_type="project", subject_id="42", reason="audit", placed_by="ana", placed_at=AT)
        )
    with pytest.raises(Conflict) as refused:
        started(registry, clock)
    assert refused.value.code == "project_held"
    with registry.writing() as session:
        session.execute(text("UPDATE holds SET lifted_by = 'ana', lifted_at = placed_at"))
    assert started(registry, clock).run_id


def test_a_run_that_the_budget_cannot_bear_does_not_start(registry: Registry, clock: Clock) -> None:
    """A budget that only stops runs after they spent it is a report, not a budget."""
    forecast = {"spend": {"cost_usd": {"median": 0.3, "low": 0.1, "high": 0.5}}}
    planned_project(registry, budget_usd=Decimal("1.19"), forecast=forecast)
    with pytest.raises(Conflict) as refused:
        started(registry, clock)
    assert refused.value.code == "budget_exceeded"
    assert "1.2 more" in refused.value.message
    with registry.writing() as session:
        session.execute(update(Project).values(budget_cost_usd_max=Decimal("1.2")))
    started(registry, clock)
    with registry.reading() as session:
        assert set(session.scalars(select(JobCard.budget_usd))) == {Decimal("0.5")}


def test_a_project_without_tasks_starts_nothing(registry: Registry, clock: Clock) -> None:
    """The stub executor called a run of no tasks completed and validated."""
    planned_project(registry, tasks={})
    with pytest.raises(Conflict) as refused:
        started(registry, clock)
    assert refused.value.code == "no_tasks"


def test_the_kill_switch_stops_new_runs_and_still_answers_for_old_ones(registry: Registry, clock: Clock) -> None:
    """A client that repeats must learn of the run that is under way, not that nothing was started."""
    planned_project(registry)
    first = started(registry, clock)
    assert started(registry, clock, stopped="incident").run_id == first.run_id
    with pytest.raises(Conflict) as refused:
        started(registry, clock, str(uuid4()), stopped="incident")
    assert refused.value.code == "killswitch_on"
    assert "incident" in refused.value.message
    assert count(registry, ProjectRun) == 1


@pytest.mark.parametrize(
    ("lacking", "named"),
    [
        ({"git_commit": None}, "env.git_commit"),
        ({"python_version": None}, "env.python_version"),
        ({"capabilities": None}, "capabilities"),
        ({"providers": None}, "provider_matrix.local/llama-8b"),
        ({"providers": {"openai/gpt-4": "gpt-4-0613"}}, "provider_matrix.local/llama-8b"),
    ],
)
def test_what_could_not_be_repeated_does_not_start_and_is_a_fact(
    registry: Registry, clock: Clock, lacking: dict[str, object], named: str
) -> None:
    """A run without a complete passport can never be explained; the refusal is kept so that somebody is told."""
    planned_project(registry)
    with pytest.raises(Conflict) as refused:
        started(registry, clock, world=replace(WORLD, **lacking))  # type: ignore[arg-type]
    assert refused.value.code == "passport_incomplete"
    # A script that tries again when a needed system is back must tell that from a no.
    assert refused.value.exit_code == (4 if lacking.get("providers", "") is None else 1)
    assert named in refused.value.message
    if lacking.get("providers"):
        assert "the executor serves no local/llama-8b (it serves openai/gpt-4)" in refused.value.message
    assert count(registry, ProjectRun) == 0
    with registry.reading() as session:
        fact = session.scalars(select(AuditEntry)).one()
    assert (fact.action, fact.outcome, fact.subject) == ("run.start", "passport_incomplete", "project:42")
    assert named in fact.details_json["missing"]
    # Refusals are not remembered: the same key starts the run once the executor is back.
    assert not started(registry, clock).replayed


def test_while_the_executor_is_away_its_last_statement_holds(registry: Registry, clock: Clock) -> None:
    """A start must not depend on a network; the snapshot after submission tells if the providers changed."""
    planned_project(registry)
    first = started(registry, clock)
    state = json.dumps({"providers": PROVIDERS, "capabilities": ["pause_task"], "taken_at": AT.isoformat()})
    with registry.writing() as session:
        session.execute(
            insert(ProviderSnapshot).values(
                run_id=first.run_id, moment="submission", state_json=state, sha256="0" * 64, matches=True, taken_at=AT
            )
        )
    away = replace(WORLD, providers=None, capabilities=None)
    again = started(registry, clock, str(uuid4()), world=away)
    assert again.body["provider_matrix"] == PROVIDERS


def test_an_answer_is_forgotten_when_its_time_is_over(registry: Registry) -> None:
    """TTL 24 h: afterwards the key is free again, and a row that nobody collected yet does not stand in the way."""
    planned_project(registry)
    first = started(registry, FrozenClock(AT))
    assert started(registry, FrozenClock(AT + timedelta(hours=24, seconds=-1))).run_id == first.run_id
    later = started(registry, FrozenClock(AT + timedelta(hours=24)), body={"run_kind": "hotfix"})
    assert later.run_id != first.run_id
    assert not later.replayed


def test_answers_whose_time_is_over_are_removed_and_no_others(registry: Registry) -> None:
    """A table that is never emptied slows every start down in the end."""
    from plms_pipeline.runs.actions.idempotency import forget_expired

    planned_project(registry)
    started(registry, FrozenClock(AT))
    kept = started(registry, FrozenClock(AT + timedelta(hours=2)), str(uuid4()))
    assert forget_expired(registry, clock=FrozenClock(AT + timedelta(hours=23))) == 0
    assert forget_expired(registry, clock=FrozenClock(AT + timedelta(hours=25))) == 1
    with registry.reading() as session:
        assert session.scalars(select(IdempotencyKey.run_id)).all() == [kept.run_id]
    assert count(registry, ProjectRun) == 2


def test_what_is_in_progress_is_answered_with_retry_after(registry: Registry, clock: Clock) -> None:
    """Two answers to one key would be two runs; waiting for ever would be none."""
    planned_project(registry)
    request = StartRequest(42, KEY, body={"run_kind": "baseline"})
    unique = idempotency.Unique(OWNER.name, "POST", "/api/projects/42/start", KEY)
    with registry.writing() as session:
        assert idempotency.remember(
            session, unique, body_sha256=request.body_sha256, status_code=None, answer_text=None, run_id=None,
            now=AT, expires_at=AT + timedelta(hours=1),
        )  # fmt: skip
    with pytest.raises(Conflict) as refused:
        started(registry, clock)
    assert (refused.value.code, refused.value.retry_after_s) == ("idempotency_in_progress", 1)


@pytest.mark.live
def test_whoever_waits_too_long_for_the_same_key_is_told_to_come_again(
    postgres_registry_url: str, clock: Clock
) -> None:
    """A process that hangs in the middle of a start would hold every repetition, and with them all connections."""
    registry, other = Registry.open(postgres_registry_url), Registry.open(postgres_registry_url)
    planned_project(registry)
    request = StartRequest(42, KEY, body={"run_kind": "baseline"})
    unique = idempotency.Unique(OWNER.name, "POST", "/api/projects/42/start", KEY)
    with other.writing() as session:
        idempotency.remember(
            session, unique, body_sha256=request.body_sha256, status_code=None, answer_text=None, run_id=None,
            now=AT, expires_at=AT + timedelta(hours=1),
        )  # fmt: skip
        with pytest.raises(Conflict) as refused:
            started(registry, clock)
        assert (refused.value.code, refused.value.retry_after_s) == ("idempotency_in_progress", 1)
        session.rollback()
    assert not started(registry, clock).replayed
    registry.close()
    other.close()


class Remembering:
    """A cache in memory that can be broken."""

    def __init__(self) -> None:
        self.kept: dict[str, Answer] = {}
        self.gets = 0

    def get(self, key: str) -> Answer | None:
        self.gets += 1
        return self.kept.get(key)

    def put(self, key: str, answer: Answer, *, ttl_s: int) -> None:
        assert ttl_s > 0
        self.kept[key] = answer


def test_the_cache_answers_repetitions_and_contradictions_alike(sqlite_registry: Registry, clock: Clock) -> None:
    """The cached answer must carry the body's digest, or the same key with another body is answered as a repetition."""
    planned_project(sqlite_registry)
    cache = Remembering()
    first = started(sqlite_registry, clock, cache=cache)
    with sqlite_registry.writing() as session:
        session.execute(text("DELETE FROM idempotency_keys"))  # only the cache knows now
    assert started(sqlite_registry, clock, cache=cache) == replace(first, replayed=True)
    with pytest.raises(Unprocessable):
        started(sqlite_registry, clock, cache=cache, body={"run_kind": "hotfix"})


def test_a_cache_that_forgets_costs_nothing_but_a_read(registry: Registry, clock: Clock) -> None:
    """With the server of the prototype's cache down, every start was a 500."""
    planned_project(registry)
    cache = Remembering()
    first = started(registry, clock, cache=cache)
    cache.kept.clear()
    assert started(registry, clock, cache=cache).run_id == first.run_id
    assert count(registry, ProjectRun) == 1


def test_many_at_once_start_one_run_per_key(registry: Registry, clock: Clock) -> None:
    """Check-then-store: of the prototype's twelve parallel requests more than one started a run in 25 of 40 rounds."""
    planned_project(registry)
    gate = threading.Barrier(12)

    def ask(key: str) -> StartAnswer | PlmsError:
        gate.wait()
        while True:
            try:
                return started(registry, clock, key)
            except Conflict as error:
                if error.code != "idempotency_in_progress":
                    return error

    with ThreadPoolExecutor(12) as pool:
        for _round in range(5):
            key = str(uuid4())
            answers = list(pool.map(ask, [key] * 12))
            assert all(isinstance(answer, StartAnswer) for answer in answers), answers
            assert len({answer.run_id for answer in answers if isinstance(answer, StartAnswer)}) == 1
            assert [answer.replayed for answer in answers if isinstance(answer, StartAnswer)].count(False) == 1
    assert count(registry, ProjectRun) == 5


def test_a_crash_at_any_statement_leaves_nothing_and_the_key_free(
    sqlite_registry: Registry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a start is the worst of all: a key that is answered for a run that does not exist, or a run without a key."""
    from sqlalchemy import event

    planned_project(sqlite_registry)

    class Crash(BaseException):
        pass

    tables = (ProjectRun, RunTask, RunPassport, JobCard, IdempotencyKey, OutboxEvent, StateTransition, AuditEntry)
    seen = crash_at = 0

    def crash(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == crash_at:
            raise Crash

    # What is asked of the driver itself passes no event of SQLAlchemy.
    rows, into = AskingDriver.rows, Inserts.into

    def crashing(step: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*given: Any, **values: Any) -> Any:
            crash()
            return step(*given, **values)

        return stepped

    monkeypatch.setattr(AskingDriver, "rows", crashing(rows))
    monkeypatch.setattr(Inserts, "into", crashing(into))
    for crash_at in range(1, 100):
        seen = 0
        event.listen(sqlite_registry.engine, "before_cursor_execute", crash)
        try:
            started(sqlite_registry, clock)
        except Crash:
            continue
        finally:
            event.remove(sqlite_registry.engine, "before_cursor_execute", crash)
            if seen >= crash_at:
                assert [count(sqlite_registry, table) for table in tables] == [0] * len(tables)
        break
    assert crash_at > 8
    assert count(sqlite_registry, ProjectRun) == 1


def test_a_sample_starts_only_its_tasks(registry: Registry, clock: Clock) -> None:
    """A canary runs a part of the plan; a dependency that is not in the sample must not block it for ever."""
    planned_project(registry)
    request = StartRequest(
        42, KEY, run_kind="rehearsal", write_sandbox=True, tasks=frozenset({"a", "d"}), rehearsal_pct=0.5,
        strata_coverage=1.0,
    )  # fmt: skip
    started(registry, clock, request=request)
    with registry.reading() as session:
        cards = {card.task_id: card.depends_on_json for card in session.scalars(select(JobCard))}
        run = session.scalars(select(ProjectRun)).one()
    assert cards == {"a": [], "d": []}
    assert (run.rehearsal_pct, run.strata_coverage, run.write_sandbox) == (0.5, 1.0, True)
    with pytest.raises(NotFound):
        started(registry, clock, request=replace(request, key=str(uuid4()), tasks=frozenset({"z"})))
