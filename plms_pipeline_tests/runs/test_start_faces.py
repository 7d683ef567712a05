"""Is a start the same start over HTTP, from a terminal and from the Dagster UI?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from sqlalchemy import func, select

from plms_pipeline.cli import main
from plms_pipeline.clock import SystemClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry, JobCard, ProjectRun, RunPassport
from plms_pipeline.resources import Plms
from plms_pipeline.runs.defs.cancel import cancel_run_job
from plms_pipeline.runs.defs.replay import replay_job
from plms_pipeline.runs.defs.start import derived_key, dispatch_cards, dispatch_queued_tasks, start_project_run
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import World, live, world
from plms_pipeline_tests.pas.server import ReferencePas, reference_pas
from plms_pipeline_tests.runs.worlds import PROVIDERS, planned_project

pytestmark = pytest.mark.live

START = "/api/projects/42/start"
KEY = "7d9f3f0e-1111-4222-8333-444455556666"


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferencePas]:
    """One real executor for the module; it may write below every test's folder."""
    root = ("--artifacts-root", str(tmp_path_factory.getbasetemp()))
    with reference_pas(tmp_path_factory.mktemp("pas"), speed=1e6, arguments=root) as pas:
        yield pas


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings, executor: ReferencePas) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))
    monkeypatch.setenv("PLMS_PAS_URL", executor.url)
    monkeypatch.setenv("COLUMNS", "200")


def plms(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([*map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


# --- HTTP


@pytest.fixture
def api(settings: Settings, registry: Registry, executor: ReferencePas) -> Iterator[World]:
    planned_project(registry)
    with executor.client() as pas:
        yield world(settings, registry, SystemClock(), pas=lambda: pas)


def test_the_endpoint_answers_in_the_sources_words(api: World) -> None:
    """Scripts of the guides read these fields and this header."""
    with live(api.app) as client:
        headers = api.headers("operator") | {"Idempotency-Key": KEY}
        first = client.post(START, json={"run_kind": "baseline"}, headers=headers)
        again = client.post(START, json={"run_kind": "baseline"}, headers=headers)
        counted = client.get("/metrics").text
    assert (first.status_code, again.status_code) == (200, 200)
    # The guide's hit rate: more than half of them given again is somebody's loop.
    for word in ("true", "false"):
        assert f'plms_api_idempotent_answers_total{{replay="{word}"}} 1.0' in counted
    assert (first.headers["Idempotent-Replay"], again.headers["Idempotent-Replay"]) == ("false", "true")
    assert first.content == again.content
    answer = first.json()
    assert (answer["status"], answer["provider_matrix"]) == ("executing", PROVIDERS)
    assert answer["replay_passport_path"] == f"artifacts/{answer['run_id']}/passport.json"
    assert len(answer["pas_job_cards"]) == 4


@pytest.mark.parametrize(
    ("body", "key", "status", "code"),
    [
        ({}, None, 400, "invalid_idempotency_key"),
        ({}, "short", 400, "invalid_idempotency_key"),
        ({"run_kind": "INVALID_KIND"}, KEY, 400, "invalid_run_kind"),
        ({"run_kind": "baseline", "write_sandbox": True}, KEY, 422, "baseline_in_sandbox"),
        ({"run_kind": 5}, KEY, 422, "validation_failed"),
        ([], KEY, 422, "validation_failed"),
    ],
)
def test_each_bad_request_has_its_status_and_code(
    api: World, body: Any, key: str | None, status: int, code: str
) -> None:
    """A client decides by code whether to repeat, to repair or to give up; 500 is none of them."""
    headers = api.headers("operator") | ({} if key is None else {"Idempotency-Key": key})
    with live(api.app) as client:
        answer = client.post(START, json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_same_key_with_another_body_is_refused_over_http(api: World) -> None:
    """422, and the first run stands alone."""
    headers = api.headers("operator") | {"Idempotency-Key": KEY}
    with live(api.app) as client:
        assert client.post(START, json={"run_kind": "hotfix"}, headers=headers).status_code == 200
        other = client.post(START, json={"run_kind": "hotfix", "budget_tokens": 5}, headers=headers)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        unknown = client.post("/api/projects/4711/start", json={}, headers=headers)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "project_not_found")
        no_number = client.post(START, content=b'{"a": NaN}', headers=headers | {"Content-Type": "application/json"})
        assert (no_number.status_code, no_number.json()["code"]) == (422, "not_json")


def test_a_start_behind_another_writer_waits_and_the_server_goes_on(
    settings: Settings, sqlite_registry: Registry, executor: ReferencePas
) -> None:
    """The event loop must not stand still, not even its health page, because somebody imports a file meanwhile."""
    from concurrent.futures import ThreadPoolExecutor

    planned_project(sqlite_registry)
    importer = Registry.open(settings.database_url)
    with executor.client() as pas, ThreadPoolExecutor(1) as pool:
        api = world(settings, sqlite_registry, SystemClock(), pas=lambda: pas)
        with live(api.app) as client:
            headers = api.headers("operator")
            assert client.post(START, json={}, headers=headers | {"Idempotency-Key": KEY}).status_code == 200
            with importer.writing():
                waiting = pool.submit(client.post, START, json={}, headers=headers | {"Idempotency-Key": str(uuid4())})
                assert client.get("/healthz").status_code == 200
                assert not waiting.done()
            assert waiting.result().status_code == 200
    importer.close()


JSON_TYPE = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "headers", "project"),
    [
        (b"{}", {}, "42"),
        (b'{"run_kind": "hotfix"}', {}, "42"),
        (b'{"run_kind": "rehearsal", "write_sandbox": true}', {}, "42"),
        (b'{"run_kind": "hotfix", "run_kind": "baseline"}', {}, "42"),
        (b'{"write_sandbox": true}', {}, "42"),
        (b'{"write_sandbox": 1}', {}, "42"),
        (b'{"run_kind": null}', {}, "42"),
        (b'{"run_kind": "nothing"}', {}, "42"),
        (b'{"run_kind": "hotfix", "more": [1.50, null]}', {}, "42"),
        (b'{"more": NaN}', {}, "42"),
        (b"[]", {}, "42"),
        (b"", {}, "42"),
        (b"{", {}, "42"),
        (b"[" * 20_000, {}, "42"),
        (b"\xff", {}, "42"),
        (b"{}", {"Idempotency-Key": "short"}, "42"),
        (b"{}", {"Idempotency-Key": ""}, "42"),
        (b"{}", {"Content-Type": "application/json; charset=utf-8"}, "42"),
        (b"{}", {"Content-Type": "text/plain"}, "42"),
        (b"{}", {"Authorization": "Bearer none"}, "42"),
        (b"{}", {}, "4711"),
        (b"{}", {}, "042"),
        (b"{}", {}, "99999999999"),
    ],
)
def test_the_short_way_and_the_long_one_say_the_same(
    api: World, body: bytes, headers: dict[str, str], project: str
) -> None:
    """Whoever adds a parameter to the address must not get another answer, nor another error."""
    key = {"Idempotency-Key": str(uuid4()), **JSON_TYPE, **api.headers("operator"), **headers}
    again = {"Idempotency-Key": str(uuid4()), **JSON_TYPE, **api.headers("operator"), **headers}
    with live(api.app) as client:

        def told(address: str, sent: dict[str, str]) -> tuple[int, list[tuple[str, str]], Any]:
            answer = client.post(address, content=body, headers=sent)
            found = answer.json()
            if answer.status_code == 200:
                found |= {name: len(found[name]) for name in ("run_id", "replay_passport_path", "pas_job_cards")}
            shown = [pair for pair in answer.headers.items() if pair[0] not in ("x-request-id", "date")]
            found.pop("request_id", None)
            return answer.status_code, shown, json.dumps(found)

        path = START.replace("42", project)
        assert told(path, key) == told(f"{path}?long", again)
        # A repetition is known whichever way it comes.
        assert told(f"{path}?long", key) == told(path, again) == told(path, key)


def test_the_plainest_start_never_reaches_the_framework(api: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding route, parameters and dependencies takes half as long as the whole transaction."""
    entered = []
    monkeypatch.setattr("plms_pipeline.runs.routes.start.met_at_once", entered.append)
    headers = api.headers("operator") | {"Idempotency-Key": KEY}
    with live(api.app) as client:
        assert client.post(START, json={"run_kind": "baseline"}, headers=headers).status_code == 200
        assert not entered
        assert client.post(START, json={"run_kind": "baseline", "more": 1}, headers=headers).status_code == 422
        assert len(entered) == 1
        counted = client.get("/metrics").text
    line = 'plms_api_answers_total{endpoint="/api/projects/{project_id}/start",method="POST",status="2xx"} 1.0'
    assert line in counted


def test_a_start_that_is_refused_on_the_short_way_is_one_fact(settings: Settings, sqlite_registry: Registry) -> None:
    """Tried again by the long way, every refusal would be two alerts."""
    from plms_pipeline.pas.client import PasClient

    planned_project(sqlite_registry)
    with PasClient("http://127.0.0.1:9", sleep=lambda _: None, chance=lambda: 0.0, monotonic_s=lambda: 0.0) as nobody:
        api = world(settings, sqlite_registry, SystemClock(), pas=lambda: nobody)
        with live(api.app) as client:
            for _ in range(2):
                headers = api.headers("operator") | {"Idempotency-Key": KEY}
                assert client.post(START, json={}, headers=headers).status_code == 409
    with sqlite_registry.reading() as session:
        assert session.scalars(select(AuditEntry.outcome)).all() == ["passport_incomplete"] * 2


def test_many_clients_at_once_share_transactions_and_each_gets_its_own_answer(
    settings: Settings, sqlite_registry: Registry, executor: ReferencePas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers that are mixed up within a group would hand one client another one's run."""
    from concurrent.futures import ThreadPoolExecutor
    from contextlib import contextmanager

    planned_project(sqlite_registry)
    transactions = 0
    plain = Registry.writing_at_once

    @contextmanager
    def counted(self: Registry) -> Iterator[Any]:
        nonlocal transactions
        transactions += 1
        with plain(self) as session:
            yield session

    monkeypatch.setattr(Registry, "writing_at_once", counted)
    keys = [str(uuid4()) for _ in range(60)]
    with executor.client() as pas, ThreadPoolExecutor(20) as pool:
        api = world(settings, sqlite_registry, SystemClock(), pas=lambda: pas)
        with live(api.app) as client:

            def start(key: str) -> Any:
                # Every third asks for a project that is not there.
                path = START if keys.index(key) % 3 else START.replace("42", "4711")
                return client.post(path, json={}, headers=api.headers("operator") | {"Idempotency-Key": key})

            first, again = list(pool.map(start, keys)), list(pool.map(start, keys))
    assert [answer.status_code for answer in first] == [200 if number % 3 else 404 for number in range(60)]
    runs = [answer.json()["run_id"] for answer in first if answer.status_code == 200]
    assert len(set(runs)) == len(runs) == 40
    assert [answer.json()["run_id"] for answer in again if answer.status_code == 200] == runs
    assert {answer.headers["Idempotent-Replay"] for answer in again if answer.status_code == 200} == {"true"}
    assert transactions <= 120


def test_who_may_only_look_starts_nothing(api: World) -> None:
    """The prototype had one user with all scopes."""
    with live(api.app) as client:
        answer = client.post(START, json={}, headers=api.headers("viewer") | {"Idempotency-Key": KEY})
        assert answer.status_code == 403
        assert answer.json()["detail"] == "Missing scope: projects.start"
        assert client.post(START, json={}, headers={"Idempotency-Key": KEY}).status_code == 401


def test_the_flag_file_stops_starts_over_http(api: World, settings: Settings) -> None:
    """Whoever can reach the disk can stop everything, also when the registry is away."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    (settings.data_dir / "KILLSWITCH").write_text("runaway spend\n")
    with live(api.app) as client:
        answer = client.post(START, json={}, headers=api.headers("operator") | {"Idempotency-Key": KEY})
    assert (answer.status_code, answer.json()["code"]) == (409, "killswitch_on")
    assert "runaway spend" in answer.json()["detail"]


def test_an_executor_that_never_answered_makes_the_passport_incomplete(settings: Settings, registry: Registry) -> None:
    """Nobody stated which providers serve: a run whose providers nobody knows cannot be repeated."""
    from plms_pipeline.pas.client import PasClient

    planned_project(registry)
    with PasClient("http://127.0.0.1:9", sleep=lambda _: None, chance=lambda: 0.0, monotonic_s=lambda: 0.0) as nobody:
        api = world(settings, registry, SystemClock(), pas=lambda: nobody)
        with live(api.app) as client:
            answer = client.post(START, json={}, headers=api.headers("operator") | {"Idempotency-Key": KEY})
    assert (answer.status_code, answer.json()["code"]) == (409, "passport_incomplete")
    with registry.reading() as session:
        assert session.scalars(select(AuditEntry.outcome)).all() == ["passport_incomplete"]


# --- terminal


@pytest.mark.parametrize(
    "command", [("run", "start", 42, "--wait"), ("run", "rehearse", 42, "--mode", "canary", "--pct", 1)]
)
def test_who_interrupts_a_start_is_told_how_to_repeat_it_without_a_second_run(
    capsys: pytest.CaptureFixture[str],
    sqlite_registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    """`run the same command again` was a second run: the key that makes it a repetition was nobody's to know."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    planned_project(sqlite_registry)
    monkeypatch.setattr("plms_pipeline.runs.service.waiting.wait_for_run", interrupted)
    code, _, told = plms(capsys, *command, "--json")
    assert code == 130
    key = json.loads(told)["error"]["detail"].partition("--key ")[2].partition(":")[0]
    assert plms(capsys, *command, "--key", key)[0] == 130
    assert len(json.loads(plms(capsys, "run", "list", "--json")[1])["runs"]) == 1


def test_a_start_from_the_terminal_is_worked_repeated_and_replayed(
    capsys: pytest.CaptureFixture[str], sqlite_registry: Registry, settings: Settings
) -> None:
    """The commands of the README on a machine where neither server nor daemon runs."""
    planned_project(sqlite_registry, tasks={"write": (), "guide": ("write",)})
    code, out, _ = plms(capsys, "run", "start", 42, "--key", KEY, "--wait", "--wait-s", 90, "--json")
    answer = json.loads(out)
    assert (code, answer["ended"]["status"], answer["ended"]["validation"]) == (0, "SUCCESS", "passed")
    run_id = answer["run_id"]
    passport = settings.data_dir / answer["replay_passport_path"]
    assert json.loads(passport.read_text())["run_id"] == run_id
    code, out, _ = plms(capsys, "run", "start", 42, "--key", KEY, "--json")
    assert (code, json.loads(out)["run_id"], json.loads(out)["idempotent_replay"]) == (0, run_id, True)
    passport.unlink()
    code, out, _ = plms(capsys, "run", "show", run_id)
    assert code == 0
    assert "SUCCESS" in out
    assert passport.is_file()
    assert plms(capsys, "run", "list", "--project", 42, "--json")[1].count(run_id) == 1
    assert plms(capsys, "run", "replay", run_id, "--check")[0:2] == (
        0,
        "Nothing differs: a replay works on the same inputs.\n",
    )
    code, out, _ = plms(capsys, "run", "replay", run_id, "--wait", "--wait-s", 90, "--json")
    replayed = json.loads(out)
    assert (code, replayed["comparison"]["is_identical"], replayed["comparison"]["n_same"] > 0) == (0, True, True)
    assert (settings.data_dir / "artifacts" / replayed["run_id"] / "replay.json").is_file()
    code, out, _ = plms(capsys, "run", "compare", replayed["run_id"])
    assert code == 0
    assert "0 different" in out


def test_a_run_is_called_off_from_the_terminal(capsys: pytest.CaptureFixture[str], sqlite_registry: Registry) -> None:
    """Exit codes tell scripts what happened: 0 done, 1 it has ended, 2 there is no such run."""
    planned_project(sqlite_registry)
    run_id = json.loads(plms(capsys, "run", "start", 42, "--json")[1])["run_id"]
    code, out, _ = plms(capsys, "run", "cancel", run_id, "--reason", "wrong branch")
    assert (code, out) == (0, f"Run {run_id} is cancelled; nothing of it was handed out.\n")
    code, _, err = plms(capsys, "run", "cancel", run_id, "--reason", "again")
    assert (code, "what has ended never changes" in err) == (1, True)
    assert plms(capsys, "run", "cancel", "nobody", "--reason", "x")[0] == 2
    assert plms(capsys, "run", "start", 7, "--json")[0] == 2
    assert plms(capsys, "run", "start", 42, "--kind", "nonsense")[0] == 2


def test_dispatch_says_when_the_kill_switch_is_on(
    capsys: pytest.CaptureFixture[str], sqlite_registry: Registry, settings: Settings
) -> None:
    """`nothing was handed over` must not look like `nothing was due`."""
    planned_project(sqlite_registry)
    plms(capsys, "run", "start", 42)
    flag = settings.data_dir / "KILLSWITCH"
    flag.touch()
    code, _, err = plms(capsys, "run", "dispatch")
    assert (code, "no reason was given" in err) == (1, True)
    flag.unlink()
    code, out, _ = plms(capsys, "run", "dispatch", "--json")
    assert (code, json.loads(out)["announced"], json.loads(out)["submitted"]) == (0, 1, 1)


# --- Dagster


def launched(job: dg.JobDefinition, op: str, config: dict[str, Any], **options: Any) -> dg.ExecuteInProcessResult:
    return job.execute_in_process(
        run_config={"ops": {op: {"config": config}}} if config else {}, resources={"plms": Plms()}, **options
    )


def metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    events = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    return {key: value.value for key, value in events[-1].step_output_data.metadata.items()}


def test_the_job_starts_shows_and_repeats_nothing_when_it_is_retried(sqlite_registry: Registry) -> None:
    """A Dagster retry is a new Dagster run with the same root: it must find the same start."""
    planned_project(sqlite_registry)
    first_id = str(uuid4())
    tags = {"plms/actor": "ana@example.com", "plms/launched_from": "ui"}
    first = launched(start_project_run, "start_run_of_project", {"project_id": 42}, run_id=first_id, tags=tags)
    shown = metadata_of(first)
    assert (shown["forecast_tokens"], shown["forecast_minutes"], shown["job_cards"]) == (19000, 35, 4)
    assert Path(shown["passport"]).is_file()
    assert shown["idempotent_replay"] is False
    retry = launched(
        start_project_run,
        "start_run_of_project",
        {"project_id": 42, "idempotency_key": derived_key(first_id)},
        tags=tags,
    )
    assert metadata_of(retry)["run_id"] == shown["run_id"]
    with sqlite_registry.reading() as session:
        assert session.scalar(select(func.count()).select_from(ProjectRun)) == 1
        assert session.scalars(select(AuditEntry.actor).where(AuditEntry.action == "run.start")).all() == [
            "ana@example.com"
        ]
        assert session.scalars(select(JobCard.state).where(JobCard.task_id == "a")).all() == ["SUBMITTED"]


def test_a_job_shows_what_it_started_and_stores_no_value(sqlite_registry: Registry) -> None:
    """The metadata is all that a person gets; a pickled copy of it per start would be swept by nobody."""
    planned_project(sqlite_registry, tasks={"write": ()})
    started = launched(start_project_run, "start_run_of_project", {"project_id": 42, "wait_s": 60})
    run_id = metadata_of(started)["run_id"]
    replayed = launched(replay_job, "repeat_run", {"run_id": run_id, "wait_s": 60})
    assert metadata_of(replayed)["run_id"] != run_id
    assert metadata_of(replayed)["comparison"]["is_identical"]
    for result in (started, replayed):
        assert "HANDLED_OUTPUT" not in {event.event_type_value for event in result.all_events}


def test_a_run_is_called_off_from_the_ui(sqlite_registry: Registry) -> None:
    """Ending what spends is a job like starting it; a second try says that it has ended."""
    planned_project(sqlite_registry)
    run_id = metadata_of(launched(start_project_run, "start_run_of_project", {"project_id": 42}))["run_id"]
    config = {"run_id": run_id, "reason": "wrong branch"}
    shown = metadata_of(launched(cancel_run_job, "call_run_off", config))
    assert (shown["run_id"], shown["has_ended"], shown["executor_away"]) == (run_id, False, "no")
    shown = metadata_of(launched(start_project_run, "start_run_of_project", {"project_id": 42}))
    shown = metadata_of(launched(cancel_run_job, "call_run_off", {**config, "run_id": shown["run_id"]}))
    assert shown["has_ended"]
    with pytest.raises(dg.Failure, match="run_ended"):
        launched(cancel_run_job, "call_run_off", {**config, "run_id": shown["run_id"]})


def test_a_refused_start_fails_the_job_at_once_with_the_code(sqlite_registry: Registry) -> None:
    """Retrying what is refused for good wastes an hour; the person at the Launchpad must read why."""
    planned_project(sqlite_registry, status="planning")
    with pytest.raises(dg.Failure) as failed:
        launched(start_project_run, "start_run_of_project", {"project_id": 42})
    assert str(failed.value.description).startswith("not_approved: ")
    assert failed.value.allow_retries is False


def test_the_job_waits_for_the_end_if_it_is_asked_to(sqlite_registry: Registry) -> None:
    """`wait_s` makes the Dagster run show the verdict."""
    planned_project(sqlite_registry, tasks={"write": ()})
    shown = metadata_of(launched(start_project_run, "start_run_of_project", {"project_id": 42, "wait_s": 90}))
    assert (shown["status"], shown["validation"]) == ("SUCCESS", "passed")
    again = metadata_of(launched(replay_job, "repeat_run", {"run_id": shown["run_id"], "wait_s": 90}))
    assert again["comparison"]["is_identical"] is True


def test_the_sensor_hands_over_what_nobody_did_and_launches_nothing(sqlite_registry: Registry) -> None:
    """The net behind the server: without it a start made while nothing runs waits for ever."""
    from plms_pipeline.pas.service import pas_client
    from plms_pipeline.runs.actions.start import start_run
    from plms_pipeline.runs.service.world import Worlds
    from plms_pipeline.runs.starting import StartRequest
    from plms_pipeline.settings import load_settings
    from plms_pipeline_tests.runs.worlds import OWNER

    planned_project(sqlite_registry)
    with dg.DagsterInstance.ephemeral() as instance:
        with dg.build_sensor_context(instance=instance, resources={"plms": Plms()}) as context:
            assert "Nothing is due" in str(dispatch_queued_tasks(context))
        with pas_client(load_settings()) as pas:
            start_run(
                sqlite_registry, clock=SystemClock(), ids=lambda: str(uuid4()), actor=OWNER,
                request=StartRequest(42, KEY), world=Worlds(load_settings(), lambda: pas).gathered(), stopped=None,
            )  # fmt: skip
        with dg.build_sensor_context(instance=instance, resources={"plms": Plms()}) as context:
            told = dispatch_queued_tasks(context)
    assert isinstance(told, dg.SkipReason)
    assert "announced 1, submitted 1" in str(told.skip_message)


def test_the_dispatch_job_restores_copies_of_passports(sqlite_registry: Registry, settings: Settings) -> None:
    """A copy for people that somebody deleted comes back, and says what the books say."""
    planned_project(sqlite_registry)
    shown = metadata_of(launched(start_project_run, "start_run_of_project", {"project_id": 42}))
    copy = Path(shown["passport"])
    copy.write_text("altered")
    told = metadata_of(launched(dispatch_cards, "hand_over", {}))
    assert told["restored_passports"] == 1
    with sqlite_registry.reading() as session:
        assert copy.read_text() == session.scalars(select(RunPassport.passport_json)).one()
    assert settings.data_dir in copy.parents
